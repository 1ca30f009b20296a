//! The README and the documents, as the tests that compare them with the program read them.

use std::path::Path;

pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The text of a document, by its path from the top of the repository.
pub fn document(path: &str) -> String {
    let text = std::fs::read_to_string(Path::new(REPOSITORY).join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn readme() -> String {
    document("README.md")
}

/// The README's tour, whose commands a test runs.
pub fn tour() -> String {
    section(&readme(), "A tour")
}

/// The fenced blocks of a language, in order. In a list they are indented.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().take_while(|line| line.trim() != "```");
            let line = |line: &str| format!("{}\n", line.get(indent..).unwrap_or_default());
            let block: String = inside.map(line).collect();
            if fence == language {
                found.push(block);
            }
        }
    }
    found
}

/// The text between a heading and the next one of the same level.
pub fn section(text: &str, heading: &str) -> String {
    let (_, rest) = text
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no section {heading:?}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The anchor that a heading has on a rendered page.
pub fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

pub fn is_of_the_sandbox(block: &str) -> bool {
    block.contains("./local/sandbox.sh")
}

pub fn is_of_the_tests(block: &str) -> bool {
    matches!(
        block.trim(),
        "cargo test" | "cargo test --features all-servers"
    )
}

/// Whether it is the preview, run from the checkout.
pub fn is_of_the_preview(block: &str) -> bool {
    block.trim() == "cargo run -- -n brain"
}
