//! The API server that everything talks to, and its kubectl.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// An etcd and a kube-apiserver, until it is dropped or this process ends.
pub struct Sandbox(Child);

impl Sandbox {
    /// Starts it and gives the path of its kubeconfig.
    pub fn start() -> Result<(Self, PathBuf)> {
        let mut child = script(&["run", "sh", "-c", "echo \"$KUBECONFIG\"; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output of the sandbox")?;
        let sandbox = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the sandbox did not start");
        Ok((sandbox, PathBuf::from(line.trim_end())))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Its cat ends with its input.
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh"));
    command.args(arguments);
    command
}

/// The upstream kubectl that the sandbox builds: one on PATH may be a wrapper around another.
pub fn plain_kubectl() -> Result<PathBuf> {
    let built = script(&["build", "kubectl"]).status()?;
    ensure!(built.success(), "kubectl was not built");
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = match (folder("K8S_BOOTSTRAP_CACHE"), folder("XDG_CACHE_HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(caches)) => PathBuf::from(caches).join("k8s-bootstrap"),
        (None, None) => {
            PathBuf::from(folder("HOME").context("HOME is not set")?).join(".cache/k8s-bootstrap")
        }
    };
    let mut newest = None;
    for entry in std::fs::read_dir(cache.join("bin"))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let executable = metadata.permissions().mode() & 0o100 != 0;
        if executable && entry.file_name().to_string_lossy().starts_with("kubectl-") {
            newest = newest.max(Some((metadata.modified()?, entry.path())));
        }
    }
    Ok(newest
        .context("the sandbox's kubectl is not where it should be")?
        .1)
}
