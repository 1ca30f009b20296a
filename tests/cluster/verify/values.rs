//! `secret.value` and `secret.exposed`: can the values be right, and where else do they stand.

use crate::checks::{follow, verify};
use crate::marks::reference;
use crate::sandbox::SANDBOX;
use crate::secret_checks::{
    OTHER, apply, bootstrapped, delete, found, mended, only, passes, set, steps,
};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};
use std::fs;

const FINE: &str = "no value is a placeholder or malformed";
const VARIABLES: [(&str, &str); 3] = [INPUTS[0], INPUTS[1], ("LLM_API_KEY", "a-key-of-a-test")];

#[test]
fn an_odd_input_is_told_and_replaced_by_the_hint() {
    for (secret, key, value, what) in [
        (EMBEDDINGS, "LLM_API_KEY", "a\r\nkey", "has a line break"),
        (
            AGENTICORE,
            "ANTHROPIC_API_KEY",
            "${ANTHROPIC_API_KEY}",
            "is a placeholder",
        ),
        (
            EMBEDDINGS,
            "POSTGRES_URL",
            "u:of-a-test@db:5432/brain",
            "is not a PostgreSQL URL (postgresql://...) or DSN (host=...)",
        ),
    ] {
        let space = bootstrapped();
        set(&space, secret, key, value);
        let message = format!("{key} {what}");
        let odd = only(&space, "secret.value", secret, "fail", &message);
        let hint = format!("{key}=\"${key}\" {} --update {key}", apply(&space));
        assert_eq!(odd["hint"], hint);
        mended(&space, &odd, &VARIABLES);
        let given = VARIABLES.iter().find(|(name, _)| *name == key).unwrap();
        assert_eq!(space.data(secret)[key], given.1);
    }
}

#[test]
fn values_in_a_right_form_pass() {
    let space = bootstrapped();
    let keys = format!("{OTHER},{}", space.filed()["EMBEDDINGS_API_KEY"]);
    let values = [
        ("POSTGRES_URL", "postgresql://u:p%40@db:5432/brain"),
        ("LLM_API_KEY", "changeme is only a part of it"),
        ("LLM_API_BASE", ""),
        ("LOG_LEVEL", "INFO"),
        ("API_KEYS", &keys),
    ];
    space.set_keys(EMBEDDINGS, &values, "kubectl-edit");
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        only(&space, "secret.value", secret, "pass", FINE);
    }
    verify(&space, &[]).exits(0);
}

/// Removes the key as the steps say, then follows the hint about a missing one.
#[track_caller]
fn removed(space: &Space, odd: &Value, secret: &str, key: &str) {
    steps("/data/KEY", space, odd, key, &[]);
    let keys = found(&verify(space, &[]), "secret.keys", secret);
    if let Some(missing) = keys.iter().find(|check| check["status"] == "fail") {
        mended(space, missing, &VARIABLES);
    }
    passes(space, odd);
}

/// It has a default, and --update takes it from an env-file only.
#[test]
fn an_odd_log_level_is_removed_by_the_steps() {
    let space = bootstrapped();
    set(&space, EMBEDDINGS, "LOG_LEVEL", "<level>");
    let message = "LOG_LEVEL is a placeholder";
    let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
    removed(&space, &odd, EMBEDDINGS, "LOG_LEVEL");
    assert!(!space.data(EMBEDDINGS).contains_key("LOG_LEVEL"));
}

/// Sets a value that is base64 of no text.
fn set_bytes(space: &Space, secret: &str, key: &str) {
    let path = format!("{}?fieldManager=kubectl-edit", space.path(secret));
    SANDBOX.expect("PATCH", &path, &json!({ "data": { key: "//79" } }));
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    for (secret, key) in [
        (ROUTER, "KB_ROUTER_TOKEN"),
        (EMBEDDINGS, "POSTGRES_URL"),
        (EMBEDDINGS, "LLM_API_KEY"),
        (EMBEDDINGS, "LOG_LEVEL"),
        (EMBEDDINGS, "EMBEDDINGS_API_KEYS"),
        (EMBEDDINGS, "API_KEYS"),
    ] {
        let space = bootstrapped();
        // With the other name of the list it would be complete.
        match key {
            "EMBEDDINGS_API_KEYS" => space.remove_key(EMBEDDINGS, "API_KEYS"),
            "API_KEYS" => space.remove_key(EMBEDDINGS, "EMBEDDINGS_API_KEYS"),
            _ => {}
        }
        let before = space.data(secret);
        set_bytes(&space, secret, key);
        let message = format!("{key} is not text (base64 of UTF-8)");
        let odd = only(&space, "secret.value", secret, "fail", &message);
        removed(&space, &odd, secret, key);
        verify(&space, &[]).exits(0);
        let after = space.data(secret);
        let expected = match key {
            "LLM_API_KEY" => Some("a-key-of-a-test".to_owned()),
            "API_KEYS" => Some(space.filed()["EMBEDDINGS_API_KEY"].clone()),
            _ => before.get(key).cloned(),
        };
        assert_eq!(after.get(key), expected.as_ref(), "{key}");
    }
}

