//! How the other commands see a rotation: those that would disturb it refuse, `verify` tells of it,
//! and a token that it retired does not come back.

use crate::checks::of;
use crate::migrate::Mover;
use crate::path2::BAO;
use crate::space::{INPUTS, ROUTER, Ran, Space};
use crate::workloads;
use serde_json::json;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// What would write, or show what it would write, is refused, and nothing is written.
#[track_caller]
fn are_refused(mover: &Mover, told: &str, commands: &[&[&str]]) {
    let space = &mover.space;
    let state = || {
        let file = fs::read(space.file()).unwrap();
        let entry = BAO.entry(&mover.entry("router"));
        (file, space.versions(), space.writes(), entry)
    };
    let before = state();
    for words in commands {
        let ran = mover.run(words).exits(1);
        let hint = format!("-n {} rotate --status", space.namespace);
        let ran = ran.says(&["refused, and nothing has been written", told, &hint]);
        assert!(!ran.err.contains("--prefer"), "{words:?}: {}", ran.err);
        assert!(state() == before, "{words:?} has written");
    }
}

#[test]
fn what_would_disturb_a_rotation_refuses_until_it_is_over() {
    let mover = Mover::new();
    let prefix = mover.space.namespace.clone();
    let populate = |more: &[&'static str]| [&["populate"], more].concat();
    let all: Vec<Vec<&str>> = vec![
        vec!["--apply"],
        vec!["--apply", "--prefer", "file"],
        vec!["diff"],
        [
            &populate(&["--from-cluster", "--apply"])[..],
            &["--prefix", &prefix],
        ]
        .concat(),
        [&populate(&["--from-cluster"])[..], &["--prefix", &prefix]].concat(),
        [&["migrate", "--apply"], &mover.options()[..]].concat(),
        [&["migrate"], &mover.options()[..]].concat(),
        vec!["migrate", "--rollback", "--apply"],
    ];
    let all: Vec<&[&str]> = all.iter().map(Vec::as_slice).collect();
    for phase in ["open", "switch"] {
        mover.run(&["rotate", "--until", phase, "--apply"]).exits(0);
        let told =
            format!("a rotation of KB_ROUTER_TOKEN and EMBEDDINGS_API_KEY is in {phase} since 20");
        are_refused(&mover, &told, &all);
    }
    mover.run(&["rotate", "--apply"]).exits(0);
    mover.run(&["diff"]).exits(0);
    mover.space.bootstrapped();
    mover.migrate(&["--apply"]).exits(0);
}

#[test]
fn on_path_2_the_external_secret_and_the_store_tell_of_it() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let prefix = mover.space.namespace.clone();
    let cluster: [&[&str]; 4] = [
        &["--apply"],
        &["diff"],
        &["populate", "--from-cluster", "--apply", "--prefix", &prefix],
        &["migrate", "--rollback", "--apply"],
    ];
    let store: [&[&str]; 2] = [
        &["populate", "--apply", "--prefix", &prefix],
        &["populate", "--prefix", &prefix],
    ];
    let forth = [&["migrate", "--apply"], &mover.options()[..]].concat();
    for phase in ["open", "switch"] {
        mover.run(&["rotate", "--until", phase, "--apply"]).exits(0);
        let told = format!("a rotation of KB_ROUTER_TOKEN and EMBEDDINGS_API_KEY is in {phase}");
        are_refused(&mover, &told, &cluster);
        are_refused(&mover, &told, &[&forth]);
        // The store says how it began.
        are_refused(&mover, "a rotation of KB_ROUTER_TOKEN", &store);
    }
    mover.run(&["rotate", "--apply"]).exits(0);
    for words in &cluster[..3] {
        mover.run(words).exits(0);
    }
    mover.run(store[0]).exits(0);
    mover.run(cluster[3]).exits(0);
}

#[test]
fn a_state_that_nobody_can_read_is_refused_as_well() {
    let space = Space::new();
    space.bootstrapped();
    space.kubectl(&["annotate", "secret", ROUTER, "k8s-bootstrap/rotation=x"]);
    let versions = space.versions();
    for words in [&["--apply"][..], &["diff"]] {
        space.run_with(&INPUTS, words).exits(1).says(&[
            "cannot tell whether a rotation is open",
            "k8s-bootstrap/rotation",
            "rotate --status",
        ]);
    }
    assert_eq!(space.versions(), versions);
    let ran = space.run(&["verify", "-o", "json"]).exits(1);
    let check = &of(&ran, "rotation.open")[0];
    assert_eq!(check["status"], "fail");
    assert_eq!(check["hint"], "see docs/checks.md#rotationopen");
}

#[test]
fn a_retired_token_of_a_file_from_before_does_not_come_back() {
    let space = Space::new();
    space.bootstrapped();
    let before = fs::read(space.file()).unwrap();
    space.run(&["rotate", "--apply"]).exits(0);
    let tokens = space.filed();
    let versions = space.versions();
    fs::write(space.file(), &before).unwrap();
    for words in [
        &["--apply"][..],
        &["--apply", "--prefer", "file"],
        &["diff", "--prefer", "file"],
        &["tokens", "recover", "--apply"],
    ] {
        let ran = space.run_with(&INPUTS, words).exits(1);
        let ran = ran.says(&["that a rotation has retired", "--prefer cluster"]);
        assert!(!ran.err.contains("--prefer file"), "{}", ran.err);
        assert_eq!(space.versions(), versions);
        assert!(fs::read(space.file()).unwrap() == before);
    }
    let keep = ["--apply", "--prefer", "cluster"];
    space.run_with(&INPUTS, &keep).exits(0);
    assert!(space.filed() == tokens);

    // Where the cluster has lost its token the retired one is not the next.
    space.remove_key(ROUTER, "KB_ROUTER_TOKEN");
    fs::write(space.file(), &before).unwrap();
    let file = ["--apply", "--prefer", "file"];
    let ran = space.run_with(&INPUTS, &file).exits(1);
    ran.says(&[
        "that a rotation has retired",
        "has none",
        "--prefer cluster",
    ]);
    space.run_with(&INPUTS, &keep).exits(0);
    let minted = &space.filed()["KB_ROUTER_TOKEN"];
    let was = String::from_utf8(before).unwrap();
    assert!(!was.contains(minted.as_str()), "another one");
    assert!(space.data(ROUTER)["KB_ROUTER_TOKEN"] == *minted);
}

