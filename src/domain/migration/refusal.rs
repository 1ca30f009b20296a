//! Why a migration stops before its first write, and what a person can do about it.

use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::eso::store_entry::StoreReach;

/// How a Secret differs from its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// In the values of these keys.
    InValues,
    /// The Secret would lose these keys.
    OnlyInSecret,
    /// The Secret would get these keys.
    OnlyInStore,
}

/// A conflict that a person has to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationRefusal {
    /// The Secret and its entry differ in these keys.
    Differs {
        how: Differs,
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
            Self::Differs {
                how,
                at,
                path,
                keys,
            } => {
                // Keys from a store may contain control characters.
                let keys = keys.join(", ").replace(char::is_control, "?");
                match how {
                    Differs::InValues => format!("{at} and {path} in the store differ in {keys}"),
                    Differs::OnlyInSecret => format!(
                        "{at} has {keys}, which {path} in the store lacks: the Secret would lose it"
                    ),
                    Differs::OnlyInStore => format!(
                        "{path} in the store has {keys}, which {at} lacks: the Secret would get it"
                    ),
                }
            }
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
        match self {
            Self::Differs {
                how, path, keys, ..
            } => match (how, store) {
                (Differs::InValues, Some(store)) => format!(
                    "if the store is wrong, pipe the right value into: `{}`; if the Secret is wrong, \
                     correct it",
                    store.patch(path, &keys[0])
                ),
                (Differs::OnlyInSecret, Some(store)) => {
                    format!("add it, from stdin: `{}`", store.patch(path, &keys[0]))
                }
                (Differs::OnlyInStore, Some(store)) => {
                    format!("remove it: `{}`", store.remove(path, keys))
                }
                (Differs::InValues | Differs::OnlyInSecret, None) => format!(
                    "give {path} the values of the Secret, with the store's own program or with \
                     populate --from-cluster --via-eso and a store that can be written"
                ),
                (Differs::OnlyInStore, None) => {
                    format!("remove it from {path} with the store's own program")
                }
            },
            Self::SeveralMakers { at, by } => format!(
                "keep one: {kubectl} -n {} delete externalsecret {} --cascade=orphan",
                at.namespace,
                by[by.len() - 1]
            ),
            Self::NameTaken { at, by, .. } => format!(
                "rename that one: {kubectl} -n {} get externalsecret {by} -o yaml",
                at.namespace
            ),
            Self::KeysAdded { at, by } => format!(
                "move those keys into the entry, then: {kubectl} -n {} delete externalsecret {by}",
                at.namespace
            ),
            Self::NotText { at, .. } | Self::WrongType { at } | Self::Immutable { at } => {
                format!("{kubectl} -n {} edit secret {}", at.namespace, at.name)
            }
        }
    }
}
