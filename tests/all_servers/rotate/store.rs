//! A rotation on Path 2, on a real operator and store: the store is written, the Secrets follow.

use super::scene::chance;
use crate::migrate::{ALL, Mover};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER, Ran, trials};
use crate::workloads::{WORKLOADS, install, wait_ready};
use serde_json::json;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

/// A brain on Path 2, whose workloads run.
fn moved() -> Mover {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    install(&mover.space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&mover.space, workload);
    }
    mover
}

fn rotate(mover: &Mover, more: &[&str]) -> Ran {
    mover.run(&[&["rotate", "--reloader-grace", "0"], more].concat())
}

/// Holds that the store, the Secrets and the file have one value of each token, and no trace of a
/// rotation is left.
fn is_settled(mover: &Mover) {
    let (router, embeddings) = (mover.space.data(ROUTER), mover.space.data(EMBEDDINGS));
    let keys: Vec<_> = router.keys().map(String::as_str).collect();
    assert_eq!(keys, ["EMBEDDINGS_API_KEY", "KB_ROUTER_TOKEN"]);
    assert_eq!(
        embeddings["EMBEDDINGS_API_KEYS"],
        router["EMBEDDINGS_API_KEY"]
    );
    assert_eq!(mover.space.filed(), router);
    assert_eq!(BAO.fields(&mover.entry("router")), router);
    assert_eq!(BAO.fields(&mover.entry("embeddings")), embeddings);
    rotate(mover, &["--status"])
        .exits(0)
        .says(&["no rotation is open"]);
}

#[test]
fn a_rotation_writes_the_store_and_the_secrets_follow() {
    let mover = moved();
    let before = mover.values();
    let ran = rotate(&mover, &["--apply"]).exits(0);
    ran.says(&["rotated: one token everywhere"]);
    is_settled(&mover);
    let after = mover.values();
    for token in ["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY"] {
        assert_ne!(before[ROUTER][token], after[ROUTER][token]);
    }
    // Every Secret still is the operator's, and nothing else in it has changed.
    for (secret, external, _) in ALL {
        let owner = ("ExternalSecret".to_owned(), external.to_owned());
        assert_eq!(mover.owner(secret), Some(owner));
    }
    assert_eq!(
        before[EMBEDDINGS]["POSTGRES_URL"],
        after[EMBEDDINGS]["POSTGRES_URL"]
    );
    let writes = mover.space.writes();
    let of_secrets = writes.iter().filter(|line| line.contains("/secrets/"));
    let since_migrate: Vec<_> = of_secrets.filter(|line| line.contains("patch")).collect();
    assert!(
        since_migrate.iter().all(|line| !line.contains("rotation")),
        "{since_migrate:?}"
    );
}

#[test]
fn a_rotation_stops_where_it_is_told_to_and_goes_back() {
    let mover = moved();
    let before = mover.values();
    rotate(&mover, &["--apply", "--until", "open"]).exits(0);
    let entry = BAO.fields(&mover.entry("router"));
    let list = entry["KB_ROUTER_TOKENS"].clone();
    assert!(list.starts_with(&format!("{},", before[ROUTER]["KB_ROUTER_TOKEN"])));
    assert_eq!(mover.space.data(ROUTER), entry);
    assert_eq!(entry["KB_ROUTER_TOKEN"], before[ROUTER]["KB_ROUTER_TOKEN"]);
    rotate(&mover, &["--status"])
        .exits(0)
        .says(&["in open since"]);
    rotate(&mover, &["--apply", "--until", "switch"]).exits(0);
    assert_ne!(
        mover.space.data(ROUTER)["KB_ROUTER_TOKEN"],
        before[ROUTER]["KB_ROUTER_TOKEN"]
    );
    // With the cluster and the store alone.
    std::fs::remove_file(mover.space.file()).unwrap();
    rotate(&mover, &["--abort", "--apply"])
        .exits(0)
        .says(&["back to the old"]);
    is_settled(&mover);
    assert_eq!(mover.values(), before);
}

/// A few trials: each is a rotation or two.
#[test]
fn a_rotation_of_the_store_that_is_killed_ends_with_one_token_everywhere() {
    let mover = moved();
    let began = Instant::now();
    rotate(&mover, &["--apply"]).exits(0);
    let whole = began.elapsed();
    let trials = trials().min(6);
    for trial in 0..trials {
        let before = mover.values();
        let mut child = mover
            .command(&["rotate", "--reloader-grace", "0", "--apply"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let part = (trial as f64 + chance()) / trials as f64;
        thread::sleep(whole.mul_f64(part));
        child.kill().unwrap();
        child.wait().unwrap();
        if trial % 3 == 1 {
            // Not begun, or too far.
            let ran = rotate(&mover, &["--abort", "--apply"]);
            assert!(ran.code <= 1, "{}", ran.err);
        }
        if trial % 3 == 2 {
            std::fs::remove_file(mover.space.file()).unwrap();
        }
        rotate(&mover, &["--apply"]).exits(0);
        is_settled(&mover);
        let after = mover.values();
        for token in ["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY"] {
            assert_ne!(
                before[ROUTER][token], after[ROUTER][token],
                "{part} {token}"
            );
        }
    }
}

/// Whoever was stopped with what `open` wants of an entry in hand comes too late, also where it never
/// had been written.
#[test]
fn an_abort_leaves_no_entry_as_somebody_else_has_seen_it() {
    let mover = moved();
    let path = mover.entry("embeddings");
    let before = BAO.fields(&path);
    rotate(&mover, &["--apply", "--until", "open"]).exits(0);
    let fields: Vec<_> = before
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    BAO.put(&path, &fields);
    let (_, seen) = BAO.entry(&path).unwrap();
    rotate(&mover, &["--abort", "--apply"]).exits(0);
    let (after, version) = BAO.entry(&path).unwrap();
    assert_eq!(after, before);
    assert!(version > seen, "still version {seen}");
    is_settled(&mover);
}

#[test]
fn a_store_that_cannot_be_written_is_refused_before_anything() {
    let mut mover = moved();
    let (before, writes) = (mover.values(), mover.space.writes().len());
    mover.token = BAO.token(&mover.space.namespace, &["read"]);
    let ran = rotate(&mover, &["--apply"]).exits(3);
    ran.says(&["lacks the capability update", "nothing has been written"]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.space.writes().len(), writes);
}

#[test]
fn what_the_one_write_left_is_carried_on() {
    let mover = moved();
    let before = mover.values();
    rotate(&mover, &["--apply", "--until", "open"]).exits(0);
    // As if the run had been killed right after the write that opened it.
    let path = mover.space.external_secret_path(ALL[0].1);
    let gone = json!({ "metadata": { "annotations": { "k8s-bootstrap/rotation": null } } });
    SANDBOX.expect("PATCH", &path, &gone);
    let other = Mover {
        space: mover.space.other_operator(),
        token: mover.token.clone(),
    };
    let opened = BAO.fields(&mover.entry("router"))["EMBEDDINGS_API_KEY_NEXT"].clone();
    rotate(&other, &["--apply"]).exits(0).says(&["is in open"]);
    is_settled(&other);
    let after = other.values();
    assert_eq!(after[ROUTER]["EMBEDDINGS_API_KEY"], opened);
    assert_ne!(
        before[ROUTER]["KB_ROUTER_TOKEN"],
        after[ROUTER]["KB_ROUTER_TOKEN"]
    );
}
