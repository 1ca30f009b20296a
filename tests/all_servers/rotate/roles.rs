//! A rotation with just the Role that `rbac rotate` prints.

use crate::account::{bind_printed, bind_rules, rules, with_account};
use crate::sandbox::SANDBOX;
use crate::space::{INPUTS, ROUTER, Space};
use crate::workloads::{WORKLOADS, install, wait_ready};
use serde_json::{Value, json};

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
