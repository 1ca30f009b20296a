//! One file or folder per command: read with `io`, decide with `domain`, then act and render.
//! Decisions about Secrets do not belong here.

pub mod apply;
pub mod diff;
pub mod externalsecrets;
pub mod lint;
pub mod manual;
pub mod migrate;
pub mod populate;
pub mod preview;
pub mod rbac;
pub mod rotate;
pub(crate) mod shared;
pub mod sync;
pub mod tokens;
pub mod usage;
pub mod verify;

use crate::cli::{self, Changes, Cli, Command, TokensCommand};
use crate::error::Failure;
use crate::io::local::environment;
use crate::ui::{Format, Ui};
use shared::answer::Answer;
use std::future::Future;

/// The name of the command in JSON documents.
pub fn name_of(cli: &Cli) -> &'static str {
    match &cli.command {
        None if cli.bootstrap.apply => "apply",
        None => "preview",
        Some(Command::Diff(_)) => "diff",
        Some(Command::Tokens(tokens)) => match tokens.command {
            Some(TokensCommand::Recover { .. }) => "tokens recover",
            _ => "tokens show",
        },
        Some(Command::Verify(_)) => "verify",
        Some(Command::Lint(_)) => "lint",
        Some(Command::Rotate(_)) => "rotate",
        Some(Command::Populate(_)) => "populate",
        Some(Command::Migrate(_)) => "migrate",
        Some(Command::Sync(_)) => "sync",
        Some(Command::ExternalSecrets(_)) => "externalsecrets",
        Some(Command::Rbac(_)) => "rbac",
        Some(Command::Completions { .. }) => "completions",
        Some(Command::Man) => "man",
    }
}

/// Checks the options that clap cannot check, then runs the command.
///
/// # Errors
/// A failure without an answer.
pub fn run(cli: &Cli, ui: Ui) -> Result<Answer, Failure> {
    let (global, bootstrap) = (&cli.global, &cli.bootstrap);
    let takes_yaml = match &cli.command {
        None => !bootstrap.apply,
        Some(Command::Populate(populate)) => !populate.apply,
        Some(Command::Migrate(migrate)) => !migrate.apply && !migrate.rollback,
        Some(command) => matches!(command, Command::Rbac(_) | Command::ExternalSecrets(_)),
    };
    if global.output == Format::Yaml && !takes_yaml {
        return Err(Failure::usage(
            "-o yaml goes with the previews, with rbac and with externalsecrets",
        )
        .hint("leave it out, or use -o json"));
    }
    let is_yaml_preview = cli.command.is_none() && global.output == Format::Yaml;
    if bootstrap.show_values && !is_yaml_preview {
        return Err(
            Failure::usage("--show-values goes with -o yaml").hint(format!(
                "add -o yaml; `{} tokens` prints the tokens",
                environment::program()
            )),
        );
    }
    let has_main_options = bootstrap.apply
        || bootstrap.create_namespace
        || bootstrap.restart
        || bootstrap.fleet != cli::Fleet::default()
        || bootstrap.changes != Changes::default();
    if cli.command.is_some() && has_main_options {
        return Err(
            Failure::usage("an option of the main command stands before another command")
                .hint("put options after the command that they belong to"),
        );
    }
    match &cli.command {
        None if bootstrap.apply => block_on(apply::run(global, bootstrap, ui)),
        None => preview::run(global, bootstrap, ui),
        Some(Command::Diff(diff)) => block_on(diff::run(global, diff, ui)),
        Some(Command::Tokens(tokens)) => match &tokens.command {
            None => tokens::show(global, tokens.show, ui),
            Some(TokensCommand::Show(show)) => tokens::show(global, *show, ui),
            Some(TokensCommand::Recover { apply }) => block_on(tokens::recover(global, *apply, ui)),
        },
        Some(Command::Verify(verify)) => block_on(verify::run(global, verify, ui)),
        Some(Command::Lint(lint)) => lint::run(lint, ui),
        Some(Command::Rotate(rotate)) => block_on(rotate::run(global, rotate, ui)),
        Some(Command::Populate(populate)) => block_on(populate::run(global, populate, ui)),
        Some(Command::Migrate(migrate)) => block_on(migrate::run(global, migrate, ui)),
        Some(Command::Sync(sync)) => block_on(sync::run(global, sync, ui)),
        Some(Command::ExternalSecrets(options)) => externalsecrets::run(global, options),
        Some(Command::Rbac(rbac)) => rbac::run(global, rbac),
        Some(Command::Completions { shell }) => Ok(manual::completions(*shell)),
        Some(Command::Man) => manual::man(),
    }
}

/// Runs a future on this thread. One thread is enough: all requests share one connection.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::unable("cannot start")
                .because(error)
                .hint("check the limits of this process (ulimit -n)")
        })?
        .block_on(future)
}
