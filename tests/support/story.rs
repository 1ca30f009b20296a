//! The commands of a document, run in a shell.

use crate::documents::{blocks, is_of_the_sandbox};
use crate::sandbox::SANDBOX;
use crate::space::{Ran, Space};
use serde_json::Value;
use std::process::{Command, Stdio};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_k8s-bootstrap");

/// Runs the commands of a text, whose home namespace is named and does not exist yet.
pub fn run_story(text: &str, namespace: &str, environment: &[(&str, &str)]) -> (Space, Ran) {
    let mut space = Space::without_namespace();
    namespace.clone_into(&mut space.namespace);
    let path = format!("/api/v1/namespaces/{namespace}");
    let (status, _) = SANDBOX.request("GET", &path, "application/json", &Value::Null);
    assert_eq!(status, 404, "another test uses the namespace {namespace}");

    let commands = blocks(text, "sh");
    let story = commands.iter().filter(|block| !is_of_the_sandbox(block));
    let mut script = String::new();
    for (index, block) in story.enumerate() {
        script.push_str(&format!("echo '== block {index}' >&2\n{block}"));
    }
    script.push_str("echo '== the end' >&2\n");
    let folder = space.folder.path();
    let programs = folder.join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(PROGRAM, programs.join("k8s-bootstrap")).unwrap();
    let path = format!("{}:{}", programs.display(), SANDBOX.path.display());
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("KUBECONFIG", &space.kubeconfig)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output();
    let ran = Ran::from(output.unwrap()).exits(0);
    assert!(ran.err.ends_with("== the end\n"), "{}", ran.err);
    // Each line of the shown answers is in the real ones.
    let shown = blocks(text, "text").concat();
    assert!(shown.contains("[ok]"), "{shown}");
    for line in shown.lines() {
        assert!(ran.out.contains(line), "{line}\nis not in\n{}", ran.out);
    }
    (space, ran)
}
