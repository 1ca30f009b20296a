//! `eso.store`, and what its ExternalSecrets say: the store refuses, does not answer, is not there.

use super::{
    EXTERNAL, change, extract, filled, follow, named, passes, refresh, steps, store, synced, until,
    with_store,
};
use crate::path2::BAO;
use crate::path2::OwnBao;
use crate::sandbox::SANDBOX;
use crate::space::Space;
use crate::wait::wait;
use serde_json::{Value, json};

const STORE: &str = "eso.store";
const SYNCED: &str = "eso.synced";
const REFUSED: &str = "the store refuses the operator's credentials: unknown, revoked or expired";

/// What stands for the policy that a person knows.
fn policy(space: &Space) -> String {
    format!("{}-read", space.namespace)
}

/// The store and its ExternalSecret fail for this reason; gives the check of the latter.
#[track_caller]
fn both_fail(space: &Space, message: &str) -> Value {
    until(space, STORE, &store(space), "fail", message);
    until(space, SYNCED, &named(EXTERNAL), "fail", message)
}

/// After the steps of one of them both are well.
#[track_caller]
fn both_pass(space: &Space, check: &Value) {
    tested(space, check, CLUSTER_STORE);
    until(space, STORE, &store(space), "pass", "it is ready");
}

const CLUSTER_STORE: &str = "clustersecretstore";

/// Makes the operator test the store, as the steps end, after which the check passes.
#[track_caller]
fn tested(space: &Space, check: &Value, kind: &str) {
    let words = [("KIND", kind), ("STORE", space.namespace.as_str())];
    steps("--overwrite KIND STORE", space, check, &words, &[]);
    passes(space, check);
}

/// The words of the steps that make a token.
fn token_words(policy: &str) -> [(&str, &str); 3] {
    [
        ("POLICY", policy),
        ("SECRET", "store-token"),
        ("KEY", "token"),
    ]
}

/// Makes a token of the store, as the steps say.
#[track_caller]
fn new_token(space: &Space, check: &Value) {
    let policy = policy(space);
    steps(
        "token create -orphan",
        space,
        check,
        &token_words(&policy),
        &[],
    );
}

/// Its own condition says Ready for minutes still.
#[test]
fn a_revoked_token_is_refused_although_the_store_says_ready() {
    let space = filled();
    let token = BAO.token(&space.namespace, &["read"]);
    space.cluster_store(&token);
    extract(&space);
    BAO.revoke(&token);
    refresh(&space, EXTERNAL);
    let check = both_fail(&space, REFUSED);
    let path = space.store_path("ClusterSecretStore");
    let object = SANDBOX.expect("GET", &path, &Value::Null);
    assert_eq!(object["status"]["conditions"][0]["status"], "True");
    let told = until(
        &space,
        STORE,
        &store(&space),
        "fail",
        "Ready, but it does not work",
    );
    assert_eq!(told["hint"], check["hint"]);
    new_token(&space, &check);
    both_pass(&space, &check);
}

#[test]
fn an_expired_token_is_refused() {
    let space = filled();
    let token = BAO.short_token(&space.namespace, 1);
    wait("it expires", || {
        let (status, _) = BAO.request(&token, "GET", "auth/token/lookup-self", &Value::Null);
        status == 403
    });
    space.cluster_store(&token);
    extract(&space);
    let check = both_fail(&space, REFUSED);
    new_token(&space, &check);
    both_pass(&space, &check);
}

#[test]
fn a_token_that_never_was_one_is_refused() {
    let space = with_store(&BAO.address, "no-token-at-all");
    BAO.token(&space.namespace, &["read"]);
    extract(&space);
    both_fail(&space, REFUSED);
    let check = until(&space, STORE, &store(&space), "fail", REFUSED);
    new_token(&space, &check);
    tested(&space, &check, CLUSTER_STORE);
    until(&space, SYNCED, &named(EXTERNAL), "pass", "synced");
}

/// No token is put there where none was made.
#[test]
fn a_token_that_is_not_made_is_not_written() {
    let space = with_store(&BAO.address, "no-token-at-all");
    extract(&space);
    let check = both_fail(&space, REFUSED);
    let hint = check["hint"].as_str().unwrap();
    let nobody = [("BAO_ADDR", BAO.address.as_str()), ("BAO_TOKEN", "nobody")];
    let words = token_words("default");
    let ran = crate::steps::steps("token create -orphan", &space, hint, &words, &nobody);
    assert_ne!(ran.code, 0);
    assert_eq!(space.data("store-token")["token"], "no-token-at-all");
}

