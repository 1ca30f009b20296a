//! Whether git would take the tokens file along.

use crate::domain::cluster::snapshot::Keeping;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks git about a file.
pub fn keeping(path: &Path) -> Keeping {
    // check-ignore says "not ignored" (1) of a tracked file too.
    match git(path, &["check-ignore", "--quiet"]) {
        Some(0) => Keeping::Away,
        Some(1) if git(path, &["ls-files", "--error-unmatch"]) == Some(0) => Keeping::Tracked,
        Some(1) => Keeping::NotIgnored,
        // 128: no repository, or one that git does not trust.
        _ if in_a_repository(path) => Keeping::Unknown,
        _ => Keeping::Away,
    }
}

/// Tells whether a folder above the file looks like a repository.
fn in_a_repository(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = absolute.ancestors().skip(1);
    folders.any(|folder| folder.join(".git").exists())
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
