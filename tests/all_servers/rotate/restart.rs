//! `--apply --update KEY --restart`: who reads what was changed restarts, and nobody else.

use crate::space::{AGENTICORE, INPUTS, Space};
use crate::workloads::{
    BRAIN_API, EMBEDDINGS_SERVICE, KEEPER, WORKLOADS, install, started, wait_ready,
};
use serde_json::json;

fn brain() -> Space {
    let space = Space::new();
    space.bootstrapped();
    install(&space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }
    space
}

#[test]
fn the_readers_of_a_changed_input_restart_once() {
    let space = brain();
    let before = WORKLOADS.map(|workload| started(&space, workload));
    let words = ["--apply", "--update", "GITHUB_TOKEN", "--restart"];
    let inputs = [INPUTS[0], INPUTS[1], ("GITHUB_TOKEN", "ghp_of_a_test")];
    space
        .run_with(&inputs, &words)
        .exits(0)
        .says(&["brain-keeper: restarting", "rolled out"]);
    assert_eq!(space.data(AGENTICORE)["GITHUB_TOKEN"], "ghp_of_a_test");
    let after = WORKLOADS.map(|workload| started(&space, workload));
    for (workload, (before, after)) in WORKLOADS.iter().zip(before.iter().zip(&after)) {
        let restarted = *workload == KEEPER;
        assert_eq!(before != after, restarted, "{workload}");
    }
    assert_eq!(WORKLOADS, [BRAIN_API, EMBEDDINGS_SERVICE, KEEPER]);
    // Nothing is left to do, after a kill in between either.
    space.run_with(&inputs, &words).exits(0);
    assert_eq!(WORKLOADS.map(|workload| started(&space, workload)), after);
}

#[test]
fn a_run_that_was_killed_before_the_restart_is_made_good() {
    let space = brain();
    let before = started(&space, KEEPER);
    let inputs = [INPUTS[0], INPUTS[1], ("GITHUB_TOKEN", "ghp_of_a_test")];
    space
        .run_with(&inputs, &["--apply", "--update", "GITHUB_TOKEN"])
        .exits(0);
    assert_eq!(started(&space, KEEPER), before);
    let words = ["--apply", "--update", "GITHUB_TOKEN", "--restart"];
    space.run_with(&inputs, &words).exits(0);
    assert_ne!(started(&space, KEEPER), before);
}

#[test]
fn without_an_update_there_is_nothing_to_restart_for() {
    let space = Space::new();
    space.run(&["--apply", "--restart"]).exits(2);
    space
        .run(&["--update", "GITHUB_TOKEN", "--restart"])
        .exits(2);
}
