//! What a service account may do with just the Roles that `rbac` prints, and what is said where a
//! right is missing.

use crate::account::{bind_printed, bind_rules, log_in, may, rules, with_account};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

#[test]
fn the_printed_role_is_enough_for_apply() {
    let space = with_account();
    bind_printed(&space, "apply");

    let first = space.bootstrapped();
    assert!(!first.err.contains("warning"), "{}", first.err);
    assert_eq!(space.data(ROUTER), space.filed());
    assert_eq!(space.versions().len(), 3);
    let (versions, writes) = (space.versions(), space.writes());
    space.bootstrapped();
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);

    let inputs = [("POSTGRES_URL", "postgres://other"), INPUTS[1]];
    let update = ["--apply", "--update", "POSTGRES_URL"];
    space.run_with(&inputs, &update).exits(0);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], "postgres://other");
}

#[test]
fn the_printed_role_is_enough_for_diff_and_not_for_more() {
    let space = with_account();
    bind_printed(&space, "diff");
    let ran = space.run_with(&INPUTS, &["diff"]).exits(1);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    space.run_with(&INPUTS, &["--apply"]).exits(3);
    assert_eq!(space.versions(), [""; 0]);
    for verb in ["create", "patch", "update", "delete", "list"] {
        assert!(!may(&space, verb, "", "secrets", ROUTER), "{verb}");
    }
}

#[test]
fn the_printed_role_is_enough_for_recover_and_not_for_more() {
    let mut space = with_account();
    let as_account = std::mem::replace(&mut space.kubeconfig, SANDBOX.kubeconfig.clone());
    space.bootstrapped();
    let tokens = space.filed();
    std::fs::remove_file(space.file()).unwrap();

    space.kubeconfig = as_account;
    bind_printed(&space, "recover");
    let ran = space.run(&["tokens", "recover", "--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert_eq!(space.filed(), tokens);
    assert!(!may(&space, "get", "", "secrets", AGENTICORE));
    for verb in ["create", "patch", "update", "delete", "list"] {
        assert!(!may(&space, verb, "", "secrets", ROUTER), "{verb}");
    }
    assert!(!may(&space, "get", "", "namespaces", &space.namespace));
    assert!(!may(
        &space,
        "list",
        "external-secrets.io",
        "externalsecrets",
        ""
    ));
}

#[test]
fn the_role_for_apply_opens_nothing_else() {
    let space = with_account();
    bind_printed(&space, "apply");
    for (verb, group, resource, name) in [
        ("list", "", "secrets", ""),
        ("watch", "", "secrets", ""),
        ("list", "", "secrets", ROUTER),
        ("get", "", "secrets", "another"),
        ("patch", "", "secrets", "another"),
        ("update", "", "secrets", ROUTER),
        ("delete", "", "secrets", ROUTER),
        ("deletecollection", "", "secrets", ""),
        ("get", "external-secrets.io", "externalsecrets", ""),
        ("patch", "external-secrets.io", "externalsecrets", ""),
        ("delete", "", "namespaces", &space.namespace),
        ("get", "", "configmaps", ""),
        ("get", "", "pods", ""),
    ] {
        assert!(
            !may(&space, verb, group, resource, name),
            "may {verb} {resource} {name:?}"
        );
    }
}

/// How the same steps end where the Role has been edited: exit code, and whether there was a warning.
fn steps_with(edit: impl FnOnce(&mut Vec<Value>)) -> [(i32, bool); 3] {
    let space = with_account();
    let mut rules = rules(&space, "apply");
    edit(&mut rules);
    bind_rules(&space, "apply", &rules);
    let run = || {
        let ran = space.run_with(&INPUTS, &["--apply"]);
        (ran.code, ran.err.contains("warning:"))
    };
    let first = run();
    for (name, key) in [
        (ROUTER, "EMBEDDINGS_API_KEY"),
        (EMBEDDINGS, "LLM_API_KEY"),
        (AGENTICORE, "GITHUB_TOKEN"),
    ] {
        if space.object(name).is_some() {
            space.remove_key(name, key);
        }
    }
    let repair = run();
    space.terminate();
    [first, repair, run()]
}

#[test]
fn each_right_in_the_role_for_apply_is_needed() {
    let enough = steps_with(|_| {});
    // The last step meets a namespace that is being deleted.
    assert_eq!(enough, [(0, false), (0, false), (3, false)]);

    for (index, rule) in rules(&Space::without_namespace(), "apply")
        .iter()
        .enumerate()
    {
        for field in ["verbs", "resourceNames"] {
            for entry in 0..rule[field].as_array().map_or(0, Vec::len) {
                let ended = steps_with(|rules| {
                    let entries = rules[index][field].as_array_mut().unwrap();
                    entries.remove(entry);
                    // An empty list of names would mean all of them.
                    if entries.is_empty() {
                        rules.remove(index);
                    }
                });
                assert_ne!(ended, enough, "without {} of {rule}", rule[field][entry]);
            }
        }
    }
}

#[test]
fn who_may_not_read_changes_nothing() {
    let space = with_account();
    space.run_with(&INPUTS, &["--apply"]).exits(3).says(&[
        "403",
        "may not get",
        ROUTER,
        "rbac apply --service-account",
    ]);
    assert!(!space.file().exists());
    assert_eq!(space.writes(), [""; 0]);
    assert_eq!(space.versions(), [""; 0]);
}

#[test]
fn who_may_read_and_not_write_keeps_the_tokens_for_later() {
    let mut space = with_account();
    bind_printed(&space, "diff");
    space.run_with(&INPUTS, &["--apply"]).exits(3).says(&[
        "403",
        "may not create",
        "rbac apply --service-account",
    ]);
    let tokens = space.filed();
    assert_eq!(tokens.len(), 2);
    assert_eq!(space.versions(), [""; 0]);

    space.kubeconfig = SANDBOX.kubeconfig.clone();
    space.bootstrapped();
    assert_eq!(space.filed(), tokens);
    assert_eq!(space.data(ROUTER), tokens);
}

#[test]
fn a_token_that_the_server_does_not_know_is_said() {
    let mut space = Space::new();
    log_in(&mut space, "garbage");
    let ran = space
        .run_with(&INPUTS, &["--apply"])
        .exits(3)
        .says(&["401", "log in again"]);
    assert!(!ran.err.contains("garbage"), "{}", ran.err);
    assert!(!space.file().exists());
    assert_eq!(space.versions(), [""; 0]);
}

#[test]
fn a_right_to_look_that_is_missing_stops_nothing() {
    for (resource, warning) in [
        ("externalsecrets", Some("may not be listed")),
        ("namespaces", None),
    ] {
        let space = with_account();
        let mut rules = rules(&space, "apply");
        rules.retain(|rule| rule["resources"][0] != resource);
        bind_rules(&space, "apply", &rules);
        let ran = space.bootstrapped();
        let warned = ran.err.contains("warning:");
        assert_eq!(warned, warning.is_some(), "{resource}: {}", ran.err);
        ran.says(warning.as_slice());
        assert_eq!(space.versions().len(), 3);
        assert_eq!(space.data(ROUTER), space.filed());
    }
}

/// A policy that lets nobody create the embeddings Secret in this namespace, as long as it lives.
struct Policy<'a>(&'a Space);

impl<'a> Policy<'a> {
    const PATH: &'static str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";

    fn new(space: &'a Space) -> Self {
        let name = format!("deny-{}", space.namespace);
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": { "name": name },
                "spec": spec,
            })
        };
        let policy = object(
            "ValidatingAdmissionPolicy",
            json!({
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                    "operations": ["CREATE"],
                }] },
                "validations": [{ "expression": format!("object.metadata.name != '{EMBEDDINGS}'") }],
            }),
        );
        let here = json!({ "kubernetes.io/metadata.name": space.namespace });
        let binding = object(
            "ValidatingAdmissionPolicyBinding",
            json!({
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": { "namespaceSelector": { "matchLabels": here } },
            }),
        );
        SANDBOX.expect("POST", &format!("{}ies", Self::PATH), &policy);
        SANDBOX.expect("POST", &format!("{}ybindings", Self::PATH), &binding);
        let policy = Self(space);
        wait("the policy is in force", || policy.denies());
        policy
    }

    fn denies(&self) -> bool {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": EMBEDDINGS },
        });
        let path = format!("{}?dryRun=All", self.0.path(""));
        SANDBOX
            .request("POST", &path, "application/json", &secret)
            .0
            >= 400
    }

    fn remove(self) {
        let name = format!("deny-{}", self.0.namespace);
        for kind in ["ybindings", "ies"] {
            let path = format!("{}{kind}/{name}", Self::PATH);
            SANDBOX.expect("DELETE", &path, &Value::Null);
        }
        wait("the policy is gone", || !self.denies());
    }
}

