//! What a run over a fleet refuses, and what it leaves out.

use super::{Fleet, STRANGERS, action_in, actions, names_of_secrets};
use crate::space::{Data, ROUTER, Space};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn fingerprint(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &hex[..12])
}

#[test]
fn another_token_in_a_fleet_namespace_refuses_before_the_first_write() {
    let fleet = Fleet::new(2);
    fleet.home.bootstrapped();
    let tokens = fleet.home.filed();
    let [fresh, other] = [&fleet.members[0], &fleet.members[1]];
    let key = ("EMBEDDINGS_API_KEY", tokens["EMBEDDINGS_API_KEY"].as_str());
    let own = ("OF_THE_AGENTS", "stays");
    other.create_secret(ROUTER, &[STRANGERS[0], key, own], &Value::Null);
    let (versions, writes) = (fleet.versions(), fleet.writes());

    let place = format!("{}/{ROUTER}", other.namespace);
    let (ours, theirs) = (
        fingerprint(&tokens["KB_ROUTER_TOKEN"]),
        fingerprint(STRANGERS[0].1),
    );
    for command in ["--apply", "diff"] {
        for format in ["text", "json"] {
            for ran in [
                fleet.selected(&[command, "-o", format]),
                fleet.named(&[command, "-o", format]),
            ] {
                let words = ["home", &place, &ours, &theirs, "--prefer cluster"];
                let ran = ran.exits(1).says(&words);
                assert!(!ran.err.contains("EMBEDDINGS_API_KEY differs"));
                if format == "json" {
                    assert_eq!(action_in(&ran, other), "refused");
                }
            }
        }
    }
    assert_eq!(
        (fleet.versions(), fleet.writes()),
        (versions.clone(), writes)
    );
    assert_eq!(fleet.home.filed(), tokens);
    assert_eq!(names_of_secrets(fresh), [""; 0]);

    let ran = fleet
        .selected(&["--apply", "--prefer", "cluster", "-o", "json"])
        .exits(0);
    assert_eq!(action_in(&ran, other), "configured");
    assert_eq!(action_in(&ran, fresh), "created");
    assert_eq!(action_in(&ran, &fleet.home), "unchanged");
    let mut wanted = tokens.clone();
    assert_eq!(fresh.data(ROUTER), wanted);
    wanted.insert(own.0.to_owned(), own.1.to_owned());
    assert_eq!(other.data(ROUTER), wanted);
    assert_eq!(fleet.home.filed(), tokens);
    assert_eq!(fleet.home.beside_file(), [".k8s-tokens"]);
    assert!(fleet.versions().starts_with(&versions[..3]));
}

