//! `embeddings.door`, and what `workload.wired` says of brain-api's: is there anything that the
//! service checks its callers with.

use crate::checks::{follow, of};
use crate::readers::{about, env, env_from, extend, finding, look, make, pod, statuses};
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

const DOOR: &str = "embeddings.door";
const SERVICE: &str = "agentibrain-embeddings";
const OBJECT: &str = "StatefulSet/agentibrain-embeddings";

fn service(space: &Space, container: Value) {
    make(space, "StatefulSet", SERVICE, pod(container));
}

/// The door is open; after hints with these parts it is not.
#[track_caller]
fn closes(space: &Space, parts: &[&str]) {
    for part in parts {
        let ran = look(space, &[]);
        let (status, message, hint) = finding(space, &ran, DOOR, OBJECT);
        assert_eq!(status, "fail");
        assert!(message.contains("no API_KEYS"), "{message}");
        assert!(message.contains("every request"), "{message}");
        assert!(message.contains("503"), "{message}");
        assert!(hint.contains(part), "{hint}");
        follow(space, &hint, &INPUTS).exits(0);
    }
    // The pod from before may still be there for a moment.
    wait("the door is closed", || {
        finding(space, &look(space, &[]), DOOR, OBJECT).0 == "pass"
    });
}

/// The hint that makes the key, and the one that refers to it.
const APPLY: &str = "--apply";
/// See [`APPLY`].
const SET_ENV: &str = "set env statefulset/agentibrain-embeddings";

/// A change of the StatefulSet's only container.
fn change(space: &Space, container: Value) {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/statefulsets/{SERVICE}",
        space.namespace
    );
    let mut object = SANDBOX.expect("GET", &path, &Value::Null);
    object["spec"]["template"]["spec"] = pod(container);
    object["metadata"]["resourceVersion"] = Value::Null;
    SANDBOX.expect("PUT", &path, &object);
}

#[test]
fn a_service_that_reads_the_documented_secret_lets_everyone_in() {
    let space = Space::new();
    space.documented();
    service(&space, env_from(&[EMBEDDINGS]));
    look(&space, &[]).exits(1);
    closes(&space, &[APPLY]);

    // A list without an entry is none.
    space.set_keys(EMBEDDINGS, &[("API_KEYS", " , ")], "k8s-bootstrap");
    let (status, ..) = finding(&space, &look(&space, &[]), DOOR, OBJECT);
    assert_eq!(status, "fail");
}

/// What is in the spec is not missing from it, whether its Secret is there or not.
#[test]
fn a_reference_to_an_absent_secret_is_not_called_an_open_door() {
    let space = Space::new();
    make(
        &space,
        "StatefulSet",
        "agentibrain-brain-api",
        self::pod(env_from(&[ROUTER])),
    );
    let ran = look(&space, &[]);
    let told = of(&ran, "workload.wired");
    assert!(
        told.iter().any(|check| check["status"] == "fail"),
        "{told:?}"
    );
    assert!(!ran.out.contains("accepts every request"), "{}", ran.out);
}

#[test]
fn the_secret_is_made_first_where_it_is_not_there() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    service(&space, env_from(&[EMBEDDINGS]));
    closes(&space, &["POSTGRES_URL=\"$POSTGRES_URL\" "]);
}

#[test]
fn a_service_that_would_not_get_the_key_gets_a_reference() {
    let space = Space::new();
    space.documented();
    let mut prefixed = env_from(&[EMBEDDINGS]);
    prefixed["envFrom"][0]["prefix"] = json!("OF_");
    let mut empty = env_from(&[EMBEDDINGS]);
    extend(
        &mut empty,
        json!({ "env": [{ "name": "API_KEYS", "value": "" }] }),
    );
    let url = env("POSTGRES_URL", EMBEDDINGS, "POSTGRES_URL", false);
    let other = env("API_KEYS", "of-others", "API_KEYS", true);
    space.create_secret("of-others", &[("other", "of-a-test")], &Value::Null);
    service(&space, url);
    for container in [None, Some(prefixed), Some(empty), Some(other)] {
        match container {
            None => closes(&space, &[APPLY, SET_ENV]),
            Some(container) => {
                change(&space, container);
                closes(&space, &[SET_ENV]);
            }
        }
    }
}

