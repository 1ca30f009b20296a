//! The checks of a run, and running the hint of one.

use crate::documents::document;
use crate::space::{Ran, Space};
use crate::steps::subsection;
use serde_json::Value;
use std::process::Command;

/// All checks with that id.
pub fn checks(space: &Space, id: &str, arguments: &[&str]) -> Vec<Value> {
    of(&verify(space, arguments), id)
}

/// Runs `verify -o json`.
pub fn verify(space: &Space, arguments: &[&str]) -> Ran {
    let mut all = vec!["verify", "-o", "json"];
    all.extend(arguments);
    space.run(&all)
}

/// Those checks of a run that have that id.
pub fn of(ran: &Ran, id: &str) -> Vec<Value> {
    let json = ran.json();
    let checks = json["checks"]
        .as_array()
        .unwrap_or_else(|| panic!("no checks: {json}"));
    for check in checks {
        is_a_hint(check["hint"].as_str().unwrap());
    }
    checks
        .iter()
        .filter(|check| check["id"] == id)
        .cloned()
        .collect()
}

/// A hint is one command, or a link to a heading. Only the Roles go through a pipe.
#[track_caller]
fn is_a_hint(hint: &str) {
    if let Some(anchor) = hint.strip_prefix("see docs/checks.md#") {
        subsection(&document("docs/checks.md"), anchor);
        return;
    }
    let bare = unquoted(hint);
    let bare = match bare.split_once(" rbac verify ") {
        Some((_, rest)) => rest.replacen(" | kubectl", "", 1),
        None => bare,
    };
    let is_one = !["&&", "|", ";", "$(", "`", "\n", "<<", "{\""]
        .iter()
        .any(|joint| bare.contains(joint));
    assert!(is_one, "a hint of more than one command: {hint}");
}

/// A command without what is quoted in it.
fn unquoted(command: &str) -> String {
    let mut quote = None;
    let mut text = String::new();
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None => text.push(c),
        }
    }
    text
}

/// Follows the hints of a check, one after the other, until it is gone or passes. Each has to bring
/// it nearer: none comes twice in a row.
#[track_caller]
pub fn follow_all(
    space: &Space,
    check: &Value,
    environment: &[(&str, &str)],
    look: impl Fn() -> Option<Value>,
) -> Vec<Ran> {
    let mut followed = Vec::new();
    let hint = |check: &Value| check["hint"].as_str().unwrap().to_owned();
    let mut next = Some(check.clone());
    let mut last = String::new();
    while let Some(check) = next {
        assert_ne!(hint(&check), last, "it did not help: {check}");
        last = hint(&check);
        followed.push(follow(space, &last, environment).exits(0));
        next = look().filter(|check| check["status"] != "pass");
    }
    followed
}

/// Runs a hint as a person would: in a shell, in the folder, with these variables.
pub fn follow(space: &Space, hint: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command: Command = space.shell(hint);
    command.envs(environment.iter().copied());
    command.output().unwrap().into()
}
