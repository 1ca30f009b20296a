//! The API server that everything talks to, and its kubectl.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead as _, BufReader};
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

/// The upstream kubectl of the sandbox's own: one on PATH may be a wrapper around another.
pub fn plain_kubectl() -> Result<PathBuf> {
    let output = script(&["build", "kubectl"])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "kubectl was not built");
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim_end()))
}
