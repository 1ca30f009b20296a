//! The first `--apply` on a fresh namespace, and the second, which has nothing to do.

use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Space};
use std::os::unix::fs::PermissionsExt;

fn data(pairs: &[(&str, &str)]) -> Data {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn the_first_run_makes_the_three_secrets_of_the_table() {
    let space = Space::new();
    space.bootstrapped();

    let tokens = space.filed();
    for token in tokens.values() {
        assert_eq!(token.len(), 64);
        assert!(
            token
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        );
    }
    let (router, embeddings) = (&tokens["KB_ROUTER_TOKEN"], &tokens["EMBEDDINGS_API_KEY"]);
    assert_ne!(router, embeddings);
    assert_eq!(tokens.len(), 2);
    assert_eq!(space.data(ROUTER), tokens);
    assert_eq!(
        space.data(EMBEDDINGS),
        data(&[
            ("POSTGRES_URL", INPUTS[0].1),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "text-embedding-3-small"),
            ("EMBEDDINGS_API_KEYS", embeddings),
            ("API_KEYS", embeddings),
        ])
    );
    assert_eq!(
        space.data(AGENTICORE),
        data(&[("ANTHROPIC_API_KEY", INPUTS[1].1), ("GITHUB_TOKEN", "")])
    );
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        assert_eq!(space.object(name).unwrap()["type"], "Opaque");
    }
    let minted_at = &space.object(ROUTER).unwrap()["metadata"]["annotations"];
    assert!(minted_at["k8s-bootstrap/minted-at.KB_ROUTER_TOKEN"].is_string());

    let mode = space.file().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
}

#[test]
fn the_second_run_sends_no_write_and_moves_no_resource_version() {
    let space = Space::new();
    space.bootstrapped();
    let (versions, writes) = (space.versions(), space.writes());
    assert_eq!(versions.len(), 3);
    assert_eq!(writes.len(), 3, "{writes:?}");
    let file = std::fs::read(space.file()).unwrap();

    let ran = space.bootstrapped();
    assert_eq!(ran.out.matches(": unchanged").count(), 4, "{}", ran.out);
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
    assert_eq!(std::fs::read(space.file()).unwrap(), file);
}
