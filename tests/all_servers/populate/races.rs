//! Runs that meet each other in an empty store, and runs that are killed.

use super::Operator;
use crate::space::{INPUTS, few_trials};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn start(at: &Operator) -> Child {
    at.command(&INPUTS, &["--apply"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> crate::space::Ran {
    child.wait_with_output().unwrap().into()
}

/// How long a whole first run takes.
fn length_of_a_first_run() -> Duration {
    let at = Operator::new();
    let started = Instant::now();
    at.populated();
    started.elapsed()
}

/// A random moment in the part `index` of `count` equal parts of that length.
fn moment(length: Duration, index: usize, count: usize) -> Duration {
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    length.mul_f64((index as f64 + random) / count as f64)
}

fn signal(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id().cast_signed()).unwrap();
    // One that has ended is not waited for yet, so the id is still its own.
    kill_process(id, signal).unwrap();
}

#[test]
fn operators_who_meet_in_an_empty_store_end_with_the_same_tokens() {
    for _ in 0..few_trials() {
        let at = Operator::new();
        let operators: Vec<_> = (0..4).map(|_| at.another()).collect();
        let runs: Vec<_> = operators.iter().map(start).collect();
        for run in runs {
            end(run).exits(0);
        }
        let sets: BTreeSet<_> = operators.iter().map(Operator::one_set_of_tokens).collect();
        assert_eq!(sets.len(), 1);
        // Whoever lost has read again, and found it done.
        assert_eq!(at.versions(), [1, 1, 1]);
        for operator in &operators {
            operator.nothing_is_left_to_do();
        }
    }
}

#[test]
fn a_run_that_sleeps_while_another_fills_the_store_ends_with_the_same_tokens() {
    let (length, trials) = (length_of_a_first_run(), few_trials());
    for index in 0..trials {
        let at = Operator::new();
        let sleeper = at.another();
        let child = start(&sleeper);
        thread::sleep(moment(length, index, trials));
        signal(&child, Signal::STOP);
        at.populated();
        signal(&child, Signal::CONT);
        end(child).exits(0);
        assert_eq!(sleeper.one_set_of_tokens(), at.one_set_of_tokens());
        assert_eq!(at.versions(), [1, 1, 1]);
    }
}

#[test]
fn a_killed_run_is_carried_on_by_the_next() {
    let (length, trials) = (length_of_a_first_run(), few_trials());
    for index in 0..trials {
        let at = Operator::new();
        // What was there before stays, too.
        at.put(
            "agenticore",
            &[("GITHUB_TOKEN", "theirs"), ("THEIRS", "kept")],
        );
        for part in 0..3 {
            let mut child = start(&at);
            thread::sleep(moment(length, (index + part) % trials, trials));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let before = at.space.file().exists().then(|| at.space.filed());
        let [router, ..] = at.versions();
        assert!(
            before.is_some() || router == 0,
            "the store saw tokens before the disk"
        );
        let stored = (router > 0).then(|| at.fields("router"));

        at.populated();
        let tokens = at.one_set_of_tokens();
        assert!(before.is_none_or(|before| before == tokens));
        assert!(stored.is_none_or(|stored| stored == tokens));
        let agenticore = at.fields("agenticore");
        assert_eq!(
            (&*agenticore["GITHUB_TOKEN"], &*agenticore["THEIRS"]),
            ("theirs", "kept")
        );
        assert_eq!(at.versions(), [1, 1, 2]);
        at.nothing_is_left_to_do();
    }
}
