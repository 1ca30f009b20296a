//! What the API server's answers look like, as far as they are read here, and how they become
//! plain facts. A body that cannot be read is never quoted: it may be a Secret.

use crate::domain::cluster::observed_secret::{
    LiveSecret, LiveValue, ManagedFields, NamespaceState, OWN_ANNOTATIONS, Observed, OperatorMarks,
};
use crate::domain::cluster::owner::{self, Marks, Owner, ROTATION_MANAGER};
use crate::domain::eso::objects::MARKS;
use crate::domain::plan::manifest::MINTED_AT;
use crate::domain::plan::manifest::Manifest;
use crate::domain::rotation::LAST_WRITE;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ListMeta, ManagedFieldsEntry, ObjectMeta, Time,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Where `kubectl apply` keeps what it was given, values and all.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret, as it is read. `data` stays base64 until its keys are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretBody {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    immutable: Option<bool>,
}

impl SecretBody {
    /// Where it is.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    /// What it is called.
    pub fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }

    /// Tells whether the object with this uid owns it.
    pub fn is_of(&self, uid: &str) -> bool {
        let mut owners = self.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == uid)
    }

    /// Its values.
    pub fn into_data(self) -> BTreeMap<String, LiveValue> {
        let data = self.data.unwrap_or_default().into_iter();
        data.map(|(key, value)| (key, LiveValue::decode(value)))
            .collect()
    }
}

/// The server's version.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionBody {
    git_version: String,
}

impl VersionBody {
    /// As it may be shown: it is a word.
    pub fn shown(&self) -> String {
        let word = |c: &char| c.is_ascii_alphanumeric() || ".-+_".contains(*c);
        self.git_version.chars().filter(word).take(60).collect()
    }
}

/// A Namespace.
#[derive(Deserialize)]
pub struct NamespaceBody {
    /// Tells by its `deletionTimestamp` whether it is going away.
    pub metadata: ObjectMeta,
}

impl NamespaceBody {
    /// Whether it is there or going away.
    pub fn state(&self) -> NamespaceState {
        match self.metadata.deletion_timestamp {
            Some(_) => NamespaceState::Terminating,
            None => NamespaceState::Active,
        }
    }
}

/// An object of which only the name counts.
#[derive(Deserialize)]
pub struct NamedBody {
    /// Its name and uid.
    pub metadata: ObjectMeta,
}

/// A list.
#[derive(Deserialize)]
pub struct ListBody<T> {
    /// Tells by its `continue` whether there is more.
    #[serde(default)]
    pub metadata: ListMeta,
    /// Its items.
    pub items: Vec<T>,
}

/// Why the server refused, as far as it is used; the message may quote an object and is only
/// searched, never shown.
#[derive(Deserialize, Default)]
pub struct StatusBody {
    /// A word such as `AlreadyExists`.
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<StatusDetails>,
}

#[derive(Deserialize)]
struct StatusDetails {
    #[serde(default)]
    causes: Vec<StatusCause>,
}

#[derive(Deserialize)]
struct StatusCause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    field: String,
}

impl StatusBody {
    /// The managers that a server-side apply conflicts with, and the fields, as `(manager, field)`.
    pub fn conflicts(&self) -> Vec<(String, String)> {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        causes
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| {
                // conflict with "NAME" using v1 ...
                let manager = cause
                    .message
                    .split('"')
                    .nth(1)
                    .unwrap_or("an unknown manager");
                (
                    manager.to_owned(),
                    cause.field.trim_start_matches(".data.").to_owned(),
                )
            })
            .collect()
    }

    /// Tells whether a known text is in the message or among the causes.
    pub fn speaks_of(&self, text: &str) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        self.message.contains(text) || causes.into_iter().any(|cause| cause.reason == text)
    }
}

impl From<SecretBody> for Observed {
    fn from(body: SecretBody) -> Self {
        let metadata = body.metadata;
        let owner = owner_of(&metadata);
        let marks = marks(&metadata);
        let rotated = rotated(&metadata);
        let annotations = metadata.annotations.unwrap_or_default();
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
            changed: changed(metadata.managed_fields.as_deref().unwrap_or_default()),
            minted: minted(&annotations),
            exposed: annotations.get(LAST_APPLIED).is_some_and(|it| exposes(it)),
            marks,
            annotations: annotations
                .into_iter()
                .filter(|(name, _)| name.starts_with(OWN_ANNOTATIONS))
                .collect(),
            managed: metadata
                .managed_fields
                .unwrap_or_default()
                .iter()
                .map(managed)
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

/// Who owns an object.
pub(in crate::io) fn owner_of(metadata: &ObjectMeta) -> Option<Owner> {
    let none = BTreeMap::new();
    let owners = metadata.owner_references.iter().flatten();
    let owners: Vec<_> = owners
        .map(|owner| {
            let controller = owner.controller.unwrap_or(false);
            (owner.kind.clone(), owner.name.clone(), controller)
        })
        .collect();
    owner::owner_of(Marks {
        labels: metadata.labels.as_ref().unwrap_or(&none),
        annotations: metadata.annotations.as_ref().unwrap_or(&none),
        owner_references: &owners,
    })
}

/// What External Secrets Operator has left on it.
fn marks(metadata: &ObjectMeta) -> OperatorMarks {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == "ExternalSecret");
    let of = |map: &Option<BTreeMap<String, String>>| {
        let names = map.iter().flat_map(BTreeMap::keys);
        names
            .filter(|name| name.starts_with(MARKS))
            .cloned()
            .collect()
    };
    OperatorMarks {
        owner: owner.map(|owner| (owner.name.clone(), owner.uid.clone())),
        labels: of(&metadata.labels),
        annotations: of(&metadata.annotations),
    }
}

/// Tells whether what `kubectl apply` was given held the values. External Secrets Operator copies
/// the annotation of an ExternalSecret, which holds none.
fn exposes(last_applied: &str) -> bool {
    #[derive(Deserialize)]
    struct Applied {
        kind: String,
    }
    let applied: Result<Applied, _> = serde_json::from_str(last_applied);
    !applied.is_ok_and(|applied| applied.kind == "ExternalSecret")
}

/// When the data last changed: the newest entry that owns a key of it, or what a rotation writes with
/// data. It may have taken a key away and own none.
fn changed(entries: &[ManagedFieldsEntry]) -> Option<i64> {
    let of_data = entries.iter().filter(|entry| {
        let managed = managed(entry);
        !managed.data.is_empty() || managed.annotations.contains(LAST_WRITE)
    });
    of_data
        .filter_map(|entry| entry.time.as_ref())
        .map(seconds)
        .max()
}

/// When a rotation last noted something on an object.
pub(in crate::io) fn rotated(metadata: &ObjectMeta) -> Option<i64> {
    let entries = metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(ROTATION_MANAGER));
    ours.filter_map(|entry| entry.time.as_ref())
        .map(seconds)
        .max()
}

/// When each token was minted, by its key, as far as our annotations tell.
fn minted(annotations: &BTreeMap<String, String>) -> BTreeMap<String, i64> {
    let times = annotations.iter().filter_map(|(name, time)| {
        let key = name.strip_prefix(MINTED_AT)?;
        let time: jiff::Timestamp = time.parse().ok()?;
        Some((key.to_owned(), time.as_second()))
    });
    times.collect()
}

/// A time as seconds since 1970.
pub(in crate::io) fn seconds(time: &Time) -> i64 {
    time.0.as_second()
}

fn managed(entry: &ManagedFieldsEntry) -> ManagedFields {
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

/// The object for a write. An apply holds nothing that it does not have to own, a create
/// everything.
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
