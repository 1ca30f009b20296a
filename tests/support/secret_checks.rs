//! The checks of one Secret, and following their hints.

use crate::checks::{follow_all, of, verify};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

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
pub fn values(space: &Space) -> Vec<String> {
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

/// Follows the hints of a check with these variables, after which that check passes. Gives the run
/// of `verify` that says so.
#[track_caller]
pub fn mended(space: &Space, check: &Value, environment: &[(&str, &str)]) -> Ran {
    let (id, secret) = names(check);
    let look = || found(&verify(space, &[]), id, secret).pop();
    for ran in follow_all(space, check, environment, look) {
        hides(space, &ran);
    }
    passes(space, check)
}

/// Runs steps to which the hint of a check links; see [`crate::steps::steps`].
#[track_caller]
pub fn steps(part: &str, space: &Space, check: &Value, key: &str, environment: &[(&str, &str)]) {
    let words = [("SECRET", names(check).1), ("KEY", key)];
    let ran = crate::steps::steps(part, space, hint(check), &words, environment);
    hides(space, &ran.exits(0));
}

/// A check passes. Gives the run of `verify` that says so.
#[track_caller]
pub fn passes(space: &Space, check: &Value) -> Ran {
    let (id, secret) = names(check);
    let after = verify(space, &[]);
    let found = found(&after, id, secret);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["status"], "pass", "{found:?}");
    after
}

fn hint(check: &Value) -> &str {
    check["hint"].as_str().unwrap()
}

/// The id and the Secret of a check.
fn names(check: &Value) -> (&str, &str) {
    let object = check["object"].as_str().unwrap();
    let secret = object.strip_prefix("Secret/").unwrap();
    (check["id"].as_str().unwrap(), secret)
}

#[track_caller]
fn hides(space: &Space, ran: &Ran) {
    for value in values(space) {
        assert!(!ran.out.contains(&value) && !ran.err.contains(&value));
    }
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
