//! Creates the Secrets of agentibrain-kernel and keeps them right over their whole life.
//!
//! A command has one of three shapes. `io` gathers and acts, `domain` decides and is pure, `render`
//! makes text and is pure:
//!
//! ```text
//! plan -> apply                        preview, --apply, diff, populate, migrate, tokens recover
//!
//!   options, inputs ─┐                                      ┌─> tokens file    (first)
//!   tokens file ─────┼─> Plan, StorePlan, Migration, or ────┼─> cluster, store (second)
//!   cluster, store ──┘   refusals: nothing is written       └─> text, JSON, YAML, script
//!
//! snapshot -> checks                   verify, lint
//!
//!   cluster, store, tokens file, services; or values files ─> checks, each with a hint
//!
//! snapshot -> next step -> act, again  rotate, sync
//!
//!   cluster, store, tokens file ─> next step ─> write, restart or wait ─┐
//!                ^                                                      │
//!                └──────────────────────────────────────────────────────┘
//! ```
//!
//! [`cli`] has the options and [`commands`] the commands, one file or folder each. Everything derives
//! from [`domain::table`]. [`ui`] alone prints, and [`error`] picks the exit code.

// A test that unwraps nothing it should not has a clearer failure than any message.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod cli;
pub mod commands;
pub mod domain;
pub mod error;
pub mod io;
pub mod render;
pub mod ui;

use clap::Parser;
use clap::error::ErrorKind;
use cli::Cli;
use commands::shared::answer::{Answer, Verdict};
use commands::usage;
use error::{Failure, Kind};
use std::ffi::OsString;
use std::process::ExitCode;
use ui::{Color, Format, Ui};

/// Runs the program with its arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    io::local::environment::forbid_core_files();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let global = &cli.global;
    let ui = Ui::new(global.output, global.quiet, global.verbose, global.color);
    let name = commands::name_of(&cli);
    match commands::run(&cli, ui) {
        Ok(answer) => finish(&answer, name, ui),
        Err(failure) => fail(&failure, name, ui),
    }
}

/// Prints the answer and, where there is one, the failure beside it.
fn finish(answer: &Answer, name: &str, ui: Ui) -> ExitCode {
    let (kind, failure) = match &answer.verdict {
        Verdict::Yes => (None, None),
        Verdict::No => (Some(Kind::No), None),
        Verdict::Failed(failure) => (Some(failure.kind), Some(failure)),
    };
    let text = match ui.format {
        Format::Json => render::json::document(name, kind.is_none(), &answer.body, failure),
        Format::Text | Format::Yaml => answer.text.clone(),
    };
    let printed = ui.answer(&text);
    if let Some(next) = &answer.next {
        ui.story(next);
    }
    if let Some(failure) = failure {
        ui.failure(failure);
    }
    match printed {
        Ok(()) => kind.map_or(ExitCode::SUCCESS, ExitCode::from),
        Err(failure) => {
            ui.failure(&failure);
            failure.kind.into()
        }
    }
}

/// Prints a failure that left no answer.
fn fail(failure: &Failure, name: &str, ui: Ui) -> ExitCode {
    if ui.format == Format::Json {
        let body = render::json::Body::Nothing;
        let document = render::json::document(name, false, &body, Some(failure));
        if let Err(failure) = ui.answer(&document) {
            ui.failure(&failure);
        }
    }
    ui.failure(failure);
    failure.kind.into()
}

/// Ends a run whose command line was not accepted; `--help` and `--version` come here too.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let json = usage::asks_for_json(arguments);
    let format = if json { Format::Json } else { Format::Text };
    let ui = Ui::new(format, false, 0, Color::Auto);
    let name = usage::guess_name(arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match ui.answer(&error.render().to_string()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => fail(&failure, name, ui),
            }
        }
        _ => fail(&usage::explain(error), name, ui),
    }
}
