//! `secret.present` and `secret.keys`: is the Secret there, and has it the right keys.

use super::checks::{follow, of, verify};
use crate::owners::{apply_as, external_secret, reference};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::workloads::{agent_pod, by_hand, install};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// A value that nobody may see.
pub const OTHER: &str = "another-key-that-nobody-may-see-0123456789";

/// The checks of that Secret with that id.
pub fn found(ran: &Ran, id: &str, secret: &str) -> Vec<Value> {
    let object = format!("Secret/{secret}");
    let mut found = of(ran, id);
    found.retain(|check| check["object"] == object);
    found
}

/// The only check of that Secret with that id, which has to be like this. The exit code follows
/// from all checks, and no value shows.
#[track_caller]
pub fn only(space: &Space, id: &str, secret: &str, status: &str, message: &str) -> Value {
    let ran = verify(space, &[]);
    let found = found(&ran, id, secret);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["namespace"], space.namespace);
    assert_eq!(found[0]["status"], status, "{found:?}");
    assert_eq!(found[0]["message"], message, "{found:?}");
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap();
    let failed = checks.iter().any(|check| check["status"] == "fail");
    assert_eq!(ran.code, i32::from(failed));
    let text = space.run(&["verify", "-vv"]);
    for value in values(space) {
        for shown in [&ran.out, &ran.err, &text.out, &text.err] {
            assert!(!shown.contains(&value), "{shown}");
        }
    }
    found[0].clone()
}

/// What nobody may see of the three Secrets, also as base64. A short word may stand for itself.
fn values(space: &Space) -> Vec<String> {
    let objects = [ROUTER, EMBEDDINGS, AGENTICORE].map(|name| space.object(name));
    let mut values = Vec::new();
    for object in objects.into_iter().flatten() {
        let data = object["data"].as_object().cloned().unwrap_or_default();
        for base64 in data.values() {
            let base64 = base64.as_str().unwrap();
            let text = String::from_utf8(STANDARD.decode(base64).unwrap());
            values.extend(text.into_iter().map(|text| text.trim().to_owned()));
            values.push(base64.to_owned());
        }
    }
    values.retain(|value| value.len() >= 12);
    values
}

/// Follows the hint of a check with these variables, after which that check passes.
#[track_caller]
pub fn mended(space: &Space, check: &Value, environment: &[(&str, &str)]) {
    let hint = check["hint"].as_str().unwrap();
    let ran = follow(space, hint, environment).exits(0);
    for value in values(space) {
        assert!(!ran.out.contains(&value) && !ran.err.contains(&value));
    }
    let id = check["id"].as_str().unwrap();
    let secret = check["object"].as_str().unwrap();
    let secret = secret.strip_prefix("Secret/").unwrap();
    let found = found(&verify(space, &[]), id, secret);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["status"], "pass", "after {hint}: {found:?}");
}

/// The main command, as hints have it.
pub fn apply(space: &Space) -> String {
    format!("k8s-bootstrap -n {} --apply", space.namespace)
}

/// A namespace with all three Secrets.
pub fn bootstrapped() -> Space {
    let space = Space::new();
    space.bootstrapped();
    space
}

/// Deletes a Secret.
pub fn delete(space: &Space, name: &str) {
    SANDBOX.expect("DELETE", &space.path(name), &Value::Null);
}

/// Sets a key, as a person would.
pub fn set(space: &Space, secret: &str, key: &str, value: &str) {
    space.set_keys(secret, &[(key, value)], "kubectl-edit");
}

#[test]
fn a_router_secret_that_is_absent_is_made_by_the_hint() {
    let space = bootstrapped();
    delete(&space, ROUTER);
    let absent = only(
        &space,
        "secret.present",
        ROUTER,
        "fail",
        "it does not exist",
    );
    assert_eq!(absent["hint"], apply(&space));
    mended(&space, &absent, &[]);
    assert_eq!(space.data(ROUTER), space.filed());
}

#[test]
fn a_secret_that_nothing_needs_may_be_absent() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    for secret in [EMBEDDINGS, AGENTICORE] {
        let message = "it does not exist, and nothing that was seen needs it";
        let absent = only(&space, "secret.present", secret, "skip", message);
        assert_eq!(absent["hint"], "");
    }
    // An optional reference needs nothing.
    let reference = json!({ "name": EMBEDDINGS, "optional": true });
    bare_pod(&space, &json!({ "envFrom": [{ "secretRef": reference }] }));
    let message = "it does not exist, and nothing that was seen needs it";
    only(&space, "secret.present", EMBEDDINGS, "skip", message);
    verify(&space, &[]).exits(0);
}

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
        let message =
            format!("it does not exist, and StatefulSet {reader} does not start without it");
        let absent = only(&space, "secret.present", secret, "fail", &message);
        let (name, _) = variable;
        let hint = format!("{name}=\"${name}\" {}", apply(&space));
        assert_eq!(absent["hint"], hint);
        mended(&space, &absent, &[variable]);
        assert_eq!(space.data(secret)[name], variable.1);
    }
}

