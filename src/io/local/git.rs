//! Whether git tracks or ignores the tokens file. It must not change the repository.

use crate::domain::cluster::snapshot::Keeping;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks git whether it tracks or ignores a file.
pub fn keeping(path: &Path) -> Keeping {
    // For a tracked file, check-ignore also returns 1 (not ignored).
    match git(path, &["check-ignore", "--quiet"]) {
        Some(0) => Keeping::Away,
        Some(1) if git(path, &["ls-files", "--error-unmatch"]) == Some(0) => Keeping::Tracked,
        Some(1) => Keeping::NotIgnored,
        // 128: no repository, or a repository that git does not trust.
        _ if is_in_repository(path) => Keeping::Unknown,
        _ => Keeping::Away,
    }
}

/// Checks whether a folder above the file has a `.git`.
fn is_in_repository(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = absolute.ancestors().skip(1);
    folders.any(|folder| folder.join(".git").exists())
}

/// Runs git on a file and gives its exit code; `None` if git cannot be run.
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