/// Runs `verify`, which is healthy; gives its document, and that nothing is to be looked at.
#[track_caller]
fn is_quiet(ran: Ran) -> Ran {
    let ran = ran.exits(0);
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let loud: Vec<_> = checks
        .filter(|check| check["status"] == "warn" || check["status"] == "fail")
        .collect();
    assert!(loud.is_empty(), "{loud:#?}");
    ran
}

/// The messages of the checks with that id.
fn messages(ran: &Ran, id: &str) -> Vec<String> {
    let checks = of(ran, id).into_iter();
    checks
        .map(|check| check["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn verify_tells_of_a_rotation_and_cries_no_wolf() {
    let (space, member) = (Space::new(), Space::new());
    let fleet = ["--fleet-namespace", member.namespace.as_str()];
    let run = |words: &[&str]| space.run(&[words, &fleet].concat());
    let look = || run(&["verify", "-o", "json"]);
    // Nothing here restarts what asks for Reloader, so nobody waits for it.
    let rotate =
        |words: &[&str]| run(&[&["rotate", "--reloader-grace", "0", "--apply"], words].concat());
    let first = [&["--apply"], &fleet[..]].concat();
    space.run_with(&INPUTS, &first).exits(0);
    let (before, old) = (fs::read(space.file()).unwrap(), space.filed());
    workloads::install(&space, &json!({}));
    for place in [&space, &member] {
        workloads::agents(place);
        workloads::wait_ready(place, workloads::AGENTS);
    }
    for workload in workloads::WORKLOADS {
        workloads::wait_ready(&space, workload);
    }
    assert_eq!(
        messages(&is_quiet(look()), "rotation.open"),
        ["no rotation is open"]
    );

    for phase in ["open", "switch"] {
        // Pods start in a later second than the last change, or would count as fresh.
        sleep(Duration::from_millis(1100));
        rotate(&["--until", phase]).exits(0);
        let ran = is_quiet(look());
        let told =
            format!("a rotation of KB_ROUTER_TOKEN and EMBEDDINGS_API_KEY is in {phase} since 20");
        let said = messages(&ran, "rotation.open");
        assert!(said[0].starts_with(&told), "{said:?}");

        // Ages are whole seconds, and 0 is not over 0.
        sleep(Duration::from_millis(1100));
        let ran = run(&["verify", "-o", "json", "--max-overlap", "0s"]).exits(0);
        let late = of(&ran, "rotation.open");
        assert_eq!(late[0]["status"], "warn");
        let said = late[0]["message"].as_str().unwrap();
        assert!(said.ends_with(", over the limit of 0 seconds"), "{said}");
        let hint = late[0]["hint"].as_str().unwrap();
        assert!(hint.ends_with(" rotate --continue --apply"), "{hint}");
    }
    // Somebody else's file is from before; a run was killed that had not come to the fleet.
    let now = fs::read(space.file()).unwrap();
    fs::write(space.file(), before).unwrap();
    let token = [("KB_ROUTER_TOKEN", old["KB_ROUTER_TOKEN"].as_str())];
    member.set_keys(ROUTER, &token, "kubectl-edit");
    let ran = is_quiet(look());
    for said in messages(&ran, "tokens.match") {
        assert!(
            said.ends_with(" is being rotated: the tokens file has the old value"),
            "{said}"
        );
    }
    assert!(messages(&ran, "tokens.fleet")[0].contains("of the open rotation"));
    fs::write(space.file(), now).unwrap();

    sleep(Duration::from_millis(1100));
    rotate(&[]).exits(0);
    let ran = is_quiet(look());
    assert_eq!(messages(&ran, "rotation.open"), ["no rotation is open"]);
    // Nor after one that was taken back, of whatever tokens.
    let one = ["--token", "KB_ROUTER_TOKEN"];
    for (words, phase) in [(&one[..], "open"), (&[], "switch")] {
        sleep(Duration::from_millis(1100));
        rotate(&[&["--until", phase], words].concat()).exits(0);
        rotate(&["--abort"]).exits(0);
        is_quiet(look());
    }
    // What somebody changes afterwards is no matter of it.
    sleep(Duration::from_millis(1100));
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", "")], "kubectl-edit");
    let stale = of(&look(), "workload.fresh");
    assert!(
        stale.iter().any(|check| check["status"] == "warn"),
        "{stale:?}"
    );
}

#[test]
fn verify_tells_of_a_rotation_on_path_2() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    for phase in ["open", "switch"] {
        mover.run(&["rotate", "--until", phase, "--apply"]).exits(0);
        let ran = is_quiet(mover.run(&["verify", "-o", "json"]));
        let said = messages(&ran, "rotation.open");
        assert!(
            said[0].contains(&format!(" is in {phase} since 20")),
            "{said:?}"
        );
    }
    mover.run(&["rotate", "--apply"]).exits(0);
    is_quiet(mover.run(&["verify", "-o", "json"]));
}
