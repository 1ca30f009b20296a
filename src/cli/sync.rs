//! `sync`

use super::parse::{Timeout, timeout};
use super::shared::Fleet;
use clap::Args;

#[derive(Debug, Args)]
pub struct Sync {
    /// The time limit for the wait; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub timeout: Timeout,
    #[command(flatten)]
    pub fleet: Fleet,
}
