//! Objects that read Secrets, each from the way it reads them; and the findings about one.

use crate::account::{log_in, may_in};
use crate::checks::{of, verify};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use crate::wait::wait;
use crate::workloads::{name_of_pod, pod_of, run_since};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Long ago, but a token of that age is not old yet.
pub static LONG_AGO: LazyLock<String> = LazyLock::new(|| ago(24 * 3600));

/// A time of the past.
pub fn ago(seconds: i64) -> String {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    then.strftime("%FT%TZ").to_string()
}

/// A container that takes all of these Secrets as variables.
pub fn env_from(secrets: &[&str]) -> Value {
    let of = |name: &&str| json!({ "secretRef": { "name": name } });
    let all: Vec<_> = secrets.iter().map(of).collect();
    json!({ "envFrom": all })
}

/// A container that takes a key as a variable.
pub fn env(variable: &str, secret: &str, key: &str, optional: bool) -> Value {
    let source = json!({ "name": secret, "key": key, "optional": optional });
    json!({ "env": [{ "name": variable, "valueFrom": { "secretKeyRef": source } }] })
}

/// A pod of one container.
pub fn pod(container: Value) -> Value {
    let mut main = json!({ "name": "main", "image": "registry.invalid/reader:1" });
    extend(&mut main, container);
    json!({ "terminationGracePeriodSeconds": 1, "containers": [main] })
}

/// A pod that mounts this volume.
pub fn mounting(volume: Value) -> Value {
    let mut all = json!({ "name": "files" });
    extend(&mut all, volume);
    let mut pod = pod(json!({ "volumeMounts": [{ "name": "files", "mountPath": "/files" }] }));
    pod["volumes"] = json!([all]);
    pod
}

/// Adds the fields of one object to another.
pub fn extend(into: &mut Value, more: Value) {
    let more: Map<String, Value> = serde_json::from_value(more).unwrap();
    into.as_object_mut().unwrap().extend(more);
}

/// Makes an object of that kind, whose pods are labelled with its name.
pub fn make(space: &Space, kind: &str, name: &str, pod: Value) {
    let labels = json!({ "app": name });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod });
    let mut spec = json!({ "selector": { "matchLabels": labels }, "template": template });
    let (version, resource) = match kind {
        "StatefulSet" => {
            spec["serviceName"] = json!(name);
            ("apps/v1", "statefulsets")
        }
        "Deployment" => ("apps/v1", "deployments"),
        "DaemonSet" => ("apps/v1", "daemonsets"),
        "CronJob" => {
            let mut template = template;
            template["spec"]["restartPolicy"] = json!("OnFailure");
            let job = json!({ "spec": { "template": template } });
            spec = json!({ "schedule": "0 0 1 1 *", "jobTemplate": job });
            ("batch/v1", "cronjobs")
        }
        "Pod" => {
            spec = template["spec"].clone();
            ("v1", "pods")
        }
        _ => panic!("{kind}"),
    };
    let object = json!({
        "apiVersion": version, "kind": kind, "metadata": { "name": name, "labels": labels },
        "spec": spec,
    });
    let root = if version == "v1" { "api" } else { "apis" };
    let path = format!(
        "/{root}/{version}/namespaces/{}/{resource}",
        space.namespace
    );
    if kind == "Pod" {
        space.lets_pods_be_made();
    }
    SANDBOX.expect("POST", &path, &object);
}

/// Asks Reloader to look after a workload, such as `statefulsets/NAME`.
pub fn ask_reloader(space: &Space, workload: &str) {
    space.kubectl(&["annotate", workload, "reloader.stakater.com/auto=true"]);
}

/// Waits until the workload's pod is Ready, and says that it has run since then.
pub fn runs_since(space: &Space, workload: &str, at: &str) {
    wait("its pod is ready", || {
        pod_of(space, workload).is_some_and(|pod| pod["status"]["phase"] == "Running")
    });
    run_since(space, &name_of_pod(space, workload), at, true);
}

/// See [`runs_since`].
pub fn runs_long(space: &Space, workload: &str) {
    runs_since(space, workload, &LONG_AGO);
}

/// Another operator, who may do what `rbac verify` prints with these arguments, but for what is
/// changed in its rules.
pub fn with_role(space: &Space, arguments: &[&str], change: impl FnOnce(&mut Vec<Value>)) -> Space {
    let mut operator = space.other_operator();
    let token = space.service_account("reader");
    log_in(&mut operator, &token);

    let account = format!("{}:reader", space.namespace);
    let rbac = [
        "rbac",
        "verify",
        "-o",
        "json",
        "--service-account",
        &account,
    ];
    let mut objects = space.run(&[&rbac, arguments].concat()).json()["objects"].clone();
    let rules = objects[0]["rules"].as_array_mut().unwrap();
    change(rules);
    let last = rules.last().unwrap().clone();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(space.folder.path().join("role.json"), list.to_string()).unwrap();
    space.kubectl(&["apply", "-f", "role.json"]);
    let text = |field: &str| {
        let all = last[field].as_array();
        let text = all.and_then(|all| all.last()?.as_str());
        text.unwrap_or_default()
    };
    let right = ["verbs", "apiGroups", "resources", "resourceNames"].map(text);
    wait("the Role is in force", || {
        may_in(&space.namespace, &account, right)
    });
    operator
}

/// Says when the Secret's data last changed, by the one place that tells.
pub fn changed_at(space: &Space, name: &str, at: &str) {
    let mut object = space.object(name).unwrap();
    for entry in object["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry["time"] = json!(at);
    }
    // The server undoes a change of nothing but times.
    object["metadata"]["annotations"]["tests.invalid/changed-at"] = json!(at);
    SANDBOX.expect("PUT", &space.path(name), &object);
}

/// Runs `verify`, which must show no value of the Secrets here.
pub fn look(space: &Space, arguments: &[&str]) -> Ran {
    let ran = verify(space, arguments);
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let data = space.object(name).map(|_| space.data(name));
        for (key, value) in data.into_iter().flatten() {
            let shows = value.len() > 7 && (ran.out.contains(&value) || ran.err.contains(&value));
            assert!(!shows || key == "LLM_EMBED_MODEL", "{key} of {name} shows");
        }
    }
    ran
}

/// The findings with that id about one object.
pub fn about(ran: &Ran, id: &str, object: &str) -> Vec<Value> {
    let all = of(ran, id).into_iter();
    all.filter(|check| check["object"] == object).collect()
}

/// The one finding with that id about an object: its status, what it says, and its hint.
#[track_caller]
pub fn finding(space: &Space, ran: &Ran, id: &str, object: &str) -> (String, String, String) {
    let found = about(ran, id, object);
    let [check] = found.as_slice() else {
        panic!("{id} {object}: {found:?} of {}", ran.out);
    };
    assert_eq!(check["namespace"], space.namespace.as_str());
    let text = |field: &str| check[field].as_str().unwrap().to_owned();
    (text("status"), text("message"), text("hint"))
}

/// The statuses of all checks with that id, each once.
pub fn statuses(ran: &Ran, id: &str) -> Vec<String> {
    let mut all: Vec<_> = of(ran, id)
        .iter()
        .map(|check| check["status"].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all.dedup();
    all
}