#[test]
fn a_secret_that_a_bare_pod_needs_is_missed_too() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let key = json!({ "name": AGENTICORE, "key": "ANTHROPIC_API_KEY" });
    let variable = json!({ "name": "KEY", "valueFrom": { "secretKeyRef": key } });
    bare_pod(&space, &json!({ "env": [variable] }));
    let message = "it does not exist, and Pod lone does not start without it";
    let absent = only(&space, "secret.present", AGENTICORE, "fail", message);
    mended(&space, &absent, &INPUTS[1..]);
}

#[test]
fn a_secret_that_an_external_secret_is_to_make_leads_there() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let target = json!({ "target": { "name": EMBEDDINGS } });
    external_secret(&space, "brain-embeddings", &target);
    let message = "it does not exist, and ExternalSecret brain-embeddings is to make it";
    let absent = only(&space, "secret.present", EMBEDDINGS, "fail", message);
    let describe = "describe externalsecret brain-embeddings";
    let hint = format!("kubectl -n {} {describe}", space.namespace);
    assert_eq!(absent["hint"], hint);
    follow(&space, &hint, &[])
        .exits(0)
        .says(&["brain-embeddings"]);
}

#[test]
fn a_secret_of_a_wrong_type_is_made_anew_from_its_values() {
    let space = bootstrapped();
    let before = space.data(AGENTICORE);
    let annotation = json!({ "metadata": { "annotations": { "of": "somebody" } } });
    for immutable in [false, true] {
        delete(&space, AGENTICORE);
        let data: Vec<_> = before.iter().map(|(k, v)| (&**k, &**v)).collect();
        let mut more = annotation.clone();
        more["type"] = json!("example.com/of-a-person");
        more["immutable"] = json!(immutable);
        space.create_secret(AGENTICORE, &data, &more);
        let message = "it is of type example.com/of-a-person, and --apply needs Opaque";
        let odd = only(&space, "secret.present", AGENTICORE, "warn", message);
        mended(&space, &odd, &[]);
        let object = space.object(AGENTICORE).unwrap();
        assert_eq!(object["type"], "Opaque");
        assert_eq!(object["metadata"]["annotations"]["of"], "somebody");
        assert_eq!(space.data(AGENTICORE), before);
        space.run_with(&INPUTS, &["--apply"]).exits(0);
    }
}

#[test]
fn a_secret_of_a_wrong_type_that_is_owned_leads_to_the_owner() {
    let space = bootstrapped();
    delete(&space, AGENTICORE);
    let mut more = json!({ "metadata": reference("ExternalSecret", "eso") });
    more["type"] = json!("example.com/of-eso");
    space.create_secret(AGENTICORE, &[("ANTHROPIC_API_KEY", OTHER)], &more);
    let message = "it is of type example.com/of-eso, and --apply needs Opaque";
    let odd = only(&space, "secret.present", AGENTICORE, "warn", message);
    let hint = format!("kubectl -n {} describe externalsecret eso", space.namespace);
    assert_eq!(odd["hint"], hint);
}

/// Both forms that --apply refuses to change.
#[test]
fn a_secret_that_cannot_be_changed_is_made_anew_by_the_hint() {
    for more in [
        json!({ "immutable": true }),
        json!({ "type": "example.com/of-a-person" }),
    ] {
        let space = bootstrapped();
        delete(&space, EMBEDDINGS);
        space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "changeme")], &more);
        let message = "it lacks LLM_API_KEY, LLM_API_BASE, LLM_EMBED_MODEL, EMBEDDINGS_API_KEYS";
        let lacking = only(&space, "secret.keys", EMBEDDINGS, "fail", message);
        let odd = only(
            &space,
            "secret.value",
            EMBEDDINGS,
            "fail",
            "POSTGRES_URL is a placeholder",
        );
        mended(&space, &lacking, &[]);
        mended(&space, &odd, &INPUTS);
        assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], INPUTS[0].1);
    }
}

/// A Secret, its keys that are gone, and those that are empty.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

