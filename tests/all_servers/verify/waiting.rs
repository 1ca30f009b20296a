//! `workload.waiting`: pods in CreateContainerConfigError.

use crate::checks::follow;
use crate::readers::{
    about, env, env_from, extend, finding, look, make, pod, runs_long, statuses, with_role,
};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::steps::steps;
use crate::wait::wait;
use crate::workloads::{by_hand, kubelet, name_of_pod, pod_of, started, stick, wait_ready};
use serde_json::{Value, json};

const WAITING: &str = "workload.waiting";

/// A pod that starts when a test calls [`kubelet`].
fn waits(container: Value) -> Value {
    let mut pod = pod(container);
    extend(&mut pod, by_hand(json!({})));
    pod
}

/// Waits until the workload's pod is there, and lets it be stuck.
fn stuck(space: &Space, workload: &str) -> String {
    wait("the pod is there", || pod_of(space, workload).is_some());
    let name = name_of_pod(space, workload);
    assert!(kubelet(space).contains(&name));
    name
}

/// Follows the hint, and plays the node until no pod waits.
#[track_caller]
fn mends(space: &Space, hint: &str, environment: &[(&str, &str)]) {
    follow(space, hint, environment).exits(0);
    nothing_waits(space);
}

/// Recreates a pod by the steps of the hint.
#[track_caller]
fn recreated(space: &Space, pod: &str, hint: &str) {
    let words = [("POD", pod)];
    steps("replace --force", space, hint, &words, &[]).exits(0);
    nothing_waits(space);
}

#[track_caller]
fn nothing_waits(space: &Space) {
    wait("no pod waits", || {
        kubelet(space);
        statuses(&look(space, &[]), WAITING) == ["pass"]
    });
}

#[test]
fn a_secret_that_is_not_there_is_named() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let reader = waits(env_from(&[ROUTER, EMBEDDINGS]));
    make(&space, "StatefulSet", "reader", reader);
    stuck(&space, "statefulsets/reader");
    let ran = look(&space, &[]).exits(1);
    let (status, message, hint) = finding(&space, &ran, WAITING, "Pod/reader-0");
    assert_eq!(status, "fail");
    let why = "CreateContainerConfigError: it waits for Secret embeddings-secrets";
    assert!(message.ends_with(why), "{message}");
    mends(&space, &hint, &INPUTS);
    // Between the old pod and the new one, no pod waits either.
    wait("the pod runs", || {
        kubelet(&space);
        started(&space, "statefulsets/reader").is_some()
    });
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let space = Space::new();
    space.bootstrapped();
    space.remove_key(AGENTICORE, "GITHUB_TOKEN");
    let reader = waits(env("IT", AGENTICORE, "GITHUB_TOKEN", false));
    make(&space, "Pod", "lone", reader.clone());
    make(&space, "Deployment", "reader", reader);
    let pods = [stuck(&space, "deployments/reader"), "lone".to_owned()];
    let ran = look(&space, &[]).exits(1);
    for pod in &pods {
        let (status, message, hint) = finding(&space, &ran, WAITING, &format!("Pod/{pod}"));
        assert_eq!(status, "fail");
        let why = "it waits for GITHUB_TOKEN of Secret agenticore-secrets";
        assert!(message.ends_with(why), "{message}");
        follow(&space, &hint, &[]).exits(0);
    }
    wait("no pod waits", || {
        kubelet(&space);
        statuses(&look(&space, &[]), WAITING) == ["pass"]
    });
    wait_ready(&space, "pods/lone");
}

