//! Runs over a fleet that fail in part, are killed, or meet each other.

use super::{Fleet, action_in, names_of_secrets};
use crate::sandbox::SANDBOX;
use crate::space::{Data, INPUTS, ROUTER, Ran, Space, few_trials, trials};
use crate::wait::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Lets nobody create Secrets in these namespaces, until it is removed.
struct Policy<'a>(&'a Space);

impl<'a> Policy<'a> {
    const PATH: &'static str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";

    fn new(space: &'a Space) -> Self {
        let policy = Self(space);
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": { "name": policy.name() },
                "spec": spec,
            })
        };
        let rules = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
            "operations": ["CREATE"],
        }]);
        let denial = json!({
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": rules },
            "validations": [{ "expression": "false" }],
        });
        let here = json!({ "kubernetes.io/metadata.name": space.namespace });
        let binding = json!({
            "policyName": policy.name(),
            "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": here } },
        });
        for (path, object) in [
            ("ies", object("ValidatingAdmissionPolicy", denial)),
            (
                "ybindings",
                object("ValidatingAdmissionPolicyBinding", binding),
            ),
        ] {
            SANDBOX.expect("POST", &format!("{}{path}", Self::PATH), &object);
        }
        wait("the policy is in force", || policy.denies());
        policy
    }

    fn name(&self) -> String {
        format!("no-secrets-{}", self.0.namespace)
    }

    fn denies(&self) -> bool {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" } });
        let path = format!("{}?dryRun=All", self.0.path(""));
        SANDBOX
            .request("POST", &path, "application/json", &secret)
            .0
            >= 400
    }

    fn remove(self) {
        for kind in ["ybindings", "ies"] {
            let path = format!("{}{kind}/{}", Self::PATH, self.name());
            SANDBOX.expect("DELETE", &path, &Value::Null);
        }
        wait("the policy is gone", || !self.denies());
    }
}

#[test]
fn a_namespace_that_fails_does_not_hide_and_the_next_run_finishes_it() {
    let fleet = Fleet::new(4);
    let denied = &fleet.members[2];
    let policy = Policy::new(denied);
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(3);
    let document = ran.json();
    assert_eq!(document["ok"], false);
    let error = &document["error"];
    assert!(
        error["message"].as_str().unwrap().contains("1 of 7"),
        "{error}"
    );
    assert!(
        error["cause"][0]
            .as_str()
            .unwrap()
            .contains(&denied.namespace),
        "{error}"
    );
    assert_ne!(error["hint"], "");
    for space in fleet.spaces() {
        let failed = space.namespace == denied.namespace;
        let action = if failed { "failed" } else { "created" };
        assert_eq!(action_in(&ran, space), action);
        assert_eq!(space.object(ROUTER).is_none(), failed);
    }
    let (tokens, versions) = (fleet.home.filed(), fleet.versions());

    policy.remove();
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
    for space in fleet.spaces() {
        let failed = space.namespace == denied.namespace;
        let action = if failed { "created" } else { "unchanged" };
        assert_eq!(action_in(&ran, space), action);
    }
    assert_eq!(fleet.home.filed(), tokens);
    assert!(
        versions
            .iter()
            .all(|version| fleet.versions().contains(version))
    );
    fleet.is_complete();
}

#[test]
fn where_home_fails_no_fleet_namespace_gets_a_token() {
    let fleet = Fleet::new(2);
    let policy = Policy::new(&fleet.home);
    let ran = fleet.named(&["--apply", "-o", "json"]).exits(3);
    for space in fleet.spaces() {
        assert_eq!(action_in(&ran, space), "failed");
        assert_eq!(names_of_secrets(space), [""; 0]);
    }
    let tokens = fleet.home.filed();
    policy.remove();
    fleet.named(&["--apply"]).exits(0);
    assert_eq!(fleet.home.filed(), tokens);
    fleet.is_complete();
}

/// A random number from 0 to below 1.
fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / 2_f64.powi(64)
}

/// Runs `--apply` over the fleet and kills it after that time.
fn killed_after(fleet: &Fleet, time: Duration) {
    let selector = ["--apply", "--fleet-selector", &fleet.selector()];
    let mut command = fleet.home.command(&INPUTS, &selector);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs `--apply` over the fleet and kills it when it knows of so many Secrets that it has made.
fn killed_at_write(fleet: &Fleet, number: usize) {
    let selector = ["--apply", "-v", "--fleet-selector", &fleet.selector()];
    let mut command = fleet.home.command(&INPUTS, &selector);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let made = lines.filter(|line| line.as_ref().unwrap().contains(" -> 201 "));
    assert!(made.take(number).count() > 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    let whole = Fleet::new(12);
    let started = Instant::now();
    whole.selected(&["--apply"]).exits(0);
    let length = started.elapsed();
    let trials = few_trials();
    for index in 0..trials {
        let fleet = Fleet::new(12);
        // Many a moment is before the first write or after the last, so others are chosen by them.
        match index % 2 {
            0 => killed_after(&fleet, length.mul_f64(random())),
            _ => killed_at_write(&fleet, 1 + (15.0 * random()) as usize),
        }

        let filed = fleet.home.file().exists().then(|| fleet.home.filed());
        let before: Vec<Data> = fleet
            .spaces()
            .filter(|space| space.object(ROUTER).is_some())
            .map(|space| space.data(ROUTER))
            .collect();
        fleet.selected(&["--apply"]).exits(0);
        fleet.is_complete();
        assert_eq!(fleet.home.beside_file(), [".k8s-tokens"]);
        let tokens = fleet.home.filed();
        assert!(filed.is_none_or(|filed| filed == tokens));
        assert!(before.iter().all(|data| *data == tokens));
        let (versions, writes) = (fleet.versions(), fleet.writes());
        fleet.selected(&["--apply"]).exits(0);
        assert_eq!((fleet.versions(), fleet.writes()), (versions, writes));
    }
}

#[test]
fn operators_who_meet_end_with_one_set_of_tokens_everywhere() {
    for _ in 0..trials() {
        let fleet = Fleet::new(4);
        let selector = fleet.selector();
        let arguments = ["--apply", "--fleet-selector", &selector];
        let operators: Vec<_> = (0..4).map(|_| fleet.home.other_operator()).collect();
        let runs: Vec<_> = operators
            .iter()
            .map(|operator| {
                let mut command = operator.command(&INPUTS, &arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for run in runs {
            Ran::from(run.wait_with_output().unwrap()).exits(0);
        }
        let tokens = fleet.home.data(ROUTER);
        for space in fleet.spaces() {
            assert_eq!(space.data(ROUTER), tokens);
        }
        let files: BTreeSet<_> = operators.iter().map(Space::filed).collect();
        assert_eq!(files, BTreeSet::from([tokens]));
    }
}
