//! The objects of External Secrets Operator (here: the operator): stores, ExternalSecrets, their
//! conditions and events.
//!
//! The condition says little. The cause is in the events of the ExternalSecret or of its store. Their
//! messages are only classified as a [`Cause`]. They must not be shown: the text of a provider may
//! contain anything.

use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::owner::Owner;
use crate::domain::hint_context::HintContext;
use crate::domain::table::{BUNDLES, Bundle};
use crate::domain::word_enum::word_enum;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// The API versions of ExternalSecret, newest first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// An annotation: the operator refreshes an ExternalSecret at once when it changes.
pub const FORCE_SYNC: &str = "force-sync";
/// The prefix of the operator's labels and annotations on a Secret.
pub const MARKS: &str = "reconcile.external-secrets.io/";

/// The API version of ExternalSecret that the API server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The newest of [`VERSIONS`] that is served.
    Version(&'static str),
    /// The operator's CRDs are not installed.
    Nothing,
    /// The versions may not be read.
    Forbidden,
}

/// The result of reading an object.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    There(T),
    Absent,
    Forbidden,
}

impl<T> Seen<T> {
    /// The object, if it was read.
    pub fn there(self) -> Option<T> {
        match self {
            Self::There(found) => Some(found),
            Self::Absent | Self::Forbidden => None,
        }
    }
}

/// The name of a temporary object for a bundle's entry: `what` is `proof` (reads the entry) or
/// `push` (writes it).
pub fn temporary_name(what: &str, bundle: &Bundle) -> String {
    format!("k8s-bootstrap-{what}-{}", bundle.entry)
}

word_enum! {
    pub enum StoreKind {
        /// A store for all namespaces.
        ClusterSecretStore = "ClusterSecretStore",
        /// A store for its own namespace.
        SecretStore = "SecretStore",
    }
}

impl StoreKind {
    /// The resource in RBAC rules and for kubectl.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::ClusterSecretStore => "clustersecretstores",
            Self::SecretStore => "secretstores",
        }
    }
}

/// A reference to a store in an ExternalSecret (`secretStoreRef`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreRef {
    pub kind: StoreKind,
    pub name: String,
}

impl StoreRef {
    /// The kubectl command that shows the store and its events.
    pub fn describe(&self, namespace: &Namespace, reach: &HintContext) -> String {
        let (kubectl, resource, name) = (&reach.kubectl, self.kind.resource(), &self.name);
        match self.kind {
            StoreKind::ClusterSecretStore => format!("{kubectl} describe {resource} {name}"),
            StoreKind::SecretStore => {
                format!("{kubectl} -n {namespace} describe {resource} {name}")
            }
        }
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.replace(char::is_control, "?");
        write!(f, "{} {name}", self.kind.as_str())
    }
}

/// The condition `Ready` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub ready: bool,
    /// For example `SecretSynced` or `InvalidProviderConfig`.
    pub reason: String,
    /// For classification only: it must not be shown.
    pub message: String,
}

/// An event of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it last occurred, in seconds since 1970.
    pub last: i64,
    /// For classification only: it must not be shown.
    pub message: String,
}

/// A source of an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySource {
    /// All fields of an entry (`dataFrom.extract`).
    Entry { path: String },
    /// One field (`data`).
    Field {
        /// The key in the Secret.
        key: String,
        /// The path of the entry.
        path: String,
        /// The field of the entry; `None` for the whole entry.
        property: Option<String>,
    },
    /// A search, a generator, or an extract with a property or a rewrite.
    Other,
}

#[derive(Clone, Debug)]
pub struct ExternalSecret {
    pub namespace: Namespace,
    pub name: String,
    pub uid: String,
    /// `metadata.resourceVersion`, the precondition of a later write.
    pub resource_version: String,
    /// This program's annotations only.
    pub annotations: BTreeMap<String, String>,
    /// When a rotation last annotated it, in seconds since 1970.
    pub rotated: Option<i64>,
    /// `metadata.generation`: counts the changes of the spec.
    pub generation: i64,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    pub deleting: bool,
    /// The owner that applies it; `None` for a person.
    pub owner: Option<Owner>,
    /// `None` if each source names its own store.
    pub store: Option<StoreRef>,
    /// The name of the Secret.
    pub target: String,
    /// `Owner`, `Orphan`, `Merge` or `None`.
    pub creation_policy: String,
    /// `Retain`, `Delete` or `Merge`.
    pub deletion_policy: String,
    /// `refreshInterval` in seconds; 0 for no refresh after the first.
    pub interval: i64,
    /// `Periodic`, `OnChange` or `CreatedOnce`.
    pub refresh_policy: String,
    pub sources: Vec<EntrySource>,
    /// Whether a template creates the data.
    pub templated: bool,
    /// The value of [`FORCE_SYNC`].
    pub forced: Option<String>,
    /// `None` before the operator has set it.
    pub condition: Option<Condition>,
    /// When the operator last refreshed it, in seconds since 1970.
    pub refreshed: Option<i64>,
    /// `status.syncedResourceVersion`: the generation and a hash of the metadata.
    pub synced: String,
}

