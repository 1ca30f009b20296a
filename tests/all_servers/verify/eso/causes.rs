//! `eso.synced` and `eso.fields`: the store answers, and has not what is asked for.

use super::{
    EXTERNAL, change, checks_of, entry, extracting, filled, make, named, passes, refilled, refresh,
    secret, steps, synced, until, until_healthy, verify_with_store,
};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

const SYNCED: &str = "eso.synced";

#[test]
fn a_path_that_is_missing_is_filled_from_the_live_secret() {
    let space = synced();
    let before = space.data(EMBEDDINGS);
    BAO.forget(&entry(&space));
    refresh(&space, EXTERNAL);
    let message = format!("entry {} not found in the store", entry(&space));
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", &message);
    refilled(&space, &check);
    passes(&space, &check);
    assert_eq!(BAO.fields(&entry(&space)), before);
    assert_eq!(space.data(EMBEDDINGS), before);
    until_healthy(&space);
}

/// Fills the entry from inputs by the steps, after which the check passes.
#[track_caller]
fn filled_from_inputs(space: &Space, check: &Value) {
    let words = [("PREFIX", space.namespace.as_str())];
    steps("--prefix PREFIX --apply", space, check, &words, &[]);
    passes(space, check);
}

#[test]
fn a_path_that_is_missing_is_filled_from_inputs_where_there_is_no_secret() {
    let space = filled();
    BAO.forget(&entry(&space));
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    space.extract(EXTERNAL, EMBEDDINGS, &entry(&space));
    let check = until(
        &space,
        SYNCED,
        &named(EXTERNAL),
        "fail",
        "not found in the store",
    );
    filled_from_inputs(&space, &check);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], INPUTS[0].1);
}

#[test]
fn an_entry_whose_newest_version_is_deleted_is_missing() {
    let space = synced();
    let path = format!("secret/data/{}", entry(&space));
    BAO.expect("DELETE", &path, &json!(null));
    refresh(&space, EXTERNAL);
    let check = until(
        &space,
        SYNCED,
        &named(EXTERNAL),
        "fail",
        "not found in the store",
    );
    refilled(&space, &check);
    passes(&space, &check);
}

/// The operator says Ready all the same.
#[test]
fn an_empty_path_is_a_failure_although_ready_says_true() {
    let space = synced();
    let before = space.data(EMBEDDINGS);
    BAO.put_empty(&entry(&space));
    refresh(&space, EXTERNAL);
    let message = "in the store has no fields: the ExternalSecret is Ready";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    let path = space.external_secret_path(EXTERNAL);
    let object = SANDBOX.expect("GET", &path, &json!(null));
    assert_eq!(object["status"]["conditions"][0]["status"], "True");
    refilled(&space, &check);
    passes(&space, &check);
    assert_eq!(BAO.fields(&entry(&space)), before);
}

#[test]
fn a_path_elsewhere_is_given_to_populate() {
    let space = synced();
    let elsewhere = format!("{}/team/of-embeddings", space.namespace);
    change(&space, EXTERNAL, &extracting(&elsewhere));
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", &elsewhere);
    let prefix = format!("{} --path embeddings={elsewhere}", space.namespace);
    steps(
        "--from-cluster",
        &space,
        &check,
        &[("PREFIX", &prefix)],
        &[],
    );
    passes(&space, &check);
    assert_eq!(BAO.fields(&elsewhere), space.data(EMBEDDINGS));
    // The entries of the others are where they were.
    until_healthy(&space);
}

/// A path that the policy does not have is refused, not missing.
#[test]
fn a_path_that_the_policy_lacks_is_told_from_a_token_that_is_none() {
    let space = synced();
    let outside = format!("outside-{}/embeddings", space.namespace);
    BAO.put(&outside, &[("POSTGRES_URL", INPUTS[0].1)]);
    let complete = space.data(EMBEDDINGS);
    let fields: Vec<_> = complete
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&outside, &fields);
    change(&space, EXTERNAL, &extracting(&outside));
    let message = "the path is wrong, or its policy lacks it";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    // The store is well.
    let stores = checks_of(&super::look(&space), "eso.store", &super::store(&space));
    assert_eq!(stores[0]["status"], "pass", "{stores:?}");
    let policy = format!("{}-read", space.namespace);
    let words = [
        ("POLICY", policy.as_str()),
        ("MOUNT", "secret"),
        ("PATH", &outside),
    ];
    steps("bao policy read", &space, &check, &words, &[]);
    passes(&space, &check);
    // What it could read before it can still.
    refresh(&space, super::EXTERNALS[0].0);
    until_healthy(&space);
}

