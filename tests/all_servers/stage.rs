//! The stage on which other tests play: the chart, its pods, and the services behind them.

use crate::sandbox::SANDBOX;
use crate::services::{Kind, Service, Slot};
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use crate::workloads::{
    AGENTS, BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS, agent_pod, agents, by_hand, environment_of,
    install, kubelet, name_of_pod, pod_of, ports, restart, run_since, started, stick, wait_ready,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A `kubectl port-forward` to a pod. It ends when this is dropped.
struct Forward {
    kubectl: Child,
    /// kubectl would end without it.
    _output: BufReader<ChildStdout>,
    port: u16,
}

impl Forward {
    fn to(space: &Space, workload: &str, port: u16) -> Self {
        let mut kubectl = Command::new("kubectl")
            .env("PATH", &SANDBOX.path)
            .env("KUBECONFIG", &SANDBOX.kubeconfig)
            .args(["-n", &space.namespace, "port-forward"])
            .args(["--address=127.0.0.1"])
            .args([
                format!("pod/{}", name_of_pod(space, workload)),
                format!(":{port}"),
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(kubectl.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // Forwarding from 127.0.0.1:PORT -> PORT
        let after = line
            .split("127.0.0.1:")
            .nth(1)
            .unwrap_or_else(|| panic!("{line:?}"));
        let port = after.split(' ').next().unwrap().parse().unwrap();
        Self {
            kubectl,
            _output: output,
            port,
        }
    }

    /// The status of the answer to a request, 0 where there is none.
    fn request(&self, line: &str, token: Option<&str>, body: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).unwrap();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: it\r\n{}Content-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len()
        )
        .unwrap();
        let mut start = Vec::new();
        // kubectl may reset the connection where nobody answers.
        let _ = (&stream).take(12).read_to_end(&mut start);
        let start = String::from_utf8(start).unwrap();
        start
            .split(' ')
            .nth(1)
            .map_or(0, |code| code.parse().unwrap())
    }

    fn feed(&self, token: &str) -> u16 {
        self.request("GET /feed", Some(token), "")
    }

    fn embed(&self, key: &str) -> u16 {
        self.request("POST /embed", Some(key), "{}")
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.kubectl.kill().unwrap();
        self.kubectl.wait().unwrap();
    }
}

#[test]
fn a_forward_to_a_pod_of_the_chart_reaches_its_service() {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    let tokens = space.filed();
    let slots = [Slot::take(), Slot::take()];
    install(&space, &ports(slots[0].port(), slots[1].port()));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }

    let [slot, other_slot] = slots;
    let (port, other_port) = (slot.port(), other_slot.port());
    let brain_api = Service::of(slot, Kind::BrainApi, &space, BRAIN_API);
    let forward = Forward::to(&space, BRAIN_API, port);
    assert_eq!(forward.feed(&tokens["KB_ROUTER_TOKEN"]), 200);
    assert_eq!(forward.feed("another"), 401);
    assert_eq!(forward.request("GET /feed", None, ""), 401);
    assert_eq!(forward.request("GET /", Some("another"), ""), 404);
    let counts = [200, 401, 404].map(|status| brain_api.answered(status));
    assert_eq!((counts, brain_api.answers()), ([1, 2, 1], 4));

    // A pod that has not started again knows nothing of a new token; the next one does.
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", "second, third")], "test");
    assert_eq!(forward.feed("third"), 401);
    let before = started(&space, BRAIN_API).unwrap();
    restart(&space, BRAIN_API);
    wait_ready(&space, BRAIN_API);
    assert_ne!(started(&space, BRAIN_API).unwrap().0, before.0);
    let forward = Forward::to(&space, BRAIN_API, port);
    assert_eq!(forward.feed("third"), 200);
    assert_eq!(forward.feed("second, third"), 401);
    // The list is stronger than the single one.
    assert_eq!(forward.feed(&tokens["KB_ROUTER_TOKEN"]), 401);
    brain_api.restart_with([].into());
    assert_eq!(forward.feed("third"), 200);
    brain_api.stop();
    assert_eq!(forward.feed("third"), 0);

    let environment = environment_of(&space, EMBEDDINGS_SERVICE).unwrap();
    let embeddings = Service::start(other_slot, Kind::Embeddings, environment);
    let forward = Forward::to(&space, EMBEDDINGS_SERVICE, other_port);
    let key = &tokens["EMBEDDINGS_API_KEY"];
    assert_eq!([forward.embed(key), forward.embed("another")], [422, 401]);
    assert_eq!(forward.request("GET /embed", Some(key), ""), 404);
    embeddings.restart_with([("API_KEYS".into(), String::new())].into());
    assert_eq!(forward.embed("another"), 422);
}

#[test]
fn pods_wait_for_the_secrets_as_under_a_kubelet() {
    let space = Space::new();
    install(&space, &by_hand(json!({})));
    let pods = WORKLOADS.map(|workload| {
        wait("the pod is there", || pod_of(&space, workload).is_some());
        name_of_pod(&space, workload)
    });
    assert_eq!(kubelet(&space), pods);
    let pod = pod_of(&space, EMBEDDINGS_SERVICE).unwrap();
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "CreateContainerConfigError");
    assert_eq!(
        waiting["message"],
        format!("secret \"{EMBEDDINGS}\" not found")
    );
    assert_eq!(pod["status"]["phase"], "Pending");

    let key = ("EMBEDDINGS_API_KEY", "a-key-that-was-here-before");
    space.create_secret(ROUTER, &[key], &Value::Null);
    assert_eq!(kubelet(&space), pods[1..]);
    wait_ready(&space, BRAIN_API);

    space.bootstrapped();
    assert_eq!(kubelet(&space), [""; 0]);
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }
}

#[test]
fn a_pod_that_has_run_can_be_stuck_or_unready_and_stays_so() {
    let space = Space::new();
    agent_pod(&space, "lone");
    agents(&space);
    for workload in ["pods/lone", AGENTS] {
        wait_ready(&space, workload);
        assert_eq!(environment_of(&space, workload), Ok([].into()));
    }
    space.create_secret(ROUTER, &[("KB_ROUTER_TOKEN", "first")], &Value::Null);
    let environment = [("KB_ROUTER_TOKEN".into(), "first".into())].into();
    assert_eq!(environment_of(&space, AGENTS), Ok(environment));
    let at = "2026-01-02T03:04:05Z";
    run_since(&space, "lone", at, false);
    let name = name_of_pod(&space, AGENTS);
    let message = format!(
        "couldn't find key KB_ROUTER_TOKEN in Secret {}/{ROUTER}",
        space.namespace
    );
    stick(&space, &name, &message);
    // Whatever kwok did on a later pod, it has done on these before.
    agent_pod(&space, "later");
    wait_ready(&space, "pods/later");
    assert_eq!(started(&space, "pods/lone").unwrap().1, at);
    assert_eq!(started(&space, AGENTS), None);
    let pod = pod_of(&space, AGENTS).unwrap();
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["message"], message);

    // A template that has changed replaces it.
    restart(&space, AGENTS);
    wait_ready(&space, AGENTS);
    assert!(started(&space, AGENTS).is_some());
}
