//! Makes the Secrets of agentibrain-kernel and keeps them right over their whole life.
//!
//! Data flows one way:
//!
//! ```text
//! command line ─┐
//! environment ──┤                                   ┌─> tokens file   (first)
//! tokens file ──┼─> gather ─> Plan (domain, pure) ──┤
//! cluster ──────┘   (io)                            ├─> cluster       (second)
//!                                                   └─> text, JSON, YAML, script (render, pure)
//! ```
//!
//! [`commands`] has one file per command; each gathers, decides, and renders or acts. [`ui`] alone
//! prints, and [`error`] picks the exit code.

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
use cli::Cli;
use commands::{Answer, Verdict};
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
        Err(error) => return commands::usage::end(&error, &arguments),
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

/// How to speak where the command line could not be read.
fn ui_before_parsing(json: bool) -> Ui {
    let format = if json { Format::Json } else { Format::Text };
    Ui::new(format, false, 0, Color::Auto)
}
