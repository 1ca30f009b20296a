//! A command line that clap does not accept, put into words that repeat no value: somebody may
//! have typed a secret where none belongs.

use crate::cli::Cli;
use crate::error::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

/// Ends a run whose command line was not accepted; `--help` and `--version` come here too.
pub fn end(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let ui = crate::ui_before_parsing(asks_for_json(arguments));
    let name = guess_name(arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            match ui.answer(&text.to_string()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => crate::fail(&failure, name, ui),
            }
        }
        _ => crate::fail(&explain(error), name, ui),
    }
}

/// Says what is wrong with the command line.
fn explain(error: &clap::Error) -> Failure {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    let argument = named(ContextKind::InvalidArg).map(without_value);
    let the = || argument.clone().unwrap_or_else(|| "an argument".to_owned());
    let message = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown argument: {}", the()),
        ErrorKind::InvalidSubcommand => {
            let name = named(ContextKind::InvalidSubcommand).map(without_value);
            format!("unknown command: {}", name.unwrap_or_default())
        }
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
        ErrorKind::ArgumentConflict => format!("{} does not go with the rest", the()),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", the()),
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => format!("{} ({kind})", the()),
    };
    let failure = Failure::usage(message);
    let similar =
        named(ContextKind::SuggestedArg).or_else(|| named(ContextKind::SuggestedSubcommand));
    match similar {
        Some(similar) => failure.hint(format!("did you mean {similar}?")),
        None => failure.hint("k8s-bootstrap --help"),
    }
}

/// The name of a flag or command without what was typed behind it; anything that does not look
/// like a name is not repeated.
fn without_value(text: &str) -> String {
    let flag = text.split(['=', ' ']).next().unwrap_or_default();
    let word = flag.trim_start_matches('-');
    let looks_like_a_name = !word.is_empty()
        && word.len() <= 20
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    match looks_like_a_name || text.starts_with('<') {
        true => flag.to_owned(),
        false => "(not repeated here: it may be a secret)".to_owned(),
    }
}

/// Looks for `-o json`, since nothing has been parsed.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let apart = texts
        .windows(2)
        .any(|pair| matches!(pair, ["-o" | "--output", "json"]));
    apart
        || texts
            .iter()
            .any(|text| matches!(*text, "-ojson" | "-o=json" | "--output=json"))
}

/// The command that was meant, for the document: nothing has been parsed.
fn guess_name(arguments: &[OsString]) -> &'static str {
    let names = ["diff", "tokens", "rbac", "completions", "man"];
    let given = |name: &str| arguments.iter().skip(1).any(|argument| argument == name);
    let named = names.into_iter().find(|name| given(name));
    named.unwrap_or(if given("--apply") { "apply" } else { "preview" })
}

/// The program's own description of its command line.
pub fn description() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
