//! What keeps a migration from its first write: a person has to decide.

use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::eso::store_entry::StoreReach;

/// Something that a person has to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationRefusal {
    /// The Secret and the entry have different values.
    Differs {
        /// The Secret.
        at: SecretRef,
        /// The entry.
        path: String,
        /// Of these keys.
        keys: Vec<String>,
    },
    /// The Secret would lose keys.
    OnlyInSecret {
        /// The Secret.
        at: SecretRef,
        /// The entry.
        path: String,
        /// These.
        keys: Vec<String>,
    },
    /// The Secret would get keys.
    OnlyInStore {
        /// The Secret.
        at: SecretRef,
        /// The entry.
        path: String,
        /// These.
        keys: Vec<String>,
    },
    /// A value of the Secret is not text.
    NoText {
        /// The Secret.
        at: SecretRef,
        /// Its key.
        key: String,
    },
    /// It is not of the type that the operator makes.
    WrongType {
        /// The Secret.
        at: SecretRef,
    },
    /// The operator could not write it.
    Immutable {
        /// The Secret.
        at: SecretRef,
    },
    /// An ExternalSecret adds keys to it.
    Added {
        /// The Secret.
        at: SecretRef,
        /// The ExternalSecret.
        by: String,
    },
    /// Several ExternalSecrets make it.
    Crowded {
        /// The Secret.
        at: SecretRef,
        /// The ExternalSecrets.
        by: Vec<String>,
    },
    /// The name that the ExternalSecret is to have belongs to one that makes another Secret, which
    /// the operator would delete.
    NameTaken {
        /// The Secret.
        at: SecretRef,
        /// The ExternalSecret.
        by: String,
        /// What that one makes.
        target: String,
    },
}

impl MigrationRefusal {
    /// What is the matter, in one sentence without a value.
    pub fn message(&self) -> String {
        match self {
            Self::Differs { at, path, keys } => {
                format!("{at} and {path} in the store differ in {}", listed(keys))
            }
            Self::OnlyInSecret { at, path, keys } => format!(
                "{at} has {}, which {path} in the store lacks: the Secret would lose it",
                listed(keys)
            ),
            Self::OnlyInStore { at, path, keys } => format!(
                "{path} in the store has {}, which {at} lacks: the Secret would get it",
                listed(keys)
            ),
            Self::NoText { at, key } => format!("{key} of {at} is not text (base64 of UTF-8)"),
            Self::WrongType { at } => format!("{at} is not of type {OPAQUE}"),
            Self::Immutable { at } => {
                format!("{at} is immutable, so External Secrets Operator could not keep it")
            }
            Self::Added { at, by } => format!("ExternalSecret {by} adds keys to {at}"),
            Self::Crowded { at, by } => {
                format!("several ExternalSecrets make {at}: {}", by.join(", "))
            }
            Self::NameTaken { at, by, target } => format!(
                "ExternalSecret {by} of {}, whose name is needed for {at}, makes {target}",
                at.namespace
            ),
        }
    }

    /// What to do about it. `store` is the way to one that can be written directly.
    pub fn hint(&self, store: Option<&StoreReach>, kubectl: &str) -> String {
        match (self, store) {
            (Self::Differs { path, keys, .. }, Some(store)) => format!(
                "put the value that is right, from stdin, where the wrong one is: `{}`",
                store.patch(path, &keys[0])
            ),
            (Self::OnlyInSecret { path, keys, .. }, Some(store)) => {
                format!("add it, from stdin: `{}`", store.patch(path, &keys[0]))
            }
            (Self::OnlyInStore { path, keys, .. }, Some(store)) => {
                format!("take it out: `{}`", store.remove(path, keys))
            }
            (Self::Differs { path, .. } | Self::OnlyInSecret { path, .. }, None) => format!(
                "make {path} what the Secret holds, with the store's own program or populate \
                 --from-cluster --via-eso of a store that may write"
            ),
            (Self::OnlyInStore { path, .. }, None) => {
                format!("take it out of {path} with the store's own program")
            }
            (Self::Crowded { at, by }, _) => format!(
                "keep one: {kubectl} -n {} delete externalsecret {} --cascade=orphan",
                at.namespace,
                by[by.len() - 1]
            ),
            (Self::NameTaken { at, by, .. }, _) => format!(
                "give that one another name: {kubectl} -n {} get externalsecret {by} -o yaml",
                at.namespace
            ),
            (Self::Added { at, by }, _) => format!(
                "move those keys into the entry, then: {kubectl} -n {} delete externalsecret {by}",
                at.namespace
            ),
            (Self::NoText { at, .. } | Self::WrongType { at } | Self::Immutable { at }, _) => {
                format!("{kubectl} -n {} edit secret {}", at.namespace, at.name)
            }
        }
    }
}

/// Keys for words. Those of a store can be anything.
fn listed(keys: &[String]) -> String {
    keys.join(", ").replace(char::is_control, "?")
}
