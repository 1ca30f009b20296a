//! The checks of the tokens, and following their hints.

use crate::checks::{follow, of, verify};
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER, Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const ROUTER_TOKEN: &str = "KB_ROUTER_TOKEN";

pub const EMBEDDINGS_KEY: &str = "EMBEDDINGS_API_KEY";

pub const TOKENS: [&str; 2] = [ROUTER_TOKEN, EMBEDDINGS_KEY];

/// A token of somebody else.
pub const STRANGER: &str = "a-token-of-somebody-else";

/// Entries of lists that are none of ours.
pub const THIRD: &str = "one-of-a-third-party, two-of-a-third-party";

/// Each list, with its Secret and the token that has to be on it.
pub const LISTS: [(&str, &str, &str); 3] = [
    (EMBEDDINGS, "EMBEDDINGS_API_KEYS", EMBEDDINGS_KEY),
    (EMBEDDINGS, "API_KEYS", EMBEDDINGS_KEY),
    (ROUTER, "KB_ROUTER_TOKENS", ROUTER_TOKEN),
];

pub fn fingerprint(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &hex[..12])
}

/// Fails where a value of the spaces' Secrets or of the first one's file shows.
#[track_caller]
pub fn hides(spaces: &[&Space], ran: &Ran) {
    let mut values: Vec<String> = vec![STRANGER.to_owned(), THIRD.to_owned()];
    if spaces[0].file().exists() {
        values.extend(spaces[0].filed().into_values());
    }
    for space in spaces {
        let list = SANDBOX.expect("GET", &space.path(""), &Value::Null);
        for item in list["items"].as_array().unwrap() {
            for value in item["data"].as_object().into_iter().flatten() {
                let value = STANDARD.decode(value.1.as_str().unwrap()).unwrap();
                values.push(String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    for value in values.into_iter().filter(|value| value.len() > 8) {
        for text in [STANDARD.encode(&value), value] {
            let seen = ran.out.contains(&text) || ran.err.contains(&text);
            assert!(!seen, "a value shows:\n{}\n{}", ran.out, ran.err);
        }
    }
}

/// Runs `verify -v` in the first space; no value of any shows.
#[track_caller]
pub fn look(spaces: &[&Space], arguments: &[&str], code: i32) -> Ran {
    let ran = verify(spaces[0], &[arguments, &["-v"]].concat()).exits(code);
    hides(spaces, &ran);
    ran
}

/// The one check with that id, status, namespace and object; its message has these words.
#[track_caller]
pub fn the(ran: &Ran, (id, status): (&str, &str), at: (&str, &str), words: &[&str]) -> Value {
    let all = of(ran, id);
    let mut found = all.iter().filter(|check| {
        let message = check["message"].as_str().unwrap();
        check["status"] == status
            && (check["namespace"].as_str(), check["object"].as_str()) == (Some(at.0), Some(at.1))
            && words.iter().all(|word| message.contains(word))
    });
    let one = found.next();
    let one = one.unwrap_or_else(|| panic!("no {status} of {at:?} with {words:?}: {all:#?}"));
    assert_eq!(found.next(), None, "more than one: {all:#?}");
    let needs_hint = ["warn", "fail"].contains(&status);
    assert!(!needs_hint || !hint(one).is_empty(), "no hint: {one}");
    one.clone()
}

/// The statuses of the checks with that id.
pub fn statuses(ran: &Ran, id: &str) -> Vec<String> {
    let checks = of(ran, id);
    let status = |check: &Value| check["status"].as_str().unwrap().to_owned();
    checks.iter().map(status).collect()
}

pub fn hint(check: &Value) -> String {
    check["hint"].as_str().unwrap().to_owned()
}

/// Runs the hint of a check, which has to succeed and to show no value.
#[track_caller]
pub fn mend(spaces: &[&Space], check: &Value, environment: &[(&str, &str)]) {
    let ran = follow(spaces[0], &hint(check), environment);
    hides(spaces, &ran);
    assert_eq!(ran.code, 0, "{}\n{}\n{}", hint(check), ran.out, ran.err);
}

/// What an object of kind Secret is called in a check.
pub fn secret(name: &str) -> String {
    format!("Secret/{name}")
}

/// What Helm writes on its Secrets.
pub fn marks_of_helm() -> Value {
    json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "agents" },
    } })
}

/// Both tokens are the same in the file and at home, and on the list.
#[track_caller]
pub fn agrees(space: &Space) {
    let filed = space.filed();
    let live = space.data(ROUTER);
    for token in TOKENS {
        assert_eq!(filed[token], live[token]);
    }
    let ran = look(&[space], &[], 0);
    assert_eq!(statuses(&ran, "tokens.match"), ["pass", "pass"]);
    assert!(!statuses(&ran, "tokens.pair").contains(&"fail".to_owned()));
}

/// Everything is there, each list holds the token alone.
pub fn with_lists() -> Space {
    let space = Space::new();
    space.bootstrapped();
    let filed = space.filed();
    for (secret, list, token) in LISTS {
        space.set_keys(secret, &[(list, &filed[token])], "kubectl-edit");
    }
    space
}
