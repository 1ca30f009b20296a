//! `workload.wired`: does what pods refer to exist.

use crate::checks::{follow, of};
use crate::readers::{about, env, env_from, finding, look, make, mounting, pod, statuses};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::steps::steps;
use serde_json::json;

const WIRED: &str = "workload.wired";

/// Follows the hint; then the object has no finding.
#[track_caller]
fn mends(space: &Space, fleet: &[&str], object: &str, hint: &str, environment: &[(&str, &str)]) {
    follow(space, hint, environment).exits(0);
    is_mended(space, fleet, object);
}

/// The object has no finding.
#[track_caller]
fn is_mended(space: &Space, fleet: &[&str], object: &str) {
    let ran = look(space, fleet);
    let left = about(&ran, WIRED, object);
    assert!(left.is_empty(), "{left:?}");
    assert!(
        statuses(&ran, WIRED).contains(&"pass".to_owned()),
        "{}",
        ran.out
    );
}

/// Says of each object that it fails for this reason; gives the hints.
#[track_caller]
fn fails(space: &Space, ran: &Ran, objects: &[&str], why: &str) -> Vec<String> {
    let hint = |object: &&str| {
        let (status, message, hint) = finding(space, ran, WIRED, object);
        assert_eq!(status, "fail");
        assert!(message.contains(why), "{message}");
        hint
    };
    objects.iter().map(hint).collect()
}

#[test]
fn every_kind_of_workload_is_told_of_a_secret_that_is_not_there() {
    let space = Space::new();
    let kinds = ["StatefulSet", "Deployment", "DaemonSet", "CronJob", "Pod"];
    for kind in kinds {
        let name = format!("of-{}", kind.to_lowercase());
        make(&space, kind, &name, pod(env_from(&[AGENTICORE])));
    }
    space.run(&["--apply"]).exits(0);
    let ran = look(&space, &[]).exits(1);
    let objects = kinds.map(|kind| format!("{kind}/of-{}", kind.to_lowercase()));
    let objects = objects.each_ref().map(String::as_str);
    let hints = fails(&space, &ran, &objects, AGENTICORE);
    let wanted = format!(
        "ANTHROPIC_API_KEY=\"$ANTHROPIC_API_KEY\" k8s-bootstrap -n {} --apply",
        space.namespace
    );
    assert!(hints.iter().all(|hint| *hint == wanted), "{hints:?}");
    let (_, message, _) = finding(&space, &ran, WIRED, "Pod/of-pod");
    assert!(message.ends_with("the pod does not start"), "{message}");
    follow(&space, &hints[0], &INPUTS).exits(0);
    assert_eq!(statuses(&look(&space, &[]), WIRED), ["pass"]);
}

#[test]
fn every_way_to_read_a_secret_is_followed() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let key = json!([{ "key": "POSTGRES_URL", "path": "url" }]);
    let whole = json!({ "secret": { "secretName": EMBEDDINGS } });
    let item = json!({ "secret": { "secretName": EMBEDDINGS, "items": key } });
    let of_projected = json!({ "secret": { "name": EMBEDDINGS, "items": key } });
    let projected = json!({ "projected": { "sources": [of_projected] } });
    let mut first = pod(json!({}));
    first["initContainers"] = pod(env_from(&[EMBEDDINGS]))["containers"].clone();
    first["initContainers"][0]["name"] = json!("first");
    for (name, pod) in [
        ("whole", pod(env_from(&[EMBEDDINGS]))),
        ("key", pod(env("URL", EMBEDDINGS, "POSTGRES_URL", false))),
        ("volume", mounting(whole)),
        ("item", mounting(item)),
        ("projected", mounting(projected)),
        ("first", first),
    ] {
        make(&space, "CronJob", name, pod);
    }
    let ran = look(&space, &[]).exits(1);
    let objects = ["whole", "key", "volume", "item", "projected", "first"];
    let objects = objects.map(|name| format!("CronJob/{name}"));
    let objects = objects.each_ref().map(String::as_str);
    let why = "Secret embeddings-secrets not found: its pods do not start";
    let hints = fails(&space, &ran, &objects, why);

    follow(&space, &hints[3], &INPUTS).exits(0);
    let ran = look(&space, &[]).exits(0);
    assert_eq!(statuses(&ran, WIRED), ["pass"]);

    space.remove_key(EMBEDDINGS, "POSTGRES_URL");
    let ran = look(&space, &[]).exits(1);
    let why = "key POSTGRES_URL not found in Secret embeddings-secrets";
    let of_key = [objects[1], objects[3], objects[4]];
    let hints = fails(&space, &ran, &of_key, why);
    assert!(about(&ran, WIRED, objects[0]).is_empty());
    follow(&space, &hints[1], &INPUTS).exits(0);
    assert_eq!(statuses(&look(&space, &[]).exits(0), WIRED), ["pass"]);
}

#[test]
fn a_key_of_the_table_comes_back_by_the_hint() {
    let space = Space::new();
    space.bootstrapped();
    for (name, secret, key) in [
        ("default", AGENTICORE, "GITHUB_TOKEN"),
        ("list", EMBEDDINGS, "EMBEDDINGS_API_KEYS"),
        ("keys", EMBEDDINGS, "API_KEYS"),
        ("token", ROUTER, "EMBEDDINGS_API_KEY"),
    ] {
        make(&space, "CronJob", name, pod(env("IT", secret, key, false)));
        space.remove_key(secret, key);
        if key == "EMBEDDINGS_API_KEYS" {
            // Beside it, this one would be enough.
            space.remove_key(secret, "API_KEYS");
        }
        let object = format!("CronJob/{name}");
        let ran = look(&space, &[]).exits(1);
        let (status, message, hint) = finding(&space, &ran, WIRED, &object);
        assert_eq!(status, "fail");
        assert!(
            message.contains(&format!("key {key} not found in Secret {secret}")),
            "{message}"
        );
        mends(&space, &[], &object, &hint, &[]);
    }
}

