//! `eso.target`: the Secret and its ExternalSecret in the same hands.

use super::{
    EXTERNAL, change, checks_of, entry, extract, extracting, filled, make, mended, named, passes,
    refilled, secret, steps, synced, until, until_healthy,
};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, Space};
use crate::wait::wait;
use serde_json::{Value, json};

const TARGET: &str = "eso.target";

/// The Secret without these marks.
fn strip(space: &Space, name: &str, marks: &str) {
    let patch = format!("[{{\"op\":\"remove\",\"path\":\"/metadata/{marks}\"}}]");
    space.kubectl(&["patch", "secret", name, "--type=json", "-p", &patch]);
}

/// Removes the owner reference, as the steps say.
#[track_caller]
fn disowned(space: &Space, check: &Value, name: &str) {
    steps("ownerReferences", space, check, &[("SECRET", name)], &[]);
}

/// Removes the labels and annotations of the operator, as the steps say.
#[track_caller]
fn unmarked(space: &Space, check: &Value, name: &str) {
    steps("data-hash", space, check, &[("SECRET", name)], &[]);
}

#[test]
fn two_external_secrets_on_one_target_are_named_and_a_person_chooses() {
    let space = synced();
    let target = json!({ "name": EMBEDDINGS });
    make(&space, "second", &target, &extracting(&entry(&space)));
    let synced = until(
        &space,
        "eso.synced",
        &named("second"),
        "fail",
        "another ExternalSecret owns the Secret",
    );
    let message =
        format!("2 ExternalSecrets create it: {EXTERNAL}, second; the owner is {EXTERNAL}");
    let check = until(&space, TARGET, &secret(EMBEDDINGS), "fail", &message);
    let hint = json!("see docs/checks.md#esotarget");
    assert_eq!((&check["hint"], &synced["hint"]), (&hint, &hint));
    let before = space.object(EMBEDDINGS).unwrap()["metadata"]["uid"].clone();
    space.kubectl(&["delete", "externalsecret", "second"]);
    passes(&space, &check);
    until_healthy(&space);
    assert_eq!(space.object(EMBEDDINGS).unwrap()["metadata"]["uid"], before);
}

#[test]
fn a_secret_that_another_external_secret_owns_is_told_and_given() {
    let space = synced();
    // The operator of the chart has renamed the target, and made another ExternalSecret.
    let kept = space.data(EMBEDDINGS);
    let held = json!({ "target": { "name": "elsewhere", "creationPolicy": "Orphan" } });
    change(&space, EXTERNAL, &held);
    wait("it makes the other", || space.object("elsewhere").is_some());
    let object = SANDBOX.expect("GET", &space.external_secret_path(EXTERNAL), &Value::Null);
    // As it was left: with the owner reference of the first.
    if space.object(EMBEDDINGS).is_none() {
        let reference = json!({ "ownerReferences": [{
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "controller": true,
            "name": EXTERNAL, "uid": object["metadata"]["uid"],
        }] });
        let data: Vec<_> = kept.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        space.create_secret(EMBEDDINGS, &data, &json!({ "metadata": reference }));
    }
    let message = format!("owned by ExternalSecret {EXTERNAL}, which now has another target");
    until(&space, TARGET, &secret(EMBEDDINGS), "fail", &message);
    make(
        &space,
        "renamed",
        &json!({ "name": EMBEDDINGS }),
        &extracting(&entry(&space)),
    );
    let message =
        format!("ExternalSecret renamed should own it, but the owner is ExternalSecret {EXTERNAL}");
    let check = until(&space, TARGET, &secret(EMBEDDINGS), "fail", &message);
    disowned(&space, &check, EMBEDDINGS);
    unmarked(&space, &check, EMBEDDINGS);
    passes(&space, &check);
    until(
        &space,
        TARGET,
        &secret(EMBEDDINGS),
        "pass",
        "owned by ExternalSecret renamed",
    );
}

