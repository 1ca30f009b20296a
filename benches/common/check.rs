//! Compares measured figures with the published ones.

use crate::published::{Figure, differences};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

const PUBLISHED: &str = "docs/performance.md";

/// Fails where a figure differs from the published tables.
pub fn check(figures: &[Figure], bench: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PUBLISHED);
    let published = std::fs::read_to_string(path).context(PUBLISHED)?;
    let differences = differences(&published, figures);
    if differences.is_empty() {
        return Ok(());
    }
    let lines: String = differences
        .iter()
        .map(|difference| format!("\n  - {difference}"))
        .collect();
    bail!(
        "{PUBLISHED} is out of date{lines}\n  hint: run `cargo bench --bench {bench}` and replace its tables there"
    )
}
