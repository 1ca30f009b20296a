//! Taking off a Secret what External Secrets Operator has left on it.
//!
//! This works on the object as it is: a Secret is read, changed and put back with its
//! `resourceVersion`, so that nothing of it is lost that is not known here.

use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::owner::FIELD_MANAGER;
use crate::domain::eso::objects::MARKS;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get, write};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What the operator calls itself as a field manager, before the name of an ExternalSecret.
const MANAGER: &str = "externalsecrets.external-secrets.io/";
/// How often a Secret is read and put back where others change it meanwhile.
const TRIES: usize = 10;

/// What is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The owner reference only, while the ExternalSecret is still there.
    Owner,
    /// Everything.
    All,
}

impl Cluster {
    /// Takes off a Secret what the operator has left on it; `false` where the Secret is not there.
    ///
    /// # Errors
    /// Where the server refuses, or others keep changing the Secret (exit code 3).
    pub async fn disown(&self, at: &SecretRef, what: Release) -> Result<bool, Failure> {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", at.namespace, at.name);
        let attempt = |verb| self.attempt(verb, at.to_string(), Some(&at.namespace));
        for _ in 0..TRIES {
            let answer = self.send(get(path.clone())).await?;
            if answer.is_absent() {
                return Ok(false);
            }
            let mut object: Value = answer.read(&attempt("get"))?;
            if !strip(&mut object, what) {
                return Ok(true);
            }
            let uri = format!("{path}?fieldManager={FIELD_MANAGER}");
            let request = write(Method::PUT, uri, "application/json", &object);
            let answer = self.send(request).await?;
            match answer.status {
                status if status.is_success() => return Ok(true),
                StatusCode::CONFLICT => {}
                _ => return Err(answer.failure(&attempt("update"))),
            }
        }
        Err(Failure::unable(format!("others keep changing {at}")))
    }
}

/// Takes it off an object; tells whether anything was there.
fn strip(object: &mut Value, what: Release) -> bool {
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return false;
    };
    let before = metadata.clone();
    if let Some(owners) = list(metadata, "ownerReferences") {
        owners.retain(|owner| owner["kind"] != "ExternalSecret");
    }
    if what == Release::All {
        for field in ["labels", "annotations"] {
            let theirs = named(metadata, field, is_theirs);
            let others = named(metadata, field, |entry| !is_theirs(entry));
            if let Some(names) = metadata.get_mut(field).and_then(Value::as_object_mut) {
                names.retain(|name, _| {
                    let copied = theirs.contains(name) && !others.contains(name);
                    !copied && !name.starts_with(MARKS)
                });
            }
        }
        if let Some(entries) = list(metadata, "managedFields") {
            entries.retain(|entry| !is_theirs(entry));
            // An empty list would say nothing about the entries; one without content clears them.
            if entries.is_empty() {
                entries.push(json!({}));
            }
        }
    }
    before != *metadata
}

fn list<'a>(metadata: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Vec<Value>> {
    metadata.get_mut(field)?.as_array_mut()
}

/// Tells whether an entry of `managedFields` is the operator's.
fn is_theirs(entry: &Value) -> bool {
    let manager = entry["manager"].as_str();
    manager.is_some_and(|manager| manager.starts_with(MANAGER))
}

/// The labels or annotations that such entries of `managedFields` own.
fn named(
    metadata: &Map<String, Value>,
    field: &str,
    whose: impl Fn(&Value) -> bool,
) -> BTreeSet<String> {
    let entries = metadata.get("managedFields").and_then(Value::as_array);
    let entries = entries.into_iter().flatten().filter(|entry| whose(entry));
    entries
        .filter_map(|entry| entry["fieldsV1"]["f:metadata"][format!("f:{field}")].as_object())
        .flat_map(Map::keys)
        .filter_map(|name| name.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real operator leaves it.
    fn made() -> Value {
        json!({
            "metadata": {
                "labels": {
                    "app": "brain", "theirs": "x",
                    "reconcile.external-secrets.io/managed": "true",
                },
                "annotations": { "k8s-bootstrap/minted-at.X": "t", "copied": "y" },
                "ownerReferences": [
                    { "kind": "ExternalSecret", "name": "es" }, { "kind": "Other", "name": "o" },
                ],
                "managedFields": [
                    { "manager": "k8s-bootstrap", "fieldsV1": { "f:metadata": {
                        "f:labels": { ".": {}, "f:app": {} },
                        "f:annotations": { "f:k8s-bootstrap/minted-at.X": {} },
                    } } },
                    { "manager": "externalsecrets.external-secrets.io/es", "fieldsV1": {
                        "f:metadata": {
                            "f:labels": { "f:theirs": {}, "f:app": {} },
                            "f:annotations": { "f:copied": {} },
                        },
                    } },
                ],
            },
            "data": { "K": "dg==" },
        })
    }

    #[test]
    fn only_the_owner_is_taken_off_while_the_external_secret_is_there() {
        let mut object = made();
        assert!(strip(&mut object, Release::Owner));
        let mut expected = made();
        expected["metadata"]["ownerReferences"] = json!([{ "kind": "Other", "name": "o" }]);
        assert_eq!(object, expected);
        assert!(!strip(&mut object, Release::Owner));
    }

    #[test]
    fn all_that_the_operator_left_is_taken_off_and_nothing_else() {
        let mut object = made();
        assert!(strip(&mut object, Release::All));
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"], json!({ "app": "brain" }));
        let kept = json!({ "k8s-bootstrap/minted-at.X": "t" });
        assert_eq!(metadata["annotations"], kept);
        assert_eq!(metadata["managedFields"].as_array().unwrap().len(), 1);
        assert_eq!(object["data"], made()["data"]);
        assert!(!strip(&mut object, Release::All));
    }

    #[test]
    fn where_the_operator_alone_managed_it_nobody_does_afterwards() {
        let mut object = made();
        object["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .remove(0);
        assert!(strip(&mut object, Release::All));
        assert_eq!(object["metadata"]["managedFields"], json!([{}]));
    }
}
