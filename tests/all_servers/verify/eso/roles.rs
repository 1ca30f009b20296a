//! What `verify` sees of Path 2 with just the Roles that `rbac verify` prints, and what it says
//! where a right is missing.

use super::{
    EXTERNAL, change, checks_of, extract, extracting, filled, follow, ids_with, look, named,
    secret, store, synced, until, with_store,
};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, Ran, Space};
use crate::stub::{kubeconfig, sandbox, with_kubeconfig};
use serde_json::json;

/// A service account of the namespace.
const ACCOUNT: &str = "watcher";

/// The same namespace, seen as a service account with what `rbac verify` prints, without the rules
/// for these resources.
fn watcher(space: &Space, options: &[&str], without: &[&str]) -> Space {
    let path = format!("/api/v1/namespaces/{}/serviceaccounts", space.namespace);
    SANDBOX.expect("POST", &path, &json!({ "metadata": { "name": ACCOUNT } }));
    let token = SANDBOX.expect("POST", &format!("{path}/{ACCOUNT}/token"), &json!({}));
    let user = json!({ "token": token["status"]["token"] });
    let account = format!("{}:{ACCOUNT}", space.namespace);
    let rbac = [
        "rbac",
        "verify",
        "-o",
        "json",
        "--service-account",
        &account,
    ];
    let printed = space.run(&[&rbac[..], options].concat()).exits(0).json();
    let mut objects = printed["objects"].clone();
    for object in objects.as_array_mut().unwrap() {
        if let Some(rules) = object["rules"].as_array_mut() {
            rules.retain(|rule| !without.contains(&rule["resources"][0].as_str().unwrap()));
        }
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let file = space.folder.path().join("roles.json");
    std::fs::write(&file, list.to_string()).unwrap();
    follow(space, "kubectl apply -f roles.json", &[]).exits(0);
    with_kubeconfig(space.other_operator(), &kubeconfig(&sandbox().0, &user))
}

/// Looks until the Role is in force.
fn seen(watcher: &Space) -> Ran {
    until(watcher, "secret.present", &secret(EMBEDDINGS), "pass", "");
    until(watcher, "workload.waiting", "", "pass", "");
    look(watcher)
}

#[test]
fn what_a_role_cannot_give_is_a_skip_and_the_hint_brings_it() {
    let space = synced();
    let watcher = watcher(&space, &[], &[]);
    let ran = seen(&watcher).exits(0);
    assert_eq!(ids_with(&ran, "fail"), [""; 0]);
    let found = checks_of(&ran, "eso.store", &store(&space));
    assert_eq!(found[0]["status"], "skip", "{found:?}");
    let message = "not checked: you may not get clustersecretstores";
    assert_eq!(found[0]["message"], message);
    let hint = found[0]["hint"].as_str().unwrap();
    assert!(hint.contains(" rbac verify --cluster-store "), "{hint}");
    for id in [
        "eso.synced",
        "eso.target",
        "eso.fields",
        "eso.policy",
        "eso.present",
    ] {
        let found = super::of(&ran, id);
        assert!(
            found.iter().all(|check| check["status"] == "pass"),
            "{found:?}"
        );
    }
    let variables = [("NAMESPACE", space.namespace.as_str()), ("NAME", ACCOUNT)];
    follow(&space, hint, &variables).exits(0);
    until(&watcher, "eso.store", &store(&space), "pass", "it is ready");
}

#[test]
fn the_printed_roles_are_enough_to_tell_why() {
    // Its events are in `default`.
    let space = with_store(&BAO.address, "no-token-at-all");
    extract(&space);
    let watching = watcher(&space, &["--cluster-store"], &[]);
    let refused = "the store refuses the operator's credentials";
    until(&watching, "eso.store", &store(&space), "fail", refused);
    until(&watching, "eso.synced", &named(EXTERNAL), "fail", refused);

    let space = synced();
    let nothing = format!("{}/nothing", space.namespace);
    change(&space, EXTERNAL, &extracting(&nothing));
    let watching = watcher(&space, &[], &[]);
    until(
        &watching,
        "eso.synced",
        &named(EXTERNAL),
        "fail",
        "not found in the store",
    );
}

#[test]
fn a_store_of_the_namespace_needs_no_more_than_the_role() {
    for without in [&[][..], &["secretstores"]] {
        let space = filled();
        let token = BAO.token(&space.namespace, &["read"]);
        space.store_at("SecretStore", &BAO.address, &token);
        extract(&space);
        let spec = json!({ "secretStoreRef": { "kind": "SecretStore", "name": space.namespace } });
        change(&space, EXTERNAL, &spec);
        until(&space, "eso.synced", &named(EXTERNAL), "pass", "");
        let watching = watcher(&space, &[], without);
        let of_namespace = format!("SecretStore/{}", space.namespace);
        let (status, message) = match without {
            [] => ("pass", "it is ready".to_owned()),
            _ => {
                let place = &space.namespace;
                ("skip", format!("you may not get secretstores in {place}"))
            }
        };
        let check = until(&watching, "eso.store", &of_namespace, status, &message);
        let hint = check["hint"].as_str().unwrap();
        assert_eq!(hint.contains("rbac verify"), status == "skip");
        assert!(!hint.contains("--cluster-store"), "{hint}");
        // There is no other Secret.
        assert_eq!(ids_with(&seen(&watching), "fail"), ["secret.present"]);
    }
}

/// The failure is seen all the same.
#[test]
fn without_events_a_failure_is_told_without_its_cause() {
    let space = synced();
    let nothing = format!("{}/nothing", space.namespace);
    change(&space, EXTERNAL, &extracting(&nothing));
    until(
        &space,
        "eso.synced",
        &named(EXTERNAL),
        "fail",
        "not found in the store",
    );
    let watching = watcher(&space, &[], &["events"]);
    let message = format!(
        "not ready; the cause is unknown (you may not list events in {})",
        space.namespace
    );
    let check = until(&watching, "eso.synced", &named(EXTERNAL), "fail", &message);
    let hint = format!(
        "kubectl -n {} describe externalsecret {EXTERNAL}",
        space.namespace
    );
    assert_eq!(check["hint"], hint);
    let access = until(&watching, "cluster.access", "", "skip", "list events");
    assert!(access["hint"].as_str().unwrap().contains(" rbac verify "));
}

/// The marks on the Secrets tell that it is Path 2.
#[test]
fn without_external_secrets_everything_is_a_skip() {
    let space = synced();
    let watching = watcher(&space, &[], &["externalsecrets"]);
    let ran = seen(&watching).exits(0);
    let message = format!(
        "not checked: you may not list externalsecrets in {}",
        space.namespace
    );
    for id in [
        "eso.store",
        "eso.present",
        "eso.synced",
        "eso.fields",
        "eso.target",
        "eso.policy",
    ] {
        let found = super::of(&ran, id);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["status"], "skip", "{found:?}");
        assert_eq!(found[0]["message"], message);
        assert!(found[0]["hint"].as_str().unwrap().contains(" rbac verify "));
    }
    assert_eq!(super::of(&ran, "eso.served")[0]["status"], "pass");
}
