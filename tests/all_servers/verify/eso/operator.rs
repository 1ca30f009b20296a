//! `eso.served` and `eso.operator`: are its objects served, and does anybody work on them.

use super::{
    EXTERNAL, checks_of, entry, extracting, filled, make, named, passes, path2_ids, steps, until,
    verify,
};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER, Space};
use crate::stub::{Reply, Stub, raw, reply, status};
use serde_json::{Value, json};

/// Nobody looks at a store of that class, or at what reads it.
#[test]
fn objects_that_nobody_works_on_are_told_after_a_while() {
    let space = filled();
    let token = BAO.token(&space.namespace, &["read"]);
    space.create_secret("store-token", &[("token", &token)], &json!({}));
    let reference = json!({
        "name": "store-token", "key": "token", "namespace": space.namespace,
    });
    let object = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ClusterSecretStore",
        "metadata": { "name": space.namespace },
        "spec": {
            "controller": "nobody",
            "provider": { "vault": {
                "server": BAO.address, "path": "secret", "version": "v2",
                "auth": { "tokenSecretRef": reference },
            } },
        },
    });
    let path = space.store_path("ClusterSecretStore");
    let (place, _) = path.rsplit_once('/').unwrap();
    SANDBOX.expect("POST", place, &object);
    make(
        &space,
        EXTERNAL,
        &json!({ "name": EMBEDDINGS }),
        &extracting(&entry(&space)),
    );
    // At first it may be on its way.
    let ran = verify(&space, &[]).exits(1);
    assert_eq!(checks_of(&ran, "eso.operator", "")[0]["status"], "pass");
    let message = "the operator has not reconciled it yet";
    until(&space, "eso.synced", &named(EXTERNAL), "fail", message);
    let message = format!(
        "no operator reconciles ClusterSecretStore {0}, ExternalSecret {0}/{EXTERNAL}: ClusterSecretStore \
         {0} is reserved for operators of class nobody",
        space.namespace
    );
    let check = until(&space, "eso.operator", "", "fail", &message);
    let words = [
        ("KIND", "clustersecretstore"),
        ("STORE", space.namespace.as_str()),
    ];
    steps("controller", &space, &check, &words, &[]);
    passes(&space, &check);
    until(&space, "eso.synced", &named(EXTERNAL), "pass", "synced");
}

/// A cluster on which the router Secret has the operator's marks, and that serves this.
fn marked(serves: &'static [&'static str]) -> (Stub, Space) {
    let marks = json!({
        "name": ROUTER, "namespace": "x", "resourceVersion": "1",
        "labels": { "reconcile.external-secrets.io/managed": "true" },
        "annotations": { "reconcile.external-secrets.io/data-hash": "0" },
    });
    let stub = Stub::new(move |request, _| answer(request, serves, &marks));
    let space = stub.space();
    (stub, space)
}

fn answer(request: &str, serves: &[&str], marks: &Value) -> Reply {
    let path = request.split(['?', ' ']).nth(1).unwrap_or_default();
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => reply(200, &json!({ "gitVersion": "v1.36.3" })),
        ["apis", "external-secrets.io", version, rest @ ..] => {
            match (serves.contains(version), rest) {
                (false, _) => raw(404, "404 page not found"),
                (true, []) => {
                    let resource = json!({ "name": "externalsecrets" });
                    reply(200, &json!({ "resources": [resource] }))
                }
                (true, _) => reply(200, &json!({ "metadata": {}, "items": [] })),
            }
        }
        [.., "secrets", name] if *name == ROUTER => reply(
            200,
            &json!({ "metadata": marks, "type": "Opaque", "data": {} }),
        ),
        [.., "secrets", _] => status(404, "NotFound", "not found"),
        [.., "namespaces", name] => reply(200, &json!({ "metadata": { "name": name } })),
        _ => reply(200, &json!({ "metadata": {}, "items": [] })),
    }
}

#[test]
fn which_version_is_served_is_told() {
    for (serves, expected, message) in [
        (&["v1"][..], "pass", "external-secrets.io/v1 is served"),
        (
            &["v1", "v1beta1"],
            "pass",
            "external-secrets.io/v1 is served",
        ),
        (
            &["v1beta1"],
            "warn",
            "only external-secrets.io/v1beta1 is served",
        ),
        (&[], "fail", "ExternalSecret is not served"),
    ] {
        let (_stub, space) = marked(serves);
        let ran = verify(&space, &[]);
        let found = checks_of(&ran, "eso.served", "");
        assert_eq!(found[0]["status"], expected, "{serves:?}: {found:?}");
        let told = found[0]["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
        let hint = found[0]["hint"].as_str().unwrap();
        let link = "see docs/checks.md#esoserved";
        assert_eq!(hint, if expected == "pass" { "" } else { link });
        // The marks alone point to Path 2.
        let marks = checks_of(&ran, "eso.target", &super::secret(ROUTER));
        assert_eq!(marks[0]["status"], "warn", "{marks:?}");
        assert!(path2_ids(&ran).contains(&"eso.synced".to_owned()));
    }
}

/// What the server says is never shown.
#[test]
fn a_discovery_that_fails_is_a_skip() {
    let marks = json!({
        "name": ROUTER, "labels": { "reconcile.external-secrets.io/managed": "true" },
    });
    for code in [403, 500] {
        let marks = marks.clone();
        let stub =
            Stub::new(
                move |request, _| match request.ends_with("/apis/external-secrets.io/v1") {
                    true => status(code, "Whatever", crate::stub::SENTINEL),
                    false => answer(request, &["v1"], &marks),
                },
            );
        let space = stub.space();
        let ran = verify(&space, &["--request-timeout=300ms", "-vv"]);
        let ran = crate::stub::hides(ran, crate::stub::SENTINEL);
        let found = checks_of(&ran, "eso.served", "");
        assert_eq!(found[0]["status"], "skip", "{code}: {found:?}");
    }
}
