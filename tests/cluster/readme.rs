//! The README's sandbox command and its tour, and the commands of docs/rotate.md.

use crate::documents::{REPOSITORY, blocks, document, is_of_the_sandbox, readme, tour};
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use crate::story::{PROGRAM, run_story};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_tour_works_as_the_readme_shows_it() {
    let (space, _) = run_story(&tour(), "brain", &[]);
    let tokens = space.filed();
    assert_eq!(tokens.len(), 2);
    assert_eq!(space.data(ROUTER), tokens);
    let embeddings = space.data(EMBEDDINGS);
    for list in ["EMBEDDINGS_API_KEYS", "API_KEYS"] {
        assert_eq!(embeddings[list], tokens["EMBEDDINGS_API_KEY"]);
    }
    assert_eq!(embeddings["LOG_LEVEL"], "INFO");
    assert_eq!(space.data(AGENTICORE)["GITHUB_TOKEN"], "ghp_example");
    assert_eq!(space.beside_file(), [".k8s-tokens", "brain.env"]);
    let fleet = Space {
        namespace: "agents".to_owned(),
        ..space.other_operator()
    };
    assert_eq!(fleet.data(ROUTER), tokens);
    assert!(fleet.object(EMBEDDINGS).is_none());
    let roles = space.kubectl(&["get", "role,rolebinding", "-o", "name"]);
    assert_eq!(roles.lines().count(), 2, "{roles}");
}

#[test]
fn a_rotation_works_as_its_document_shows_it() {
    let (space, ran) = run_story(&document("docs/rotate.md"), "brain3", &[]);
    assert_eq!(
        space.data(ROUTER)["KB_ROUTER_TOKEN"],
        space.filed()["KB_ROUTER_TOKEN"]
    );
    assert!(!ran.err.contains("left behind"), "{}", ran.err);
}

#[test]
fn the_first_command_makes_the_three_secrets_in_a_real_api_server() {
    let all = blocks(&readme(), "sh");
    let block = all.iter().find(|block| is_of_the_sandbox(block)).unwrap();
    assert_eq!(Some(block), all.get(1), "it comes after the preview");

    // In a folder of its own, since it leaves a tokens file. cargo would build what this test runs.
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("local");
    std::fs::create_dir(&local).unwrap();
    let script = Path::new(REPOSITORY).join("local/sandbox.sh");
    std::os::unix::fs::symlink(script, local.join("sandbox.sh")).unwrap();
    let (before, after) = block
        .split_once("cargo run --")
        .expect("it runs the program");
    let output = Command::new("sh")
        .args(["-euc", &format!("{before}{PROGRAM}{after}")])
        .current_dir(folder.path())
        .env_remove("SANDBOX_DIR")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output();
    let ran = Ran::from(output.unwrap()).exits(0);
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let line = format!("[ok]   brain/{secret}: created");
        assert!(ran.out.contains(&line), "{line}\n{}\n{}", ran.out, ran.err);
    }
    assert!(local.join(".k8s-tokens").exists());
}
