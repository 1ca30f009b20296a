//! The main command: the preview and `--apply`.

use super::shared::{Changes, Fleet};
use clap::Args;

#[derive(Debug, Args)]
pub struct Bootstrap {
    /// Create missing Secrets and keys
    #[arg(long)]
    pub apply: bool,
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub fleet: Fleet,
    /// With --apply --update: restart the workloads that read changed Secrets, and wait for the rollout
    #[arg(long, requires = "apply", requires = "update")]
    pub restart: bool,
    /// Create the namespace if it does not exist
    #[arg(long)]
    pub create_namespace: bool,
    /// With -o yaml: print the values
    #[arg(long)]
    pub show_values: bool,
}
