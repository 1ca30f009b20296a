//! What keeps the operator from its work is said by its cause, and nothing is left behind.

use super::of;
use crate::path2::BAO;
use crate::path2::GROUP;
use crate::sandbox::SANDBOX;
use crate::space::{INPUTS, Space};
use crate::wait::wait;
use serde_json::{Value, json};

/// A PushSecret's version.
const PUSHES: &str = "/apis/external-secrets.io/v1alpha1";

/// A run that fails and leaves neither an entry nor an object.
#[track_caller]
fn fails(space: &Space, more: &[&str], texts: &[&str]) {
    space.fill(more).exits(3).says(texts);
    assert_eq!(space.stored(), [None, None, None]);
    space.has_no_temporaries();
}

#[test]
fn a_store_that_is_not_ready_is_refused_before_anything_is_made() {
    let space = Space::new();
    space.cluster_store("no-token-of-that-store");
    let describe = format!("describe clustersecretstores {}", space.namespace);
    let texts = [
        "cannot be used",
        "refuses the operator's credentials",
        &describe,
    ];
    fails(&space, &[], &texts);
    assert_eq!(space.made("externalsecrets"), 0);
    assert!(!space.file().exists());

    let away = Space::new();
    away.store_at("SecretStore", "http://127.0.0.1:1", "token");
    let texts = [
        "the store does not answer at its address",
        "describe secretstores",
    ];
    fails(&away, &["--store-kind", "SecretStore"], &texts);
}

#[test]
fn a_store_whose_credentials_were_mended_is_looked_at_again() {
    let space = Space::new();
    space.cluster_store("no-token-of-that-store");
    // The operator tries again ever more seldom: by now it would not for longer than is waited.
    let path = space.store_path("ClusterSecretStore");
    let uid = &SANDBOX.expect("GET", &path, &Value::Null)["metadata"]["uid"];
    let uid = uid.as_str().unwrap();
    let events = format!(
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.uid%3D{uid},type%3DWarning"
    );
    wait("the operator has failed often", || {
        let found = SANDBOX.expect("GET", &events, &Value::Null);
        let counts = found["items"].as_array().unwrap().iter();
        counts
            .filter_map(|event| event["count"].as_u64())
            .sum::<u64>()
            >= 5
    });
    let token = BAO.writer(&space.namespace);
    space.set_keys("store-token", &[("token", &token)], "kubectl");
    space.fill(&[]).exits(0);
}

#[test]
fn credentials_that_may_only_read_are_told() {
    let space = Space::new();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    let entry = space.entry("router");
    let texts = [
        &format!("cannot write {entry} through ClusterSecretStore"),
        "denies the operator access there",
        "router was not",
    ];
    fails(&space, &[], &texts);
    // The tokens are on disk before the operator sees them, and the next run takes them.
    let tokens = space.filed();
    let token = BAO.writer(&space.namespace);
    space.set_keys("store-token", &[("token", &token)], "kubectl");
    space.fill(&[]).exits(0);
    assert_eq!(BAO.fields(&entry), tokens);
}

#[test]
fn credentials_that_were_revoked_meanwhile_are_told() {
    let space = Space::new();
    let token = BAO.writer(&space.namespace);
    space.cluster_store(&token);
    BAO.revoke(&token);
    fails(
        &space,
        &[],
        &["cannot read", "refuses the operator's credentials"],
    );
    assert!(!space.file().exists());
}

#[test]
fn an_operator_that_does_not_come_is_not_waited_for_without_end() {
    let space = Space::new();
    space.writing_store();
    // No operator serves that class of stores.
    let nobody = json!({ "spec": { "controller": "nobody" } });
    SANDBOX.expect("PATCH", &space.store_path("ClusterSecretStore"), &nobody);
    let texts = ["the operator has not processed it", "get pods -A"];
    fails(&space, &["--request-timeout", "2s"], &texts);
}

#[test]
fn a_namespace_that_does_not_exist_is_told() {
    let space = Space::new();
    space.writing_store();
    let name = space.namespace.as_str();
    let other = Space::without_namespace();
    let arguments = ["populate", "--prefix", name, "--via-eso", name, "--apply"];
    let ran = other.run_with(&INPUTS, &arguments).exits(3);
    ran.says(&["cannot create ExternalSecret", "--create-namespace"]);
}

#[test]
fn an_object_of_that_name_that_is_somebody_elses_stays() {
    let space = Space::new();
    space.writing_store();
    for name in ["k8s-bootstrap-push-router", "k8s-bootstrap-proof-router"] {
        space.create_secret(name, &[("THEIRS", "t")], &json!({}));
        let ran = space.fill(&[]).exits(3);
        ran.says(&["is not a temporary object", &format!("get secrets {name}")]);
        assert_eq!(space.data(name), of(&[("THEIRS", "t")]));
        assert_eq!(space.temporaries(), [format!("secrets/{name}")]);
        SANDBOX.expect("DELETE", &space.path(name), &Value::Null);
    }
    assert_eq!(space.stored(), [None, None, None]);
}

#[test]
fn what_a_killed_run_left_is_removed_even_where_nobody_lets_it_go() {
    let space = Space::new();
    space.writing_store();
    let place = format!("/namespaces/{}", space.namespace);
    let labels = json!({ "k8s-bootstrap/temporary": "true" });
    let value = [("KB_ROUTER_TOKEN", "left-behind")];
    let metadata = json!({ "metadata": { "labels": labels } });
    space.create_secret("k8s-bootstrap-push-agenticore", &value, &metadata);
    let push = json!({
        "apiVersion": "external-secrets.io/v1alpha1",
        "kind": "PushSecret",
        "metadata": { "name": "k8s-bootstrap-push-agenticore", "labels": labels },
        "spec": {
            "secretStoreRefs": [{ "kind": "ClusterSecretStore", "name": "none" }],
            "selector": { "secret": { "name": "none" } },
            "data": [{ "match": { "remoteRef": { "remoteKey": "none" } } }],
        },
    });
    SANDBOX.expect("POST", &format!("{PUSHES}{place}/pushsecrets"), &push);
    let proof = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {
            "name": "k8s-bootstrap-proof-agenticore", "labels": labels,
            "finalizers": ["tests.invalid/stays"],
        },
        "spec": {
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": "none" },
            "dataFrom": [{ "extract": { "key": "none" } }],
        },
    });
    SANDBOX.expect("POST", &format!("{GROUP}{place}/externalsecrets"), &proof);
    assert_eq!(space.temporaries().len(), 3);
    space.fill(&[]).exits(0);
    space.has_no_temporaries();
}
