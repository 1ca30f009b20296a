//! What keeps a rotation from going on: who still holds the old token, who has it elsewhere, and
//! what does not roll out. Each is told, and mended, and then the rotation ends.

use super::kubelet::{Containers, Kubelet};
use super::scene::Scene;
use crate::sandbox::SANDBOX;
use crate::space::{Data, EMBEDDINGS, ROUTER, Ran, Space};
use crate::wait::wait;
use crate::workloads::{
    BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS, agent_pod, by_hand, install, kubelet, pod_of, stick,
    wait_ready,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;

const ROTATE: [&str; 4] = ["rotate", "--reloader-grace", "0", "--apply"];
const STATUS: [&str; 2] = ["rotate", "--status"];
const OPS: &str = "brain-ops-secrets";

fn rotate(space: &Space, more: &[&str]) -> Ran {
    space.run(&[&ROTATE, more].concat())
}

fn router_token(space: &Space) -> String {
    space.data(ROUTER)["KB_ROUTER_TOKEN"].clone()
}

/// Holds that a rotation is over, and gives the new router token.
#[track_caller]
fn is_over(space: &Space, before: &str) -> String {
    space.run(&STATUS).exits(0).says(&["no rotation is open"]);
    let data = space.data(ROUTER);
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["EMBEDDINGS_API_KEY", "KB_ROUTER_TOKEN"]);
    assert_eq!(space.filed(), data);
    let lists = space.data(EMBEDDINGS);
    assert_eq!(lists["EMBEDDINGS_API_KEYS"], data["EMBEDDINGS_API_KEY"]);
    assert!(data["KB_ROUTER_TOKEN"] != before, "another token");
    data["KB_ROUTER_TOKEN"].clone()
}

/// A pod that nothing makes again.
fn lonely(space: &Space) -> String {
    agent_pod(space, "lonely");
    wait_ready(space, "pods/lonely");
    format!("Pod {}/lonely (KB_ROUTER_TOKEN)", space.namespace)
}

fn delete(space: &Space, pod: &str) {
    space.kubectl(&["delete", "pod", pod, "--wait=true"]);
}

#[test]
fn a_pod_from_before_the_switch_holds_the_gate_until_it_is_gone() {
    let mut scene = Scene::new(&[]);
    let named = lonely(&scene.home);
    let held = scene.run(&ROTATE).exits(1);
    held.says(&[&named, "replace --force", "rotate --continue --apply"]);
    let new = scene.served();
    let both = |scene: &Scene| {
        scene.accepted(&scene.first);
        scene.accepted(&new);
        assert!(scene.served() == new, "clients have the new one");
    };
    assert!(new.router != scene.first.router, "clients have the new one");
    both(&scene);
    let status = scene.run(&STATUS).exits(0);
    let told = format!("still on the old token: {named}");
    status.says(&["in switch since", &told]);

    // Nor does the next run pass by it, or one in a machine's words.
    let again = scene.run(&[&ROTATE[..], &["-o", "json"]].concat()).exits(1);
    let document = again.json();
    assert_eq!(document["outcome"], "held");
    let mut holders = document["holders"].as_array().unwrap().iter();
    assert!(
        holders.any(|one| one["object"] == "Pod/lonely"),
        "{document}"
    );
    both(&scene);

    delete(&scene.home, "lonely");
    scene.run(&ROTATE).exits(0);
    assert!(is_over(&scene.home, &scene.first.router) == new.router);
    scene.is_plain(&new);
    scene.accepted(&new);
    scene.refused(&scene.first);
    scene.load.stop().assert_no_refusal();
}

#[test]
fn who_says_so_closes_although_a_pod_still_holds_the_old_token() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    let named = lonely(&space);
    rotate(&space, &[]).exits(1).says(&[&named]);
    rotate(&space, &["--close-anyway"]).exits(0);
    is_over(&space, &before);
}

#[test]
fn a_pod_that_got_the_new_token_holds_the_way_back() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    rotate(&space, &["--until", "switch"]).exits(0);
    // Its second is to be another than that of the switch.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let named = lonely(&space);
    rotate(&space, &["--abort"]).exits(1).says(&[&named]);
    assert_eq!(router_token(&space), before);
    let told = format!("still on the new token: {named}");
    space.run(&STATUS).exits(0).says(&["in back since", &told]);
    delete(&space, "lonely");
    rotate(&space, &[]).exits(0).says(&["back to the old"]);
    space.run(&STATUS).exits(0).says(&["no rotation is open"]);
    assert_eq!(router_token(&space), before);
    assert_eq!(space.filed(), space.data(ROUTER));
}

#[test]
fn a_known_copy_holds_the_gate() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    space.create_secret(OPS, &[("KB_ROUTER_TOKEN", &before)], &json!({}));
    let named = format!("Secret {}/{OPS} (KB_ROUTER_TOKEN)", space.namespace);
    rotate(&space, &[]).exits(1).says(&[&named]);
    space.run(&STATUS).exits(0).says(&["in switch", &named]);
    let new = router_token(&space);
    space.set_keys(OPS, &[("KB_ROUTER_TOKEN", &new)], "kubectl-edit");
    rotate(&space, &[]).exits(0);
    assert_eq!(is_over(&space, &before), new);
}

