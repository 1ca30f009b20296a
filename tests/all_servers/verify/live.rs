//! `live.*`: whom the two services let in, asked through a port-forward.

use crate::checks::{follow, of};
use crate::readers::{
    LONG_AGO, ago, changed_at, env, env_from, extend, finding, look, make, pod, runs_since,
    statuses, with_role,
};
use crate::services::{Kind, Service, Slot};
use crate::space::{Data, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::steps::steps;
use crate::wait::wait;
use crate::workloads::{by_hand, kubelet, pod_of, wait_ready};
use serde_json::{Value, json};

/// One of the two services, as it is on the stage.
struct Server {
    id: &'static str,
    name: &'static str,
    workload: &'static str,
    object: &'static str,
    kind: Kind,
}

const BRAIN_API: Server = Server {
    id: "live.brain-api",
    name: "agentibrain-brain-api",
    workload: "statefulsets/agentibrain-brain-api",
    object: "StatefulSet/agentibrain-brain-api",
    kind: Kind::BrainApi,
};
const EMBED: Server = Server {
    id: "live.embeddings",
    name: "agentibrain-embeddings",
    workload: "statefulsets/agentibrain-embeddings",
    object: "StatefulSet/agentibrain-embeddings",
    kind: Kind::Embeddings,
};

impl Server {
    /// Makes its StatefulSet, whose pod has run since then, and starts it with what the pod got.
    fn start(&self, space: &Space, mut container: Value, since: &str) -> Service {
        let slot = Slot::take();
        let port = json!({ "ports": [{ "containerPort": slot.port() }] });
        extend(&mut container, port);
        make(space, "StatefulSet", self.name, pod(container));
        wait_ready(space, self.workload);
        runs_since(space, self.workload, since);
        Service::of(slot, self.kind, space, self.workload)
    }

    /// It fails for this reason; gives the hint.
    #[track_caller]
    fn fails(&self, space: &Space, parts: &[&str]) -> String {
        let ran = look(space, &["--live"]).exits(1);
        let (status, message, hint) = finding(space, &ran, self.id, self.object);
        assert_eq!(status, "fail");
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
        hint
    }

    /// It lets the right token in and no other.
    #[track_caller]
    fn passes(&self, space: &Space) {
        let ran = look(space, &["--live"]);
        let (status, message, _) = finding(space, &ran, self.id, self.object);
        assert_eq!(status, "pass", "{message}");
    }

    /// Follows the hint, and waits until there is another pod that runs.
    #[track_caller]
    fn restarts(&self, space: &Space, hint: &str) {
        let uid = || pod_of(space, self.workload).map(|pod| pod["metadata"]["uid"].clone());
        let before = uid();
        let ran = match hint.starts_with("see ") {
            true => steps("rollout restart statefulset", space, hint, &[], &[]),
            false => follow(space, hint, &INPUTS),
        };
        ran.exits(0);
        wait("there is another pod", || {
            let now = uid();
            now.is_some() && now != before
        });
        wait_ready(space, self.workload);
    }
}

fn token() -> Value {
    env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", true)
}

#[test]
fn the_right_token_is_let_in_and_no_other() {
    let space = Space::new();
    let apply = ["--apply"];
    space.run_with(&INPUTS, &apply).exits(0);
    let brain_api = BRAIN_API.start(&space, env_from(&[ROUTER]), &ago(0));
    let embeddings = EMBED.start(&space, env_from(&[EMBEDDINGS]), &ago(0));
    let ran = look(&space, &["--live"]).exits(0);
    for (server, message) in [
        (BRAIN_API, "the right token gets 200, a wrong one 401"),
        (EMBED, "the right token gets 422, a wrong one 401"),
    ] {
        let (status, said, _) = finding(&space, &ran, server.id, server.object);
        assert_eq!((status.as_str(), said.as_str()), ("pass", message));
    }
    let counts = [200, 401].map(|status| brain_api.answered(status));
    assert_eq!((counts, brain_api.answers()), ([1, 1], 2));
    let counts = [422, 401].map(|status| embeddings.answered(status));
    assert_eq!((counts, embeddings.answers()), ([1, 1], 2));

    let ran = look(&space, &[]).exits(0);
    for server in [BRAIN_API, EMBED] {
        assert_eq!(statuses(&ran, server.id), ["skip"]);
        assert_eq!(
            of(&ran, server.id)[0]["message"],
            "not probed without --live"
        );
    }
    assert_eq!(brain_api.answers(), 2);
}

#[test]
fn a_door_is_open_where_the_pod_spec_has_no_token() {
    let space = Space::new();
    space.bootstrapped();
    let _service = BRAIN_API.start(&space, json!({}), &LONG_AGO);
    let why = [
        "a wrong token is accepted (200)",
        "no KB_ROUTER_TOKENS or KB_ROUTER_TOKEN in the pod spec",
    ];
    let hint = BRAIN_API.fails(&space, &why);
    BRAIN_API.restarts(&space, &hint);
    BRAIN_API.passes(&space);
}

#[test]
fn a_door_is_open_where_the_pod_is_older_than_the_key() {
    let space = Space::new();
    let _service = BRAIN_API.start(&space, token(), &LONG_AGO);
    space.bootstrapped();
    let hint = BRAIN_API.fails(&space, &["200", "is accepted", "older than", ROUTER]);
    let restart = "rollout restart statefulset/agentibrain-brain-api";
    assert_eq!(hint, format!("kubectl -n {} {restart}", space.namespace));
    BRAIN_API.restarts(&space, &hint);
    BRAIN_API.passes(&space);
}

#[test]
fn the_documented_secret_leaves_the_door_of_embeddings_open() {
    let space = Space::new();
    space.documented();
    let _service = EMBED.start(&space, env_from(&[EMBEDDINGS]), &ago(0));
    let why = ["a wrong token is accepted (422)", "no API_KEYS"];
    let hint = EMBED.fails(&space, &why);
    let namespace = &space.namespace;
    let apply = format!("k8s-bootstrap -n {namespace} --apply");
    assert_eq!(hint, apply);
    follow(&space, &hint, &[]).exits(0);
    let hint = EMBED.fails(&space, &["a wrong token is accepted (422)"]);
    let restart = "rollout restart statefulset/agentibrain-embeddings";
    assert_eq!(hint, format!("kubectl -n {namespace} {restart}"));
    EMBED.restarts(&space, &hint);
    EMBED.passes(&space);
}

#[test]
fn the_right_token_is_refused_by_a_pod_that_is_older() {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    let _service = BRAIN_API.start(&space, env_from(&[ROUTER]), &LONG_AGO);
    let new = "a-token-that-the-pod-does-not-know-yet";
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKEN", new)], "test");
    let hint = BRAIN_API.fails(&space, &["the right token is rejected (401)", "older than"]);
    BRAIN_API.restarts(&space, &hint);
    BRAIN_API.passes(&space);
}

#[test]
fn the_right_token_is_refused_by_a_pod_that_has_another() {
    let space = Space::new();
    space.bootstrapped();
    changed_at(&space, ROUTER, &ago(48 * 3600));
    let other = json!({ "env": [{ "name": "KB_ROUTER_TOKEN", "value": "of-the-spec" }] });
    let _service = BRAIN_API.start(&space, other, &LONG_AGO);
    let hint = BRAIN_API.fails(
        &space,
        &["is rejected (401)", "does not take its tokens from"],
    );
    BRAIN_API.restarts(&space, &hint);
    BRAIN_API.passes(&space);
}

#[test]
fn a_list_in_the_secret_that_lacks_the_token_refuses_it() {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    space.set_keys(
        EMBEDDINGS,
        &[("API_KEYS", "a-key-of-somebody-else")],
        "k8s-bootstrap",
    );
    changed_at(&space, EMBEDDINGS, &ago(48 * 3600));
    let _service = EMBED.start(&space, env_from(&[EMBEDDINGS]), &LONG_AGO);
    let hint = EMBED.fails(&space, &["is rejected (401)", "API_KEYS", "not in list"]);
    follow(&space, &hint, &[]).exits(0);
    let hint = EMBED.fails(&space, &["is rejected (401)", "older than"]);
    EMBED.restarts(&space, &hint);
    EMBED.passes(&space);
    assert!(space.data(EMBEDDINGS)["API_KEYS"].contains("a-key-of-somebody-else"));
}

#[test]
fn a_service_that_has_stopped_does_not_answer() {
    let space = Space::new();
    space.bootstrapped();
    let service = BRAIN_API.start(&space, env_from(&[ROUTER]), &LONG_AGO);
    service.stop();
    let hint = BRAIN_API.fails(&space, &["no answer: nothing listens on that port"]);
    BRAIN_API.restarts(&space, &hint);
    service.restart_with(Data::new());
    BRAIN_API.passes(&space);
}

#[test]
fn a_service_that_is_scaled_to_nothing_has_no_pod() {
    let space = Space::new();
    space.bootstrapped();
    let _service = BRAIN_API.start(&space, env_from(&[ROUTER]), &LONG_AGO);
    space.kubectl(&["scale", "statefulset", BRAIN_API.name, "--replicas=0"]);
    wait("the pod is gone", || {
        pod_of(&space, BRAIN_API.workload).is_none()
    });
    let hint = BRAIN_API.fails(&space, &["pod agentibrain-brain-api-0 not found"]);
    let scale = "scale statefulset/agentibrain-brain-api --replicas=1";
    assert_eq!(hint, format!("kubectl -n {} {scale}", space.namespace));
    BRAIN_API.restarts(&space, &hint);
    BRAIN_API.passes(&space);
}

#[test]
fn a_pod_that_waits_for_its_secret_does_not_answer() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let slot = Slot::take();
    let mut container = env_from(&[EMBEDDINGS]);
    extend(
        &mut container,
        json!({ "ports": [{ "containerPort": slot.port() }] }),
    );
    let mut pod = pod(container);
    extend(&mut pod, by_hand(json!({})));
    make(&space, "StatefulSet", EMBED.name, pod);
    wait("the pod is there", || {
        pod_of(&space, EMBED.workload).is_some()
    });
    kubelet(&space);
    let hint = EMBED.fails(&space, &["no answer", "workload.waiting"]);
    let documented = format!("{hint} --without-api-keys");
    follow(&space, &documented, &INPUTS).exits(0);
    wait("its pod runs", || {
        kubelet(&space);
        pod_of(&space, EMBED.workload).is_some_and(|pod| pod["status"]["phase"] == "Running")
    });
    let _service = Service::of(slot, EMBED.kind, &space, EMBED.workload);
    // It answers, and its door is open.
    let hint = EMBED.fails(&space, &["a wrong token is accepted (422)"]);
    follow(&space, &hint, &[]).exits(0);
}

