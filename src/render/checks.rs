//! Checks as text: groups, a line for each with a mark, the command that mends it, and one
//! sentence at the end.

use crate::domain::checks::check::{Check, Id, Status};
use crate::ui::{Palette, Tone};
use std::fmt::Write;

/// The checks and the verdict; with `short` only what does not pass. Unless what has to be seen is
/// `known`, nothing is healthy.
pub fn text(checks: &[Check], known: bool, short: bool, palette: Palette) -> String {
    let mut text = String::new();
    let mut group = "";
    let width = Id::ALL.iter().map(|id| id.as_str().len()).max();
    let width = width.unwrap_or_default();
    for check in checks.iter().filter(|check| is_shown(check, short)) {
        if check.id.group() != group {
            group = check.id.group();
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{group}\n{}", "-".repeat(group.len()));
        }
        let mark = mark(check.status, palette);
        let place = place(check);
        let _ = writeln!(
            text,
            "{mark} {:width$}  {place}{}",
            check.id.as_str(),
            check.message
        );
        if !check.hint.is_empty() {
            let _ = writeln!(text, "       {:width$}  hint: {}", "", check.hint);
        }
    }
    let gap = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{gap}{}", verdict(checks, known, palette));
    text
}

/// Tells whether a check is shown.
pub fn is_shown(check: &Check, short: bool) -> bool {
    !short || check.status != Status::Pass
}

/// Where it is and what: `brain/embeddings-secrets: `.
fn place(check: &Check) -> String {
    let (namespace, object) = (&check.namespace, &check.object);
    let name = match object.split_once('/') {
        Some(("Secret", name)) => name,
        Some(("Namespace", _)) | None => return String::new(),
        Some(_) => object,
    };
    match namespace.is_empty() {
        true => format!("{name}: "),
        false => format!("{namespace}/{name}: "),
    }
}

fn mark(status: Status, palette: Palette) -> String {
    let (tone, plain, pretty) = match status {
        Status::Pass => (Tone::Good, "[ok]  ", "√"),
        Status::Warn => (Tone::Muted, "[warn]", "‼"),
        Status::Fail => (Tone::Bad, "[fail]", "×"),
        Status::Skip => (Tone::Muted, "[skip]", "-"),
    };
    match palette.pretty {
        // As wide as the others.
        true => palette.paint(tone, &format!("  {pretty}   ")),
        false => palette.paint(tone, plain),
    }
}

/// One sentence over all checks.
fn verdict(checks: &[Check], known: bool, palette: Palette) -> String {
    let with = |status| checks.iter().filter(move |check| check.status == status);
    let count = |status| with(status).count();
    let also = |status, word: &str| match count(status) {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let rest = format!(
        "{}{}",
        also(Status::Warn, "to look at"),
        also(Status::Skip, "skipped")
    );
    let mut failed: Vec<_> = with(Status::Fail).map(|check| check.id.as_str()).collect();
    let fails = failed.len();
    failed.dedup();
    let passed = count(Status::Pass);
    match fails {
        0 if !known => palette.paint(
            Tone::Bad,
            &format!("not known: what matters could not be seen; {passed} passed{rest}"),
        ),
        0 => palette.paint(
            Tone::Good,
            &format!("healthy: {passed} checks passed{rest}"),
        ),
        _ => palette.paint(
            Tone::Bad,
            &format!(
                "not healthy: {fails} failed ({}), {passed} passed{rest}",
                failed.join(", ")
            ),
        ),
    }
}
