//! What a service account does in a fleet with just the Roles that `rbac` prints.

use super::{Fleet, action_in};
use crate::account::{ACCOUNT, log_in, may_in};
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER, Ran};
use crate::wait::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The ClusterRoles that `rbac` prints have one name for the whole cluster.
static CLUSTER_ROLES: Mutex<()> = Mutex::new(());

/// Makes the program run as a service account of home, which has no right yet.
fn as_account(fleet: &mut Fleet) {
    let token = fleet.home.service_account(ACCOUNT);
    log_in(&mut fleet.home, &token);
}

/// Tells whether the account may do that; without a namespace, in all of them.
fn may(fleet: &Fleet, namespace: &str, rule: &Value) -> bool {
    let text = |field: &str| rule[field][0].as_str().unwrap_or_default();
    let account = format!("{}:{ACCOUNT}", fleet.home.namespace);
    let right = ["verbs", "apiGroups", "resources", "resourceNames"].map(text);
    may_in(namespace, &account, right)
}

/// What `rbac` prints with these arguments, as objects.
fn printed(fleet: &Fleet, arguments: &[&str]) -> Vec<Value> {
    let account = format!("{}:{ACCOUNT}", fleet.home.namespace);
    let of_account = ["rbac", "--service-account", &account, "-o", "json"];
    let ran = fleet.home.run(&[&of_account, arguments].concat()).exits(0);
    ran.json()["objects"].as_array().unwrap().clone()
}

/// Applies the objects, and waits until the server goes by each Role.
fn bind(fleet: &Fleet, objects: &[Value]) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let path = fleet.home.folder.path().join("roles.json");
    std::fs::write(&path, list.to_string()).unwrap();
    let output = Command::new("kubectl")
        .env("PATH", &SANDBOX.path)
        .env("KUBECONFIG", &SANDBOX.kubeconfig)
        .args(["apply", "-f"])
        .arg(path)
        .output();
    Ran::from(output.unwrap()).exits(0);
    for object in objects {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if let Some(rule) = object["rules"].as_array().and_then(|rules| rules.last()) {
            wait("the Role is in force", || may(fleet, namespace, rule));
        }
    }
}

/// The arguments that name the members.
fn names(fleet: &Fleet) -> Vec<&str> {
    let members = fleet.members.iter();
    members
        .flat_map(|member| ["--fleet-namespace", member.namespace.as_str()])
        .collect()
}

/// Fails where the account may do more in all namespaces than a fleet needs.
#[track_caller]
fn may_no_more(fleet: &Fleet, namespace: &str) {
    for (verb, resource, name) in [
        ("get", "secrets", EMBEDDINGS),
        ("list", "secrets", ""),
        ("watch", "secrets", ""),
        ("list", "secrets", EMBEDDINGS),
        ("patch", "secrets", EMBEDDINGS),
        ("update", "secrets", ROUTER),
        ("delete", "secrets", ROUTER),
        ("create", "namespaces", ""),
        ("delete", "namespaces", ""),
        ("list", "pods", ""),
    ] {
        let rule = json!({
            "apiGroups": [""], "resources": [resource], "verbs": [verb], "resourceNames": [name],
        });
        assert!(
            !may(fleet, namespace, &rule),
            "may {verb} {resource} {name}"
        );
    }
}

