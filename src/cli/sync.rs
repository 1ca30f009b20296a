//! `sync`

use super::parse::{Timeout, timeout};
use super::shared::Fleet;
use clap::Args;

/// Options of `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// How long to wait; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub timeout: Timeout,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}
