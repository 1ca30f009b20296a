//! `workload.fresh` and `workload.reloader`: do pods run with current values.

use crate::checks::{follow, of};
use crate::readers::{
    LONG_AGO, about, ago, ask_reloader, changed_at, env, env_from, finding, look, make, mounting,
    pod, runs_long, runs_since, statuses, with_role,
};
use crate::space::{EMBEDDINGS, ROUTER, Ran, Space};
use crate::steps::steps;
use crate::wait::wait;
use crate::workloads::{name_of_pod, run_since, started};
use serde_json::json;

const FRESH: &str = "workload.fresh";
const RELOADER: &str = "workload.reloader";

/// Follows the hint, and waits until all pods run with current values.
#[track_caller]
fn mends(space: &Space, workload: &str, hint: &str) {
    mends_by(space, workload, || follow(space, hint, &[]));
}

#[track_caller]
fn mends_by(space: &Space, workload: &str, act: impl FnOnce() -> Ran) {
    let before = started(space, workload);
    act().exits(0);
    wait("there is a new pod", || {
        let now = started(space, workload);
        now.is_some() && now != before
    });
    wait("its pods are fresh", || {
        statuses(&look(space, &[]), FRESH) == ["pass"]
    });
}

#[test]
fn pods_that_started_before_a_change_run_on_old_values() {
    let space = Space::new();
    space.bootstrapped();
    for (kind, plural) in [
        ("StatefulSet", "statefulsets"),
        ("Deployment", "deployments"),
        ("DaemonSet", "daemonsets"),
    ] {
        let reader = format!("of-{plural}");
        make(&space, kind, &reader, pod(env_from(&[ROUTER])));
        let workload = format!("{plural}/{reader}");
        runs_long(&space, &workload);
        let ran = look(&space, &[]).exits(0);
        let (status, message, hint) = finding(&space, &ran, FRESH, &format!("{kind}/{reader}"));
        assert_eq!(status, "warn");
        let name = name_of_pod(&space, &workload);
        let why = "started before agentibrain-router-secrets last changed";
        assert!(message.starts_with(&format!("{name} {why}")), "{message}");
        let target = format!("{}/{reader}", kind.to_lowercase());
        assert_eq!(
            hint,
            format!("kubectl -n {} rollout restart {target}", space.namespace)
        );
        mends(&space, &workload, &hint);
    }
}

#[test]
fn a_pod_that_cannot_become_ready_is_deleted_since_a_rollout_would_wait_for_it() {
    let space = Space::new();
    space.bootstrapped();
    make(&space, "StatefulSet", "reader", pod(env_from(&[ROUTER])));
    runs_long(&space, "statefulsets/reader");
    run_since(&space, "reader-0", &LONG_AGO, false);
    let ran = look(&space, &[]).exits(0);
    let (_, _, hint) = finding(&space, &ran, FRESH, "StatefulSet/reader");
    let wanted = format!(
        "kubectl -n {} delete pod reader-0 --wait=false",
        space.namespace
    );
    assert_eq!(hint, wanted);
    mends(&space, "statefulsets/reader", &hint);
}

#[test]
fn a_pod_that_nothing_would_make_again_is_replaced() {
    let space = Space::new();
    space.bootstrapped();
    let token = env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", true);
    make(&space, "Pod", "lone", pod(token));
    runs_long(&space, "pods/lone");
    let ran = look(&space, &[]).exits(0);
    let (status, _, hint) = finding(&space, &ran, FRESH, "Pod/lone");
    assert_eq!(status, "warn");
    mends_by(&space, "pods/lone", || {
        let lone = [("POD", "lone")];
        steps("replace --force", &space, &hint, &lone, &[])
    });
}

#[test]
fn only_a_change_of_the_data_counts_and_only_in_a_later_second() {
    let space = Space::new();
    space.bootstrapped();
    let reader = pod(env_from(&[ROUTER]));
    make(&space, "StatefulSet", "reader", reader);
    changed_at(&space, ROUTER, &LONG_AGO);
    for (seconds, status) in [(0, "pass"), (-1, "pass"), (1, "warn")] {
        let at: jiff::Timestamp = LONG_AGO.parse().unwrap();
        let at = at - jiff::SignedDuration::from_secs(seconds);
        runs_since(&space, "statefulsets/reader", &at.to_string());
        assert_eq!(statuses(&look(&space, &[]), FRESH), [status], "{seconds}");
    }

    runs_long(&space, "statefulsets/reader");
    space.kubectl(&["annotate", "secret", ROUTER, "a-note=of-somebody"]);
    space.kubectl(&["label", "secret", ROUTER, "a-label=of-somebody"]);
    assert_eq!(statuses(&look(&space, &[]), FRESH), ["pass"]);
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", "a-list-of-tokens")], "test");
    assert_eq!(statuses(&look(&space, &[]), FRESH), ["warn"]);
}

