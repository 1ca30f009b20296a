//! `tokens`

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Tokens {
    #[command(subcommand)]
    pub command: Option<TokensCommand>,
    #[command(flatten)]
    pub show: Show,
}

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Print the tokens: eval "$(k8s-bootstrap tokens)"
    Show(Show),
    /// Rebuild a lost or incomplete tokens file from the cluster (preview without --apply)
    Recover {
        /// Write the file
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Show {
    /// The output format
    #[arg(long, value_enum, default_value = "export")]
    pub format: TokensFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokensFormat {
    /// export KEY='...'
    Export,
    /// KEY="..."
    Dotenv,
    /// {"KEY":"..."}
    Json,
}
