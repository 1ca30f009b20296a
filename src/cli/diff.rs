//! `diff`

use super::shared::{Changes, Fleet};
use clap::Args;

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
