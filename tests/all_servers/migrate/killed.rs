//! A migration that is ended at any moment is carried on by the next.

use super::{ALL, Mover};
use crate::sandbox::SANDBOX;
use crate::space::{Ran, few_trials};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Starts the program as an operator of the store.
fn start(mover: &Mover, arguments: &[&str]) -> Child {
    let own = mover.space.operator(&mover.token);
    let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut command = mover.space.command(&own, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How long a run takes that nobody ends.
fn whole(mover: &Mover, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    mover.run(arguments).exits(0);
    started.elapsed()
}

/// A moment within a run, another in each trial.
fn moment(whole: Duration, trial: usize, trials: usize) -> Duration {
    whole.mul_f64((trial as f64 + 0.5) / trials as f64)
}

/// Nothing of a run is left that is meant to live for a moment.
fn temporaries(mover: &Mover) -> Vec<String> {
    let externals = mover.externals();
    let secrets = format!("/api/v1/namespaces/{}/secrets", mover.space.namespace);
    let list = SANDBOX.expect("GET", &secrets, &Value::Null);
    let secrets = list["items"].as_array().unwrap().iter();
    let secrets = secrets.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
    let names = externals.into_iter().chain(secrets);
    names
        .filter(|name| name.starts_with("k8s-bootstrap-"))
        .collect()
}

fn forth(mover: &Mover) -> Vec<&str> {
    [&["migrate"], &mover.options()[..], &["--apply"]].concat()
}

/// How long a whole migration takes.
fn whole_way() -> Duration {
    let mover = Mover::new();
    whole(&mover, &forth(&mover))
}

#[test]
fn a_migration_that_is_killed_is_carried_on() {
    let limit = whole_way();
    for trial in 0..few_trials() {
        let mover = Mover::new();
        let before = mover.values();
        let words = forth(&mover);
        let mut child = start(&mover, &words);
        std::thread::sleep(moment(limit, trial, few_trials()));
        child.kill().unwrap();
        child.wait().unwrap();
        for (secret, data) in mover.values() {
            let mut expected = Mover::grown(before.clone())[secret].clone();
            if !data.contains_key("LOG_LEVEL") {
                expected.remove("LOG_LEVEL");
            }
            assert_eq!(data, expected, "{secret} after a kill");
        }
        mover.run(&words).exits(0);
        assert_eq!(mover.values(), Mover::grown(before));
        assert_eq!(temporaries(&mover), [""; 0]);
        for (secret, external, _) in ALL {
            let owner = Some(("ExternalSecret".to_owned(), external.to_owned()));
            assert_eq!(mover.owner(secret), owner);
        }
    }
}

#[test]
fn a_way_back_that_is_killed_is_carried_on() {
    let back = ["migrate", "--rollback", "--apply"];
    let first = Mover::new();
    first.migrate(&["--apply"]).exits(0);
    let limit = whole(&first, &back);
    for trial in 0..few_trials() {
        let mover = Mover::new();
        mover.migrate(&["--apply"]).exits(0);
        let before = mover.values();
        let mut child = start(&mover, &back);
        std::thread::sleep(moment(limit, trial, few_trials()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(mover.values(), before, "after a kill");
        // Forth or back: from anywhere both ways lead on.
        if trial % 2 == 0 {
            mover.run(&back).exits(0);
            assert_eq!(mover.externals(), [""; 0]);
            assert!(ALL.iter().all(|(secret, ..)| mover.owner(secret).is_none()));
        } else {
            mover.migrate(&["--apply"]).exits(0);
            assert!(ALL.iter().all(|(secret, ..)| mover.owner(secret).is_some()));
        }
        assert_eq!(mover.values(), before);
    }
}

#[test]
fn a_migration_that_is_interrupted_leaves_nothing_for_a_moment_behind() {
    let limit = whole_way();
    for trial in 0..few_trials() {
        let mover = Mover::new();
        let before = mover.values();
        let words = forth(&mover);
        let child = start(&mover, &words);
        std::thread::sleep(moment(limit, trial, few_trials()));
        let id = Pid::from_raw(child.id().cast_signed()).unwrap();
        // It may have ended by itself.
        let _ = kill_process(id, Signal::TERM);
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert!(matches!(ran.code, 0 | 3 | 143), "{}: {}", ran.code, ran.err);
        assert_eq!(temporaries(&mover), [""; 0], "{}", ran.err);
        mover.run(&words).exits(0);
        assert_eq!(mover.values(), Mover::grown(before));
    }
}
