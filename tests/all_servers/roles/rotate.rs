//! That each right in the Role for a rotation is used.

use crate::account::{
    ACCOUNT, bind_printed, bind_rules, log_in, may, may_in, objects, rules, unused, with_account,
};
use crate::migrate::Mover;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use crate::workloads::{BRAIN_API, WORKLOADS, install, ports, wait_ready};
use serde_json::{Value, json};

const GROUP: &str = "external-secrets.io";
/// Secrets that are known to hold copies, and one that the operator names.
const COPIES: [&str; 3] = ["agentibrain-mcp-secrets", "brain-ops-secrets", "ops"];
const ALONE: [&str; 3] = ["rotate", "--reloader-grace", "0"];

/// `rbac rotate` with all that the steps use.
fn command(space: &Space) -> String {
    format!("rotate --live --copy {}/{}", space.namespace, COPIES[2])
}

#[test]
fn each_right_in_the_role_for_rotate_is_used() {
    let account = with_account();
    let admin = Space {
        kubeconfig: SANDBOX.kubeconfig.clone(),
        ..account.other_operator()
    };
    admin.run_with(&INPUTS, &["--apply"]).exits(0);
    let tokens = admin.filed();
    for name in COPIES {
        let copy = [("KB_ROUTER_TOKEN", tokens["KB_ROUTER_TOKEN"].as_str())];
        admin.create_secret(name, &copy, &json!({}));
    }
    std::fs::create_dir_all(account.folder.path().join("local")).unwrap();
    std::fs::copy(admin.file(), account.file()).unwrap();
    // Nobody is there to answer.
    install(&admin, &ports(1, 1));
    for workload in WORKLOADS {
        wait_ready(&admin, workload);
    }
    bind_printed(&account, &command(&account));

    let copy = format!("{}/{}", account.namespace, COPIES[2]);
    let copy = ["--copy", copy.as_str()];
    let run = |more: &[&str]| account.run(&[&ALONE[..], more, &copy].concat());
    // Nobody answers, and that is not for want of a right.
    let opened = run(&["--until", "open", "--apply"]).exits(0);
    assert!(
        !opened.err.contains("gave no answer (you"),
        "{}",
        opened.err
    );
    let copies = COPIES.map(|name| format!("Secret {}/{name}", account.namespace));
    let copies = copies.each_ref().map(String::as_str);
    run(&["--status"]).exits(0).says(&copies);
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
    let switch = ["--until", "switch", "--timeout", "8s", "--apply"];
    run(&switch).exits(3).says(&["a ResourceQuota prevents"]);
    account.terminate();
    run(&["--status"]).exits(3).says(&["is being deleted"]);

    let role = &objects(&account, &command(&account))[0];
    let name = format!("{}:{ACCOUNT}", account.namespace);
    let mut unused = unused(&name, role);
    unused.retain(|right| right.rule["apiGroups"][0] != GROUP);
    // The server asks for it itself where a port is forwarded, and does not audit that.
    unused.retain(|right| {
        right.rule["resources"][0] != "pods/portforward" || right.entry != "create"
    });
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn each_right_in_the_role_for_rotate_on_path_2_is_used() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let mut account = Mover {
        space: mover.space.other_operator(),
        token: mover.token.clone(),
    };
    let space = &mut account.space;
    let token = space.service_account(ACCOUNT);
    std::fs::create_dir_all(space.folder.path().join("local")).unwrap();
    std::fs::copy(mover.space.file(), space.file()).unwrap();
    let objects = objects(space, "rotate --cluster-store");
    log_in(space, &token);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(space.folder.path().join("roles.json"), list.to_string()).unwrap();
    let mut kubectl = space.shell("kubectl apply -f roles.json");
    kubectl.env("KUBECONFIG", &SANDBOX.kubeconfig);
    Ran::from(kubectl.output().unwrap()).exits(0);
    let name = format!("{}:{}", space.namespace, ACCOUNT);
    wait("the ClusterRole is in force", || {
        may_in("", &name, ["get", GROUP, "clustersecretstores", ""])
    });
    account.run(&[&ALONE[..], &["--apply"]].concat()).exits(0);
    let kept = format!("{:?}", mover.space.data(ROUTER).keys());
    assert!(!kept.contains("NEXT"), "{kept}");

    for object in &objects {
        let mut unused = unused(&name, object);
        // A store of the namespace is another's matter: this one is of the cluster.
        unused.retain(|right| {
            right.rule["apiGroups"][0] == GROUP && right.rule["resources"][0] != "secretstores"
        });
        assert!(unused.is_empty(), "{unused:#?}");
    }
}

/// The tokens file keeps to what the cluster has until the server has taken the first write.
#[test]
fn a_leak_is_met_again_where_the_first_write_was_forbidden() {
    let space = with_account();
    let admin = Space {
        kubeconfig: SANDBOX.kubeconfig.clone(),
        ..space.other_operator()
    };
    admin.run_with(&INPUTS, &["--apply"]).exits(0);
    let before = admin.data(ROUTER);
    std::fs::create_dir_all(space.folder.path().join("local")).unwrap();
    std::fs::copy(admin.file(), space.file()).unwrap();
    let rules = rules(&space, "rotate");
    let mut reading = rules.clone();
    for rule in reading
        .iter_mut()
        .filter(|rule| rule["resources"] == json!(["secrets"]))
    {
        let verbs = rule["verbs"].as_array_mut().unwrap();
        verbs.retain(|verb| verb != "patch");
    }
    assert_ne!(reading, rules);
    bind_rules(&space, "rotate", &reading);
    let leak = ["rotate", "--immediate", "--apply"];
    for _ in 0..2 {
        space.run(&leak).exits(3).says(&["may not patch"]);
        assert_eq!(admin.data(ROUTER), before);
    }
    let filed = space.filed();
    for (key, value) in &before {
        assert_eq!(filed[key], *value, "{key}");
    }
    bind_rules(&space, "rotate", &rules);
    wait("the Role is in force", || {
        may(&space, "patch", "", "secrets", ROUTER)
    });
    space.run(&leak).exits(0);
    let after = admin.data(ROUTER);
    for (key, value) in &before {
        assert_ne!(after[key], *value, "{key}");
    }
    assert_eq!(space.filed(), after);
}

#[test]
fn the_role_for_rotate_opens_nothing_else() {
    let space = with_account();
    bind_printed(&space, "rotate --live");
    for (verb, group, resource, name) in [
        ("list", "", "secrets", ""),
        ("create", "", "secrets", ""),
        ("update", "", "secrets", ROUTER),
        ("delete", "", "secrets", ROUTER),
        ("get", "", "secrets", "agenticore-secrets"),
        ("patch", "", "secrets", COPIES[0]),
        ("get", "", "secrets", "another"),
        ("delete", "", "pods", ""),
        ("create", "", "pods", ""),
        ("create", "", "pods/exec", "agentibrain-brain-api-0"),
        ("create", "", "pods/portforward", "agents-0"),
        ("create", "apps", "deployments", ""),
        ("delete", "apps", "statefulsets", BRAIN_API),
        ("patch", "batch", "cronjobs", ""),
        ("patch", GROUP, "externalsecrets", "another"),
        ("delete", GROUP, "externalsecrets", ""),
    ] {
        let may = may(&space, verb, group, resource, name);
        assert!(!may, "may {verb} {resource} {name:?}");
    }
    assert!(may(&space, "patch", "", "secrets", EMBEDDINGS));
}
