//! `verify`

use super::parse::{Age, Timeout, age, copy, timeout};
use super::shared::Fleet;
use crate::domain::cluster::snapshot::CopyRef;
use clap::Args;

#[derive(Debug, Args)]
pub struct Verify {
    /// Also send the right and a wrong token to both services, by port-forward
    #[arg(long)]
    pub live: bool,
    /// Repeat until no check fails or the time limit is reached; 0 is no limit
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "5m",
        value_parser = timeout
    )]
    pub wait: Option<Timeout>,
    /// Print only results other than pass
    #[arg(long)]
    pub short: bool,
    /// Another Secret that holds a copy of a token (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// Warn about tokens that are older: 90d, 720h
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = age)]
    pub max_age: Age,
    /// Warn about a rotation that is open for longer: 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = age)]
    pub max_overlap: Age,
    #[command(flatten)]
    pub fleet: Fleet,
}
