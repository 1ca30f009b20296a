//! Compares measured figures with those of the README.

use crate::published::{Figure, differences};
use anyhow::{Context as _, Result, bail};

/// Fails where a figure differs from the tables of the README.
pub fn check(figures: &[Figure], bench: &str) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).context("README.md")?;
    let differences = differences(&readme, figures);
    if differences.is_empty() {
        return Ok(());
    }
    let lines: String = differences
        .iter()
        .map(|difference| format!("\n  - README.md: {difference}"))
        .collect();
    bail!(
        "the README is out of date{lines}\n  hint: run `cargo bench --bench {bench}` and replace its tables in README.md"
    )
}
