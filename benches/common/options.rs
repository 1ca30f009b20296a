//! The arguments of a benchmark.

use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;

const USAGE: &str = "usage: [PAIRS], at least 1, or --check PROGRAM";

/// What to do.
pub enum Mode {
    /// Nothing: it runs without arguments, and not under `cargo bench`.
    Idle,
    /// Measures the program that cargo has built, with so many pairs of runs.
    Measure(usize),
    /// Compares what this program does with the README.
    Check(PathBuf),
}

impl Mode {
    /// Reads the arguments of this process.
    pub fn from_arguments(default_pairs: usize) -> Result<Self> {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.is_empty() {
            return Ok(Self::Idle);
        }
        arguments.retain(|argument| argument != "--bench");
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
