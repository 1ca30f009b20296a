//! `verify`

use super::parse::{Age, Timeout, age, copy, timeout};
use super::shared::Fleet;
use crate::domain::cluster::snapshot::CopyRef;
use clap::Args;

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
