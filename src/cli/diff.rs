//! `diff`

use super::shared::{Changes, Fleet};
use clap::Args;

#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    pub changes: Changes,
    #[command(flatten)]
    pub fleet: Fleet,
}