#[test]
fn an_odd_token_gives_way_to_that_of_the_file() {
    for (key, value, what) in [
        (
            "KB_ROUTER_TOKEN",
            "with/a\"quote-in-the-middle",
            "has white space or a character outside A-Z a-z 0-9 . _ ~ + / = -",
        ),
        ("EMBEDDINGS_API_KEY", "__GENERATE__", "is a placeholder"),
    ] {
        let space = bootstrapped();
        let filed = space.filed();
        set(&space, ROUTER, key, value);
        let message = format!("{key} {what}");
        let odd = only(&space, "secret.value", ROUTER, "fail", &message);
        mended(&space, &odd, &[]).exits(0);
        assert_eq!(space.data(ROUTER), filed);
        assert_eq!(space.filed(), filed);
    }
}

/// The lists hold the odd token too, and it would be adopted from there.
#[test]
fn an_odd_token_is_minted_anew_where_no_file_has_another() {
    for key in ["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY"] {
        let space = bootstrapped();
        let before = space.data(ROUTER);
        set(&space, ROUTER, key, "too-short");
        let lists = match key {
            "EMBEDDINGS_API_KEY" => &["EMBEDDINGS_API_KEYS", "API_KEYS"][..],
            _ => &[],
        };
        for list in lists {
            set(&space, EMBEDDINGS, list, "too-short");
        }
        fs::remove_file(space.file()).unwrap();
        let message = format!("{key} is shorter than 16 characters");
        let odd = only(&space, "secret.value", ROUTER, "fail", &message);
        for list in lists {
            space.remove_key(EMBEDDINGS, list);
        }
        removed(&space, &odd, ROUTER, key);
        verify(&space, &[]).exits(0);
        let after = space.data(ROUTER);
        assert_eq!(after, space.filed());
        for (name, value) in &before {
            assert_eq!(after[name] == *value, name != key, "{name}");
        }
    }
}

