//! Marks of other owners on Secrets.

use crate::checks::verify;
use crate::sandbox::SANDBOX;
use crate::secret_checks::{OTHER, bootstrapped, delete, found};
use crate::space::{AGENTICORE, EMBEDDINGS, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// An owner reference, as metadata.
pub fn reference(kind: &str, name: &str) -> Value {
    let uid = "00000000-0000-4000-8000-000000000000";
    json!({ "ownerReferences": [{
        "apiVersion": "x.example/v1", "kind": kind, "name": name, "uid": uid, "controller": true,
    }] })
}

/// Server-side apply of keys of the embeddings Secret by another manager, which takes them over.
pub fn apply_as(space: &Space, manager: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": EMBEDDINGS }, "data": data,
    });
    let path = format!(
        "{}?fieldManager={manager}&force=true",
        space.path(EMBEDDINGS)
    );
    let (status, answer) = SANDBOX.request("PATCH", &path, "application/apply-patch+yaml", &object);
    assert!(matches!(status, 200 | 201), "{}", answer["message"]);
}

pub const OWNER: &str = "owner.secret";

/// Makes the agenticore Secret with these marks; its key is a placeholder.
pub fn marked(metadata: &Value) -> Space {
    let space = bootstrapped();
    delete(&space, AGENTICORE);
    let data = [("ANTHROPIC_API_KEY", "changeme"), ("GITHUB_TOKEN", OTHER)];
    space.create_secret(AGENTICORE, &data, &json!({ "metadata": metadata }));
    space
}

/// The hint of the value that only its owner can mend.
pub fn hint(space: &Space) -> String {
    let found = found(&verify(space, &[]).exits(1), "secret.value", AGENTICORE);
    found[0]["hint"].as_str().unwrap().to_owned()
}
