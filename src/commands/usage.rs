//! Describes a command line that clap rejects. Never repeats a value, which may be a secret typed
//! in the wrong place.

use crate::cli::Cli;
use crate::error::Failure;
use crate::io::local::environment;
use crate::render::script::quote;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error;
use std::ffi::OsString;

/// Turns an error of clap into a failure with a hint.
pub fn explain(error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg);
    let subject = || match argument {
        // A positional argument, by the name that clap gives it.
        Some(text) if text.starts_with(['<', '[']) => text.to_owned(),
        text => text
            .and_then(flag_of)
            .unwrap_or_else(|| "an argument".to_owned()),
    };
    let message = match error.kind() {
        ErrorKind::UnknownArgument => match argument.and_then(flag_of) {
            Some(flag) => format!("unknown argument: {flag}"),
            None => {
                "unexpected argument (it may be a secret, so it is not repeated here)".to_owned()
            }
        },
        ErrorKind::InvalidSubcommand => "unknown command".to_owned(),
        ErrorKind::InvalidValue => {
            let possible = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) => values.join(", "),
                _ => String::new(),
            };
            match possible.as_str() {
                "" => format!("{} needs a value", subject()),
                possible => format!("{} takes one of: {possible}", subject()),
            }
        }
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{} {source}", subject()),
            None => format!("{} has an invalid value", subject()),
        },
        ErrorKind::ArgumentConflict if context(ContextKind::PriorArg) == argument => {
            format!("{} is given twice", subject())
        }
        ErrorKind::ArgumentConflict => format!("{} conflicts with another argument", subject()),
        ErrorKind::TooManyValues => format!("{} takes no value", subject()),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", subject()),
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => format!("{} ({kind})", subject()),
    };
    let failure = Failure::usage(message);
    let program = quote(&environment::program());
    let typed = context(ContextKind::InvalidSubcommand)
        .or(argument)
        .unwrap_or_default();
    let guess = HABITS
        .iter()
        .find(|(habit, _)| typed == *habit || typed.starts_with(&format!("{habit}=")));
    let similar =
        context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    match (guess, similar) {
        (Some((_, hint)), _) => failure.hint(hint.replace("k8s-bootstrap", &program)),
        (None, Some(similar)) => failure.hint(format!("did you mean {similar}?")),
        (None, None) => failure.hint(format!("{program} --help")),
    }
}

/// Words that users of kubectl, and of older versions, type out of habit, each with a hint.
const HABITS: [(&str, &str); 5] = [
    ("apply", "did you mean --apply?"),
    ("help", "did you mean --help?"),
    ("version", "did you mean --version?"),
    (
        "--dry-run",
        "without --apply nothing changes; `k8s-bootstrap diff` compares with the cluster",
    ),
    ("--values", "k8s-bootstrap lint FILE..."),
];

/// The name of a flag, without the value behind it. `None` for anything that does not look like a
/// flag and may be a secret.
fn flag_of(text: &str) -> Option<String> {
    let flag = text.split(['=', ' ']).next().unwrap_or_default();
    let word = flag.strip_prefix('-')?.trim_start_matches('-');
    let is_flag = word.len() <= 20 && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    is_flag.then(|| flag.to_owned())
}

/// True if the arguments contain `-o json`. Reads them itself, because clap has failed.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let format_of = |text: &str| {
        let short = text.strip_prefix('-').and_then(|flags| {
            // Flags without a value may come first: -qojson.
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

/// The commands with one name.
const COMMANDS: &str =
    "diff verify lint rotate populate migrate sync externalsecrets rbac completions man";

/// The name of the command, for the JSON document. Reads the arguments itself, because clap has
/// failed.
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
    let words: Vec<_> = texts
        .windows(2)
        .filter(|pair| !takes_value(pair[0]))
        .map(|pair| pair[1])
        .collect();
    let has_word = |word: &str| words.contains(&word);
    match words.iter().find(|word| !word.starts_with('-')).copied() {
        Some("tokens") if has_word("recover") => "tokens recover",
        Some("tokens") => "tokens show",
        word => match COMMANDS.split(' ').find(|name| Some(*name) == word) {
            Some(name) => name,
            None if has_word("--apply") => "apply",
            None => "preview",
        },
    }
}

/// The command line as clap knows it.
pub fn description() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
