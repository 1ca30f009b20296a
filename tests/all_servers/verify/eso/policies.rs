//! `eso.policy`: what the policies of an ExternalSecret lead to on a bad day.

use super::{
    EXTERNAL, change, checks_of, entry, extracting, filled, make, named, passes, steps, synced,
    until, until_healthy,
};
use crate::path2::BAO;
use crate::space::{EMBEDDINGS, Space};
use serde_json::json;

const POLICY: &str = "eso.policy";

#[test]
fn a_deletion_policy_that_clears_the_secret_is_a_trap() {
    for (policy, what) in [
        (
            "Delete",
            "deletionPolicy Delete: deleting the store entry deletes the Secret",
        ),
        (
            "Merge",
            "deletionPolicy Merge: deleting a field in the store deletes the key in the Secret",
        ),
    ] {
        let space = synced();
        let target = json!({ "name": EMBEDDINGS, "deletionPolicy": policy });
        change(&space, EXTERNAL, &json!({ "target": target }));
        let check = until(&space, POLICY, &named(EXTERNAL), "warn", what);
        steps("deletionPolicy", &space, &check, &[("NAME", EXTERNAL)], &[]);
        passes(&space, &check);
        until_healthy(&space);
    }
}

#[test]
fn a_secret_that_no_change_reaches_is_a_trap() {
    for (spec, what) in [
        (json!({ "refreshInterval": "0" }), "refreshInterval 0: "),
        (
            json!({ "refreshPolicy": "CreatedOnce" }),
            "refreshPolicy CreatedOnce: ",
        ),
        (
            json!({ "refreshPolicy": "OnChange" }),
            "refreshPolicy OnChange: ",
        ),
    ] {
        let space = synced();
        change(&space, EXTERNAL, &spec);
        let message = format!("{what}a change in the store does not reach the Secret");
        let check = until(&space, POLICY, &named(EXTERNAL), "warn", &message);
        steps("refreshPolicy", &space, &check, &[("NAME", EXTERNAL)], &[]);
        passes(&space, &check);
    }
}

/// A namespace with one ExternalSecret of this policy, beside the plain Secret or without.
fn of_policy(policy: &str, plain: bool) -> Space {
    let space = filled();
    if plain {
        space.bootstrapped();
    }
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    let target = json!({ "name": EMBEDDINGS, "creationPolicy": policy });
    make(&space, EXTERNAL, &target, &extracting(&entry(&space)));
    until(&space, "eso.operator", "", "pass", "");
    space
}

#[test]
fn an_external_secret_that_never_writes_is_a_trap() {
    let message = "creationPolicy None: Ready, but the operator never creates the Secret";
    let space = of_policy("None", false);
    let check = until(&space, POLICY, &named(EXTERNAL), "fail", message);
    steps("creationPolicy", &space, &check, &[("NAME", EXTERNAL)], &[]);
    passes(&space, &check);
    let message = "creationPolicy None: Ready, but the operator never writes the Secret";
    let space = of_policy("None", true);
    let check = until(&space, POLICY, &named(EXTERNAL), "warn", message);
    steps("creationPolicy", &space, &check, &[("NAME", EXTERNAL)], &[]);
    passes(&space, &check);
}

#[test]
fn what_holds_no_trap_is_told_and_passes() {
    for (policy, what) in [
        ("Owner", "deleted with the ExternalSecret"),
        (
            "Orphan",
            "the Secret is kept if the store entry or the ExternalSecret is deleted",
        ),
        ("Merge", "it adds keys to an existing Secret"),
    ] {
        let space = of_policy(policy, true);
        until(&space, POLICY, &named(EXTERNAL), "pass", what);
        let ran = until_healthy(&space);
        let synced = checks_of(&ran, "eso.synced", &named(EXTERNAL));
        assert_eq!(synced[0]["status"], "pass", "{policy}: {}", ran.out);
    }
}
