//! `rotate`

use super::parse::{Timeout, copy, timeout, token_name};
use super::shared::Fleet;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::rotation::Phase;
use crate::domain::values::token::TokenName;
use clap::{Args, ValueEnum};

/// Options of `rotate`.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Start a rotation, or carry on the one that is open
    #[arg(long)]
    pub apply: bool,
    /// Carry on the one that is open, and never start one
    #[arg(long = "continue", conflicts_with_all = ["status", "abort"])]
    pub carry_on: bool,
    /// Show where it stands, since when, and who is still on the old token
    #[arg(long, conflicts_with_all = ["apply", "abort"])]
    pub status: bool,
    /// Go back to the old token
    #[arg(long, conflicts_with_all = ["token", "until"])]
    pub abort: bool,
    /// The token has leaked: one step without overlap, which answers 401 until all have restarted
    #[arg(long, conflicts_with_all = ["abort", "until", "status"])]
    pub immediate: bool,
    /// Which token (repeatable; default: both)
    #[arg(long, value_name = "NAME", value_parser = token_name)]
    pub token: Vec<TokenName>,
    /// Stop after this phase, for fleets that live elsewhere and must be told
    #[arg(long, value_enum, value_name = "PHASE")]
    pub until: Option<Until>,
    /// Close although somebody still holds the old token
    #[arg(long)]
    pub close_anyway: bool,
    /// Another Secret that holds a copy of a token (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// Print the commands that restart, and wait for somebody to run them
    #[arg(long)]
    pub no_restart: bool,
    /// How long Reloader may take to restart what it looks after
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub reloader_grace: Timeout,
    /// How long the workloads of a phase may take to roll out; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = timeout)]
    pub timeout: Timeout,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}

/// Where a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// The servers accept both tokens
    Open,
    /// The clients have the new one
    Switch,
}

impl From<Until> for Phase {
    fn from(until: Until) -> Self {
        match until {
            Until::Open => Self::Open,
            Until::Switch => Self::Switch,
        }
    }
}