#[test]
fn a_named_copy_holds_the_gate() {
    let (space, elsewhere) = (Space::new(), Space::new());
    space.bootstrapped();
    let before = router_token(&space);
    // On a list, under a name of its own.
    let list = format!("the-token-of-somebody-else,{before}");
    elsewhere.create_secret("mine", &[("TOKENS", &list)], &json!({}));
    let copy = format!("{}/mine", elsewhere.namespace);
    let more = ["--copy", copy.as_str()];
    let named = format!("Secret {copy} (TOKENS)");
    rotate(&space, &more).exits(1).says(&[&named]);
    let status = space.run(&[&STATUS[..], &more].concat()).exits(0);
    status.says(&["in switch", &named]);
    let new = router_token(&space);
    elsewhere.set_keys("mine", &[("TOKENS", &new)], "kubectl-edit");
    rotate(&space, &more).exits(0);
    assert_eq!(is_over(&space, &before), new);
}

#[test]
fn a_namespace_outside_the_selection_is_refused_before_anything_is_written() {
    let (space, outside) = (Space::new(), Space::new());
    space.bootstrapped();
    let before = router_token(&space);
    let flag = ["--fleet-namespace", outside.namespace.as_str()];
    space.run(&[&["--apply"], &flag[..]].concat()).exits(0);
    let untouched = || {
        let file = std::fs::read(space.file()).unwrap();
        let writes = [&space, &outside].map(|one| (one.writes().len(), one.versions()));
        (writes, file)
    };
    let all = untouched();
    let told = format!("add {}", flag.join(" "));
    rotate(&space, &[]).exits(1).says(&[&told]);
    // The preview says so too.
    space.run(&["rotate"]).exits(1).says(&[&told]);
    assert_eq!(untouched(), all);

    rotate(&space, &flag).exits(0);
    let new = is_over(&space, &before);
    assert_eq!(router_token(&outside), new);
}

#[test]
fn a_rollout_without_room_for_its_pod_is_told_and_carried_on() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    install(&space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }
    let quotas = format!("/api/v1/namespaces/{}/resourcequotas", space.namespace);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
        "spec": { "hard": { "pods": "0" } },
    });
    SANDBOX.expect("POST", &quotas, &quota);
    let one = format!("{quotas}/none");
    wait("the quota counts", || {
        let quota = SANDBOX.expect("GET", &one, &Value::Null);
        quota["status"]["hard"]["pods"] == "0"
    });
    let ran = rotate(&space, &["--timeout", "5s"]).exits(3);
    ran.says(&[
        "a ResourceQuota prevents",
        "stays in open",
        "rotate --continue --apply",
    ]);
    assert_eq!(router_token(&space), before, "clients are left alone");
    let waits = format!("waits for StatefulSet {}/agentibrain-", space.namespace);
    space.run(&STATUS).exits(0).says(&["in open since", &waits]);
    SANDBOX.expect("DELETE", &one, &Value::Null);
    rotate(&space, &[]).exits(0);
    is_over(&space, &before);
}

/// Nothing.
struct Nothing;

impl Containers for Nothing {
    fn start(self: &Arc<Self>, _: &Space, _: &Value, _: &Data) {}
    fn end(&self, _: &str) {}
}

#[test]
fn a_pod_that_cannot_start_is_told_and_carried_on() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    install(&space, &by_hand(json!({})));
    wait("all run", || {
        kubelet(&space);
        let ready = |workload: &&str| {
            let object =
                space.kubectl(&["get", workload, "-o", "jsonpath={.status.readyReplicas}"]);
            object == "1"
        };
        WORKLOADS.iter().all(ready)
    });
    let short = ["--timeout", "5s"];
    rotate(&space, &short).exits(3).says(&["stays in open"]);
    for workload in [BRAIN_API, EMBEDDINGS_SERVICE] {
        let pod = pod_of(&space, workload).expect("a pod");
        let name = pod["metadata"]["name"].as_str().unwrap();
        stick(&space, name, "secret \"of-a-test\" not found");
    }
    let ran = rotate(&space, &short).exits(3);
    ran.says(&[
        "main waits for Secret of-a-test",
        "stays in open",
        "delete pod agentibrain-brain-api-0 --wait=false",
    ]);
    let waits = format!("waits for StatefulSet {}/agentibrain-", space.namespace);
    space.run(&STATUS).exits(0).says(&["in open since", &waits]);
    assert_eq!(router_token(&space), before, "clients are left alone");
    let _kubelet = Kubelet::start(&space, &Arc::new(Nothing));
    rotate(&space, &[]).exits(0);
    is_over(&space, &before);
}

#[test]
fn restarts_by_hand_are_waited_for() {
    let space = Space::new();
    space.bootstrapped();
    let before = router_token(&space);
    install(&space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }
    let mut command = space.command(&[], &[&ROTATE[..], &["--no-restart"]].concat());
    let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut story, mut commands) = (String::new(), Vec::new());
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while lines.read_line(&mut story).unwrap() > 0 {
        let line = story.lines().last().unwrap();
        if let Some((_, line)) = line.split_once("restart it: ") {
            commands.push(line.to_owned());
            // At once, as a script would.
            let ran = Ran::from(space.shell(line).output().unwrap());
            assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        }
    }
    lines.read_to_string(&mut story).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{story}");
    let count = |name: &str| commands.iter().filter(|line| line.ends_with(name)).count();
    let counts = [BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS[2]];
    let counts = counts.map(|workload| count(workload.split_once('/').unwrap().1));
    assert_eq!(counts, [3, 2, 1], "{story}");
    assert!(commands.iter().all(|line| line.contains("rollout restart")));
    is_over(&space, &before);
}
