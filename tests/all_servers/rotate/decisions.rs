//! What a person has to decide, and what is said of it: no rotation begins, or turns, where it could
//! not end well.

use crate::checks::of;
use crate::migrate::Mover;
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::steps::steps;
use serde_json::{Value, json};

const STATE: &str = "k8s-bootstrap/rotation";
const KB: &str = "KB_ROUTER_TOKEN";

/// A home with plain Secrets; no workload is there.
pub fn brain() -> Space {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    space
}

/// Brings home's router Secret to another namespace; gives the options that name it.
pub fn joined<'a>(home: &Space, member: &'a Space) -> [&'a str; 2] {
    let named = ["--fleet-namespace", member.namespace.as_str()];
    home.run_with(&INPUTS, &[&["--apply"], &named[..]].concat())
        .exits(0);
    named
}

pub fn rotate(space: &Space, words: &[&str]) -> Ran {
    space.run(&[&["rotate"], words].concat())
}

/// The state that the home Secret tells.
pub fn rotation_of(space: &Space) -> Value {
    let object = space.object(ROUTER).unwrap();
    let text = object["metadata"]["annotations"][STATE].as_str().unwrap();
    serde_json::from_str(text).unwrap()
}

fn annotate(space: &Space, state: Option<&str>) {
    let object = json!({ "metadata": { "annotations": { STATE: state } } });
    SANDBOX.expect("PATCH", &space.path(ROUTER), &object);
}

/// Runs the command of a hint, as it was printed.
fn paste(space: &Space, ran: &Ran, before: &str) -> Ran {
    let mut hints = ran.err.lines().filter(|line| line.contains("hint: "));
    let hint = hints.find_map(|line| line.split_once(before));
    let line = hint
        .unwrap_or_else(|| panic!("no {before:?} in {}", ran.err))
        .1;
    space.shell(line).output().unwrap().into()
}

#[test]
fn no_turn_is_taken_that_cannot_be_gone_through() {
    let (home, fleet) = (brain(), Space::new());
    let named = joined(&home, &fleet);
    let switch = [&named[..], &["--until", "switch", "--apply"]].concat();
    rotate(&home, &switch).exits(0);
    let third = "a-token-that-nobody-knows-of";
    fleet.set_keys(ROUTER, &[(KB, third)], "kubectl-edit");
    let state = rotation_of(&home);
    for words in [
        &["--continue", "--apply"][..],
        &["--abort", "--apply"],
        &["--immediate", "--apply"],
    ] {
        let ran = rotate(&home, words).exits(1);
        let ran = ran.says(&[
            &fleet.namespace,
            "neither the old nor the new",
            "copy it from the home namespace",
        ]);
        assert!(
            !ran.err.contains(third) && !ran.err.contains("--abort"),
            "{}",
            ran.err
        );
        assert_eq!(rotation_of(&home), state, "{words:?}");
    }
    // The hint as it stands.
    let ran = rotate(&home, &["--continue", "--apply"]);
    paste(&home, &ran, "copy it from the home namespace: ").exits(0);
    assert_eq!(fleet.data(ROUTER)[KB], home.data(ROUTER)[KB]);
    rotate(&home, &["--abort", "--apply"]).exits(0);
    assert_eq!(fleet.data(ROUTER), home.data(ROUTER));
    assert_eq!(home.filed(), home.data(ROUTER));
}

#[test]
fn what_is_left_of_a_lost_state_is_no_ground_to_begin_on() {
    let space = brain();
    rotate(&space, &["--until", "switch", "--apply"]).exits(0);
    let state = rotation_of(&space).to_string();
    annotate(&space, None);
    rotate(&space, &["--status"])
        .exits(0)
        .says(&["no rotation is open"]);
    space
        .run(&["verify"])
        .says(&["left over from a rotation without state"]);
    let before = (space.data(ROUTER), space.filed());
    for words in [&[][..], &["--apply"], &["--immediate", "--apply"]] {
        let ran = rotate(&space, words).exits(1);
        ran.says(&[
            "k8s-bootstrap/rotation-made of a rotation whose state is gone",
            "has a previous KB_ROUTER_TOKEN",
            "edit secret agentibrain-router-secrets",
        ]);
        assert_eq!((space.data(ROUTER), space.filed()), before);
    }
    // With its state it goes on as if nothing had been.
    annotate(&space, Some(&state));
    rotate(&space, &["--apply"]).exits(0);
    rotate(&space, &["--apply"]).exits(0);
    let ran = space.run(&["verify"]);
    assert!(!ran.out.contains("rotation without state"), "{}", ran.out);
}