#[test]
fn files_follow_the_secret() {
    let space = Space::new();
    space.bootstrapped();
    let volume = json!({ "secret": { "secretName": ROUTER } });
    make(&space, "StatefulSet", "reader", mounting(volume));
    runs_long(&space, "statefulsets/reader");
    let ran = look(&space, &[]).exits(0);
    assert_eq!(statuses(&ran, FRESH), ["skip"]);
    let message = of(&ran, FRESH)[0]["message"].clone();
    assert_eq!(message, "no running pod reads these Secrets");
}

#[test]
fn a_pod_of_the_fleet_is_told_of_its_own_secret() {
    let (home, fleet) = (Space::new(), Space::new());
    let options = ["--fleet-namespace", &fleet.namespace];
    home.bootstrapped();
    home.run(&[&["--apply"], &options[..]].concat()).exits(0);
    let token = env("KB_ROUTER_TOKEN", ROUTER, "KB_ROUTER_TOKEN", true);
    make(&fleet, "Deployment", "agents", pod(token));
    runs_long(&fleet, "deployments/agents");
    let ran = look(&home, &options).exits(0);
    let (status, _, hint) = finding(&fleet, &ran, FRESH, "Deployment/agents");
    assert_eq!(status, "warn");
    follow(&home, &hint, &[]).exits(0);
    wait("its pods are fresh", || {
        statuses(&look(&home, &options), FRESH) == ["pass"]
    });
}

#[test]
fn a_pod_whose_secret_may_not_be_read_is_not_called_fresh() {
    let space = Space::new();
    space.bootstrapped();
    let reader = pod(env_from(&[ROUTER, EMBEDDINGS]));
    make(&space, "StatefulSet", "reader", reader);
    changed_at(&space, ROUTER, &LONG_AGO);
    runs_long(&space, "statefulsets/reader");
    let operator = with_role(&space, &[], |rules| {
        rules[0]["resourceNames"] = json!([ROUTER])
    });
    let ran = look(&operator, &[]);
    assert_eq!(statuses(&ran, FRESH), ["skip"]);
    let check = &of(&ran, FRESH)[0];
    let message = check["message"].as_str().unwrap();
    assert!(
        message.contains("get secrets/embeddings-secrets"),
        "{check}"
    );
    let hint = check["hint"].as_str().unwrap();
    let account = [("NAMESPACE", space.namespace.as_str()), ("NAME", "reader")];
    follow(&space, hint, &account).exits(0);
    wait("it is seen", || {
        statuses(&look(&operator, &[]), FRESH) == ["warn"]
    });
}

#[test]
fn reloader_has_to_react_within_its_time() {
    let space = Space::new();
    space.bootstrapped();
    make(&space, "StatefulSet", "reader", pod(env_from(&[ROUTER])));
    changed_at(&space, ROUTER, &LONG_AGO);
    runs_since(&space, "statefulsets/reader", &ago(48 * 3600));
    // Nobody asks for it.
    let ran = look(&space, &[]).exits(0);
    assert_eq!(statuses(&ran, FRESH), ["warn"]);
    assert_eq!(statuses(&ran, RELOADER), ["skip"]);

    ask_reloader(&space, "statefulset/reader");
    let ran = look(&space, &[]).exits(0);
    let (status, message, hint) = finding(&space, &ran, RELOADER, "StatefulSet/reader");
    assert_eq!(status, "warn");
    assert!(message.contains("Reloader"), "{message}");
    mends(&space, "statefulsets/reader", &hint);
    let ran = look(&space, &[]).exits(0);
    assert_eq!(statuses(&ran, RELOADER), ["pass"]);
    assert!(about(&ran, RELOADER, "StatefulSet/reader").is_empty());

    // A change of just now: it has some time.
    runs_long(&space, "statefulsets/reader");
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", "a-list-of-tokens")], "test");
    let ran = look(&space, &[]);
    assert_eq!(statuses(&ran, FRESH), ["warn"]);
    assert_eq!(statuses(&ran, RELOADER), ["pass"]);
}
