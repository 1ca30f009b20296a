//! The command line: clap types only. The doc comments are the help.

mod parse;
mod rotate;
mod store;

use self::parse::{age, copy, input_name, path, printable, service_account, timeout};
pub use self::rotate::Rotate;
pub use self::store::{
    ExternalSecrets, Migrate, Populate, ReadStore, StoreLayout, StoreScope, Sync,
};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::plan::Prefer;
use crate::ui::{Color, Format};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The home namespace, which gets every Secret (not the context's)
    #[arg(
        short,
        long,
        global = true,
        value_name = "NS",
        default_value = "default"
    )]
    pub namespace: Namespace,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", value_parser = printable)]
    pub context: Option<String>,
    /// The kubeconfig
    #[arg(long, global = true, value_name = "FILE", value_parser = path)]
    pub kubeconfig: Option<PathBuf>,
    /// The tokens file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "local/.k8s-tokens",
        value_parser = path
    )]
    pub tokens_file: PathBuf,
    /// Inputs as KEY=value lines, which beat the environment; - is stdin
    #[arg(long, global = true, value_name = "FILE", value_parser = path)]
    pub env_file: Option<PathBuf>,
    /// What the answer looks like (yaml: previews, rbac and externalsecrets)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub output: Format,
    /// Answers, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Shows each request; twice, the connection too. Never a value
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours (NO_COLOR is honoured)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Color,
    /// How long a request may take, tries included: 30, 30s, 2m; 0 is no limit
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub request_timeout: Timeout,
}

/// A limit of time; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(pub Option<Duration>);

/// Options of the main command.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// Create what is missing
    #[arg(long)]
    pub apply: bool,
    /// What may change beside that
    #[command(flatten)]
    pub changes: Changes,
    /// Where the agent pods are
    #[command(flatten)]
    pub fleet: Fleet,
    /// With --apply --update: restart who reads what was changed, and wait for it
    #[arg(long, requires = "apply", requires = "update")]
    pub restart: bool,
    /// Create the namespace if it does not exist
    #[arg(long)]
    pub create_namespace: bool,
    /// With -o yaml: show the values
    #[arg(long)]
    pub show_values: bool,
}

/// The namespaces of the agent pods, which get agentibrain-router-secrets only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Fleet {
    /// A namespace with agent pods; it gets agentibrain-router-secrets only (repeatable)
    #[arg(long, value_name = "NS")]
    pub fleet_namespace: Vec<Namespace>,
    /// The namespaces with these labels, likewise
    #[arg(long, value_name = "LABELS", value_parser = printable)]
    pub fleet_selector: Option<String>,
}

/// What may change beside what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Changes {
    /// Inputs that may change a live value
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = input_name)]
    pub update: Vec<&'static str>,
    /// Which side wins where the tokens file and the cluster disagree
    #[arg(long, value_enum, value_name = "SIDE")]
    pub prefer: Option<Side>,
    /// Take over keys that another field manager owns
    #[arg(long)]
    pub force_conflicts: bool,
    /// Also write API_KEYS, which the embeddings service reads
    #[arg(long)]
    pub with_api_keys: bool,
}

/// A side of a disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The home namespace
    Cluster,
    /// The tokens file
    File,
}

impl From<Side> for Prefer {
    fn from(side: Side) -> Self {
        match side {
            Side::Cluster => Self::Cluster,
            Side::File => Self::File,
        }
    }
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

/// Options of `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// What may change beside what is missing.
    #[command(flatten)]
    pub changes: Changes,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Also ask the two services, with the right and with a wrong token, by port-forward
    #[arg(long)]
    pub live: bool,
    /// Look again until no check fails, or the time is over; 0 is no limit
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "5m",
        value_parser = timeout
    )]
    pub wait: Option<Timeout>,
    /// Show only what does not pass
    #[arg(long)]
    pub short: bool,
    /// Another Secret that holds a copy of a token (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// Helm values files to look at as well (several, repeatable)
    #[arg(long, value_name = "FILE", num_args = 1.., value_parser = path)]
    pub values: Vec<PathBuf>,
    /// From which age on a token is too old: 90d, 720h
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = age)]
    pub max_age: Age,
    /// From which age on an open rotation is too old: 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = age)]
    pub max_overlap: Age,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}

/// An age, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub i64);

/// Options of `tokens`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Tokens {
    /// Show or recover.
    #[command(subcommand)]
    pub command: Option<TokensCommand>,
    /// Options of `tokens show`, which is the default.
    #[command(flatten)]
    pub show: Show,
}

/// What `tokens` does.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Print the tokens: eval "$(k8s-bootstrap tokens)"
    Show(Show),
    /// Rebuild a lost or partial tokens file from the cluster; a preview without --apply
    Recover {
        /// Write the file
        #[arg(long)]
        apply: bool,
    },
}

/// Options of `tokens show`.
#[derive(Clone, Copy, Debug, Args)]
pub struct Show {
    /// What it looks like
    #[arg(long, value_enum, default_value = "export")]
    pub format: TokensFormat,
}

/// What `tokens show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokensFormat {
    /// export KEY='...'
    Export,
    /// KEY="..."
    Dotenv,
    /// {"KEY":"..."}
    Json,
}

/// Options of `rbac`.
#[derive(Debug, Args)]
pub struct Rbac {
    /// For which command
    #[arg(value_enum, default_value = "apply")]
    pub command: RbacCommand,
    /// For verify --live and for the proofs of rotate, which forward ports
    #[arg(long)]
    pub live: bool,
    /// For populate --via-eso, which makes temporary objects
    #[arg(long)]
    pub via_eso: bool,
    /// For verify --copy and rotate --copy (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// For verify, rotate, sync and migrate where a store is a ClusterSecretStore: takes a ClusterRole
    #[arg(long)]
    pub cluster_store: bool,
    /// Also bind the Role to this service account
    #[arg(long, value_name = "NS:NAME", value_parser = service_account)]
    pub service_account: Option<ServiceAccount>,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}

/// A command that needs a Role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RbacCommand {
    /// k8s-bootstrap --apply
    Apply,
    /// k8s-bootstrap diff
    Diff,
    /// k8s-bootstrap tokens recover
    Recover,
    /// k8s-bootstrap populate --from-cluster
    Populate,
    /// k8s-bootstrap verify
    Verify,
    /// k8s-bootstrap sync
    Sync,
    /// k8s-bootstrap migrate --apply, there and back
    Migrate,
    /// k8s-bootstrap rotate --apply
    Rotate,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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

    #[test]
    fn an_age_is_in_days_of_24_hours() {
        let of = |text: &str| age(text).map(|age| age.0).ok();
        assert_eq!(of("90d"), Some(90 * 24 * 60 * 60));
        assert_eq!(of("1d12h"), of("36h"));
        assert_eq!(of("2w"), of("14d"));
        assert_eq!(of("0s"), Some(0));
        for bad in ["", "90", "-1d", "1mo", "1y", "soon"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timeout_is_read_as_kubectl_does() {
        let of = |text: &str| timeout(text).map(|limit| limit.0.map(|limit| limit.as_millis()));
        assert_eq!(of("30"), Ok(Some(30_000)));
        assert_eq!(of("30s"), Ok(Some(30_000)));
        assert_eq!(of("1m30s"), Ok(Some(90_000)));
        assert_eq!(of("500ms"), Ok(Some(500)));
        assert_eq!(of("0"), Ok(None));
        assert_eq!(of("0s"), Ok(None));
        for bad in ["", "s", "-1", "-1s", "soon"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
