//! What reads the Secrets: the workloads of a chart, and the pods of agents. Nothing runs in their
//! containers; who wants an answer from one starts a [`crate::services::Service`].

use crate::sandbox::SANDBOX;
use crate::space::{Data, ROUTER, Ran, Space};
use crate::wait::wait;
use serde_json::{Value, json};
use std::process::Command;

/// The workloads of the chart, as kubectl names them.
pub const BRAIN_API: &str = "statefulsets/agentibrain-brain-api";
/// See [`BRAIN_API`].
pub const EMBEDDINGS_SERVICE: &str = "statefulsets/agentibrain-embeddings";
/// See [`BRAIN_API`].
pub const KEEPER: &str = "statefulsets/brain-keeper";
/// Those of the chart.
pub const WORKLOADS: [&str; 3] = [BRAIN_API, EMBEDDINGS_SERVICE, KEEPER];
/// What [`agents`] makes.
pub const AGENTS: &str = "deployments/agents";

/// Pods with this scheduler wait for [`kubelet`], or for another that [`bind`]s them.
pub const BY_HAND: &str = "of-the-test";

/// The chart's values that let a port-forward to the pods reach services at these ports.
pub fn ports(brain_api: u16, embeddings: u16) -> Value {
    json!({ "workloads": {
        "agentibrain-brain-api": { "port": brain_api },
        "agentibrain-embeddings": { "port": embeddings },
    }})
}

/// The same, and the pods start as a kubelet would let them: when a test calls [`kubelet`].
pub fn by_hand(mut values: Value) -> Value {
    values["schedulerName"] = json!(BY_HAND);
    values
}

/// Installs the chart, which makes no Secret and waits for nothing.
pub fn install(space: &Space, values: &Value) {
    let file = space.folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let output = Command::new("helm")
        .env("PATH", &SANDBOX.path)
        .env("HOME", space.folder.path())
        .env("KUBECONFIG", &SANDBOX.kubeconfig)
        .args(["-n", &space.namespace, "install", "brain"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/all_servers/chart"
        ))
        .arg("-f")
        .arg(&file)
        .output()
        .unwrap();
    Ran::from(output).exits(0);
}

/// Makes a Deployment of one agent pod, which reads a token that may be absent.
pub fn agents(space: &Space) {
    deploy(space, &json!({}), agent());
}

/// The same for Reloader; the pods wait to be started [`by_hand`], and have so many seconds to end.
pub fn agents_by_hand(space: &Space, period: u64) {
    let mut pod = agent();
    pod["terminationGracePeriodSeconds"] = json!(period);
    pod["schedulerName"] = json!(BY_HAND);
    deploy(space, &json!({ "reloader.stakater.com/auto": "true" }), pod);
}

fn deploy(space: &Space, annotations: &Value, pod: Value) {
    let metadata = json!({ "labels": { "app": "agents" }, "annotations": annotations });
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "agents" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "agents" } },
            "template": { "metadata": metadata, "spec": pod },
        },
    });
    let path = format!("/apis/apps/v1/namespaces/{}/deployments", space.namespace);
    SANDBOX.expect("POST", &path, &object);
}

/// Makes an agent pod that nothing would make again. As a workload it is `pods/NAME`.
pub fn agent_pod(space: &Space, name: &str) {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": agent(),
    });
    let path = format!("/api/v1/namespaces/{}/pods", space.namespace);
    space.lets_pods_be_made();
    SANDBOX.expect("POST", &path, &object);
}

fn agent() -> Value {
    let token = json!({ "name": ROUTER, "key": "KB_ROUTER_TOKEN", "optional": true });
    json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main",
            "image": "registry.invalid/agent:1",
            "env": [{ "name": "KB_ROUTER_TOKEN", "valueFrom": { "secretKeyRef": token } }],
        }],
    })
}

/// Where a workload is; what is not a pod is of the group `apps`.
fn path(space: &Space, workload: &str) -> String {
    let group = match workload.starts_with("pods") {
        true => "/api/v1",
        false => "/apis/apps/v1",
    };
    format!("{group}/namespaces/{}/{workload}", space.namespace)
}

fn get(space: &Space, workload: &str) -> Value {
    SANDBOX.expect("GET", &path(space, workload), &Value::Null)
}