#[test]
fn the_printed_roles_are_enough_for_named_namespaces() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    bind(
        &fleet,
        &printed(&fleet, &[&["diff"], &names(&fleet)[..]].concat()),
    );
    let ran = fleet.named(&["diff"]).exits(1);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.named(&["--apply"]).exits(3);
    assert!(fleet.versions().is_empty());

    bind(
        &fleet,
        &printed(&fleet, &[&["apply"], &names(&fleet)[..]].concat()),
    );
    let ran = fleet.named(&["--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.is_complete();
    let member = &fleet.members[0];
    member.remove_key(ROUTER, "EMBEDDINGS_API_KEY");
    fleet.named(&["diff"]).exits(1);
    fleet.named(&["--apply"]).exits(0);
    fleet.is_complete();
    fleet.named(&["diff"]).exits(0);
    may_no_more(&fleet, &member.namespace);
}

#[test]
fn a_namespace_that_is_named_twice_has_one_role() {
    let fleet = Fleet::new(1);
    let twice = [names(&fleet), names(&fleet)].concat();
    let objects = printed(&fleet, &twice);
    let unique: BTreeSet<_> = objects.iter().map(Value::to_string).collect();
    assert_eq!(objects.len(), unique.len(), "{objects:#?}");
    assert_eq!(unique.len(), 4);
}

#[test]
fn the_printed_roles_are_enough_for_selected_namespaces() {
    let _alone = CLUSTER_ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let selector = fleet.selector();
    let selector = ["--fleet-selector", &selector];
    bind(
        &fleet,
        &printed(&fleet, &[&["diff"], &selector[..]].concat()),
    );
    let ran = fleet.selected(&["diff"]).exits(1);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.selected(&["--apply"]).exits(3);
    assert!(fleet.versions().is_empty());

    bind(
        &fleet,
        &printed(&fleet, &[&["apply"], &selector[..]].concat()),
    );
    let ran = fleet.selected(&["--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.is_complete();
    let member = &fleet.members[0];
    member.remove_key(ROUTER, "EMBEDDINGS_API_KEY");
    fleet.selected(&["diff"]).exits(1);
    fleet.selected(&["--apply"]).exits(0);
    fleet.is_complete();
    fleet.selected(&["diff"]).exits(0);
    may_no_more(&fleet, "");
    may_no_more(&fleet, &member.namespace);
}

#[test]
fn two_installations_in_a_cluster_keep_their_rights() {
    let _alone = CLUSTER_ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleets = [Fleet::new(1), Fleet::new(1)];
    for fleet in &mut fleets {
        as_account(fleet);
        let selector = fleet.selector();
        bind(fleet, &printed(fleet, &["--fleet-selector", &selector]));
    }
    // What the second has applied took nothing from the first.
    std::thread::sleep(std::time::Duration::from_millis(500));
    for fleet in &fleets {
        fleet.selected(&["--apply"]).exits(0);
        fleet.is_complete();
    }
}

#[test]
fn where_secrets_may_not_be_listed_everywhere_each_namespace_is_read() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let mut objects = printed(&fleet, &names(&fleet));
    let name = format!("lists-namespaces-{}", fleet.home.namespace);
    let subject = json!({
        "kind": "ServiceAccount", "name": ACCOUNT, "namespace": fleet.home.namespace,
    });
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"] }],
    }));
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [subject],
    }));
    bind(&fleet, &objects);
    fleet.selected(&["--apply"]).exits(0);
    fleet.is_complete();
    let versions = fleet.versions();
    fleet.selected(&["--apply"]).exits(0);
    fleet.named(&["--apply"]).exits(0);
    assert_eq!(fleet.versions(), versions);
    fleet.selected(&["diff"]).exits(0);
}

#[test]
fn who_may_not_list_namespaces_is_told_so() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    bind(&fleet, &printed(&fleet, &names(&fleet)));
    for command in ["--apply", "diff"] {
        fleet.selected(&[command]).exits(3).says(&[
            "namespaces may not be listed",
            "--fleet-selector",
            "--fleet-namespace",
        ]);
    }
    fleet.is_untouched();
}

#[test]
fn who_may_not_write_in_one_namespace_finishes_the_others() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let [allowed, denied] = [0, 1].map(|index| fleet.members[index].namespace.as_str());
    bind(
        &fleet,
        &printed(&fleet, &["apply", "--fleet-namespace", allowed]),
    );
    bind(
        &fleet,
        &printed(&fleet, &["diff", "--fleet-namespace", denied]),
    );
    let ran = fleet.named(&["--apply", "-o", "json"]).exits(3);
    let ran = ran.says(&[denied, "may not create"]);
    assert_eq!(action_in(&ran, &fleet.home), "created");
    assert_eq!(action_in(&ran, &fleet.members[0]), "created");
    assert_eq!(action_in(&ran, &fleet.members[1]), "failed");
    // The command of the hint gives the right that is missing, if it names the namespace.
    let hint = ran.json()["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("rbac apply"), "{hint}");
    assert!(
        hint.contains(&format!("--fleet-namespace {denied}")),
        "{hint}"
    );
}
