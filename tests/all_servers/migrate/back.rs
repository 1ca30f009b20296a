//! The way back.

use super::{ALL, Mover};
use crate::account::log_in;
use crate::external_secrets::external_secret;
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

const BACK: [&str; 3] = ["migrate", "--rollback", "--apply"];

/// What the operator left on a Secret.
fn left(space: &Space, secret: &str) -> String {
    let mut metadata = space.object(secret).unwrap()["metadata"].clone();
    let fields = metadata["managedFields"].take();
    assert!(!fields.to_string().contains("external-secrets"), "{fields}");
    metadata.to_string()
}

#[test]
fn a_secret_that_went_back_is_ours_again() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    // The operator owns what it changed.
    let entry = mover.entry("embeddings");
    let mut fields = BAO.fields(&entry);
    fields.insert("LLM_API_KEY".to_owned(), "of-the-store".to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&entry, &fields);
    mover.run(&["sync"]).exits(0);
    let before = mover.values();

    mover
        .run(&BACK)
        .exits(0)
        .says(&["is plain again, without ExternalSecret"]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    for (secret, ..) in ALL {
        let left = left(&mover.space, secret);
        assert!(!left.contains("external-secrets.io"), "{secret}: {left}");
        assert_eq!(mover.owner(secret), None);
    }
    // Path 1 works on it as before.
    let inputs = [INPUTS[0], INPUTS[1], ("LLM_API_KEY", "of-the-input")];
    mover.space.run_with(&inputs, &["--apply"]).exits(0);
    assert_eq!(mover.values(), before);
    let update = ["--apply", "--update", "LLM_API_KEY"];
    mover.space.run_with(&inputs, &update).exits(0);
    assert_eq!(mover.space.data(EMBEDDINGS)["LLM_API_KEY"], "of-the-input");
    // And the store has nothing to say any more.
    BAO.put(&entry, &[("POSTGRES_URL", "elsewhere")]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(mover.space.data(EMBEDDINGS)["POSTGRES_URL"], INPUTS[0].1);

    mover.run(&BACK).exits(0).says(&["nothing to do"]);
}

#[test]
fn the_way_back_needs_no_store() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let before = mover.values();
    // The store object is gone, and so is what the operator logged in with.
    let store = mover.space.store_path("ClusterSecretStore");
    SANDBOX.expect("DELETE", &store, &Value::Null);
    SANDBOX.expect("DELETE", &mover.space.path("store-token"), &Value::Null);
    mover.space.run(&BACK).exits(0);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
}

#[test]
fn the_way_back_needs_no_store_that_answers() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let before = mover.values();
    let store = mover.space.store_path("ClusterSecretStore");
    let nobody = json!({ "spec": { "provider": { "vault": { "server": "http://127.0.0.1:1" } } } });
    SANDBOX.expect("PATCH", &store, &nobody);
    mover.space.run(&BACK).exits(0);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
}

#[test]
fn an_external_secret_that_a_tool_applies_is_not_taken_away() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let helm = json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "brain" },
    } });
    let path = mover.space.external_secret_path(ALL[2].1);
    SANDBOX.expect("PATCH", &path, &helm);
    let before = mover.values();
    for arguments in [&BACK[..], &BACK[..2]] {
        mover
            .run(arguments)
            .exits(1)
            .says(&["brain-keeper-secrets belongs to Helm release brain"]);
    }
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals().len(), 3);
}

#[test]
fn what_a_person_made_goes_back_too_with_the_labels_that_were_copied() {
    let mover = Mover::new();
    let entry = mover.entry("agenticore");
    BAO.put(
        &entry,
        &[("ANTHROPIC_API_KEY", INPUTS[1].1), ("GITHUB_TOKEN", "")],
    );
    let target =
        json!({ "name": AGENTICORE, "creationPolicy": "Owner", "deletionPolicy": "Delete" });
    let path = mover.space.external_secret_path("by-hand");
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": "by-hand", "labels": { "team": "a" }, "annotations": { "note": "b" } },
        "spec": {
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": mover.space.namespace },
            "target": target,
            "dataFrom": [{ "extract": { "key": entry } }],
        },
    });
    SANDBOX.expect("POST", path.rsplit_once('/').unwrap().0, &object);
    wait("the label is copied", || {
        let object = mover.space.object(AGENTICORE).unwrap();
        object["metadata"]["labels"]["team"] == "a"
    });
    let before = mover.values();
    mover.run(&BACK).exits(0);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    let left = left(&mover.space, AGENTICORE);
    assert!(!left.contains("team") && !left.contains("note"), "{left}");
}

#[test]
fn an_external_secret_that_never_made_its_secret_goes_without_one() {
    let mover = Mover::new();
    SANDBOX.expect("DELETE", &mover.space.path(ROUTER), &Value::Null);
    external_secret(
        &mover.space,
        "never",
        &json!({ "target": { "name": ROUTER } }),
    );
    mover.run(&BACK).exits(0);
    assert_eq!(mover.externals(), [""; 0]);
    assert!(mover.space.object(ROUTER).is_none());
}

#[test]
fn marks_that_were_left_behind_are_taken_off() {
    let mover = Mover::new();
    let marks = json!({ "metadata": {
        "labels": { "reconcile.external-secrets.io/managed": "true" },
        "annotations": { "reconcile.external-secrets.io/data-hash": "x" },
    } });
    SANDBOX.expect("PATCH", &mover.space.path(ROUTER), &marks);
    let before = mover.values();
    mover.run(&BACK).exits(0).says(&[ROUTER]);
    let left = left(&mover.space, ROUTER);
    assert!(!left.contains("external-secrets.io"), "{left}");
    assert_eq!(mover.values(), before);
}

#[test]
fn one_that_is_made_once_goes_back_too() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let before = mover.values();
    for (index, (_, external, _)) in ALL.into_iter().enumerate() {
        let once = match index {
            0 => json!({ "spec": { "refreshInterval": "0s" } }),
            _ => json!({ "spec": { "refreshPolicy": "CreatedOnce" } }),
        };
        SANDBOX.expect("PATCH", &mover.space.external_secret_path(external), &once);
    }
    mover.run(&BACK).exits(0);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
}

#[test]
fn one_that_only_adds_is_not_taken_for_the_maker() {
    let mover = Mover::new();
    let target = json!({ "name": ROUTER, "creationPolicy": "Merge" });
    external_secret(&mover.space, "adder", &json!({ "target": target }));
    mover
        .run(&BACK)
        .exits(1)
        .says(&["adder adds keys to", "delete externalsecret adder"]);
    assert_eq!(mover.externals(), ["adder"]);
}

#[test]
fn who_may_not_list_external_secrets_cannot_go_back() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let before = mover.values();
    let space = &mover.space;
    let token = space.service_account("tester");
    let account = format!("--serviceaccount={}:tester", space.namespace);
    let verbs = "--verb=get,update";
    space.kubectl(&["create", "role", "tester", verbs, "--resource=secrets"]);
    space.kubectl(&["create", "rolebinding", "tester", "--role=tester", &account]);
    let mut restricted = space.other_operator();
    log_in(&mut restricted, &token);
    wait("the role is in force", || {
        restricted
            .run(&["diff"])
            .err
            .contains("ExternalSecrets may not be listed")
    });
    let ran = restricted.run(&BACK).exits(3);
    ran.says(&["cannot list ExternalSecrets", "403"]);
    assert_eq!(mover.values(), before);
    assert!(mover.owner(ROUTER).is_some());
}