#[test]
fn a_key_that_is_missing_or_empty_is_filled_by_the_hint() {
    let model = ("LLM_EMBED_MODEL", "a-model");
    let cases: [Case; 12] = [
        (ROUTER, &["KB_ROUTER_TOKEN"], &[]),
        (ROUTER, &["EMBEDDINGS_API_KEY"], &[]),
        (ROUTER, &[], &[("KB_ROUTER_TOKEN", "")]),
        (ROUTER, &[], &[("EMBEDDINGS_API_KEY", "")]),
        (ROUTER, &[], &[("KB_ROUTER_TOKENS", " ,")]),
        (EMBEDDINGS, &["POSTGRES_URL"], &[]),
        (EMBEDDINGS, &["LLM_API_KEY", "LLM_API_BASE"], &[]),
        (EMBEDDINGS, &["EMBEDDINGS_API_KEYS"], &[]),
        (
            EMBEDDINGS,
            &[],
            &[("POSTGRES_URL", ""), ("LLM_EMBED_MODEL", "")],
        ),
        (EMBEDDINGS, &[], &[("EMBEDDINGS_API_KEYS", ", ")]),
        (EMBEDDINGS, &[], &[("API_KEYS", "")]),
        (AGENTICORE, &[], &[("ANTHROPIC_API_KEY", "")]),
    ];
    for (secret, missing, empty) in cases {
        let space = bootstrapped();
        let before = space.data(secret);
        for key in missing {
            space.remove_key(secret, key);
        }
        space.set_keys(secret, empty, "kubectl-edit");
        let empty: Vec<_> = empty.iter().map(|(key, _)| *key).collect();
        let message = match empty.is_empty() {
            true => format!("it lacks {}", missing.join(", ")),
            false => format!("{} must not be empty", empty.join(", ")),
        };
        let odd = only(&space, "secret.keys", secret, "fail", &message);
        mended(&space, &odd, &[INPUTS[0], INPUTS[1], model]);
        let after = space.data(secret);
        for (key, value) in before {
            let expected = match &*key {
                "LLM_EMBED_MODEL" if empty.contains(&&*key) => model.1,
                _ => &value,
            };
            assert_eq!(after[&key], expected, "{key}");
        }
        assert!(!after.contains_key("KB_ROUTER_TOKENS"));
        if let Some(list) = after.get("API_KEYS") {
            assert_eq!(*list, space.filed()["EMBEDDINGS_API_KEY"]);
        }
        verify(&space, &[]).exits(0);
    }
}

/// A variable that nobody set changes nothing.
#[test]
fn a_hint_without_its_variable_changes_nothing() {
    let space = bootstrapped();
    set(&space, EMBEDDINGS, "POSTGRES_URL", "changeme");
    let message = "POSTGRES_URL is a placeholder";
    let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
    let hint = odd["hint"].as_str().unwrap();
    follow(&space, hint, &[])
        .exits(2)
        .says(&["POSTGRES_URL has no value"]);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], "changeme");
}

#[test]
fn a_key_that_another_manager_holds_is_taken_over_by_the_hint() {
    let space = bootstrapped();
    apply_as(&space, "someone", &[("POSTGRES_URL", "<your url>")]);
    let message = "POSTGRES_URL is a placeholder";
    let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
    let hint = format!(
        "POSTGRES_URL=\"$POSTGRES_URL\" {} --update POSTGRES_URL --force-conflicts",
        apply(&space)
    );
    assert_eq!(odd["hint"], hint);
    mended(&space, &odd, &INPUTS);
}

#[test]
fn a_key_that_may_be_absent_or_empty_is_not_missed() {
    let space = bootstrapped();
    let passes = "it has the keys that it should have";
    only(&space, "secret.keys", EMBEDDINGS, "pass", passes);
    assert!(!space.data(EMBEDDINGS).contains_key("LOG_LEVEL"));
    for key in ["LLM_API_KEY", "LLM_API_BASE", "LOG_LEVEL"] {
        set(&space, EMBEDDINGS, key, "");
    }
    set(&space, AGENTICORE, "GITHUB_TOKEN", "");
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        only(&space, "secret.keys", secret, "pass", passes);
    }
    verify(&space, &[]).exits(0);
}

#[test]
fn an_unknown_key_is_removed_by_the_hint() {
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let space = bootstrapped();
        let before = space.data(secret);
        space.set_keys(
            secret,
            &[("EXTRA", OTHER), ("a.b-c_d", OTHER)],
            "kubectl-edit",
        );
        let message = "it has unknown keys: EXTRA, a.b-c_d";
        let odd = only(&space, "secret.keys", secret, "warn", message);
        verify(&space, &[]).exits(0);
        mended(&space, &odd, &[]);
        assert_eq!(space.data(secret), before);
    }
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
        ("fail", "it lacks LOG_LEVEL"),
        ("warn", "it has unknown keys: EXTRA"),
    ];
    assert_eq!(told.len(), 2, "{told:?}");
    let hint = format!("kubectl -n {} describe externalsecret eso", space.namespace);
    for (check, (status, message)) in found.iter().zip(expected) {
        assert_eq!(
            (&check["status"], &check["message"]),
            (&json!(status), &json!(message))
        );
        assert_eq!(check["hint"], hint);
    }
    follow(&space, &hint, &[]).exits(0);

    // What the store does when the bundle is complete.
    set(&space, EMBEDDINGS, "LOG_LEVEL", "INFO");
    space.remove_key(EMBEDDINGS, "EXTRA");
    let passes = "it has the keys that it should have";
    only(&space, "secret.keys", EMBEDDINGS, "pass", passes);
}
