//! Removes the marks of External Secrets Operator from a Secret.
//!
//! The Secret is read as JSON, changed and replaced with its `resourceVersion`. Fields that are not
//! known here must not be lost.

use crate::domain::cluster::names::SecretRef;
use crate::domain::eso::objects::MARKS;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, secret_path, write};
use crate::io::written::Written;
use http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The prefix of the operator's field manager, before the name of an ExternalSecret.
const MANAGER: &str = "externalsecrets.external-secrets.io/";
/// The maximum number of attempts if others change the Secret at the same time.
const TRIES: usize = 10;

/// The marks to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Only the owner reference, while the ExternalSecret still exists.
    Owner,
    /// Owner reference, labels, annotations and field managers.
    All,
}

impl Cluster {
    /// Removes the operator's marks from a Secret; `false` if the Secret does not exist.
    ///
    /// # Errors
    /// A server that refuses, or a Secret that others keep changing (exit code 3).
    pub async fn disown(&self, at: &SecretRef, what: Release) -> Result<bool, Failure> {
        let (path, attempt) = (secret_path(at), self.attempt_at("update", at));
        for _ in 0..TRIES {
            let found = self
                .find(path.clone(), at.to_string(), &at.namespace)
                .await?;
            let Some(mut object) = found else {
                return Ok(false);
            };
            if !strip(&mut object, what) {
                return Ok(true);
            }
            let answer = self.send(write(Method::PUT, &path, &object)).await?;
            if answer.written(&attempt)? == Written::Done {
                return Ok(true);
            }
        }
        Err(Failure::unable(format!("others keep changing {at}")))
    }
}

/// Removes the marks from an object, and tells whether it had any.
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
            let theirs = managed_names(metadata, field, is_operators);
            let others = managed_names(metadata, field, |entry| !is_operators(entry));
            if let Some(names) = metadata.get_mut(field).and_then(Value::as_object_mut) {
                names.retain(|name, _| {
                    let copied = theirs.contains(name) && !others.contains(name);
                    !copied && !name.starts_with(MARKS)
                });
            }
        }
        if let Some(entries) = list(metadata, "managedFields") {
            entries.retain(|entry| !is_operators(entry));
            // An empty list changes nothing; a list with one empty entry clears the entries.
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

/// Checks whether an entry of `managedFields` is the operator's.
fn is_operators(entry: &Value) -> bool {
    let manager = entry["manager"].as_str();
    manager.is_some_and(|manager| manager.starts_with(MANAGER))
}

/// The labels or annotations (`field`) that the selected entries of `managedFields` own.
fn managed_names(
    metadata: &Map<String, Value>,
    field: &str,
    is_selected: impl Fn(&Value) -> bool,
) -> BTreeSet<String> {
    metadata
        .get("managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| is_selected(entry))
        .filter_map(|entry| entry["fieldsV1"]["f:metadata"][format!("f:{field}")].as_object())
        .flat_map(Map::keys)
        .filter_map(|name| name.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Secret with the marks of a real operator.
    fn marked_secret() -> Value {
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
    fn release_owner_removes_only_the_owner_reference() {
        let mut object = marked_secret();
        assert!(strip(&mut object, Release::Owner));
        let mut expected = marked_secret();
        expected["metadata"]["ownerReferences"] = json!([{ "kind": "Other", "name": "o" }]);
        assert_eq!(object, expected);
        assert!(!strip(&mut object, Release::Owner));
    }

    #[test]
    fn release_all_removes_all_marks_and_nothing_else() {
        let mut object = marked_secret();
        assert!(strip(&mut object, Release::All));
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"], json!({ "app": "brain" }));
        let kept = json!({ "k8s-bootstrap/minted-at.X": "t" });
        assert_eq!(metadata["annotations"], kept);
        assert_eq!(metadata["managedFields"].as_array().unwrap().len(), 1);
        assert_eq!(object["data"], marked_secret()["data"]);
        assert!(!strip(&mut object, Release::All));
    }

    #[test]
    fn a_secret_that_only_the_operator_managed_has_no_manager_left() {
        let mut object = marked_secret();
        object["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .remove(0);
        assert!(strip(&mut object, Release::All));
        assert_eq!(object["metadata"]["managedFields"], json!([{}]));
    }
}