/// The youngest pod of a workload that is not being deleted.
pub fn pod_of(space: &Space, workload: &str) -> Option<Value> {
    let (_, name) = workload.split_once('/').unwrap();
    let pods = get(space, &format!("pods?labelSelector=app%3D{name}"));
    let pods = pods["items"].as_array().unwrap().iter();
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let made = |pod: &&Value| pod["metadata"]["creationTimestamp"].to_string();
    pods.filter(stays).max_by_key(made).cloned()
}

/// The name of the workload's pod.
pub fn name_of_pod(space: &Space, workload: &str) -> String {
    let pod = pod_of(space, workload).expect("a pod");
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The uid of the workload's pod and when its container started, if it runs.
pub fn started(space: &Space, workload: &str) -> Option<(String, String)> {
    let pod = pod_of(space, workload)?;
    let state = &pod["status"]["containerStatuses"][0]["state"];
    let at = state["running"]["startedAt"].as_str()?.to_owned();
    Some((pod["metadata"]["uid"].as_str()?.to_owned(), at))
}

fn is_true(pod: &Value, condition: &str) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == condition && one["status"] == "True")
    })
}

/// Waits until all pods are those of the present template, and Ready; `kubectl rollout status`
/// looks at the same.
pub fn wait_ready(space: &Space, workload: &str) {
    wait(&format!("{workload} is ready"), || {
        let object = get(space, workload);
        let (spec, status) = (&object["spec"], &object["status"]);
        let all = |count: &str| status[count] == spec["replicas"];
        match workload.split_once('/').unwrap().0 {
            "pods" => return is_true(&object, "Ready"),
            "deployments" if !all("availableReplicas") => return false,
            "statefulsets" if status["currentRevision"] != status["updateRevision"] => {
                return false;
            }
            _ => {}
        }
        status["observedGeneration"] == object["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "readyReplicas"]
                .into_iter()
                .all(all)
    });
}

/// Replaces the pods, as `kubectl rollout restart` does, without waiting.
pub fn restart(space: &Space, workload: &str) {
    // kubectl's own has no fractions of a second, and does nothing twice in one.
    let now = jiff::Timestamp::now().to_string();
    let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
    let template = json!({ "metadata": { "annotations": annotations } });
    let object = json!({ "spec": { "template": template } });
    SANDBOX.expect("PATCH", &path(space, workload), &object);
}

/// The environment with which the workload's pod would start now, or why a kubelet does not start
/// it, in its words.
pub fn environment_of(space: &Space, workload: &str) -> Result<Data, String> {
    let object = get(space, workload);
    match workload.starts_with("pods/") {
        true => environment(space, &object["spec"]),
        false => environment(space, &object["spec"]["template"]["spec"]),
    }
}

/// The same for a pod's spec.
pub fn environment(space: &Space, pod: &Value) -> Result<Data, String> {
    let container = &pod["containers"][0];
    let mut all = Data::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let secret = |reference: &Value| {
        let name = text(&reference["name"]);
        let found = space.object(&name).map(|_| space.data(&name));
        match (found, &reference["optional"]) {
            (Some(data), _) => Ok(data),
            (None, Value::Bool(true)) => Ok(Data::new()),
            (None, _) => Err(format!("secret \"{name}\" not found")),
        }
    };
    for from in list(&container["envFrom"]) {
        let prefix = text(&from["prefix"]);
        let data = secret(&from["secretRef"])?.into_iter();
        all.extend(data.map(|(key, value)| (prefix.clone() + &key, value)));
    }
    for variable in list(&container["env"]) {
        let name = text(&variable["name"]);
        let reference = &variable["valueFrom"]["secretKeyRef"];
        if reference.is_null() {
            all.insert(name, text(&variable["value"]));
            continue;
        }
        let key = text(&reference["key"]);
        if let Some(value) = secret(reference)?.remove(&key) {
            all.insert(name, value);
        } else if reference["optional"] != true {
            let place = format!("{}/{}", space.namespace, text(&reference["name"]));
            return Err(format!("couldn't find key {key} in Secret {place}"));
        }
    }
    Ok(all)
}

/// Does once what a kubelet does all the time with the pods of a chart installed [`by_hand`]: it
/// starts those that have what they need, and says of the others why not. Gives their names. A pod
/// may be gone by the time.
pub fn kubelet(space: &Space) -> Vec<String> {
    let mut stuck = Vec::new();
    let pods = get(space, "pods");
    for pod in pods["items"].as_array().unwrap() {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        if spec["schedulerName"] != BY_HAND
            || !spec["nodeName"].is_null()
            || !metadata["deletionTimestamp"].is_null()
        {
            continue;
        }
        let name = metadata["name"].as_str().unwrap();
        match environment(space, spec) {
            Err(message) => {
                if stick_object(space, pod, &message) == 200 {
                    stuck.push(name.to_owned());
                }
            }
            Ok(_) => {
                bind(space, pod);
            }
        }
    }
    stuck
}

/// Gives a pod its node: kwok starts every pod that has one and is Pending. It may be gone by the
/// time: gives whether it was not.
pub fn bind(space: &Space, pod: &Value) -> bool {
    let (name, uid) = (&pod["metadata"]["name"], &pod["metadata"]["uid"]);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name, "uid": uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "node-0" },
    });
    let path = path(space, &format!("pods/{}/binding", name.as_str().unwrap()));
    let (code, answer) = SANDBOX.request("POST", &path, "application/json", &binding);
    assert!(matches!(code, 201 | 404 | 409), "{code}: {answer}");
    code == 201
}

