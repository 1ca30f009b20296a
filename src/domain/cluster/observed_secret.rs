//! What was found in the cluster.

use super::names::SecretRef;
use super::owner::{self, FIELD_MANAGER, Manager, Owner};
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::values::secret_value::SecretValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::{BTreeMap, BTreeSet};

/// What the names of this program's annotations begin with.
pub const OWN_ANNOTATIONS: &str = "k8s-bootstrap/";
/// The type that every Secret of the table has.
pub const OPAQUE: &str = "Opaque";

/// What is known about a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It is there.
    Active,
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    Absent,
    /// We may not know.
    Forbidden,
}

/// What is known about one Secret.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The Secret; `None` where it does not exist.
    pub live: Option<LiveSecret>,
    /// Who owns it, or is going to make it (an ExternalSecret with this target).
    pub owner: Option<Owner>,
    /// This program's annotations of the ExternalSecret that makes it.
    pub external_annotations: BTreeMap<String, String>,
    /// When a rotation last noted something on it, or on the ExternalSecret that makes it, in
    /// seconds since 1970.
    pub rotated: Option<i64>,
}

impl Observed {
    /// Notes that an ExternalSecret makes it.
    pub fn claim(&mut self, claim: &ExternalSecret) {
        self.external_annotations.extend(claim.annotations.clone());
        self.rotated = self.rotated.max(claim.rotated);
        let owner = || Owner::external_secret(&claim.name);
        self.owner.get_or_insert_with(owner);
    }
}

/// Everything that was found, by place.
pub type Observations = BTreeMap<SecretRef, Observed>;

/// A Secret that exists.
#[derive(Clone, Debug, Default)]
pub struct LiveSecret {
    /// `metadata.resourceVersion`, the precondition of a later write.
    pub resource_version: String,
    /// `type`.
    pub type_: String,
    /// `immutable`.
    pub immutable: bool,
    /// `data`.
    pub data: BTreeMap<String, LiveValue>,
    /// Those of `metadata.annotations` that are this program's own; others may hold values.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    /// When `data` last changed, as `managedFields` tell, in seconds since 1970.
    pub changed: Option<i64>,
    /// When each token was minted, by its key, in seconds since 1970.
    pub minted: BTreeMap<String, i64>,
    /// Whether `kubectl apply` has left an annotation that holds the values in the clear.
    pub exposed: bool,
    /// What External Secrets Operator has left on it.
    pub marks: OperatorMarks,
    /// `metadata.managedFields`, as far as it speaks of data and annotations.
    pub managed: Vec<ManagedFields>,
}

/// What External Secrets Operator leaves on a Secret that it makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorMarks {
    /// The ExternalSecret that the owner reference names: its name and its uid.
    pub owner: Option<(String, String)>,
    /// Its labels, which stay where the owner reference is gone.
    pub labels: Vec<String>,
    /// Its annotations, likewise.
    pub annotations: Vec<String>,
}

impl OperatorMarks {
    /// Tells whether there are any.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// A value of `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveValue {
    /// As it stands in the object, so that it can be sent back unchanged.
    pub base64: SecretValue,
    /// Decoded; `None` where it is not base64 of UTF-8.
    pub text: Option<SecretValue>,
}

impl LiveValue {
    /// Decodes a value of `data`.
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

    /// Encodes a value for `data`.
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
    /// `manager`.
    pub manager: String,
    /// Whether `operation` is `Apply` (else `Update`).
    pub applied: bool,
    /// The keys of `data` that it owns.
    pub data: BTreeSet<String>,
    /// The annotations that it owns.
    pub annotations: BTreeSet<String>,
}

impl LiveSecret {
    /// The decoded value of a key; `None` where it is absent or cannot be decoded.
    pub fn text(&self, key: &str) -> Option<&SecretValue> {
        self.data.get(key)?.text.as_ref()
    }

    /// Managers that own this key and are neither this program nor a person's kubectl.
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

    /// What this program has applied before and has to apply again, since server-side apply
    /// removes what an applier leaves out: keys of `data` with their values, and annotations.
    pub fn applied_before(&self) -> (BTreeMap<String, SecretValue>, BTreeMap<String, String>) {
        // What a rotation has annotated stays with the manager of rotations.
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
