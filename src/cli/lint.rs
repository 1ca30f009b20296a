//! `lint`

use super::parse::path;
use clap::{Args, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Lint {
    /// Values files and rendered manifests, in YAML or JSON; - is stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = path)]
    pub files: Vec<PathBuf>,
    /// Print only results other than pass
    #[arg(long)]
    pub short: bool,
}
