//! `rotate`

use super::parse::{Timeout, copy, timeout, token_name};
use super::shared::Fleet;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::rotation::Phase;
use crate::domain::values::token::TokenName;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Rotate {
    /// Start a rotation, or continue the open one
    #[arg(long)]
    pub apply: bool,
    /// Continue the open rotation; never start one
    #[arg(long = "continue", conflicts_with_all = ["status", "abort"])]
    pub carry_on: bool,
    /// Show the phase, its start time, and what still uses the old token
    #[arg(long, conflicts_with_all = ["apply", "abort"])]
    pub status: bool,
    /// Return to the old token
    #[arg(long, conflicts_with_all = ["token", "until"])]
    pub abort: bool,
    /// For a leaked token: one step without overlap; requests get 401 until all workloads have restarted
    #[arg(long, conflicts_with_all = ["abort", "until", "status"])]
    pub immediate: bool,
    /// The token to rotate (repeatable; default: both)
    #[arg(long, value_name = "NAME", value_parser = token_name)]
    pub token: Vec<TokenName>,
    /// Stop after this phase, for example to update clients outside the cluster
    #[arg(long, value_enum, value_name = "PHASE")]
    pub until: Option<Until>,
    /// Close although a Secret or pod still has the old token
    #[arg(long)]
    pub close_anyway: bool,
    /// Another Secret that holds a copy of a token (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// Print the restart commands instead of running them, and wait
    #[arg(long)]
    pub no_restart: bool,
    /// The time for Reloader to restart its workloads
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    pub reloader_grace: Timeout,
    /// The time limit for the rollouts of a phase; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = timeout)]
    pub timeout: Timeout,
    #[command(flatten)]
    pub fleet: Fleet,
}

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