impl ExternalSecret {
    /// True if it creates its Secret instead of adding keys to an existing one.
    pub fn makes_secret(&self) -> bool {
        !matches!(self.creation_policy.as_str(), "Merge" | "None")
    }

    /// The bundle of the Secret that it targets.
    pub fn bundle(&self) -> Option<&'static Bundle> {
        BUNDLES.into_iter().find(|it| it.secret == self.target)
    }

    /// The Secret of the table that the operator makes from it.
    pub fn secret(&self) -> Option<SecretRef> {
        let bundle = self.bundle().filter(|_| self.makes_secret())?;
        Some(SecretRef::new(&self.namespace, bundle.secret))
    }

    /// True if the operator has synced this generation.
    pub fn is_settled(&self) -> bool {
        let generation = self.synced.split('-').next();
        generation == Some(self.generation.to_string().as_str())
    }

    /// The path of the entry if a full copy of one entry is its only source.
    pub fn entry(&self) -> Option<&str> {
        match self.sources.as_slice() {
            [EntrySource::Entry { path }] => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for ExternalSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalSecret {}/{}", self.namespace, self.name)
    }
}

/// The provider of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenBao or Vault.
    Vault {
        /// The URL that the operator uses.
        server: String,
        /// The mount of the KV engine; `None` if the paths begin with it.
        mount: Option<String>,
        /// The version of the KV engine: `v1` or `v2`.
        version: String,
        /// The namespace in OpenBao or Vault.
        namespace: Option<String>,
    },
    /// Another provider by its key in the spec: `aws`, `gcpsm`, `azurekv`, `kubernetes`.
    Other(String),
}

/// The path of an entry in a KV engine of version 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KvPath {
    pub mount: String,
    /// The path below the mount.
    pub path: String,
}

impl Provider {
    /// The server of OpenBao or Vault, and the namespace in it.
    pub fn place(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Vault {
                server, namespace, ..
            } => Some((server, namespace.as_deref())),
            Self::Other(_) => None,
        }
    }

    /// The path that the operator reads for an entry; `None` if it is not in a KV engine of version 2.
    ///
    /// Like the operator, it strips the mount and a following `data/` from the start of the path.
    pub fn slot(&self, path: &str) -> Option<KvPath> {
        let Self::Vault { mount, version, .. } = self else {
            return None;
        };
        if version != "v2" {
            return None;
        }
        let (mount, rest) = match mount {
            Some(mount) => match path.strip_prefix(mount).and_then(|it| it.strip_prefix('/')) {
                Some(rest) => (mount.as_str(), rest.strip_prefix("data/").unwrap_or(rest)),
                None => (mount.as_str(), path),
            },
            None => match path.split_once("/data/") {
                Some(both) => both,
                None => path.split_once('/')?,
            },
        };
        Some(KvPath {
            mount: mount.to_owned(),
            path: rest.to_owned(),
        })
    }
}

/// The Secret with the operator's token for a store (`tokenSecretRef`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Credentials {
    /// `None` for the namespace of the ExternalSecret.
    pub namespace: Option<String>,
    /// The name of the Secret.
    #[serde(rename = "name", default)]
    pub secret: String,
    /// The key with the token.
    #[serde(default = "default_key")]
    pub key: String,
}

fn default_key() -> String {
    "token".to_owned()
}

/// A SecretStore or ClusterSecretStore.
#[derive(Clone, Debug)]
pub struct SecretStore {
    pub at: StoreRef,
    pub uid: String,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: Option<i64>,
    /// `spec.controller`: the class of operators that may use the store.
    pub controller: Option<String>,
    pub provider: Provider,
    /// `None` if the store does not log in with a token.
    pub credentials: Option<Credentials>,
    /// `None` before the operator has set it.
    pub condition: Option<Condition>,
    /// `status.capabilities`: `ReadOnly`, `WriteOnly` or `ReadWrite`.
    pub capabilities: Option<String>,
}

impl SecretStore {
    pub fn is_ready(&self) -> bool {
        self.condition.as_ref().is_some_and(|found| found.ready)
    }
}