#[test]
fn a_server_that_reads_single_keys_cannot_accept_two_tokens() {
    let space = brain();
    let server = |keys: &[&str]| {
        let read = keys.iter().map(|key| {
            json!({ "name": key, "valueFrom": { "secretKeyRef": { "name": ROUTER, "key": key, "optional": true } } })
        });
        let labels = json!({ "app": "brain-api" });
        let template = json!({
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "main", "image": "none", "env": read.collect::<Vec<_>>() }] },
        });
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "agentibrain-brain-api" },
            "spec": { "replicas": 0, "serviceName": "x", "selector": { "matchLabels": labels }, "template": template },
        })
    };
    let path = format!("/apis/apps/v1/namespaces/{}/statefulsets", space.namespace);
    SANDBOX.expect("POST", &path, &server(&[KB]));
    let before = space.data(ROUTER);
    for words in [&[][..], &["--apply"]] {
        let ran = rotate(&space, words).exits(1);
        ran.says(&[
            "agentibrain-brain-api does not read a list",
            "--immediate --apply",
        ]);
    }
    assert_eq!(space.data(ROUTER), before);
    rotate(&space, &["--token", "EMBEDDINGS_API_KEY", "--apply"]).exits(0);
    let path = format!("{path}/agentibrain-brain-api");
    SANDBOX.expect("DELETE", &path, &Value::Null);
    let path = path.trim_end_matches("/agentibrain-brain-api");
    SANDBOX.expect("POST", path, &server(&[KB, "KB_ROUTER_TOKENS"]));
    rotate(&space, &["--apply"]).exits(0);
}

#[test]
fn a_rotation_of_one_token_looks_at_no_secret_without_it() {
    let space = brain();
    let frozen = json!({ "immutable": true });
    SANDBOX.expect("PATCH", &space.path(EMBEDDINGS), &frozen);
    let version = || space.object(EMBEDDINGS).unwrap()["metadata"]["resourceVersion"].clone();
    let before = version();
    rotate(&space, &["--apply"])
        .exits(1)
        .says(&["is immutable"]);
    rotate(&space, &["--token", KB, "--until", "open", "--apply"]).exits(0);
    rotate(&space, &["--abort", "--apply"]).exits(0);
    rotate(&space, &["--token", KB, "--apply"]).exits(0);
    assert_eq!(version(), before);
}

#[test]
fn a_leak_of_one_token_exchanges_no_other_and_says_what_it_costs() {
    let space = brain();
    rotate(&space, &["--until", "open", "--apply"]).exits(0);
    let state = rotation_of(&space);
    for words in [&["--apply"][..], &["--immediate", "--apply"]] {
        let ran = rotate(&space, &[&["--token", KB], words].concat()).exits(1);
        ran.says(&["is of KB_ROUTER_TOKEN and EMBEDDINGS_API_KEY, not of KB_ROUTER_TOKEN"]);
        assert_eq!(rotation_of(&space), state);
    }
    // A turn is shown before it is taken, and the command that takes it.
    let new = space.data(ROUTER)["EMBEDDINGS_API_KEY_NEXT"].clone();
    for (option, told) in [("--abort", "undo: "), ("--immediate", "immediate: ")] {
        let ran = rotate(&space, &[option]).exits(0);
        let command = format!("rotate {option} --apply");
        ran.says(&[
            "The rotation would go to the phase",
            told,
            "Nothing has been changed",
            &command,
        ]);
        assert_eq!(rotation_of(&space), state);
    }
    let ran = rotate(&space, &["--immediate"]).exits(0);
    let (_, line) = ran.out.split_once("To do it: ").unwrap();
    let ran = Ran::from(space.shell(line).output().unwrap()).exits(0);
    ran.says(&["clients get 401"]);
    assert_eq!(space.data(ROUTER)["EMBEDDINGS_API_KEY"], new);
}

/// What a preview shows is what its command does, and what carries on is what was begun.
#[test]
fn a_command_that_is_shown_keeps_the_options_that_were_given() {
    let space = brain();
    let given = ["--token", KB, "--until", "switch", "--no-restart"];
    let ran = rotate(&space, &given).exits(0);
    let (_, line) = ran.out.split_once("To do it: ").unwrap();
    for words in ["--token KB_ROUTER_TOKEN", "--until switch", "--no-restart"] {
        assert!(line.contains(words), "{line}");
    }
    Ran::from(space.shell(line).output().unwrap()).exits(0);
    assert_eq!(rotation_of(&space)["phase"], "switch");
    // A missing fleet namespace stops the run.
    let typo = ["--continue", "--fleet-namespace", "agnets", "--apply"];
    rotate(&space, &typo)
        .exits(1)
        .says(&["fleet namespace agnets does not exist"]);
    assert_eq!(rotation_of(&space)["phase"], "switch");
    space.create_secret(
        "brain-ops-secrets",
        &[("T", &token_before(&space))],
        &json!({}),
    );
    let ran = rotate(&space, &["--continue", "--no-restart", "--apply"]).exits(1);
    ran.says(&["rotate --continue --apply --no-restart"]);
}

