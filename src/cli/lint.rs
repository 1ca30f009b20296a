//! `lint`

use super::parse::path;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Options of `lint`.
#[derive(Debug, Args)]
pub struct Lint {
    /// Values files and rendered manifests, in YAML or JSON; - is stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = path)]
    pub files: Vec<PathBuf>,
    /// Show only what does not pass
    #[arg(long)]
    pub short: bool,
}
