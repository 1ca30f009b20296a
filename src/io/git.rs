//! Whether git would take the tokens file along.

use crate::domain::facts::Keeping;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks git about a file.
pub fn keeping(path: &Path) -> Keeping {
    // check-ignore says "not ignored" (1) of a tracked file too; 128 means no repository.
    if git(path, &["check-ignore", "--quiet"]) != Some(1) {
        Keeping::Away
    } else if git(path, &["ls-files", "--error-unmatch"]) == Some(0) {
        Keeping::Tracked
    } else {
        Keeping::NotIgnored
    }
}

fn git(path: &Path, arguments: &[&str]) -> Option<i32> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    Command::new("git")
        .arg("-C")
        .arg(folder.unwrap_or(Path::new(".")))
        .args(arguments)
        .arg("--")
        .arg(path.file_name()?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?
        .code()
}
