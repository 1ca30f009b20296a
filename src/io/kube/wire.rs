//! The JSON of the API server, with the fields that are read, and its conversion into facts.
//!
//! An invalid body must not be quoted, because it may be a Secret.

use crate::domain::cluster::observed_secret::{
    LiveSecret, LiveValue, ManagedFields, NamespaceState, OWN_ANNOTATIONS, Observed, OperatorMarks,
};
use crate::domain::cluster::owner::{self, Owner, ROTATION_MANAGER};
use crate::domain::eso::objects::MARKS;
use crate::domain::plan::manifest::MINTED_AT;
use crate::domain::plan::manifest::Manifest;
use crate::domain::rotation::LAST_WRITE;
use crate::io::local::environment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ListMeta, ManagedFieldsEntry, ObjectMeta, Time,
};
use kube::core::Status;
use kube::core::response::StatusCause;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The annotation of `kubectl apply`, which holds the applied object with its values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret. `data` is base64.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretBody {
    pub metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    immutable: Option<bool>,
}

/// An object of which only the metadata is read.
#[derive(Deserialize)]
pub struct NamedBody {
    pub metadata: ObjectMeta,
}

impl NamedBody {
    /// The state of a namespace.
    pub fn state(&self) -> NamespaceState {
        match self.metadata.deletion_timestamp {
            Some(_) => NamespaceState::Terminating,
            None => NamespaceState::Active,
        }
    }
}

#[derive(Deserialize)]
pub struct ListBody<T> {
    /// `continue` is set if there are more pages.
    #[serde(default)]
    pub metadata: ListMeta,
    pub items: Vec<T>,
}

/// The conflicts of a server-side apply, as `(manager, field)`.
pub fn conflicts(status: &Status) -> Vec<(String, String)> {
    causes(status)
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            // The format is: conflict with "NAME" using v1 ...
            let manager = cause.message.split('"').nth(1);
            let field = cause.field.trim_start_matches(".data.");
            (
                manager.unwrap_or("an unknown manager").to_owned(),
                field.to_owned(),
            )
        })
        .collect()
}

/// Checks whether the message contains a text, or a cause has it as its reason.
pub fn mentions(status: &Status, text: &str) -> bool {
    status.message.contains(text) || causes(status).any(|cause| cause.reason == text)
}

fn causes(status: &Status) -> impl Iterator<Item = &StatusCause> {
    status.details.iter().flat_map(|details| &details.causes)
}

impl From<SecretBody> for Observed {
    fn from(body: SecretBody) -> Self {
        let metadata = body.metadata;
        let owner = owner_of(&metadata);
        let marks = operator_marks(&metadata);
        let rotated = rotation_written_at(&metadata);
        let own_annotations = own_annotations(&metadata);
        let last_applied = metadata
            .annotations
            .iter()
            .find_map(|it| it.get(LAST_APPLIED));
        let data = body.data.unwrap_or_default();
        let live = LiveSecret {
            resource_version: metadata.resource_version.unwrap_or_default(),
            type_: body.r#type.unwrap_or_default(),
            immutable: body.immutable.unwrap_or(false),
            data: data
                .into_iter()
                .map(|(key, value)| (key, LiveValue::decode(value)))
                .collect(),
            created: metadata.creation_timestamp.as_ref().map(seconds),
            changed: data_changed_at(metadata.managed_fields.as_deref().unwrap_or_default()),
            minted: minted_at(&own_annotations),
            exposed: last_applied.is_some_and(|it| has_values(it)),
            marks,
            annotations: own_annotations,
            managed: metadata
                .managed_fields
                .unwrap_or_default()
                .iter()
                .map(managed_fields)
                .collect(),
        };
        Self {
            live: Some(live),
            owner,
            external_annotations: BTreeMap::new(),
            rotated,
        }
    }
}

/// Reads the annotations of this program.
pub(in crate::io) fn own_annotations(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    let all = metadata.annotations.iter().flatten();
    let own = all.filter(|(name, _)| name.starts_with(OWN_ANNOTATIONS));
    own.map(|(name, text)| (name.clone(), text.clone()))
        .collect()
}

/// Finds when an event last occurred, in seconds since 1970.
pub(in crate::io) fn last_seen(event: &Value) -> Option<i64> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["eventTime"],
        &event["lastTimestamp"],
    ];
    let times = times.into_iter().filter_map(Value::as_str);
    times.filter_map(environment::seconds).max()
}

