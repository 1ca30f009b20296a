//! A command line that clap does not accept, put into words that repeat no value: somebody may
//! have typed a secret where none belongs.

use crate::cli::Cli;
use crate::error::Failure;
use crate::io::local::environment;
use crate::render::script::quote;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error;
use std::ffi::OsString;

/// Says what is wrong with the command line.
pub fn explain(error: &clap::Error) -> Failure {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let argument = named(ContextKind::InvalidArg);
    let the = || match argument {
        // clap's own name of an argument that has no flag.
        Some(text) if text.starts_with(['<', '[']) => text.to_owned(),
        text => text
            .and_then(flag_of)
            .unwrap_or_else(|| "an argument".to_owned()),
    };
    let message = match error.kind() {
        ErrorKind::UnknownArgument => match argument.and_then(flag_of) {
            Some(flag) => format!("unknown argument: {flag}"),
            None => "there is an argument where none belongs (it may be a secret, so it is not \
                     repeated here)"
                .to_owned(),
        },
        ErrorKind::InvalidSubcommand => "there is no such command".to_owned(),
        ErrorKind::InvalidValue => {
            let possible = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => values.join(", "),
                _ => String::new(),
            };
            match possible.as_str() {
                "" => format!("{} needs a value", the()),
                possible => format!("{} takes one of: {possible}", the()),
            }
        }
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{} {source}", the()),
            None => format!("{} has a value that it does not take", the()),
        },
        ErrorKind::ArgumentConflict if named(ContextKind::PriorArg) == argument => {
            format!("{} is given twice", the())
        }
        ErrorKind::ArgumentConflict => format!("{} does not go with the rest", the()),
        ErrorKind::TooManyValues => format!("{} takes no value", the()),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", the()),
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => format!("{} ({kind})", the()),
    };
    let failure = Failure::usage(message);
    let program = quote(&environment::program());
    let typed = named(ContextKind::InvalidSubcommand)
        .or(argument)
        .unwrap_or_default();
    let guess = HABITS
        .iter()
        .find(|(habit, _)| typed == *habit || typed.starts_with(&format!("{habit}=")));
    let similar =
        named(ContextKind::SuggestedArg).or_else(|| named(ContextKind::SuggestedSubcommand));
    match (guess, similar) {
        (Some((_, hint)), _) => failure.hint(hint.replace("k8s-bootstrap", &program)),
        (None, Some(similar)) => failure.hint(format!("did you mean {similar}?")),
        (None, None) => failure.hint(format!("{program} --help")),
    }
}

/// What the hands of kubectl's users type, and what it is called here.
const HABITS: [(&str, &str); 4] = [
    ("apply", "did you mean --apply?"),
    ("help", "did you mean --help?"),
    ("version", "did you mean --version?"),
    (
        "--dry-run",
        "without --apply nothing changes; `k8s-bootstrap diff` compares with the cluster",
    ),
];

/// The name of a flag without what was typed behind it. Anything else may be a secret that was
/// typed in the wrong place, and is not repeated.
fn flag_of(text: &str) -> Option<String> {
    let flag = text.split(['=', ' ']).next().unwrap_or_default();
    let word = flag.strip_prefix('-')?.trim_start_matches('-');
    let name = word.len() <= 20 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    name.then(|| flag.to_owned())
}

/// Looks for `-o json`, since nothing has been parsed.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let format_of = |text: &str| {
        let short = text.strip_prefix('-').and_then(|flags| {
            // Flags without a value may stand before it: -qojson.
            flags.trim_start_matches(['q', 'v']).strip_prefix('o')
        });
        let format = short.or_else(|| text.strip_prefix("--output"))?;
        Some(format.strip_prefix('=').unwrap_or(format).to_owned())
    };
    texts
        .iter()
        .enumerate()
        .any(|(index, text)| match format_of(text).as_deref() {
            Some("") => texts.get(index + 1) == Some(&"json"),
            format => format == Some("json"),
        })
}

/// The command that was meant, for the document: nothing has been parsed.
pub fn guess_name(arguments: &[OsString]) -> &'static str {
    let description = description();
    let takes_value = |text: &str| {
        description
            .get_arguments()
            .filter(|argument| argument.get_action().takes_values())
            .any(|argument| {
                let long = argument
                    .get_long()
                    .is_some_and(|long| text == format!("--{long}"));
                let short = argument
                    .get_short()
                    .is_some_and(|short| text == format!("-{short}"));
                long || short
            })
    };
    let texts: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let words = texts
        .windows(2)
        .filter(|pair| !takes_value(pair[0]))
        .map(|pair| pair[1]);
    let words: Vec<_> = words.collect();
    let given = |word: &str| words.contains(&word);
    match words.iter().find(|word| !word.starts_with('-')).copied() {
        Some("diff") => "diff",
        Some("verify") => "verify",
        Some("lint") => "lint",
        Some("rotate") => "rotate",
        Some("populate") => "populate",
        Some("migrate") => "migrate",
        Some("sync") => "sync",
        Some("externalsecrets") => "externalsecrets",
        Some("rbac") => "rbac",
        Some("completions") => "completions",
        Some("man") => "man",
        Some("tokens") if given("recover") => "tokens recover",
        Some("tokens") => "tokens show",
        _ if given("--apply") => "apply",
        _ => "preview",
    }
}

/// The program's own description of its command line.
pub fn description() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