/// The old router token, as the list has it.
fn token_before(space: &Space) -> String {
    let list = space.data(ROUTER)["KB_ROUTER_TOKENS"].clone();
    list.split(',').next().unwrap().to_owned()
}

#[test]
fn a_copy_of_a_token_that_went_is_found_by_its_value() {
    let (space, tools) = (brain(), Space::new());
    let old = space.filed()[KB].clone();
    tools.create_secret("copy", &[("T", &old)], &json!({}));
    let copy = format!("{}/copy", tools.namespace);
    rotate(&space, &["--apply"]).exits(0);
    let look = || space.run(&["verify", "--copy", &copy, "-o", "json"]);
    let ran = look().says(&["T is a stale copy of KB_ROUTER_TOKEN"]);
    assert!(!ran.out.contains(&old));
    let hint = of(&ran, "tokens.copies")[0]["hint"].clone();
    let words = [
        ("KEY", "T"),
        ("TOKEN", KB),
        ("OTHER", &tools.namespace),
        ("NAME", "copy"),
    ];
    let hint = hint.as_str().unwrap();
    steps("patch secret NAME", &space, hint, &words, &[]).exits(0);
    assert_eq!(tools.data("copy")["T"], space.data(ROUTER)[KB]);
    let ran = look().says(&["up-to-date copies"]);
    assert!(!ran.out.contains("stale copy"), "{}", ran.out);
}

#[test]
fn who_was_left_behind_is_named_at_the_end_whoever_comes_to_it() {
    let (space, tools) = (brain(), Space::new());
    let old = space.filed()[KB].clone();
    tools.create_secret("copy", &[("TOKEN", &old)], &json!({}));
    let copy = format!("{}/copy", tools.namespace);
    rotate(&space, &["--copy", &copy, "--until", "switch", "--apply"]).exits(0);
    let status = rotate(&space, &["--status"]).exits(0);
    status.says(&["still on the old token", &copy]);
    // As a run with --close-anyway leaves it that is killed there.
    let mut state = rotation_of(&space);
    state["phase"] = "close".into();
    annotate(&space, Some(&state.to_string()));
    let status = rotate(&space, &["--status"]).exits(0);
    status.says(&["in close since", "still on the old token", &copy]);
    let ran = rotate(&space, &["--continue", "--apply"]).exits(0);
    ran.says(&["still held by", &copy]);
}

#[test]
fn who_has_which_token_is_told_in_every_phase_and_how_to_go_on() {
    let space = brain();
    rotate(&space, &["--until", "open", "--apply"]).exits(0);
    let status = rotate(&space, &["--status", "-o", "json"]).exits(0).json();
    let holders = status["holders"].as_array().unwrap();
    assert_eq!(holders[0]["object"], format!("Secret/{ROUTER}"), "{status}");
    let hint = holders[0]["hint"].as_str().unwrap();
    assert!(hint.ends_with("rotate --continue --apply"), "{hint}");
    // Who holds up an abort is to get the old one.
    rotate(&space, &["--until", "switch", "--apply"]).exits(0);
    let new = space.filed()[KB].clone();
    space.create_secret("brain-ops-secrets", &[("TOKEN", &new)], &json!({}));
    let ran = rotate(&space, &["--abort", "--apply"]).exits(1);
    ran.says(&["put the old token into Secret"]);
}

#[test]
fn a_store_that_tells_nothing_of_the_rotation_is_not_written() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    mover
        .run(&["rotate", "--until", "open", "--apply"])
        .exits(0);
    let path = mover.entry("router");
    let mut fields = BAO.fields(&path);
    let told = fields.remove("K8S_BOOTSTRAP_ROTATION").unwrap();
    let put = |fields: &crate::space::Data| {
        let all = fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        BAO.put(&path, &all.collect::<Vec<_>>());
    };
    put(&fields);
    let before = BAO.entry(&path);
    for words in [&["--continue", "--apply"][..], &["--abort", "--apply"]] {
        let ran = mover.run(&[&["rotate"], words].concat()).exits(1);
        ran.says(&[
            "the store entry has no state of rotation",
            "restore the field K8S_BOOTSTRAP_ROTATION",
        ]);
        assert_eq!(BAO.entry(&path), before);
    }
    fields.insert("K8S_BOOTSTRAP_ROTATION".to_owned(), told);
    put(&fields);
    mover.run(&["rotate", "--apply"]).exits(0);
}