#[test]
fn a_key_that_no_table_has_is_mended_in_the_workload() {
    let space = Space::new();
    space.bootstrapped();
    let wrong = || pod(env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKN", false));
    for kind in ["Deployment", "CronJob", "Pod"] {
        make(&space, kind, "typo", wrong());
        let object = format!("{kind}/typo");
        let ran = look(&space, &[]).exits(1);
        let (status, message, hint) = finding(&space, &ran, WIRED, &object);
        assert_eq!(status, "fail");
        assert!(
            message.contains("key KB_ROUTER_TOKN not found"),
            "{message}"
        );
        let editor = [("EDITOR", "sed -i s/KB_ROUTER_TOKN/KB_ROUTER_TOKEN/")];
        if kind == "Pod" {
            let words = [("POD", "typo")];
            steps("get pod POD -o yaml", &space, &hint, &words, &editor).exits(0);
            is_mended(&space, &[], &object);
        } else {
            mends(&space, &[], &object, &hint, &editor);
        }
    }
}

#[test]
fn an_optional_reference_to_what_is_missing_is_a_401_to_come() {
    let space = Space::new();
    space.bootstrapped();
    let token = pod(env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", true));
    make(&space, "Deployment", "agents", token);
    let github = pod(env("GITHUB_TOKEN", AGENTICORE, "GITHUB_TOKEN", true));
    make(&space, "CronJob", "github", github);
    space.remove_key(ROUTER, "KB_ROUTER_TOKEN");
    space.remove_key(AGENTICORE, "GITHUB_TOKEN");
    let ran = look(&space, &[]);
    let (status, message, hint) = finding(&space, &ran, WIRED, "Deployment/agents");
    assert_eq!(status, "warn");
    assert!(
        message.contains("key KB_ROUTER_TOKEN not found"),
        "{message}"
    );
    assert!(message.contains("401"), "{message}");
    mends(&space, &[], "Deployment/agents", &hint, &[]);

    space.remove_key(AGENTICORE, "GITHUB_TOKEN");
    let ran = look(&space, &[]);
    let (status, message, hint) = finding(&space, &ran, WIRED, "CronJob/github");
    assert_eq!(status, "warn");
    assert!(message.ends_with("its pods start without it"), "{message}");
    mends(&space, &[], "CronJob/github", &hint, &[]);
}

#[test]
fn an_optional_reference_to_a_whole_secret_costs_what_is_in_it() {
    let space = Space::new();
    for (name, secret) in [("router", ROUTER), ("keeper", AGENTICORE)] {
        let mut container = env_from(&[secret]);
        container["envFrom"][0]["secretRef"]["optional"] = json!(true);
        make(&space, "CronJob", name, pod(container));
    }
    let ran = look(&space, &[]).exits(1);
    for (object, costs) in [("CronJob/router", true), ("CronJob/keeper", false)] {
        let (status, message, hint) = finding(&space, &ran, WIRED, object);
        assert_eq!(status, "warn");
        assert_eq!(message.contains("401"), costs, "{message}");
        mends(&space, &[], object, &hint, &INPUTS);
    }
}

#[test]
fn a_fleet_namespace_has_its_own_readers() {
    let (home, fleet) = (Space::new(), Space::new());
    let options = ["--fleet-namespace", &fleet.namespace];
    home.bootstrapped();
    let token = |optional| pod(env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", optional));
    make(&fleet, "Deployment", "agents", token(true));
    make(&fleet, "CronJob", "nightly", token(false));
    let ran = look(&home, &options).exits(1);
    let (status, message, _) = finding(&fleet, &ran, WIRED, "Deployment/agents");
    assert_eq!(status, "warn");
    assert!(message.contains("401"), "{message}");
    let (status, _, hint) = finding(&fleet, &ran, WIRED, "CronJob/nightly");
    assert_eq!(status, "fail");
    follow(&home, &hint, &[]).exits(0);
    let ran = look(&home, &options).exits(0);
    assert_eq!(statuses(&ran, WIRED), ["pass"]);
    assert_eq!(of(&ran, WIRED).len(), 1);

    // Nothing makes this Secret there.
    make(&fleet, "Deployment", "lost", pod(env_from(&[EMBEDDINGS])));
    let ran = look(&home, &options).exits(1);
    let (status, message, hint) = finding(&fleet, &ran, WIRED, "Deployment/lost");
    assert_eq!(status, "fail");
    assert!(message.contains(EMBEDDINGS), "{message}");
    assert!(message.contains(&home.namespace), "{message}");
    let editor = [(
        "EDITOR",
        "sed -i s/embeddings-secrets/agentibrain-router-secrets/",
    )];
    mends(&home, &options, "Deployment/lost", &hint, &editor);
    // Unless a person did.
    make(&fleet, "CronJob", "copied", pod(env_from(&[EMBEDDINGS])));
    fleet.create_secret(
        EMBEDDINGS,
        &[("POSTGRES_URL", "postgres://of/a-test")],
        &json!({}),
    );
    let ran = look(&home, &options).exits(0);
    assert!(about(&ran, WIRED, "CronJob/copied").is_empty());
}

#[test]
fn without_readers_there_is_nothing_to_say() {
    let space = Space::new();
    space.bootstrapped();
    make(
        &space,
        "CronJob",
        "other",
        pod(env_from(&["other-secrets"])),
    );
    let ran = look(&space, &[]).exits(0);
    assert_eq!(statuses(&ran, WIRED), ["skip"]);
}