/// Finds the owner of an object.
pub(in crate::io) fn owner_of(metadata: &ObjectMeta) -> Option<Owner> {
    let none = BTreeMap::new();
    let owners: Vec<_> = metadata
        .owner_references
        .iter()
        .flatten()
        .map(|owner| {
            let controller = owner.controller.unwrap_or(false);
            (owner.kind.clone(), owner.name.clone(), controller)
        })
        .collect();
    let labels = metadata.labels.as_ref().unwrap_or(&none);
    let annotations = metadata.annotations.as_ref().unwrap_or(&none);
    owner::owner_of(labels, annotations, &owners)
}

/// Reads what External Secrets Operator has set on an object.
fn operator_marks(metadata: &ObjectMeta) -> OperatorMarks {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == "ExternalSecret");
    let marked = |map: &Option<BTreeMap<String, String>>| {
        let names = map.iter().flat_map(BTreeMap::keys);
        names
            .filter(|name| name.starts_with(MARKS))
            .cloned()
            .collect()
    };
    OperatorMarks {
        owner: owner.map(|owner| (owner.name.clone(), owner.uid.clone())),
        labels: marked(&metadata.labels),
        annotations: marked(&metadata.annotations),
    }
}

/// Checks whether a last-applied annotation holds values. External Secrets Operator copies the
/// annotation of an ExternalSecret, which holds none.
fn has_values(last_applied: &str) -> bool {
    #[derive(Deserialize)]
    struct Applied {
        kind: String,
    }
    let applied: Result<Applied, _> = serde_json::from_str(last_applied);
    !applied.is_ok_and(|applied| applied.kind == "ExternalSecret")
}

/// Finds when the data last changed: the time of the newest entry that owns a key or the annotation
/// that a rotation writes with data. A rotation that removed a key may own no key.
fn data_changed_at(entries: &[ManagedFieldsEntry]) -> Option<i64> {
    entries
        .iter()
        .filter(|entry| {
            let managed = managed_fields(entry);
            !managed.data.is_empty() || managed.annotations.contains(LAST_WRITE)
        })
        .filter_map(|entry| entry.time.as_ref())
        .map(seconds)
        .max()
}

/// Finds when a rotation last wrote to an object, in seconds since 1970.
pub(in crate::io) fn rotation_written_at(metadata: &ObjectMeta) -> Option<i64> {
    metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.manager.as_deref() == Some(ROTATION_MANAGER))
        .filter_map(|entry| entry.time.as_ref())
        .map(seconds)
        .max()
}

/// Reads the annotations with the time when each token was minted, by key.
fn minted_at(annotations: &BTreeMap<String, String>) -> BTreeMap<String, i64> {
    annotations
        .iter()
        .filter_map(|(name, time)| {
            let key = name.strip_prefix(MINTED_AT)?;
            let time: jiff::Timestamp = time.parse().ok()?;
            Some((key.to_owned(), time.as_second()))
        })
        .collect()
}

/// Converts a time to seconds since 1970.
pub(in crate::io) fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}

fn managed_fields(entry: &ManagedFieldsEntry) -> ManagedFields {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let names = |path: &[&str]| -> Option<BTreeSet<String>> {
        let owned = path
            .iter()
            .try_fold(fields?, |at, step| at.get(step))?
            .as_object()?;
        Some(
            owned
                .keys()
                .filter_map(|key| key.strip_prefix("f:"))
                .map(str::to_owned)
                .collect(),
        )
    };
    ManagedFields {
        manager: entry.manager.clone().unwrap_or_default(),
        applied: entry.operation.as_deref() == Some("Apply"),
        data: names(&["f:data"]).unwrap_or_default(),
        annotations: names(&["f:metadata", "f:annotations"]).unwrap_or_default(),
    }
}

/// Makes the object for a write. An apply holds only the fields that it must own; a create also holds
/// the type.
pub fn object_of(manifest: &Manifest) -> Value {
    let data: Map<String, Value> = manifest
        .data
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.expose())))
        .collect();
    let mut metadata =
        json!({ "name": manifest.at.name, "namespace": manifest.at.namespace.as_str() });
    if !manifest.annotations.is_empty() {
        metadata["annotations"] = json!(manifest.annotations);
    }
    let mut object = json!({ "apiVersion": "v1", "kind": "Secret", "data": data });
    match &manifest.resource_version {
        Some(version) => metadata["resourceVersion"] = json!(version),
        None => object["type"] = json!("Opaque"),
    }
    object["metadata"] = metadata;
    object
}
