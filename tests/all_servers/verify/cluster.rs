//! `cluster.reachable`, `cluster.version`, `cluster.namespace`; and a cluster where all is well.

use crate::checks::{checks, follow, of, verify};
use crate::sandbox::SANDBOX;
use crate::services::Slot;
use crate::space::{INPUTS, ROUTER, Space};
use crate::stub::{Stub, kubeconfig, reply, sandbox, status, with_kubeconfig};
use crate::wait::wait;
use crate::workloads::{WORKLOADS, install, ports, wait_ready};
use serde_json::{Value, json};
use std::net::TcpListener;

/// The only check with that id, which has to be like this; its namespace is that of the space or
/// none.
#[track_caller]
fn only(space: &Space, id: &str, status: &str, message: &str) -> Value {
    let found = checks(space, id, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["status"], status, "{found:?}");
    assert_eq!(found[0]["message"], message, "{found:?}");
    found[0].clone()
}

fn hint(check: &Value) -> &str {
    check["hint"].as_str().unwrap()
}

/// A server that nothing reaches: checks and an error at once.
fn unreachable(space: &Space, arguments: &[&str], message: &str) -> String {
    let ran = verify(space, arguments).exits(3);
    let json = ran.json();
    assert_eq!(json["ok"], false);
    let why = json["error"]["message"].as_str().unwrap();
    assert!(why.contains(message), "{why}");
    let reachable = of(&ran, "cluster.reachable");
    assert_eq!(reachable.len(), 1);
    assert_eq!(reachable[0]["status"], "fail");
    assert_eq!(reachable[0]["message"], why);
    // What can be seen without the cluster is told all the same.
    for id in ["present", "parsed", "mode", "complete", "ignored"] {
        assert_eq!(of(&ran, &format!("file.{id}")).len(), 1, "{id}");
    }
    assert_eq!(json["checks"].as_array().unwrap().len(), 6);

    let text = space
        .run(&[&["verify"], arguments].concat())
        .exits(3)
        .says(&["[fail] cluster.reachable", "not healthy: 1 failed"]);
    assert!(text.err.contains(why), "{}", text.err);
    hint(&reachable[0]).to_owned()
}

#[test]
fn a_server_that_is_down_is_unreachable() {
    // Bound and given back.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (mut cluster, user) = sandbox();
    let there = kubeconfig(&cluster, &user);
    cluster["server"] = json!(format!("https://127.0.0.1:{port}"));
    let space = with_kubeconfig(Space::new(), &kubeconfig(&cluster, &user));

    let hint = unreachable(&space, &[], &format!("127.0.0.1:{port}"));
    assert_eq!(hint, "kubectl cluster-info");
    assert_ne!(follow(&space, &hint, &[]).code, 0);

    std::fs::write(&space.kubeconfig, there.to_string()).unwrap();
    follow(&space, &hint, &[]).exits(0);
    let (cluster, _) = sandbox();
    let server = cluster["server"].as_str().unwrap();
    let message = format!("the API server {server} answers");
    only(&space, "cluster.reachable", "pass", &message);
}

#[test]
fn a_wrong_kubeconfig_is_unreachable() {
    let space = Space::new();
    let hint = unreachable(&space, &["--kubeconfig", "not there"], "not there");
    assert_eq!(hint, "kubectl --kubeconfig 'not there' cluster-info");
    std::fs::copy(&space.kubeconfig, space.folder.path().join("not there")).unwrap();
    follow(&space, &hint, &[]).exits(0);
    verify(&space, &["--kubeconfig", "not there"]).exits(1);

    let hint = unreachable(&space, &["--context", "none"], "no context \"none\"");
    assert_eq!(hint, "kubectl --context none cluster-info");
    follow(&space, &hint, &[]).exits(1).says(&["none"]);

    let (cluster, _) = sandbox();
    let user = json!({ "token": "of-nobody" });
    let space = with_kubeconfig(Space::new(), &kubeconfig(&cluster, &user));
    unreachable(&space, &[], "does not accept your credentials");
}

#[test]
fn the_version_is_told() {
    let space = Space::new();
    let version = SANDBOX.expect("GET", "/version", &Value::Null)["gitVersion"].clone();
    let message = format!("Kubernetes {}", version.as_str().unwrap());
    only(&space, "cluster.version", "pass", &message);
}