#[test]
fn a_field_that_is_missing_is_named_and_added() {
    let space = synced();
    let field = |key: &str, property: &str| json!({ "secretKey": key, "remoteRef": { "key": entry(&space), "property": property } });
    let names: Vec<_> = space.data(EMBEDDINGS).into_keys().collect();
    let mut data: Vec<_> = names.iter().map(|name| field(name, name)).collect();
    data.push(field("ADDED", "ADDED"));
    change(&space, EXTERNAL, &json!({ "data": data, "dataFrom": null }));
    let message = "field ADDED not found in its store entry";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    let brought = "a-key-of-a-client-that-is-long-enough";
    let entry = entry(&space);
    let words = [
        ("MOUNT", "secret"),
        ("PATH", entry.as_str()),
        ("FIELD", "ADDED"),
    ];
    steps(
        "bao kv patch",
        &space,
        &check,
        &words,
        &[("VALUE", brought)],
    );
    passes(&space, &check);
    wait("it is there", || {
        space.data(EMBEDDINGS).contains_key("ADDED")
    });
    assert_eq!(space.data(EMBEDDINGS)["ADDED"], brought);
}

#[test]
fn the_fields_that_the_bundle_lacks_are_named() {
    let space = filled();
    let mut fields = BAO.fields(&entry(&space));
    for name in ["LOG_LEVEL", "POSTGRES_URL"] {
        fields.remove(name).unwrap();
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&entry(&space), &fields);
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    space.extract(EXTERNAL, EMBEDDINGS, &entry(&space));
    let message = "2 of 6 fields missing: POSTGRES_URL, LOG_LEVEL";
    let check = until(&space, "eso.fields", &secret(EMBEDDINGS), "fail", message);
    let there = verify_with_store(&space, &[]);
    let there = checks_of(&there, "store.fields", &secret(EMBEDDINGS));
    let message = "2 of 6 fields missing in the store: POSTGRES_URL, LOG_LEVEL";
    assert_eq!(there[0]["message"], message);
    assert_eq!(there[0]["hint"], check["hint"]);
    refilled(&space, &check);
    passes(&space, &check);
    let data = space.data(EMBEDDINGS);
    assert_eq!(
        (&*data["LOG_LEVEL"], &*data["POSTGRES_URL"]),
        ("INFO", INPUTS[0].1)
    );
}

/// It would not only add them: the entry has none of what the token is, so the token's own is taken.
#[test]
fn a_bundle_without_a_token_gets_the_one_of_the_tokens_file() {
    let space = filled();
    let router = format!("{}/router", space.namespace);
    let tokens = space.filed();
    BAO.put(&router, &[("KB_ROUTER_TOKEN", &tokens["KB_ROUTER_TOKEN"])]);
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    space.extract(super::EXTERNALS[0].0, ROUTER, &router);
    let message = "1 of 2 fields missing: EMBEDDINGS_API_KEY";
    let check = until(&space, "eso.fields", &secret(ROUTER), "fail", message);
    refilled(&space, &check);
    passes(&space, &check);
    assert_eq!(space.data(ROUTER), tokens);
}

/// With that policy the operator deletes the Secret, and says Ready.
#[test]
fn a_secret_that_the_operator_has_deleted_is_a_failure() {
    let space = synced();
    let target = json!({ "name": EMBEDDINGS, "deletionPolicy": "Delete" });
    change(&space, EXTERNAL, &json!({ "target": target }));
    BAO.forget(&entry(&space));
    refresh(&space, EXTERNAL);
    let message = "is Ready, and the operator has deleted the Secret";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    assert_eq!(space.object(EMBEDDINGS), None);
    filled_from_inputs(&space, &check);
    assert!(space.object(EMBEDDINGS).is_some());
}

#[test]
fn an_external_secret_that_can_add_to_nothing_is_a_failure() {
    let space = filled();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    let target = json!({ "name": EMBEDDINGS, "creationPolicy": "Merge" });
    make(&space, EXTERNAL, &target, &extracting(&entry(&space)));
    let message = "the Secret that it adds to does not exist";
    let check = until(&space, SYNCED, &named(EXTERNAL), "fail", message);
    let words = [("NAME", EXTERNAL)];
    steps("creationPolicy", &space, &check, &words, &[]);
    passes(&space, &check);
    assert!(space.object(EMBEDDINGS).is_some());
}
