//! The main command: the preview and `--apply`.

use super::shared::{Changes, Fleet};
use clap::Args;

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
