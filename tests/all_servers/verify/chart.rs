//! The chart before and after the Secrets exist, and `--wait`.

use crate::checks::{follow, of};
use crate::readers::{look, statuses};
use crate::services::{Kind, Service, Slot};
use crate::space::{INPUTS, Ran, Space};
use crate::wait::wait;
use crate::workloads::{
    BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS, by_hand, install, kubelet, name_of_pod, pod_of,
    ports, wait_ready,
};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// The hints of all that fails.
fn hints(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let failed = json["checks"].as_array().unwrap().iter();
    failed
        .filter(|check| check["status"] == "fail")
        .map(|check| check["hint"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_chart_before_its_secrets_is_explained_and_the_hints_bring_it_up() {
    let space = Space::new();
    let slots = [Slot::take(), Slot::take()];
    install(&space, &by_hand(ports(slots[0].port(), slots[1].port())));
    for workload in WORKLOADS {
        wait("the pod is there", || pod_of(&space, workload).is_some());
    }
    kubelet(&space);
    let ran = look(&space, &[]).exits(1);
    for (id, count) in [
        ("secret.present", 3),
        ("workload.wired", 4),
        ("workload.waiting", 3),
    ] {
        let failed = of(&ran, id)
            .into_iter()
            .filter(|check| check["status"] == "fail");
        assert_eq!(failed.count(), count, "{id}");
    }
    for workload in WORKLOADS {
        let name = name_of_pod(&space, workload);
        assert!(ran.out.contains(&format!("\"Pod/{name}\"")), "{}", ran.out);
    }

    // One hint after the other, until nothing fails: each brings it nearer.
    let mut rounds = 0;
    let mut ran = ran;
    while let Some(hint) = hints(&ran).first() {
        rounds += 1;
        assert!(rounds < 12, "{hint}");
        follow(&space, hint, &INPUTS).exits(0);
        kubelet(&space);
        ran = look(&space, &[]);
    }
    wait("the pods are ready", || {
        kubelet(&space);
        WORKLOADS.iter().all(|workload| {
            pod_of(&space, workload).is_some_and(|pod| pod["status"]["phase"] == "Running")
        })
    });
    let ran = look(&space, &[]).exits(0);
    for id in [
        "secret.present",
        "workload.wired",
        "workload.fresh",
        "workload.waiting",
    ] {
        assert_eq!(statuses(&ran, id), ["pass"], "{}", ran.out);
    }

    // Nothing is left; --live proves it.
    let [slot, other] = slots;
    let _brain_api = Service::of(slot, Kind::BrainApi, &space, BRAIN_API);
    let _embeddings = Service::of(other, Kind::Embeddings, &space, EMBEDDINGS_SERVICE);
    let ran = look(&space, &["--live"]).exits(0);
    for id in ["embeddings.door", "live.brain-api", "live.embeddings"] {
        assert_eq!(statuses(&ran, id), ["pass"], "{}", ran.out);
    }
}

#[test]
fn a_chart_after_its_secrets_is_all_right() {
    let space = Space::new();
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    install(&space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&space, workload);
    }
    let ran = look(&space, &[]).exits(0);
    let json = ran.json();
    for check in json["checks"].as_array().unwrap() {
        let bad = check["status"] == "fail" || check["status"] == "warn";
        assert!(!bad, "{check}");
    }
    for id in [
        "workload.wired",
        "workload.fresh",
        "workload.waiting",
        "workload.reloader",
    ] {
        assert_eq!(statuses(&ran, id), ["pass"]);
    }
    assert_eq!(statuses(&ran, "embeddings.door"), ["pass"]);
}

#[test]
fn waiting_ends_when_another_operator_has_mended_it() {
    let space = Space::new();
    install(&space, &json!({}));
    let mut waiting = space
        .command(&[], &["verify", "--wait", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut story = BufReader::new(waiting.stderr.take().unwrap());
    let mut line = String::new();
    story.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for"), "{line}");
    assert!(line.contains("secret.present"), "{line}");
    space.run_with(&INPUTS, &["--apply"]).exits(0);
    story.read_to_string(&mut line).unwrap();
    let ran = Ran::from(waiting.wait_with_output().unwrap()).exits(0);
    assert_eq!(statuses(&ran, "secret.present"), ["pass"]);
}

#[test]
fn waiting_ends_when_the_time_is_over() {
    let space = Space::new();
    install(&space, &json!({}));
    let ran = look(&space, &["--wait=2s"]).exits(1);
    assert_eq!(statuses(&ran, "secret.present"), ["fail"]);
    assert!(ran.err.contains("waiting for"), "{}", ran.err);
}