#[test]
fn a_version_that_may_not_be_asked_for_is_no_pass() {
    let stub = Stub::new(|request, _| match request {
        "GET /version" => status(403, "Forbidden", "no"),
        _ if request.contains("/secrets/") => status(404, "NotFound", "not found"),
        _ => reply(200, &json!({ "metadata": {}, "items": [] })),
    });
    let message = "not checked: you may not get /version";
    only(&stub.space(), "cluster.version", "skip", message);
}

#[test]
fn a_namespace_that_does_not_exist_is_made_by_the_hint() {
    let space = Space::without_namespace();
    let name = &space.namespace;
    let message = format!("namespace {name} does not exist");
    let absent = only(&space, "cluster.namespace", "fail", &message);
    assert_eq!(absent["namespace"], *name);
    assert_eq!(absent["object"], format!("Namespace/{name}"));
    verify(&space, &[]).exits(1);
    let made = format!("k8s-bootstrap -n {name} --apply --create-namespace");
    assert_eq!(hint(&absent), made);
    // The other checks lead to the same place.
    for id in ["file.present", "secret.present"] {
        assert_eq!(checks(&space, id, &[])[0]["hint"], made, "{id}");
    }

    follow(&space, hint(&absent), &[]).exits(0);
    let message = format!("namespace {name} exists");
    only(&space, "cluster.namespace", "pass", &message);
    verify(&space, &[]).exits(0);
}

#[test]
fn a_namespace_that_is_being_deleted_is_waited_for_by_the_hint() {
    let space = Space::new();
    let name = &space.namespace;
    space.terminate();
    let message = format!("namespace {name} is being deleted");
    let leaving = only(&space, "cluster.namespace", "fail", &message);
    assert_eq!(leaving["namespace"], *name);
    assert_eq!(leaving["object"], format!("Namespace/{name}"));
    verify(&space, &[]).exits(1);
    for id in ["file.present", "secret.present"] {
        assert_eq!(checks(&space, id, &[])[0]["hint"], leaving["hint"], "{id}");
    }

    std::thread::scope(|scope| {
        let followed = scope.spawn(|| follow(&space, hint(&leaving), &[]));
        let part = format!("metadata.name%3D{name}");
        wait("kubectl waits", || {
            !SANDBOX.audited(&part, "kubectl/").is_empty()
        });
        let path = format!("/api/v1/namespaces/{name}");
        let free = json!({ "metadata": { "finalizers": null } });
        SANDBOX.expect("PATCH", &path, &free);
        followed.join().unwrap().exits(0);
    });
    let message = format!("namespace {name} does not exist");
    let absent = only(&space, "cluster.namespace", "fail", &message);
    follow(&space, hint(&absent), &[]).exits(0);
    let message = format!("namespace {name} exists");
    only(&space, "cluster.namespace", "pass", &message);
    assert_eq!(space.data(ROUTER), space.filed());
    verify(&space, &[]).exits(0);
}

#[test]
fn a_healthy_cluster_has_no_failure_and_says_why_it_skips() {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    let slots = [Slot::take(), Slot::take()];
    install(&space, &ports(slots[0].port(), slots[1].port()));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }

    let ran = verify(&space, &[]).exits(0);
    let json = ran.json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["command"], "verify");
    assert_eq!(json["ok"], true);
    assert_eq!(json["error"], Value::Null);
    for check in json["checks"].as_array().unwrap() {
        let status = check["status"].as_str().unwrap();
        assert!(matches!(status, "pass" | "skip"), "{check}");
        assert_ne!(check["message"], "", "{check}");
        assert_eq!(check["hint"], "", "{check}");
    }
    let skipped: Vec<_> = json["checks"].as_array().unwrap().iter().collect();
    let skipped = skipped.iter().filter(|check| check["status"] == "skip");
    let skipped: Vec<_> = skipped.map(|check| check["id"].as_str().unwrap()).collect();
    let expected = ["tokens.fleet", "live.brain-api", "live.embeddings"];
    assert_eq!(skipped, expected);

    let text = space.run(&["verify"]).exits(0);
    let last = text.out.lines().last().unwrap();
    assert!(last.starts_with("healthy: "), "{last}");
    assert!(last.ends_with(", 3 skipped"), "{last}");
    let short = space.run(&["verify", "--short"]).exits(0);
    assert_eq!(short.out.matches("[skip]").count(), 3, "{}", short.out);
    assert!(!short.out.contains("[ok]"), "{}", short.out);
}