/// Says of a pod what a kubelet does that cannot make its container, with the message that says why.
/// A pod that has a node has run before, since kwok starts it, and is told as such.
pub fn stick(space: &Space, pod: &str, message: &str) {
    let object = get(space, &format!("pods/{pod}"));
    assert_eq!(stick_object(space, &object, message), 200);
}

/// The same for a pod's object; gives the status of the answer.
pub fn stick_object(space: &Space, object: &Value, message: &str) -> u16 {
    let ran = object["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].as_str();
    let waiting = json!({ "reason": "CreateContainerConfigError", "message": message });
    let mut container =
        json!({ "ready": false, "started": false, "state": { "waiting": waiting } });
    if let Some(at) = ran {
        let ended = json!({ "exitCode": 1, "reason": "Error", "startedAt": at, "finishedAt": at });
        container["lastState"] = json!({ "terminated": ended });
        container["restartCount"] = json!(1);
    }
    assert_eq!(ran.is_some(), !object["spec"]["nodeName"].is_null());
    let phase = if ran.is_some() { "Running" } else { "Pending" };
    set_status(space, object, phase, &container)
}

/// Says that the pod's container has run since then, and whether it is Ready. kwok leaves that be.
pub fn run_since(space: &Space, pod: &str, at: &str, ready: bool) {
    let object = get(space, &format!("pods/{pod}"));
    let running = json!({ "running": { "startedAt": at } });
    let container = json!({ "ready": ready, "started": true, "state": running });
    assert_eq!(set_status(space, &object, "Running", &container), 200);
}

fn set_status(space: &Space, pod: &Value, phase: &str, container: &Value) -> u16 {
    let spec = &pod["spec"]["containers"][0];
    let mut container = container.clone();
    container["name"] = spec["name"].clone();
    container["image"] = spec["image"].clone();
    container["imageID"] = json!("");
    if container["restartCount"].is_null() {
        container["restartCount"] = json!(0);
    }
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let condition = |kind: &str, holds: bool| {
        let mut condition = json!({
            "type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now,
            "reason": null, "message": null,
        });
        if !holds {
            condition["reason"] = json!("ContainersNotReady");
            condition["message"] = json!("containers with unready status: [main]");
        }
        condition
    };
    let ready = container["ready"] == true;
    let status = json!({
        "phase": phase,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", ready), condition("Ready", ready),
        ],
        "containerStatuses": [container],
    });
    let name = pod["metadata"]["name"].as_str().unwrap();
    let path = path(space, &format!("pods/{name}/status"));
    let patch = "application/strategic-merge-patch+json";
    let body = json!({ "status": status });
    let (code, answer) = SANDBOX.request("PATCH", &path, patch, &body);
    assert!(matches!(code, 200 | 404), "{answer}");
    code
}
