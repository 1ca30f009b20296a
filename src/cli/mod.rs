//! The command line: clap types only, one file per command. The doc comments are the help.

mod bootstrap;
mod diff;
mod external_secrets;
mod global;
mod lint;
mod migrate;
mod parse;
mod populate;
mod rbac;
mod rotate;
mod shared;
mod sync;
mod tokens;
mod verify;

pub use self::bootstrap::Bootstrap;
pub use self::diff::Diff;
pub use self::external_secrets::ExternalSecrets;
pub use self::global::Global;
pub use self::lint::Lint;
pub use self::migrate::Migrate;
pub use self::parse::{Age, ServiceAccount, Timeout};
pub use self::populate::Populate;
pub use self::rbac::{Rbac, RbacCommand};
pub use self::rotate::Rotate;
pub use self::shared::{Changes, Fleet, PreferSide, ReadStore, StoreLayout, StoreScope};
pub use self::sync::Sync;
pub use self::tokens::{Show, Tokens, TokensCommand, TokensFormat};
pub use self::verify::Verify;
use clap::{Parser, Subcommand};

/// Makes the Secrets that agentibrain-kernel's charts expect, and keeps them right.
///
/// Without --apply it prints the commands that a person could paste, and contacts nothing.
/// With --apply it creates what is missing, Secret by Secret and key by key, and changes nothing
/// else. Values come from the environment (POSTGRES_URL, ANTHROPIC_API_KEY, LLM_API_KEY,
/// LLM_API_BASE, LLM_EMBED_MODEL, GITHUB_TOKEN) or --env-file; the two tokens are minted and kept
/// in the tokens file.
#[derive(Debug, Parser)]
#[command(
    name = "k8s-bootstrap",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, or nothing to do; 1 the answer is no, or a person must decide; \
                  2 usage; 3 it could not, or only in part."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// Options of the main command.
    #[command(flatten)]
    pub bootstrap: Bootstrap,
    /// Another command than the main one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The other commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what --apply would change, live, key by key, without values
    Diff(Diff),
    /// Print the tokens to source, or rebuild a lost tokens file
    Tokens(Tokens),
    /// See whether all is right: each failure with its cause and the command that mends it
    Verify(Verify),
    /// Judge Helm values files and rendered manifests, without a cluster
    Lint(Lint),
    /// Exchange the tokens, and no request is refused on the way; a preview without --apply
    Rotate(Rotate),
    /// Fill the secret store (Path 2), adding only; a preview without --apply
    Populate(Populate),
    /// Move the Secrets to the secret store (Path 2) without changing a value, and back; a preview
    /// without --apply
    Migrate(Migrate),
    /// Have External Secrets Operator refresh now, and wait until the Secrets follow
    Sync(Sync),
    /// Print the ExternalSecrets of Path 2, for manifests kept in git
    #[command(name = "externalsecrets")]
    ExternalSecrets(ExternalSecrets),
    /// Print the smallest Role that a command needs
    Rbac(Rbac),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn to_wait_needs_no_time() {
        let of = |arguments: &[&str]| {
            let all = ["k8s-bootstrap", "verify"].iter().chain(arguments);
            let cli = Cli::try_parse_from(all).ok()?;
            match cli.command? {
                Command::Verify(verify) => Some(verify.wait.map(|wait| wait.0)),
                _ => None,
            }
        };
        let time = |seconds| Some(Some(Some(Duration::from_secs(seconds))));
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["--wait"]), time(300));
        assert_eq!(of(&["--wait", "-n", "brain"]), time(300));
        assert_eq!(of(&["--wait=2m"]), time(120));
        assert_eq!(of(&["--wait", "90s", "--short"]), time(90));
        assert_eq!(of(&["--wait=0"]), Some(Some(None)));
        for bad in ["--wait=", "--wait=soon", "--wait=-1s"] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
    }
}
