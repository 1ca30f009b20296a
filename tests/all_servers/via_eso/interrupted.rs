//! A run that is interrupted leaves nothing behind; after one that is killed the next does not.

use super::{agenticore, embeddings};
use crate::space::{INPUTS, Ran, Space, few_trials};
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long an undisturbed run takes.
fn length() -> Duration {
    static LENGTH: LazyLock<Duration> = LazyLock::new(|| {
        let space = Space::new();
        space.writing_store();
        let started = Instant::now();
        space.fill(&[]).exits(0);
        started.elapsed()
    });
    *LENGTH
}

/// Moments spread over a run, the last ones over what comes after it.
fn moment(index: usize, count: usize) -> Duration {
    let index = u32::try_from(index).unwrap();
    length() * (2 * index + 1) / (2 * u32::try_from(count).unwrap())
}

fn start(space: &Space) -> Child {
    let mut command = space.command(&INPUTS, &space.filling(&[]));
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end_by(space: &Space, time: Duration, signal: Signal) -> Ran {
    let child = start(space);
    thread::sleep(time);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
    child.wait_with_output().unwrap().into()
}

/// Runs it again, and sees that it carried on: no value that was there is another now.
fn carries_on(space: &Space) {
    let before = space.file().exists().then(|| space.filed());
    let stored = space.stored();
    space.fill(&[]).exits(0);
    space.has_no_temporaries();
    let tokens = space.filed();
    assert!(before.is_none_or(|before| before == tokens));
    let now = space.stored();
    for (before, now) in stored.iter().zip(&now) {
        assert!(before.is_none() || before == now);
    }
    let now: Vec<_> = now.into_iter().map(|entry| entry.unwrap().0).collect();
    assert_eq!(now, [tokens.clone(), embeddings(&tokens), agenticore()]);
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let trials = few_trials();
    let signals = [Signal::TERM, Signal::INT, Signal::HUP];
    for (index, signal) in (0..trials).zip(signals.into_iter().cycle()) {
        let space = Space::new();
        space.writing_store();
        let ran = end_by(&space, moment(index, trials), signal);
        space.has_no_temporaries();
        match ran.code {
            0 => {}
            3 => drop(ran.says(&["interrupted"])),
            // Before it waits for signals it has made nothing.
            code => assert!(code > 128 && space.made("") == 0, "{code}: {}", ran.err),
        }
        carries_on(&space);
    }
}

#[test]
fn what_a_killed_run_left_goes_with_the_next() {
    let trials = few_trials();
    let mut left = 0;
    for index in 0..trials {
        let space = Space::new();
        space.writing_store();
        end_by(&space, moment(index, trials), Signal::KILL);
        left += space.temporaries().len();
        carries_on(&space);
    }
    assert!(
        left > 0,
        "no kill hit a moment in which there was anything to leave"
    );
}

#[test]
fn runs_that_are_ended_again_and_again_lose_nothing() {
    let space = Space::new();
    space.writing_store();
    for index in 0..6 {
        let signal = match index % 2 {
            0 => Signal::KILL,
            _ => Signal::TERM,
        };
        end_by(&space, moment(index, 6), signal);
    }
    carries_on(&space);
}
