//! The command line: clap types only, one file per command. The doc comments are the help texts.

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
pub use self::shared::{Changes, Fleet, PreferSide, ReadStore, StoreLayout};
pub use self::sync::Sync;
pub use self::tokens::{Show, Tokens, TokensCommand, TokensFormat};
pub use self::verify::Verify;
use clap::{Parser, Subcommand};

/// Creates the Secrets that the agentibrain-kernel charts read, and keeps them correct.
///
/// Without --apply it prints equivalent shell commands and contacts nothing.
/// With --apply it creates missing Secrets and missing keys, and changes nothing else.
/// Values come from the environment (POSTGRES_URL, ANTHROPIC_API_KEY, LLM_API_KEY,
/// LLM_API_BASE, LLM_EMBED_MODEL, GITHUB_TOKEN) or from --env-file. The two tokens are generated
/// and kept in the tokens file.
#[derive(Debug, Parser)]
#[command(
    name = "k8s-bootstrap",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, or nothing to do; 1 a check failed, or you have to decide; \
                  2 usage error; 3 failed, or done only in part."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(flatten)]
    pub bootstrap: Bootstrap,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what --apply would change in the cluster, key by key, without values
    Diff(Diff),
    /// Print the tokens, or rebuild a lost tokens file
    Tokens(Tokens),
    /// Check Secrets, tokens and workloads; each failure has a cause and a hint
    Verify(Verify),
    /// Check Helm values files and rendered manifests, without a cluster
    Lint(Lint),
    /// Replace the tokens without a rejected request (preview without --apply)
    Rotate(Rotate),
    /// Add missing entries to the secret store (Path 2; preview without --apply)
    Populate(Populate),
    /// Move the Secrets to the secret store and back, without changing a value (Path 2; preview
    /// without --apply)
    Migrate(Migrate),
    /// Refresh the ExternalSecrets now, and wait until the Secrets are up to date
    Sync(Sync),
    /// Print the ExternalSecrets of Path 2, for manifests in git
    #[command(name = "externalsecrets")]
    ExternalSecrets(ExternalSecrets),
    /// Print the smallest Role for a command
    Rbac(Rbac),
    /// Print a completion script
    Completions {
        /// The shell
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
    fn wait_has_a_default_time_limit() {
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