#[test]
fn the_store_of_a_namespace_is_judged_likewise() {
    let space = filled();
    let token = BAO.token(&space.namespace, &["read"]);
    space.store_at("SecretStore", &BAO.address, "no-token-at-all");
    extract(&space);
    let spec = json!({ "secretStoreRef": { "kind": "SecretStore", "name": space.namespace } });
    change(&space, EXTERNAL, &spec);
    let of_namespace = format!("SecretStore/{}", space.namespace);
    let check = until(&space, STORE, &of_namespace, "fail", REFUSED);
    assert_eq!(check["namespace"], space.namespace);
    BAO.revoke(&token);
    new_token(&space, &check);
    tested(&space, &check, "secretstore");
    until(&space, SYNCED, &named(EXTERNAL), "pass", "synced");
}

#[test]
fn credentials_that_are_not_there_are_named() {
    for remove_key in [false, true] {
        let space = filled();
        space.cluster_store(&BAO.token(&space.namespace, &["read"]));
        let token = space.path("store-token");
        match remove_key {
            true => drop(SANDBOX.expect("PATCH", &token, &json!({ "data": { "token": null } }))),
            false => drop(SANDBOX.expect("DELETE", &token, &Value::Null)),
        }
        extract(&space);
        let message = "the Secret with the operator's credentials was not found";
        let check = both_fail(&space, message);
        new_token(&space, &check);
        both_pass(&space, &check);
    }
}

/// Entries of the namespace in a store of its own, which is stopped or sealed.
fn in_own_store(own: &OwnBao) -> Space {
    let space = Space::new();
    space.bootstrapped();
    fill(&space, own);
    space.store_at("ClusterSecretStore", &own.bao.address, &own.bao.root);
    extract(&space);
    until(&space, SYNCED, &named(EXTERNAL), "pass", "synced");
    space
}

fn fill(space: &Space, own: &OwnBao) {
    let environment = [
        ("BAO_ADDR", &*own.bao.address),
        ("BAO_TOKEN", &own.bao.root),
    ];
    let populate = [
        "populate",
        "--prefix",
        &space.namespace,
        "--from-cluster",
        "--apply",
    ];
    space.run_with(&environment, &populate).exits(0);
}

#[test]
fn a_store_that_is_stopped_is_told_and_looked_at_again_when_it_runs() {
    let mut own = OwnBao::start();
    let space = in_own_store(&own);
    own.stop();
    refresh(&space, EXTERNAL);
    let check = both_fail(&space, "the store does not answer at its address");
    own.run();
    fill(&space, &own);
    both_pass(&space, &check);
}

#[test]
fn a_store_that_is_sealed_is_told_and_unsealed() {
    let own = OwnBao::start();
    let space = in_own_store(&own);
    let key = own.seal();
    refresh(&space, EXTERNAL);
    let check = both_fail(&space, "the store is sealed");
    // Without the key it asks for it at a terminal.
    let unseal = format!("bao operator unseal -address={} {key}", own.bao.address);
    follow(&space, &unseal, &[]).exits(0);
    both_pass(&space, &check);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_and_trusted() {
    let space = filled();
    let token = BAO.token(&space.namespace, &["read"]);
    space.store_at("ClusterSecretStore", &BAO.tls_address, &token);
    extract(&space);
    let check = both_fail(
        &space,
        "the operator does not trust the store's certificate",
    );
    let words = [
        ("KIND", CLUSTER_STORE),
        ("STORE", space.namespace.as_str()),
        ("FILE", BAO.ca.to_str().unwrap()),
    ];
    steps("caBundle", &space, &check, &words, &[]);
    both_pass(&space, &check);
}

#[test]
fn a_store_that_does_not_exist_is_told_and_another_named() {
    let space = filled();
    extract(&space);
    let message = "store not found; ExternalSecret";
    let of_store = until(&space, STORE, &store(&space), "fail", message);
    let message = "the store object does not exist";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    assert_eq!(check["hint"], of_store["hint"]);
    let other = Space::new();
    other.cluster_store(&BAO.token(&space.namespace, &["read"]));
    let words = [("NAME", EXTERNAL), ("STORE", other.namespace.as_str())];
    steps("secretStoreRef", &space, &check, &words, &[]);
    passes(&space, &check);
}

#[test]
fn a_store_that_the_namespace_may_not_use_is_told() {
    let space = synced();
    let conditions = json!([{ "namespaces": ["another"] }]);
    let path = space.store_path("ClusterSecretStore");
    SANDBOX.expect(
        "PATCH",
        &path,
        &json!({ "spec": { "conditions": conditions } }),
    );
    refresh(&space, EXTERNAL);
    let message = "the store may not be used from that namespace";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    // What the person changes in the editor.
    let change = "#!/bin/sh\nsed -i -e 's/- another/- '\"$HERE\"'/' \"$1\"\n";
    let editor = crate::stub::script(&space, change);
    let environment = [
        ("EDITOR", editor.to_str().unwrap()),
        ("HERE", &space.namespace),
    ];
    let words = [("STORE", space.namespace.as_str())];
    steps("kubectl edit", &space, &check, &words, &environment);
    tested(&space, &check, CLUSTER_STORE);
}