#[test]
fn a_key_that_no_table_has_is_mended_where_the_pod_comes_from() {
    let space = Space::new();
    space.bootstrapped();
    for (kind, plural) in [
        ("StatefulSet", "statefulsets"),
        ("Deployment", "deployments"),
        ("Pod", "pods"),
    ] {
        let reader = waits(env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKN", false));
        let name = format!("of-{plural}");
        make(&space, kind, &name, reader);
        let name = stuck(&space, &format!("{plural}/{name}"));
        let ran = look(&space, &[]).exits(1);
        let (_, message, hint) = finding(&space, &ran, WAITING, &format!("Pod/{name}"));
        assert!(message.contains("KB_ROUTER_TOKN of Secret"), "{message}");
        let editor = [("EDITOR", "sed -i s/KB_ROUTER_TOKN/KB_ROUTER_TOKEN/")];
        match kind {
            "Deployment" => mends(&space, &hint, &editor),
            "Pod" => {
                let words = [("POD", name.as_str())];
                steps("get pod POD -o yaml >", &space, &hint, &words, &editor).exits(0);
                nothing_waits(&space);
            }
            // It waits for the old pod.
            _ => {
                follow(&space, &hint, &editor).exits(0);
                let ran = look(&space, &[]).exits(1);
                let (.., hint) = finding(&space, &ran, WAITING, &format!("Pod/{name}"));
                mends(&space, &hint, &[]);
            }
        }
    }
}

#[test]
fn what_is_there_by_now_needs_a_new_pod_only() {
    let space = Space::new();
    space.bootstrapped();
    for (kind, plural) in [("StatefulSet", "statefulsets"), ("Pod", "pods")] {
        let name = format!("of-{plural}");
        make(&space, kind, &name, pod(env_from(&[ROUTER])));
        let workload = format!("{plural}/{name}");
        runs_long(&space, &workload);
        let name = name_of_pod(&space, &workload);
        stick(&space, &name, &format!("secret \"{ROUTER}\" not found"));
        let ran = look(&space, &[]).exits(1);
        let (status, message, hint) = finding(&space, &ran, WAITING, &format!("Pod/{name}"));
        assert_eq!(status, "fail");
        assert!(message.ends_with("which exists now"), "{message}");
        assert!(!hint.contains("--apply"), "{hint}");
        match kind {
            "Pod" => recreated(&space, &name, &hint),
            _ => mends(&space, &hint, &[]),
        }
        wait_ready(&space, &workload);
    }
}

#[test]
fn a_pod_that_waits_for_something_else_is_not_our_business() {
    let space = Space::new();
    space.bootstrapped();
    make(&space, "StatefulSet", "reader", pod(env_from(&[ROUTER])));
    runs_long(&space, "statefulsets/reader");
    for message in [
        "configmap \"settings\" not found",
        "secret \"others\" not found",
        "couldn't find key A in ConfigMap there/settings",
    ] {
        make_stuck(&space, "reader-0", message);
        let ran = look(&space, &[]).exits(0);
        assert!(about(&ran, WAITING, "Pod/reader-0").is_empty());
    }
    make_stuck(&space, "reader-0", "in words of another node");
    let ran = look(&space, &[]).exits(1);
    let (status, message, hint) = finding(&space, &ran, WAITING, "Pod/reader-0");
    assert_eq!(status, "fail");
    assert!(
        message.contains("the Secrets that could be read exist"),
        "{message}"
    );
    mends(&space, &hint, &[]);
}

/// Lets a pod that runs be stuck, whatever it was before.
fn make_stuck(space: &Space, pod: &str, message: &str) {
    crate::workloads::run_since(space, pod, &crate::readers::LONG_AGO, true);
    stick(space, pod, message);
}

#[test]
fn the_node_tells_of_a_secret_that_may_not_be_read() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let reader = waits(env("URL", EMBEDDINGS, "POSTGRES_URL", false));
    make(&space, "StatefulSet", "reader", reader);
    stuck(&space, "statefulsets/reader");
    let operator = with_role(&space, &[], |rules| {
        rules[0]["resourceNames"] = json!([ROUTER]);
    });
    let ran = look(&operator, &[]).exits(1);
    let (status, message, hint) = finding(&space, &ran, WAITING, "Pod/reader-0");
    assert_eq!(status, "fail");
    assert!(
        message.ends_with("it waits for Secret embeddings-secrets"),
        "{message}"
    );
    mends(&space, &hint, &INPUTS);
}