#[test]
fn a_service_without_a_port_is_not_asked() {
    let space = Space::new();
    space.bootstrapped();
    let container = env_from(&[ROUTER]);
    make(&space, "StatefulSet", BRAIN_API.name, pod(container));
    let ran = look(&space, &["--live"]).exits(0);
    let (status, message, _) = finding(&space, &ran, BRAIN_API.id, BRAIN_API.object);
    assert_eq!(status, "skip");
    assert!(message.contains("name no port"), "{message}");
}

#[test]
fn where_it_is_forbidden_nobody_is_asked() {
    let space = Space::new();
    space.bootstrapped();
    let service = BRAIN_API.start(&space, env_from(&[ROUTER]), &ago(0));
    let ask = |space: &Space| {
        let ran = look(space, &["--live"]);
        let (status, message, hint) = finding(space, &ran, BRAIN_API.id, BRAIN_API.object);
        if status == "skip" {
            assert!(
                message.contains("get and create pods/portforward"),
                "{message}"
            );
        }
        (status, hint)
    };
    let operator = with_role(&space, &[], |_| {});
    assert_eq!(ask(&operator).0, "skip");
    let operator = with_role(&space, &["--live"], |rules| {
        let mut rules = rules.iter_mut();
        let rule = rules.find(|rule| rule["resources"] == json!(["pods/portforward"]));
        rule.unwrap()["verbs"] = json!(["get"]);
    });
    let (status, hint) = ask(&operator);
    assert_eq!((status.as_str(), service.answers()), ("skip", 0));
    let account = [("NAMESPACE", space.namespace.as_str()), ("NAME", "reader")];
    follow(&space, &hint, &account).exits(0);
    wait("it is permitted", || ask(&operator).0 == "pass");
    assert_eq!(service.answers(), 2);
}

#[test]
fn without_the_right_token_only_a_wrong_one_is_tried() {
    let space = Space::new();
    space.bootstrapped();
    let service = BRAIN_API.start(&space, env_from(&[ROUTER]), &ago(0));
    let operator = with_role(&space, &["--live"], |rules| {
        rules[0]["resourceNames"] = json!([EMBEDDINGS]);
    });
    let ran = look(&operator, &["--live"]);
    let (status, message, hint) = finding(&space, &ran, BRAIN_API.id, BRAIN_API.object);
    assert_eq!(status, "skip");
    assert!(
        message.contains(&format!("get secrets/{ROUTER}")),
        "{message}"
    );
    assert_eq!([401, 200].map(|status| service.answered(status)), [1, 0]);
    let account = [("NAMESPACE", space.namespace.as_str()), ("NAME", "reader")];
    follow(&space, &hint, &account).exits(0);
    wait("it is permitted", || {
        let ran = look(&operator, &["--live"]);
        finding(&space, &ran, BRAIN_API.id, BRAIN_API.object).0 == "pass"
    });
    assert_eq!(service.answered(200), 1);
}
