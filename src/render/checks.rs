//! The checks of `verify` and `lint` as text: groups, one line and one hint for each check, and a
//! summary.

use crate::domain::checks::check::{Check, Id, Status};
use crate::ui::{Mark, Palette, Tone};
use std::fmt::Write;

/// The checks and a summary. `short` leaves out passed checks. Without `known`, when required objects
/// could not be read, the summary is never "healthy".
pub fn text(checks: &[Check], known: bool, short: bool, palette: Palette) -> String {
    let mut text = String::new();
    let mut group = "";
    let width = Id::ALL
        .iter()
        .map(|id| id.as_str().len())
        .max()
        .unwrap_or_default();
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

/// True if a check is printed.
pub fn is_shown(check: &Check, short: bool) -> bool {
    !short || check.status != Status::Pass
}

/// The namespace and name of the object: `brain/embeddings-secrets: `.
fn place(check: &Check) -> String {
    let (namespace, object) = (&check.namespace, &check.object);
    let name = match object.split_once('/') {
        Some(("Secret", name)) => name,
        Some(("Namespace", _)) | None => return String::new(),
        Some(_) => object,
    };
    if namespace.is_empty() {
        format!("{name}: ")
    } else {
        format!("{namespace}/{name}: ")
    }
}

fn mark(status: Status, palette: Palette) -> String {
    palette.symbol(match status {
        Status::Pass => Mark::Ok,
        Status::Warn => Mark::Warn,
        Status::Fail => Mark::Fail,
        Status::Skip => Mark::Skip,
    })
}

/// The summary.
fn verdict(checks: &[Check], known: bool, palette: Palette) -> String {
    let with = |status| checks.iter().filter(move |check| check.status == status);
    let count = |status| with(status).count();
    let also = |status, word: &str| match count(status) {
        0 => String::new(),
        count => format!(", {count} {word}"),
    };
    let rest = format!(
        "{}{}",
        also(Status::Warn, "warned"),
        also(Status::Skip, "skipped")
    );
    let mut failed: Vec<_> = with(Status::Fail).map(|check| check.id.as_str()).collect();
    let fails = failed.len();
    failed.dedup();
    let passed = count(Status::Pass);
    match fails {
        0 if !known => palette.paint(
            Tone::Bad,
            &format!("unknown: the Secrets could not be read; {passed} passed{rest}"),
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
