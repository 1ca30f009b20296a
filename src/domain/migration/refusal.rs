//! Why a migration stops before its first write, and what a person can do about it.

use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::eso::store_entry::StoreReach;

/// A conflict that a person has to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationRefusal {
    /// The Secret and the entry have different values for these keys.
    Differs {
        at: SecretRef,
        path: String,
        keys: Vec<String>,
    },
    /// The Secret would lose these keys.
    OnlyInSecret {
        at: SecretRef,
        path: String,
        keys: Vec<String>,
    },
    /// The Secret would get these keys.
    OnlyInStore {
        at: SecretRef,
        path: String,
        keys: Vec<String>,
    },
    /// A value of the Secret is not text.
    NotText { at: SecretRef, key: String },
    /// The Secret is not of type Opaque, which the operator makes.
    WrongType { at: SecretRef },
    /// The Secret is immutable, so the operator could not update it.
    Immutable { at: SecretRef },
    /// An ExternalSecret adds keys to the Secret.
    KeysAdded { at: SecretRef, by: String },
    /// Several ExternalSecrets make the Secret.
    SeveralMakers { at: SecretRef, by: Vec<String> },
    /// The name for the new ExternalSecret is taken by one that makes another Secret. If that one
    /// changed its target, the operator would delete the Secret that it made.
    NameTaken {
        at: SecretRef,
        by: String,
        target: String,
    },
}

impl MigrationRefusal {
    /// Describes the conflict in one sentence without a value.
    pub fn message(&self) -> String {
        match self {
            Self::Differs { at, path, keys } => {
                format!("{at} and {path} in the store differ in {}", list_keys(keys))
            }
            Self::OnlyInSecret { at, path, keys } => format!(
                "{at} has {}, which {path} in the store lacks: the Secret would lose it",
                list_keys(keys)
            ),
            Self::OnlyInStore { at, path, keys } => format!(
                "{path} in the store has {}, which {at} lacks: the Secret would get it",
                list_keys(keys)
            ),
            Self::NotText { at, key } => format!("{key} of {at} is not text (base64 of UTF-8)"),
            Self::WrongType { at } => format!("{at} is not of type {OPAQUE}"),
            Self::Immutable { at } => {
                format!("{at} is immutable, so External Secrets Operator could not update it")
            }
            Self::KeysAdded { at, by } => format!("ExternalSecret {by} adds keys to {at}"),
            Self::SeveralMakers { at, by } => {
                format!("several ExternalSecrets make {at}: {}", by.join(", "))
            }
            Self::NameTaken { at, by, target } => format!(
                "the name {by} is needed for {at}, but ExternalSecret {}/{by} makes {target}",
                at.namespace
            ),
        }
    }

    /// What to do about it. `store` is given if this run can write the store directly.
    pub fn hint(&self, store: Option<&StoreReach>, kubectl: &str) -> String {
        match (self, store) {
            (Self::Differs { path, keys, .. }, Some(store)) => format!(
                "if the store is wrong, pipe the right value into: `{}`; if the Secret is wrong, correct it",
                store.patch(path, &keys[0])
            ),
            (Self::OnlyInSecret { path, keys, .. }, Some(store)) => {
                format!("add it, from stdin: `{}`", store.patch(path, &keys[0]))
            }
            (Self::OnlyInStore { path, keys, .. }, Some(store)) => {
                format!("remove it: `{}`", store.remove(path, keys))
            }
            (Self::Differs { path, .. } | Self::OnlyInSecret { path, .. }, None) => format!(
                "give {path} the values of the Secret, with the store's own program or with \
                 populate --from-cluster --via-eso and a store that can be written"
            ),
            (Self::OnlyInStore { path, .. }, None) => {
                format!("remove it from {path} with the store's own program")
            }
            (Self::SeveralMakers { at, by }, _) => format!(
                "keep one: {kubectl} -n {} delete externalsecret {} --cascade=orphan",
                at.namespace,
                by[by.len() - 1]
            ),
            (Self::NameTaken { at, by, .. }, _) => format!(
                "rename that one: {kubectl} -n {} get externalsecret {by} -o yaml",
                at.namespace
            ),
            (Self::KeysAdded { at, by }, _) => format!(
                "move those keys into the entry, then: {kubectl} -n {} delete externalsecret {by}",
                at.namespace
            ),
            (Self::NotText { at, .. } | Self::WrongType { at } | Self::Immutable { at }, _) => {
                format!("{kubectl} -n {} edit secret {}", at.namespace, at.name)
            }
        }
    }
}

/// Keys for a message. Keys from a store may contain control characters.
fn list_keys(keys: &[String]) -> String {
    keys.join(", ").replace(char::is_control, "?")
}
