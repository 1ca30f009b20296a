//! Secrets and namespaces in a form that the program cannot work with.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Base64 of two bytes that are not UTF-8.
const BINARY: &str = "//4=";

/// The namespaces of that name that the program asked to make.
fn namespaces_made(space: &Space) -> usize {
    let events = SANDBOX.audited("/api/v1/namespaces?", "k8s-bootstrap/");
    events
        .iter()
        .filter(|event| event["verb"] == "create")
        .filter(|event| event["objectRef"]["name"].as_str() == Some(&space.namespace))
        .count()
}

#[test]
fn a_secret_in_a_wrong_form_is_refused_before_any_write() {
    let url = STANDARD.encode(INPUTS[0].1);
    for (more, what, remedy) in [
        (
            json!({
                "type": "kubernetes.io/basic-auth",
                "data": { "username": "dQ==", "password": "cA==" },
            }),
            "kubernetes.io/basic-auth",
            "delete secret embeddings-secrets",
        ),
        (
            json!({ "immutable": true, "data": { "POSTGRES_URL": url } }),
            "immutable",
            "delete secret embeddings-secrets",
        ),
        (
            json!({ "data": { "POSTGRES_URL": url, "LLM_API_KEY": BINARY } }),
            "LLM_API_KEY",
            "edit secret embeddings-secrets",
        ),
        (
            json!({ "data": { "POSTGRES_URL": url, "EMBEDDINGS_API_KEYS": BINARY } }),
            "EMBEDDINGS_API_KEYS",
            "edit secret embeddings-secrets",
        ),
    ] {
        let space = Space::new();
        space.create_secret(EMBEDDINGS, &[], &more);
        let before = space.object(EMBEDDINGS);

        space
            .run_with(&INPUTS, &["--apply"])
            .exits(1)
            .says(&[EMBEDDINGS, what, remedy]);
        assert_eq!(space.object(EMBEDDINGS), before, "{what}");
        assert_eq!(space.object(ROUTER), None, "{what}");
        assert_eq!(space.object(AGENTICORE), None, "{what}");
        assert_eq!(space.writes(), [""; 0], "{what}");
        assert!(!space.file().exists(), "{what}");
    }
}

#[test]
fn an_undecodable_token_is_not_replaced() {
    let space = Space::new();
    let data = json!({ "data": { "KB_ROUTER_TOKEN": BINARY } });
    space.create_secret(ROUTER, &[], &data);
    let before = space.object(ROUTER);

    space.run_with(&INPUTS, &["--apply"]).exits(1).says(&[
        ROUTER,
        "KB_ROUTER_TOKEN",
        "edit secret",
    ]);
    assert_eq!(space.object(ROUTER), before);
    assert_eq!(space.writes(), [""; 0]);
}

#[test]
fn a_complete_immutable_secret_is_unchanged() {
    let space = Space::new();
    space.bootstrapped();
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        SANDBOX.expect("PATCH", &space.path(name), &json!({ "immutable": true }));
    }
    let (versions, writes) = (space.versions(), space.writes());

    space.bootstrapped();
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
}

#[test]
fn a_binary_value_in_a_key_of_another_is_left_alone() {
    let space = Space::new();
    let data = json!({ "data": { "CERTIFICATE": BINARY } });
    space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "postgres://live")], &data);

    space.bootstrapped().says(&["configured"]);
    let object = space.object(EMBEDDINGS).unwrap();
    assert_eq!(object["data"]["CERTIFICATE"], BINARY);
    let url = STANDARD.encode("postgres://live");
    assert_eq!(object["data"]["POSTGRES_URL"], Value::from(url));
    assert!(object["data"]["EMBEDDINGS_API_KEYS"].is_string());
}

#[test]
fn an_absent_namespace_is_made_only_when_asked_for() {
    let space = Space::without_namespace();
    space
        .run_with(&INPUTS, &["diff"])
        .exits(1)
        .says(&["does not exist", "--create-namespace"]);
    space.run_with(&INPUTS, &["--apply"]).exits(3).says(&[
        &space.namespace,
        "does not exist",
        "--create-namespace",
    ]);
    assert_eq!(space.writes(), [""; 0]);
    assert_eq!(namespaces_made(&space), 0);
    assert!(!space.file().exists());

    let make = ["--apply", "--create-namespace"];
    space.run_with(&INPUTS, &make).exits(0);
    assert_eq!(namespaces_made(&space), 1);
    assert_eq!(space.data(ROUTER), space.filed());
    assert_eq!(space.versions().len(), 3);

    let (versions, writes) = (space.versions(), space.writes());
    space.run_with(&INPUTS, &make).exits(0);
    assert_eq!(namespaces_made(&space), 1);
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
}

#[test]
fn create_namespace_leaves_one_that_exists() {
    let space = Space::new();
    space
        .run_with(&INPUTS, &["--apply", "--create-namespace"])
        .exits(0);
    assert_eq!(namespaces_made(&space), 0);
    assert_eq!(space.versions().len(), 3);
}

#[test]
fn a_namespace_that_is_being_deleted_gets_no_write() {
    for more in [&[][..], &["--create-namespace"]] {
        let space = Space::new();
        space.terminate();

        space
            .run_with(&INPUTS, &[&["--apply"], more].concat())
            .exits(3)
            .says(&[
                &space.namespace,
                "is being deleted",
                "wait until it is gone",
            ]);
        assert_eq!(space.writes(), [""; 0]);
        assert_eq!(namespaces_made(&space), 0);
        assert!(!space.file().exists());
    }
}
