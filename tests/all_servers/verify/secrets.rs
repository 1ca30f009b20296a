//! `secret.present` and `secret.keys` where pods read the Secret or an ExternalSecret makes it.

use crate::checks::verify;
use crate::external_secrets::external_secret;
use crate::marks::reference;
use crate::sandbox::SANDBOX;
use crate::secret_checks::{OTHER, apply, bootstrapped, delete, found, mended, only, set};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, Space};
use crate::steps::steps;
use crate::workloads::{agent_pod, by_hand, install};
use serde_json::{Value, json};

/// Makes a pod, which no controller would make again, with that in its container.
fn bare_pod(space: &Space, more: &Value) {
    agent_pod(space, "first");
    let mut container = json!({ "name": "main", "image": "registry.invalid/agent:1" });
    let more = more.as_object().unwrap().clone();
    container.as_object_mut().unwrap().extend(more);
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "lone" },
        "spec": { "schedulerName": "nobody", "containers": [container] },
    });
    let path = format!("/api/v1/namespaces/{}/pods", space.namespace);
    SANDBOX.expect("POST", &path, &object);
}

#[test]
fn a_secret_that_a_workload_needs_is_made_from_the_variables_of_the_hint() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    install(&space, &by_hand(json!({})));
    for (secret, reader, variable) in [
        (EMBEDDINGS, "agentibrain-embeddings", INPUTS[0]),
        (AGENTICORE, "brain-keeper", INPUTS[1]),
    ] {
        let message = format!("not found; StatefulSet {reader} does not start without it");
        let absent = only(&space, "secret.present", secret, "fail", &message);
        let (name, _) = variable;
        let hint = format!("{name}=\"${name}\" {}", apply(&space));
        assert_eq!(absent["hint"], hint);
        mended(&space, &absent, &[variable]);
        assert_eq!(space.data(secret)[name], variable.1);
    }
}

#[test]
fn a_secret_that_nothing_needs_may_be_absent() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    for secret in [EMBEDDINGS, AGENTICORE] {
        let message = "not found; no workload needs it";
        let absent = only(&space, "secret.present", secret, "skip", message);
        assert_eq!(absent["hint"], "");
    }
    // An optional reference needs nothing.
    let reference = json!({ "name": EMBEDDINGS, "optional": true });
    bare_pod(&space, &json!({ "envFrom": [{ "secretRef": reference }] }));
    let message = "not found; no workload needs it";
    only(&space, "secret.present", EMBEDDINGS, "skip", message);
    verify(&space, &[]).exits(0);
}

#[test]
fn a_secret_that_a_bare_pod_needs_is_missed_too() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let key = json!({ "name": AGENTICORE, "key": "ANTHROPIC_API_KEY" });
    let variable = json!({ "name": "KEY", "valueFrom": { "secretKeyRef": key } });
    bare_pod(&space, &json!({ "env": [variable] }));
    let message = "not found; Pod lone does not start without it";
    let absent = only(&space, "secret.present", AGENTICORE, "fail", message);
    mended(&space, &absent, &INPUTS[1..]);
}

#[test]
fn a_secret_that_an_external_secret_is_to_make_leads_there() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let target = json!({ "target": { "name": EMBEDDINGS } });
    external_secret(&space, "brain-embeddings", &target);
    let message = "not found; ExternalSecret brain-embeddings should create it";
    let absent = only(&space, "secret.present", EMBEDDINGS, "fail", message);
    let hint = "see docs/checks.md#ownersecret";
    assert_eq!(absent["hint"], hint);
    let words = [("KIND", "externalsecret"), ("NAME", "brain-embeddings")];
    let ran = steps("describe KIND NAME", &space, hint, &words, &[]);
    ran.exits(0).says(&["brain-embeddings"]);
}

/// By name and not by count.
#[test]
fn a_secret_of_external_secrets_has_all_six_keys_by_name() {
    let space = bootstrapped();
    let data = space.data(EMBEDDINGS);
    let mut data: Vec<_> = data.iter().map(|(k, v)| (&**k, &**v)).collect();
    data.push(("EXTRA", OTHER));
    delete(&space, EMBEDDINGS);
    let more = json!({ "metadata": reference("ExternalSecret", "eso") });
    space.create_secret(EMBEDDINGS, &data, &more);
    external_secret(&space, "eso", &json!({ "target": { "name": EMBEDDINGS } }));

    let found = found(&verify(&space, &[]).exits(1), "secret.keys", EMBEDDINGS);
    let told: Vec<_> = found
        .iter()
        .map(|one| (&one["status"], &one["message"]))
        .collect();
    let expected = [
        ("fail", "missing keys: LOG_LEVEL", "ownersecret"),
        ("warn", "unknown keys: EXTRA", "secretkeys"),
    ];
    assert_eq!(told.len(), 2, "{told:?}");
    for (check, (status, message, anchor)) in found.iter().zip(expected) {
        assert_eq!(
            (&check["status"], &check["message"]),
            (&json!(status), &json!(message))
        );
        assert_eq!(check["hint"], format!("see docs/checks.md#{anchor}"));
    }

    // What the store does when the bundle is complete.
    set(&space, EMBEDDINGS, "LOG_LEVEL", "INFO");
    space.remove_key(EMBEDDINGS, "EXTRA");
    let passes = "it has all keys of the table";
    only(&space, "secret.keys", EMBEDDINGS, "pass", passes);
}
