//! A rotation with just the Role that `rbac rotate` prints.

use crate::account::{bind_printed, bind_rules, rules, with_account};
use crate::sandbox::SANDBOX;
use crate::space::{INPUTS, ROUTER, Space};
use crate::wait::wait;
use crate::workloads::{WORKLOADS, install, wait_ready};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn brain() -> (Space, Space) {
    let account = with_account();
    let admin = Space {
        kubeconfig: SANDBOX.kubeconfig.clone(),
        ..account.other_operator()
    };
    admin.run_with(&INPUTS, &["--apply"]).exits(0);
    std::fs::create_dir_all(account.folder.path().join("local")).unwrap();
    std::fs::copy(admin.file(), account.file()).unwrap();
    install(&admin, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&admin, workload);
    }
    (account, admin)
}

#[test]
fn the_printed_role_is_enough_for_a_rotation() {
    let (account, admin) = brain();
    let before = admin.data(ROUTER);
    bind_printed(&account, "rotate --live");
    let words = ["rotate", "--reloader-grace", "0", "--apply"];
    let ran = account.run(&words).exits(0);
    // It may neither list Secrets nor look into other namespaces, and that is said before.
    let ran = ran.says(&[
        "not seen: other namespaces",
        "not seen: copies of the tokens",
    ]);
    assert!(!ran.err.contains("you may not forward"), "{}", ran.err);
    assert_ne!(admin.data(ROUTER), before);
    assert_eq!(account.filed(), admin.data(ROUTER));
}

#[test]
fn a_port_forward_that_is_forbidden_is_said_and_no_failure() {
    let (account, admin) = brain();
    bind_printed(&account, "rotate");
    let words = ["rotate", "--reloader-grace", "0", "--apply"];
    let ran = account.run(&words).exits(0);
    ran.says(&["not proven", "you may not forward ports there"]);
    assert_eq!(account.filed(), admin.data(ROUTER));
}

#[test]
fn a_port_forward_needs_the_right_to_create_as_well() {
    let (account, _) = brain();
    let mut rules = rules(&account, "rotate --live");
    for rule in &mut rules {
        if rule["resources"] == json!(["pods/portforward"]) {
            rule["verbs"] = json!(["get"]);
        }
    }
    bind_rules(&account, "rotate --live", &rules);
    let ran = account.run(&["rotate", "--reloader-grace", "0", "--apply"]);
    ran.exits(0)
        .says(&["not proven", "you may not forward ports there"]);
}

#[test]
fn who_may_not_see_the_pods_begins_nothing() {
    let (account, admin) = brain();
    let before = admin.data(ROUTER);
    bind_printed(&account, "apply");
    let ran = account.run(&["rotate", "--apply"]).exits(3);
    ran.says(&["you may not list pods", "rbac rotate"]);
    assert_eq!(admin.data(ROUTER), before);
    assert_eq!(
        admin.object(ROUTER).unwrap()["metadata"]["annotations"]["k8s-bootstrap/rotation"],
        Value::Null
    );
}

/// The right is taken away while the servers roll out, and they never become ready.
#[test]
fn a_right_that_is_lost_in_a_rollout_ends_the_run_before_the_switch() {
    let (account, admin) = brain();
    let before = admin.data(ROUTER);
    bind_printed(&account, "rotate --live");
    // Nobody gets a pod any more.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
        "spec": { "hard": { "pods": "0" } },
    });
    let path = format!("/api/v1/namespaces/{}/resourcequotas", account.namespace);
    SANDBOX.expect("POST", &path, &quota);
    wait("the quota is in force", || {
        let quota = SANDBOX.expect("GET", &format!("{path}/none"), &Value::Null);
        quota["status"]["hard"]["pods"] == "0"
    });
    let words = [
        "rotate",
        "--reloader-grace",
        "0",
        "--timeout",
        "60s",
        "--apply",
    ];
    let mut child = account
        .command(&[], &words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rules = rules(&account, "rotate --live");
    for rule in &mut rules {
        let resources = rule["resources"].as_array_mut().unwrap();
        resources.retain(|resource| resource != "statefulsets");
    }
    let mut story = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(": restarting") && !story.contains(": restarting") {
            bind_rules(&account, "rotate --live", &rules);
        }
        story.push_str(&line);
        story.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(3), "{story}");
    assert!(story.contains("you may not list statefulsets"), "{story}");
    assert!(story.contains("the rotation stays in open"), "{story}");
    assert!(!story.contains("rolled out,"), "{story}");
    let now = admin.data(ROUTER);
    assert_eq!(now["KB_ROUTER_TOKEN"], before["KB_ROUTER_TOKEN"]);
}
