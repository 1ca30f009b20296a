//! The arguments of a benchmark.

use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

const USAGE: &str = "usage: [PAIRS], at least 1, or --check PROGRAM";

/// What to do.
pub enum Mode {
    /// Nothing: it does not run under `cargo bench`, and nobody asked for a check.
    Idle,
    /// Measures the program that cargo has built, with so many pairs of runs.
    Measure(usize),
    /// Compares what this program does with docs/performance.md.
    Check(PathBuf),
}

impl Mode {
    /// Reads the arguments of this process.
    pub fn from_arguments(default_pairs: usize) -> Result<Self> {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        let under_cargo_bench = arguments.iter().any(|argument| argument == "--bench");
        arguments.retain(|argument| argument != "--bench");
        if !under_cargo_bench && arguments.first().is_none_or(|first| first != "--check") {
            return Ok(Self::Idle);
        }
        match &arguments[..] {
            [] => Ok(Self::Measure(default_pairs)),
            [check, program] if check == "--check" => {
                let path = PathBuf::from(program).canonicalize();
                Ok(Self::Check(path.with_context(|| program.clone())?))
            }
            [pairs] => {
                let pairs = pairs.parse().context(USAGE)?;
                ensure!(pairs > 0, USAGE);
                Ok(Self::Measure(pairs))
            }
            _ => bail!(USAGE),
        }
    }
}
