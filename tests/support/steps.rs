//! The steps of docs/checks.md, run as a person would who follows the link of a hint.

use crate::checks::follow;
use crate::documents::{anchor, blocks, document};
use crate::space::{Ran, Space};

/// Runs the block that contains `part`, under the heading to which the hint links. The words in
/// capitals are replaced; NAMESPACE is that of the space if it is not given. The literal comes
/// first: a test finds by it which blocks are run.
#[track_caller]
pub fn steps(
    part: &str,
    space: &Space,
    hint: &str,
    words: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Ran {
    let anchor = hint.strip_prefix("see docs/checks.md#");
    let anchor = anchor.unwrap_or_else(|| panic!("{hint:?} is not a link"));
    let text = subsection(&document("docs/checks.md"), anchor);
    let mut found = blocks(&text, "sh");
    found.retain(|block| block.contains(part));
    assert_eq!(
        found.len(),
        1,
        "blocks with {part:?} at {anchor}: {found:?}"
    );
    let home = ("NAMESPACE", space.namespace.as_str());
    let words = [words, &[home]].concat();
    follow(space, &filled(&found[0], &words), environment)
}

/// The text under the heading of the third level that has this anchor.
pub fn subsection(text: &str, wanted: &str) -> String {
    let mut parts = text.split("\n### ").skip(1);
    let part = parts.find(|part| anchor(part.lines().next().unwrap()) == wanted);
    let part = part.unwrap_or_else(|| panic!("no heading has the anchor {wanted:?}"));
    part.split("\n## ").next().unwrap().to_owned()
}

/// Replaces whole words; the first of two with the same name counts.
fn filled(block: &str, words: &[(&str, &str)]) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text = String::new();
    let mut rest = block;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_of_word(c) != is_of_word(first));
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        let word = words.iter().find(|(name, _)| *name == run);
        text.push_str(word.map_or(run, |(_, value)| value));
        rest = after;
    }
    text
}