word_enum! {
    /// The cause why an ExternalSecret or a store does not work, with a clause that can follow
    /// "because". In the order in which messages are classified: a message contains the messages of
    /// its causes.
    pub enum Cause {
        /// The operator does not implement `IfNotExists` for this provider.
        NoCreateOnly = "this version of the operator cannot create only what is missing in a store of that \
                        kind (IfNotExists)",
        /// The provider does not allow such a name.
        BadName = "names in a store of that kind cannot contain a slash",
        /// The store is not ready; its events have the cause.
        StoreNotReady = "the store is not ready",
        /// The conditions of the store exclude the namespace.
        StoreForbidden = "the store may not be used from that namespace",
        /// The SecretStore or ClusterSecretStore does not exist.
        StoreAbsent = "the store object does not exist",
        /// The Secret with the operator's credentials, or its key, does not exist.
        NoCredentials = "the Secret with the operator's credentials was not found",
        /// Another ExternalSecret owns the Secret.
        TargetTaken = "another ExternalSecret owns the Secret",
        /// The entry exists and was not written by the operator, so the operator does not change it.
        NotManaged = "the entry is there already, and the operator did not write it",
        Sealed = "the store is sealed",
        /// The operator does not trust the store's certificate.
        Untrusted = "the operator does not trust the store's certificate",
        /// The store accepts the credentials, but denies the operation or the path.
        NotAllowed = "the store denies the operator access there: the path is wrong, or its policy lacks it",
        /// The store rejects the operator's credentials: unknown, revoked or expired.
        Refused = "the store refuses the operator's credentials: unknown, revoked or expired",
        Unreachable = "the store does not answer at its address",
        /// The entry has no such field.
        FieldMissing = "the entry in the store has no such field",
        /// The entry has no fields.
        PathEmpty = "the entry in the store has no fields",
        /// The entry is not in the store.
        PathMissing = "there is no such entry in the store",
    }
}

impl Cause {
    /// Classifies a message of the operator.
    pub fn of(message: &str) -> Option<Self> {
        let contains_all = |texts: &str| texts.split(" & ").all(|text| message.contains(text));
        let is_cause = |cause: &Self| cause.texts().iter().any(|texts| contains_all(texts));
        Self::ALL.into_iter().find(is_cause)
    }

    /// The texts by which messages of the cause are recognized; of texts with `&` between them a
    /// message has all. They are those of External Secrets Operator 0.20 and its providers.
    const fn texts(self) -> &'static [&'static str] {
        match self {
            Self::NoCreateOnly => &[
                "could not verify if secret exists in store & not implemented",
                "could not verify if secret exists in store & not supported",
            ],
            Self::BadName => &["may not contain '/'"],
            Self::StoreNotReady => &["SecretStore \" & is not ready"],
            Self::StoreForbidden => &["is not allowed from namespace"],
            Self::StoreAbsent => &[
                "could not get ClusterSecretStore",
                "could not get SecretStore",
            ],
            Self::NoCredentials => &[
                "cannot get Kubernetes secret",
                "cannot find secret data for key: \"token\" in",
            ],
            Self::TargetTaken => &["is owned by another ExternalSecret"],
            Self::NotManaged => &["not managed by external-secrets"],
            Self::Sealed => &["is sealed"],
            Self::Untrusted => &["x509: "],
            // For a policy without the path the store lists one error. For an invalid token it does
            // not.
            Self::NotAllowed => &["1 error occurred: & permission denied", "AccessDenied"],
            Self::Refused => &[
                "Code: 403",
                "permission denied",
                "UnrecognizedClient",
                "InvalidClientToken",
                "forbidden",
            ],
            Self::Unreachable => &[
                "connection refused",
                "no such host",
                "i/o timeout",
                "deadline exceeded",
                "dial tcp",
            ],
            Self::FieldMissing => &["cannot find secret data for key"],
            Self::PathEmpty => &["secret retained due to DeletionPolicy"],
            Self::PathMissing => &["Secret does not exist", "ResourceNotFound"],
        }
    }

    /// The cause of the newest event that can be classified.
    pub fn of_events(events: &[Event]) -> Option<Self> {
        let mut events: Vec<_> = events.iter().collect();
        events.sort_by_key(|event| event.last);
        events
            .iter()
            .rev()
            .find_map(|event| Self::of(&event.message))
    }

    pub const fn describe(&self) -> &'static str {
        self.as_str()
    }

    /// True if a retry cannot succeed.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoCreateOnly | Self::BadName | Self::NotManaged | Self::StoreForbidden
        )
    }

    /// The hint for a store that is used from a namespace.
    pub fn remedy(&self, store: &StoreRef, namespace: &Namespace, reach: &HintContext) -> String {
        let describe = store.describe(namespace, reach);
        match self {
            Self::StoreAbsent => format!(
                "choose another: {} -n {namespace} get clustersecretstores,secretstores",
                reach.kubectl
            ),
            Self::Refused | Self::NotAllowed | Self::NoCredentials => {
                format!("check and replace its credentials: {describe}")
            }
            Self::StoreForbidden => format!("check its conditions: {describe}"),
            Self::NoCreateOnly => {
                "update the operator, or write the entries with the store's own program: populate -o \
                 yaml --show-values prints them"
                    .to_owned()
            }
            Self::BadName => "give each entry a name: --path router=NAME".to_owned(),
            Self::Sealed => "unseal it, then run this again".to_owned(),
            Self::Unreachable | Self::Untrusted => {
                format!("check its address and CA, and that the store runs: {describe}")
            }
            _ => describe,
        }
    }
}