#[test]
fn the_key_has_to_reach_the_container_that_serves() {
    let space = Space::new();
    space.documented();
    let guarded = || json!({ "env": [{ "name": "API_KEYS", "value": "s3cret-of-a-test" }] });
    let mut serving = pod(json!({ "ports": [{ "containerPort": 8080 }] }));
    let mut sidecar = pod(guarded())["containers"][0].clone();
    sidecar["name"] = json!("beside");
    let mut first = sidecar.clone();
    first["name"] = json!("first");
    serving["containers"] = json!([sidecar, serving["containers"][0]]);
    serving["initContainers"] = json!([first]);
    make(&space, "StatefulSet", SERVICE, serving);
    closes(&space, &[APPLY, SET_ENV]);
}

#[test]
fn keys_from_anywhere_close_the_door() {
    let space = Space::new();
    space.bootstrapped();
    space.create_secret("of-others", &[("KEYS", "one, two")], &Value::Null);
    space.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=API_KEYS=three",
    ]);
    let literal = json!({ "env": [{ "name": "API_KEYS", "value": "s3cret-of-a-test" }] });
    let key = env("API_KEYS", "of-others", "KEYS", false);
    let prefixed = json!({ "prefix": "API_", "secretRef": { "name": "of-others" } });
    let prefixed = json!({ "envFrom": [prefixed] });
    let settings = json!({ "envFrom": [{ "configMapRef": { "name": "settings" } }] });
    let of_settings = json!({ "name": "settings", "key": "API_KEYS" });
    let from_settings =
        json!({ "name": "API_KEYS", "valueFrom": { "configMapKeyRef": of_settings } });
    let setting = json!({ "env": [from_settings] });
    service(&space, literal);
    for (container, status) in [
        (None, "pass"),
        (Some(key), "pass"),
        (Some(prefixed), "pass"),
        (Some(settings), "skip"),
        (Some(setting), "skip"),
    ] {
        if let Some(container) = &container {
            change(&space, container.clone());
        }
        let ran = look(&space, &[]).exits(0);
        let (found, message, _) = finding(&space, &ran, DOOR, OBJECT);
        assert_eq!(found, status, "{container:?}");
        assert!(!ran.out.contains("s3cret-of-a-test"));
        assert_eq!(message.contains("ConfigMap"), status == "skip", "{message}");
    }
}

#[test]
fn without_the_service_there_is_no_door() {
    let space = Space::new();
    space.bootstrapped();
    make(&space, "Deployment", SERVICE, pod(env_from(&[EMBEDDINGS])));
    let ran = look(&space, &["--live"]).exits(0);
    for id in [DOOR, "live.embeddings", "live.brain-api"] {
        assert_eq!(statuses(&ran, id), ["skip"]);
        let message = of(&ran, id)[0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("StatefulSet"), "{message}");
    }
}

#[test]
fn brain_api_without_a_token_lets_everyone_in() {
    let space = Space::new();
    space.bootstrapped();
    let name = "agentibrain-brain-api";
    make(&space, "StatefulSet", name, pod(json!({})));
    let ran = look(&space, &[]).exits(1);
    let object = format!("StatefulSet/{name}");
    let (status, message, hint) = finding(&space, &ran, "workload.wired", &object);
    assert_eq!(status, "fail");
    assert!(message.contains("no KB_ROUTER_TOKEN"), "{message}");
    assert!(message.contains("every request"), "{message}");
    follow(&space, &hint, &[]).exits(0);
    let ran = look(&space, &[]).exits(0);
    assert!(about(&ran, "workload.wired", &object).is_empty());

    // Its token is gone: the reference does not tell of a 401, since it is the one who checks.
    let token = env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", true);
    space.kubectl(&["delete", "statefulset", name]);
    make(&space, "StatefulSet", name, pod(token));
    space.remove_key(ROUTER, "KB_ROUTER_TOKEN");
    let ran = look(&space, &[]);
    for check in about(&ran, "workload.wired", &object) {
        assert_eq!(check["status"], "fail");
        let message = check["message"].as_str().unwrap();
        assert!(message.contains("every request"), "{message}");
    }
}
