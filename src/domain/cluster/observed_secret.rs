//! A Secret as it was read from the cluster, with its owner.
//!
//! Values stay in [`SecretValue`]. Foreign annotations are dropped, because they may hold values.

use super::names::SecretRef;
use super::owner::{self, FIELD_MANAGER, Manager, Owner};
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::values::secret_value::SecretValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::{BTreeMap, BTreeSet};

/// The prefix of this program's annotations.
pub const OWN_ANNOTATIONS: &str = "k8s-bootstrap/";
/// The type of every Secret of the table.
pub const OPAQUE: &str = "Opaque";

/// The state of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespaceState {
    Active,
    Terminating,
    Absent,
    /// The namespace may not be read.
    #[default]
    Forbidden,
}

/// The facts about one Secret.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// `None` if the Secret does not exist.
    pub live: Option<LiveSecret>,
    /// The owner, or the ExternalSecret that will create the Secret.
    pub owner: Option<Owner>,
    /// This program's annotations on the ExternalSecret with this target.
    pub external_annotations: BTreeMap<String, String>,
    /// When a rotation last annotated the Secret or its ExternalSecret, in seconds since 1970.
    pub rotated: Option<i64>,
}

impl Observed {
    /// Records that an ExternalSecret has this Secret as its target.
    pub fn claim(&mut self, claim: &ExternalSecret) {
        self.external_annotations.extend(claim.annotations.clone());
        self.rotated = self.rotated.max(claim.rotated);
        self.owner
            .get_or_insert_with(|| Owner::external_secret(&claim.name));
    }
}

pub type Observations = BTreeMap<SecretRef, Observed>;

/// A Secret that exists.
#[derive(Clone, Debug, Default)]
pub struct LiveSecret {
    /// `metadata.resourceVersion`, the precondition of a later write.
    pub resource_version: String,
    pub type_: String,
    pub immutable: bool,
    pub data: BTreeMap<String, LiveValue>,
    /// This program's annotations only: others may hold values.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    /// When `data` last changed according to `managedFields`, in seconds since 1970.
    pub changed: Option<i64>,
    /// When each token was minted, by key, in seconds since 1970.
    pub minted: BTreeMap<String, i64>,
    /// Whether an annotation of `kubectl apply` holds the values in plain text.
    pub exposed: bool,
    pub marks: OperatorMarks,
    /// The parts of `metadata.managedFields` about data and annotations.
    pub managed: Vec<ManagedFields>,
}

/// The marks of External Secrets Operator on a Secret that it created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorMarks {
    /// Name and uid of the ExternalSecret in the owner reference.
    pub owner: Option<(String, String)>,
    /// Labels that stay when the owner reference is removed.
    pub labels: Vec<String>,
    /// Annotations that stay when the owner reference is removed.
    pub annotations: Vec<String>,
}

impl OperatorMarks {
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// A value of `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveValue {
    /// The original text, so that it can be sent back unchanged.
    pub base64: SecretValue,
    /// The decoded text; `None` if it is not base64 of UTF-8.
    pub text: Option<SecretValue>,
}

impl LiveValue {
    pub fn decode(base64: String) -> Self {
        let text = STANDARD
            .decode(&base64)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(SecretValue::from);
        Self {
            base64: SecretValue::from(base64),
            text,
        }
    }

    pub fn encode(text: &SecretValue) -> Self {
        Self {
            base64: SecretValue::from(STANDARD.encode(text.expose())),
            text: Some(text.clone()),
        }
    }
}

/// An entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedFields {
    pub manager: String,
    /// Whether `operation` is `Apply`, not `Update`.
    pub applied: bool,
    /// The keys of `data` that the manager owns.
    pub data: BTreeSet<String>,
    /// The annotations that the manager owns.
    pub annotations: BTreeSet<String>,
}

impl LiveSecret {
    /// The decoded value of a key; `None` if it is absent or cannot be decoded.
    pub fn text(&self, key: &str) -> Option<&SecretValue> {
        self.data.get(key)?.text.as_ref()
    }

    /// All decoded values, by key.
    pub fn texts(&self) -> BTreeMap<String, SecretValue> {
        let values = self.data.iter();
        values
            .filter_map(|(key, value)| Some((key.clone(), value.text.clone()?)))
            .collect()
    }

    /// The managers that own this key, except this program and kubectl.
    pub fn foreign_managers(&self, key: &str) -> Vec<&str> {
        let mut managers: Vec<&str> = self
            .managed
            .iter()
            .filter(|entry| entry.data.contains(key))
            .map(|entry| entry.manager.as_str())
            .filter(|manager| owner::manager_of(manager) == Manager::Foreign)
            .collect();
        managers.dedup();
        managers
    }

    /// The keys of `data`, with their values, and the annotations that this program has applied. Each
    /// later apply must include them: server-side apply removes fields that the applier leaves out.
    pub fn applied_before(&self) -> (BTreeMap<String, SecretValue>, BTreeMap<String, String>) {
        // Annotations of a rotation belong to the field manager of rotations.
        let ours = self
            .managed
            .iter()
            .filter(|entry| entry.applied && entry.manager == FIELD_MANAGER);
        let mut data = BTreeMap::new();
        let mut annotations = BTreeMap::new();
        for entry in ours {
            for (key, value) in &self.data {
                if entry.data.contains(key) {
                    data.insert(key.clone(), value.base64.clone());
                }
            }
            for (key, value) in &self.annotations {
                if entry.annotations.contains(key) {
                    annotations.insert(key.clone(), value.clone());
                }
            }
        }
        (data, annotations)
    }
}