#[test]
fn a_secret_whose_external_secret_is_gone_is_told_and_kept() {
    let space = synced();
    // The way back, as far as a person went who did not know of the marks.
    let target = json!({ "name": EMBEDDINGS, "creationPolicy": "Orphan" });
    change(&space, EXTERNAL, &json!({ "target": target }));
    wait("the owner reference is gone", || {
        space.object(EMBEDDINGS).unwrap()["metadata"]["ownerReferences"].is_null()
    });
    let only = "created by ExternalSecret agentibrain-embeddings-secrets, without an owner";
    until(&space, TARGET, &secret(EMBEDDINGS), "pass", only);
    space.kubectl(&["delete", "externalsecret", EXTERNAL, "--cascade=orphan"]);
    let message = "it has the marks of an ExternalSecret that does not exist";
    let check = until(&space, TARGET, &secret(EMBEDDINGS), "warn", message);
    let before = space.data(EMBEDDINGS);
    unmarked(&space, &check, EMBEDDINGS);
    assert_eq!(space.data(EMBEDDINGS), before);
    let marks = space.object(EMBEDDINGS).unwrap()["metadata"].to_string();
    assert!(
        !marks.contains("\"reconcile.external-secrets.io/managed\":\""),
        "{marks}"
    );
    let ran = until_healthy(&space);
    assert_eq!(
        checks_of(&ran, TARGET, &secret(EMBEDDINGS)),
        [Value::Null; 0]
    );
}

/// The marks alone point to Path 2.
#[test]
fn an_owner_that_never_was_is_told_and_taken_off() {
    let space = Space::new();
    space.bootstrapped();
    let owner = crate::marks::reference("ExternalSecret", "keeper");
    SANDBOX.expect(
        "PATCH",
        &space.path(AGENTICORE),
        &json!({ "metadata": owner }),
    );
    let message = "owned by ExternalSecret keeper, which does not exist";
    let check = until(&space, TARGET, &secret(AGENTICORE), "fail", message);
    disowned(&space, &check, AGENTICORE);
    let ran = until_healthy(&space);
    assert_eq!(super::path2_ids(&ran), [""; 0]);
}

#[test]
fn a_secret_without_its_owner_reference_is_told_while_it_is_not_given_back() {
    let space = synced();
    // Nobody gives it back while no operator works on it.
    let reserved = json!({ "spec": { "controller": "nobody" } });
    SANDBOX.expect("PATCH", &space.store_path("ClusterSecretStore"), &reserved);
    refreshed_by_nobody(&space);
    strip(&space, EMBEDDINGS, "ownerReferences");
    let message = "is synced and should own it, but does not";
    let check = until(&space, TARGET, &secret(EMBEDDINGS), "fail", message);
    let free = json!({ "spec": { "controller": null } });
    SANDBOX.expect("PATCH", &space.store_path("ClusterSecretStore"), &free);
    mended(&space, &check, &[]);
}

/// Waits until the operator knows that the store is not for it.
fn refreshed_by_nobody(space: &Space) {
    let synced = |name: &str| {
        let object = SANDBOX.expect("GET", &space.external_secret_path(name), &Value::Null);
        object["status"]["syncedResourceVersion"].clone()
    };
    wait("the operator leaves it alone", || {
        let before = synced(EXTERNAL);
        super::refresh(space, EXTERNAL);
        std::thread::sleep(std::time::Duration::from_millis(300));
        synced(EXTERNAL) == before
    });
}

/// The path is empty, so the operator takes nothing over, and says Ready.
#[test]
fn a_secret_that_is_not_taken_over_is_left_to_the_check_that_tells_why() {
    let space = filled();
    space.bootstrapped();
    BAO.put_empty(&entry(&space));
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    extract(&space);
    let message = "does not own it yet: it is not synced";
    until(&space, TARGET, &secret(EMBEDDINGS), "skip", message);
    let check = until(
        &space,
        "eso.synced",
        &named(EXTERNAL),
        "fail",
        "has no fields",
    );
    refilled(&space, &check);
    passes(&space, &check);
    until(&space, TARGET, &secret(EMBEDDINGS), "pass", "owned by");
}
