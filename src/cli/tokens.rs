//! `tokens`

use clap::{Args, Subcommand, ValueEnum};

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
