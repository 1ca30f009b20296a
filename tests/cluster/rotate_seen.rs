//! How the other commands see a rotation: those that would disturb it refuse, `verify` tells of it,
//! and a token that it retired does not come back.

use crate::migrate::Mover;
use crate::sandbox::SANDBOX;
use crate::space::{INPUTS, ROUTER, Space};
use std::fs;

/// What would write, or show what it would write, is refused, and nothing is written.
#[track_caller]
fn are_refused(mover: &Mover, told: &str, commands: &[&[&str]]) {
    let space = &mover.space;
    let state = || {
        let file = fs::read(space.file()).unwrap();
        let entry = SANDBOX.bao.entry(&mover.entry("router"));
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
            "whether a rotation is open is not known",
            "k8s-bootstrap/rotation",
            "rotate --status",
        ]);
    }
    assert_eq!(space.versions(), versions);
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