#[test]
fn a_secret_that_is_denied_does_not_hide_behind_the_others() {
    let space = Space::new();
    let policy = Policy::new(&space);

    let ran = space.run_with(&INPUTS, &["--apply", "-o", "json"]).exits(3);
    let document = ran.json();
    assert_eq!(document["ok"], false);
    let error = &document["error"];
    assert!(error["message"].as_str().unwrap().contains("1 of 3"));
    assert!(error["cause"][0].as_str().unwrap().contains(EMBEDDINGS));
    assert_ne!(error["hint"], "");
    for (secret, (name, action)) in document["secrets"].as_array().unwrap().iter().zip([
        (ROUTER, "created"),
        (EMBEDDINGS, "failed"),
        (AGENTICORE, "created"),
    ]) {
        assert_eq!(secret["name"], name);
        assert_eq!(secret["action"], action, "{name}");
        assert_eq!(secret["reason"].is_string(), action == "failed", "{name}");
    }
    let tokens = space.filed();
    assert_eq!(space.data(ROUTER), tokens);
    assert!(space.object(AGENTICORE).is_some());
    assert_eq!(space.object(EMBEDDINGS), None);

    policy.remove();
    space.bootstrapped();
    assert_eq!(space.filed(), tokens);
    assert_eq!(space.data(ROUTER), tokens);
    let key = &space.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"];
    assert_eq!(*key, tokens["EMBEDDINGS_API_KEY"]);
}
