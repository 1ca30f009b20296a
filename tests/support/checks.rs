//! The checks of a run, and running the hint of one.

use crate::space::{Ran, Space};
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
    checks
        .iter()
        .filter(|check| check["id"] == id)
        .cloned()
        .collect()
}

/// Runs a hint as a person would: in a shell, in the folder, with these variables.
pub fn follow(space: &Space, hint: &str, environment: &[(&str, &str)]) -> Ran {
    let mut command: Command = space.shell(hint);
    command.envs(environment.iter().copied());
    command.output().unwrap().into()
}