#[test]
fn a_refusal_names_the_tokens_file_where_home_has_nothing() {
    let fleet = Fleet::new(1);
    let filed = ("KB_ROUTER_TOKEN", "a-router-token-that-was-filed");
    fleet.home.write_file(&[filed]);
    fleet.members[0].create_secret(ROUTER, &STRANGERS, &Value::Null);
    let ran = fleet.named(&["--apply"]).exits(1);
    let (ours, theirs) = (fingerprint(filed.1), fingerprint(STRANGERS[0].1));
    let place = format!("{}/{ROUTER}", fleet.members[0].namespace);
    let line = ran
        .err
        .lines()
        .find(|line| line.contains("KB_ROUTER_TOKEN differs"))
        .unwrap();
    for word in ["tokens file", &ours, &place, &theirs] {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    assert!(!line.contains("home has"), "it has none: {line:?}");
    assert_eq!(fleet.writes(), [""; 0]);
}

#[test]
fn a_fleet_namespace_is_never_a_source() {
    let fleet = Fleet::new(2);
    let planted = &fleet.members[0];
    planted.create_secret(ROUTER, &STRANGERS, &Value::Null);
    let place = format!("{}/{ROUTER}", planted.namespace);
    let versions = fleet.versions();
    for command in ["--apply", "diff"] {
        for ran in [fleet.named(&[command]), fleet.selected(&[command])] {
            ran.exits(1)
                .says(&[&place, &fingerprint(STRANGERS[0].1), "never trusted"]);
        }
    }
    fleet.is_untouched();
    assert_eq!(fleet.versions(), versions);
    fleet.run(&["tokens", "recover", "--apply"]).exits(1);
    fleet.is_untouched();

    // Told to, it mints, and the planted ones go.
    let ran = fleet.selected(&["--apply", "--prefer", "cluster"]).exits(0);
    assert!(!ran.out.contains("adopted"), "{}", ran.out);
    fleet.is_complete();
    assert_ne!(fleet.home.filed()["KB_ROUTER_TOKEN"], STRANGERS[0].1);
}

#[test]
fn a_named_namespace_that_is_absent_fails_before_the_first_write() {
    let fleet = Fleet::new(1);
    let absent = Space::without_namespace();
    let name = ["--fleet-namespace", &absent.namespace];
    for command in ["--apply", "diff"] {
        let arguments = [&[command, "-o", "json"][..], &name].concat();
        for ran in [fleet.named(&arguments), fleet.selected(&arguments)] {
            let ran = ran.exits(3).says(&[&absent.namespace, "does not exist"]);
            assert_eq!(ran.json()["ok"], false);
            assert_ne!(ran.json()["error"]["hint"], "");
        }
    }
    fleet.is_untouched();
}

#[test]
fn a_named_namespace_that_is_being_deleted_fails_before_the_first_write() {
    let fleet = Fleet::new(2);
    fleet.members[1].terminate();
    for command in ["--apply", "diff"] {
        let ran = fleet.named(&[command]).exits(3);
        let ran = ran.says(&[&fleet.members[1].namespace, "is being deleted"]);
        assert!(
            !ran.err.contains("create namespace"),
            "it exists, so that would fail: {}",
            ran.err
        );
        // Named is stronger than selected.
        let name = ["--fleet-namespace", &fleet.members[1].namespace];
        fleet.selected(&[&[command], &name[..]].concat()).exits(3);
    }
    fleet.is_untouched();
}

#[test]
fn a_selected_namespace_that_is_being_deleted_is_left_out() {
    let mut fleet = Fleet::new(3);
    let leaving = &fleet.members[1];
    leaving.terminate();
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
    let place = format!("warning: fleet namespace {}", leaving.namespace);
    assert_eq!(ran.err.matches(&place).count(), 1, "{}", ran.err);
    assert!(ran.err.contains("left out"), "{}", ran.err);
    assert_eq!(actions(&ran).len(), 5, "{}", ran.out);
    assert_eq!(names_of_secrets(leaving), [""; 0]);
    fleet.members.remove(1);
    fleet.is_complete();
    fleet.selected(&["diff"]).exits(0).says(&["left out"]);
}

#[test]
fn a_selector_that_is_none_is_a_matter_of_usage() {
    let fleet = Fleet::new(0);
    for selector in ["a in (b", "=", "a=b=c", "not a label", "a,,b", "a==-"] {
        for command in ["--apply", "diff"] {
            let ran = fleet.run(&[command, "--fleet-selector", selector, "-o", "json"]);
            let ran = ran.exits(2).says(&["--fleet-selector"]);
            assert_eq!(ran.json()["ok"], false, "{selector}");
        }
    }
    fleet.is_untouched();
}

/// What Helm writes on its Secrets.
fn marks_of_helm() -> Value {
    json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "agents" },
    } })
}

#[test]
fn a_fleet_secret_of_somebody_else_is_skipped_and_the_rest_done() {
    for complete in [false, true] {
        let mut fleet = Fleet::new(3);
        // Helm's copy is complete and right, or empty.
        let mut tokens = Data::new();
        if complete {
            fleet.home.bootstrapped();
            tokens = fleet.home.filed();
        }
        let pairs = tokens.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let data: Vec<_> = pairs.collect();
        let owned = &fleet.members[1];
        owned.create_secret(ROUTER, &data, &marks_of_helm());
        let before = owned.object(ROUTER);

        for _ in 0..2 {
            let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
            assert_eq!(action_in(&ran, owned), "skipped");
            let document = ran.json();
            let secrets = document["secrets"].as_array().unwrap();
            let of_helm: Vec<_> = secrets
                .iter()
                .filter(|secret| !secret["owner"].is_null())
                .collect();
            assert_eq!(of_helm.len(), 1);
            assert_eq!(of_helm[0]["owner"], "Helm release agents");
        }
        assert_eq!(owned.object(ROUTER), before);
        assert_eq!(owned.writes(), [""; 0]);
        fleet
            .named(&["diff"])
            .exits(0)
            .says(&["Helm release agents"]);
        fleet.members.remove(1);
        fleet.is_complete();
    }
}

#[test]
fn another_token_in_a_fleet_secret_of_somebody_else_is_for_its_owner_to_change() {
    let mut fleet = Fleet::new(2);
    let owned = &fleet.members[0];
    owned.create_secret(ROUTER, &STRANGERS, &marks_of_helm());
    let before = owned.object(ROUTER);
    fleet.home.bootstrapped();
    let ran = fleet.named(&["--apply"]).exits(1);
    let hints: Vec<_> = ran
        .err
        .lines()
        .filter(|line| line.contains("hint:"))
        .collect();
    assert!(
        hints.iter().any(|hint| hint.contains("Helm release")),
        "--prefer leaves what is Helm's alone, so the hint has to name the release: {hints:?}"
    );
    assert_eq!(owned.object(ROUTER), before);
    assert_eq!(names_of_secrets(&fleet.members[1]), [""; 0]);

    let ran = fleet
        .named(&["--apply", "--prefer", "cluster", "-o", "json"])
        .exits(0);
    assert_eq!(action_in(&ran, owned), "skipped");
    assert_eq!(owned.object(ROUTER), before);
    fleet.members.remove(0);
    fleet.is_complete();
}