/// The file has the placeholder too: first it makes room, then a token is minted.
#[test]
fn an_odd_token_in_the_file_and_the_secret_goes_by_the_hints_in_their_order() {
    let space = bootstrapped();
    set(&space, ROUTER, "KB_ROUTER_TOKEN", "changeme");
    space.write_file(&[("KB_ROUTER_TOKEN", "changeme")]);
    let ran = verify(&space, &[]).exits(1);
    let failed = |check: &&Value| check["status"] == "fail";
    let json = ran.json();
    let failed: Vec<_> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(failed)
        .collect();
    let ids: Vec<_> = failed
        .iter()
        .map(|check| check["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["file.parsed", "secret.value"]);
    follow(&space, failed[0]["hint"].as_str().unwrap(), &[]).exits(0);
    removed(&space, failed[1], ROUTER, "KB_ROUTER_TOKEN");
    verify(&space, &[]).exits(0);
    assert_eq!(space.data(ROUTER), space.filed());
}

#[test]
fn a_placeholder_on_a_list_goes_and_the_entries_of_others_stay() {
    for (secret, list, token, entries) in [
        (ROUTER, "KB_ROUTER_TOKENS", "KB_ROUTER_TOKEN", "changeme"),
        (
            EMBEDDINGS,
            "EMBEDDINGS_API_KEYS",
            "EMBEDDINGS_API_KEY",
            "TOKEN,<another key>",
        ),
        (
            EMBEDDINGS,
            "API_KEYS",
            "EMBEDDINGS_API_KEY",
            "TOKEN, changeme ,OTHER",
        ),
    ] {
        let space = bootstrapped();
        let token = &space.filed()[token];
        let entries = entries.replace("TOKEN", token).replace("OTHER", OTHER);
        set(&space, secret, list, &entries);
        let message = format!("{list} contains a placeholder");
        let odd = only(&space, "secret.value", secret, "fail", &message);
        let others = entries.contains(OTHER);
        let good = format!("{token},{OTHER}");
        if others {
            // Only the operator knows which to keep: without the variable nothing changes.
            let hint = odd["hint"].as_str().unwrap();
            let words = [("SECRET", secret), ("KEY", list)];
            let ran = crate::steps::steps("ENTRIES:?", &space, hint, &words, &[]);
            assert_ne!(ran.code, 0);
            assert_eq!(space.data(secret)[list], entries);
            steps("ENTRIES:?", &space, &odd, list, &[("ENTRIES", &good)]);
        } else {
            removed(&space, &odd, secret, list);
        }
        passes(&space, &odd).exits(0);
        // The one of brain-api is never made, and the list that the embeddings service reads is enough.
        let expected = others.then_some(&good);
        assert_eq!(space.data(secret).get(list), expected);
        let embeddings = space.data(EMBEDDINGS);
        assert!(embeddings["API_KEYS"].contains(&space.filed()["EMBEDDINGS_API_KEY"]));
    }
}

#[test]
fn an_odd_value_of_somebody_else_leads_to_them() {
    let space = bootstrapped();
    delete(&space, AGENTICORE);
    let more = json!({ "metadata": reference("ExternalSecret", "eso") });
    let data = [("ANTHROPIC_API_KEY", "changeme"), ("GITHUB_TOKEN", "")];
    space.create_secret(AGENTICORE, &data, &more);
    let message = "ANTHROPIC_API_KEY is a placeholder";
    let odd = only(&space, "secret.value", AGENTICORE, "fail", message);
    assert_eq!(odd["hint"], "see docs/checks.md#ownersecret");
}

/// Each odd value is a check of its own.
#[test]
fn every_odd_value_is_told() {
    let space = bootstrapped();
    set(&space, EMBEDDINGS, "POSTGRES_URL", "changeme");
    set(&space, EMBEDDINGS, "LLM_API_KEY", " a");
    let found = found(&verify(&space, &[]).exits(1), "secret.value", EMBEDDINGS);
    let messages: Vec<_> = found
        .iter()
        .map(|one| one["message"].as_str().unwrap())
        .collect();
    let expected = [
        "POSTGRES_URL is a placeholder",
        "LLM_API_KEY begins or ends with white space",
    ];
    assert_eq!(messages, expected);
    for check in &found {
        follow(&space, check["hint"].as_str().unwrap(), &VARIABLES).exits(0);
    }
    only(&space, "secret.value", EMBEDDINGS, "pass", FINE);
}

const CLEAR: &str = "the annotation kubectl.kubernetes.io/last-applied-configuration holds its values in plain text";

/// Applies Secrets as a person does who has them in a file.
fn kubectl_apply(space: &Space, secret: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret }, "stringData": data,
    });
    fs::write(space.folder.path().join("secret.json"), object.to_string()).unwrap();
    space.kubectl(&["apply", "-f", "secret.json"]);
}

#[test]
fn values_that_kubectl_apply_left_in_an_annotation_go_by_the_hint() {
    let space = Space::new();
    let router = [("KB_ROUTER_TOKEN", OTHER), ("EMBEDDINGS_API_KEY", OTHER)];
    kubectl_apply(&space, ROUTER, &router);
    space.bootstrapped();
    let exposed = only(&space, "secret.exposed", ROUTER, "warn", CLEAR);
    let annotation = "kubectl.kubernetes.io/last-applied-configuration-";
    let hint = format!(
        "kubectl -n {} annotate secret {ROUTER} {annotation}",
        space.namespace
    );
    assert_eq!(exposed["hint"], hint);
    verify(&space, &[]).exits(0);
    for secret in [EMBEDDINGS, AGENTICORE] {
        only(
            &space,
            "secret.exposed",
            secret,
            "pass",
            "no annotation holds its values",
        );
    }
    mended(&space, &exposed, &[]);
    assert_eq!(space.data(ROUTER), space.filed());
}

#[test]
fn values_in_an_annotation_of_the_fleet_are_found_too() {
    let (space, fleet) = (Space::new(), Space::new());
    let named = ["--fleet-namespace", &fleet.namespace];
    space
        .run_with(&INPUTS, &[&["--apply"][..], &named].concat())
        .exits(0);
    let data = space.data(ROUTER);
    let data: Vec<_> = data.iter().map(|(key, value)| (&**key, &**value)).collect();
    kubectl_apply(&fleet, ROUTER, &data);
    let look = || {
        let mut found = found(&verify(&space, &named).exits(0), "secret.exposed", ROUTER);
        found.retain(|check| check["namespace"] == fleet.namespace);
        found
    };
    let exposed = look();
    assert_eq!(exposed.len(), 1);
    assert_eq!(
        (&exposed[0]["status"], &exposed[0]["message"]),
        (&json!("warn"), &json!(CLEAR))
    );
    follow(&space, exposed[0]["hint"].as_str().unwrap(), &[]).exits(0);
    assert_eq!(look(), [Value::Null; 0]);
}
