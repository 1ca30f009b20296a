//! What External Secrets Operator serves: stores, ExternalSecrets, what it says of them, and why
//! one does not work.
//!
//! The operator's condition says little; the cause is in the events of the ExternalSecret, or of
//! its store. Both are only ever sorted into a [`Cause`], never shown: a provider's message is not
//! ours to vouch for.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::owner::Owner;
use crate::domain::hint_context::HintContext;
use crate::domain::table::Bundle;
use std::collections::BTreeMap;
use std::fmt;

/// The versions of ExternalSecret, the one that is served today first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// The annotation whose change makes the operator refresh at once.
pub const FORCE_SYNC: &str = "force-sync";
/// What the operator calls its own labels and annotations on a Secret.
pub const MARKS: &str = "reconcile.external-secrets.io/";

/// Which version of ExternalSecret is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// This one, the newest.
    Version(&'static str),
    /// None: the operator's CRDs are not installed.
    Nothing,
    /// We may not ask.
    Forbidden,
}

/// What became of reading an object that may be absent or forbidden.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It is not.
    Absent,
    /// It may not be read.
    Forbidden,
}

impl<T> Seen<T> {
    /// It, where it is there.
    pub fn there(self) -> Option<T> {
        match self {
            Self::There(found) => Some(found),
            Self::Absent | Self::Forbidden => None,
        }
    }
}

/// What the temporary objects for a bundle's entry are called, those that prove (`proof`) or write
/// (`push`) it.
pub fn temporary_name(what: &str, bundle: &Bundle) -> String {
    format!("k8s-bootstrap-{what}-{}", bundle.entry)
}

/// Whether a store serves a namespace or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKind {
    /// One for all namespaces.
    ClusterSecretStore,
    /// One for its own namespace.
    SecretStore,
}

impl StoreKind {
    /// As the API calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterSecretStore => "ClusterSecretStore",
            Self::SecretStore => "SecretStore",
        }
    }

    /// As RBAC and kubectl call it.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::ClusterSecretStore => "clustersecretstores",
            Self::SecretStore => "secretstores",
        }
    }
}

/// A store as an ExternalSecret names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreRef {
    /// Which kind.
    pub kind: StoreKind,
    /// Its name.
    pub name: String,
}

impl StoreRef {
    /// The command that shows it and its events.
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

/// What the operator says of an object in its condition `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it is well.
    pub ready: bool,
    /// A word such as `SecretSynced`, `InvalidProviderConfig`.
    pub reason: String,
    /// Its sentence, for telling cases apart only.
    pub message: String,
}

/// An event of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was seen last, in seconds since 1970.
    pub last: i64,
    /// Its sentence, for telling cases apart only.
    pub message: String,
}

/// A place in the store that an ExternalSecret reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntrySource {
    /// Every field of an entry (`dataFrom.extract`).
    Entry {
        /// The entry.
        path: String,
    },
    /// One field (`data`).
    Field {
        /// The key of the Secret.
        key: String,
        /// The entry.
        path: String,
        /// The field; `None` for the whole entry.
        property: Option<String>,
    },
    /// Something else: a search, a generator, an extract of a property or with a rewrite.
    Other,
}

/// An ExternalSecret.
#[derive(Clone, Debug)]
pub struct ExternalSecret {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `metadata.resourceVersion`, the precondition of a later write.
    pub resource_version: String,
    /// Those of its annotations that are this program's own.
    pub annotations: BTreeMap<String, String>,
    /// When a rotation last noted something on it, in seconds since 1970.
    pub rotated: Option<i64>,
    /// Counts the changes of its spec.
    pub generation: i64,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Whether it is going away.
    pub deleting: bool,
    /// Who applies it, where that is not a person.
    pub owner: Option<Owner>,
    /// The store; `None` where each source names its own.
    pub store: Option<StoreRef>,
    /// The Secret.
    pub target: String,
    /// `Owner`, `Orphan`, `Merge` or `None`.
    pub creation_policy: String,
    /// `Retain`, `Delete` or `Merge`.
    pub deletion_policy: String,
    /// How often it is refreshed, in seconds; 0 is never again.
    pub interval: i64,
    /// `Periodic`, `OnChange` or `CreatedOnce`.
    pub refresh_policy: String,
    /// What it reads.
    pub sources: Vec<EntrySource>,
    /// Whether a template makes the data.
    pub templated: bool,
    /// The value of [`FORCE_SYNC`].
    pub forced: Option<String>,
    /// What the operator says of it; `None` before it has.
    pub condition: Option<Condition>,
    /// When the operator last refreshed it, in seconds since 1970.
    pub refreshed: Option<i64>,
    /// Which generation and metadata the operator has worked off (`syncedResourceVersion`).
    pub synced: String,
}

impl ExternalSecret {
    /// Tells whether it makes a Secret of its own, and does not only add to one.
    pub fn makes_secret(&self) -> bool {
        !matches!(self.creation_policy.as_str(), "Merge" | "None")
    }

    /// Tells whether the operator has worked off this generation.
    pub fn is_settled(&self) -> bool {
        let generation = self.synced.split('-').next();
        generation == Some(self.generation.to_string().as_str())
    }

    /// The entry of which it copies every field, where that is all it does.
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

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenBao or Vault.
    Vault {
        /// Its URL, as the operator reaches it.
        server: String,
        /// The mount of the KV engine; `None` where the paths begin with it.
        mount: Option<String>,
        /// The version of the KV engine: `v1`, `v2`.
        version: String,
        /// The namespace within it.
        namespace: Option<String>,
    },
    /// Another one, as the API calls it: `aws`, `gcpsm`, `azurekv`, `kubernetes`.
    Other(String),
}

/// A place in a KV engine of version 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KvPath {
    /// The engine's mount.
    pub mount: String,
    /// The path below it.
    pub path: String,
}

impl Provider {
    /// The server of OpenBao or Vault, and the namespace within it.
    pub fn place(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Vault {
                server, namespace, ..
            } => Some((server, namespace.as_deref())),
            Self::Other(_) => None,
        }
    }

    /// Where the operator looks for an entry; `None` where that is not a KV engine of version 2.
    ///
    /// It takes the mount off a path that begins with it, and `data/` after that.
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

/// The Secret that the operator takes a store's token from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its namespace; `None` for that of the ExternalSecret.
    pub namespace: Option<String>,
    /// Its name.
    pub secret: String,
    /// The key with the token.
    pub key: String,
}

/// A SecretStore or ClusterSecretStore.
#[derive(Clone, Debug)]
pub struct SecretStore {
    /// What it is called.
    pub at: StoreRef,
    /// Its uid.
    pub uid: String,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Who applies it, where that is not a person.
    pub owner: Option<Owner>,
    /// The class of operators that it is reserved for.
    pub controller: Option<String>,
    /// What it is.
    pub provider: Provider,
    /// Where its token is; `None` where it uses another way in.
    pub credentials: Option<Credentials>,
    /// What the operator says of it; `None` before it has.
    pub condition: Option<Condition>,
    /// What the operator thinks it can do: `ReadOnly`, `WriteOnly`, `ReadWrite`.
    pub capabilities: Option<String>,
}

impl SecretStore {
    /// Tells whether the operator can use it.
    pub fn is_ready(&self) -> bool {
        self.condition.as_ref().is_some_and(|found| found.ready)
    }
}

/// Why an ExternalSecret or a store does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The entry is not in the store.
    PathMissing,
    /// The entry has no fields.
    PathEmpty,
    /// The store refuses the operator's credentials: unknown, revoked or expired.
    Refused,
    /// The store knows the operator, and does not let it do that there.
    NotAllowed,
    /// The Secret with the operator's credentials, or its key, is not there.
    NoCredentials,
    /// The store is sealed.
    Sealed,
    /// Nobody answers at the store's address.
    Unreachable,
    /// The operator does not trust the store's certificate.
    Untrusted,
    /// The object of the store does not exist.
    StoreAbsent,
    /// The store may not be used from that namespace.
    StoreForbidden,
    /// The object of the store is not ready; its own events tell why.
    StoreNotReady,
    /// The entry has no such field.
    FieldMissing,
    /// Another ExternalSecret owns the Secret.
    TargetTaken,
    /// The entry is there and was not written by the operator, which therefore leaves it.
    NotManaged,
    /// The operator does not know, for that kind of store, how to create only what is missing.
    NoCreateOnly,
    /// The store knows no such names.
    BadName,
}

impl Cause {
    /// What a sentence of the operator tells.
    ///
    /// The texts are those of External Secrets Operator 0.20 and of the providers in it.
    pub fn of(message: &str) -> Option<Self> {
        let says = |text: &str| message.contains(text);
        // The first that fits: a message holds those of its causes.
        let table: [(bool, Self); 18] = [
            (
                says("could not verify if secret exists in store")
                    && (says("not implemented") || says("not supported")),
                Self::NoCreateOnly,
            ),
            (says("may not contain '/'"), Self::BadName),
            (
                says("SecretStore \"") && says("is not ready"),
                Self::StoreNotReady,
            ),
            (says("is not allowed from namespace"), Self::StoreForbidden),
            (
                says("could not get ClusterSecretStore") || says("could not get SecretStore"),
                Self::StoreAbsent,
            ),
            (
                says("cannot get Kubernetes secret")
                    || says("cannot find secret data for key: \"token\" in"),
                Self::NoCredentials,
            ),
            (
                says("is owned by another ExternalSecret"),
                Self::TargetTaken,
            ),
            (says("not managed by external-secrets"), Self::NotManaged),
            (says("Vault is sealed") || says("is sealed"), Self::Sealed),
            (says("x509: "), Self::Untrusted),
            // A policy that lacks the path is an error in a list of one, a token that is none is not.
            (
                says("1 error occurred:") && says("permission denied") || says("AccessDenied"),
                Self::NotAllowed,
            ),
            (
                says("Code: 403") || says("permission denied"),
                Self::Refused,
            ),
            (
                says("UnrecognizedClient") || says("InvalidClientToken") || says("forbidden"),
                Self::Refused,
            ),
            (
                says("connection refused") || says("no such host") || says("i/o timeout"),
                Self::Unreachable,
            ),
            (
                says("deadline exceeded") || says("dial tcp"),
                Self::Unreachable,
            ),
            (says("cannot find secret data for key"), Self::FieldMissing),
            (
                says("secret retained due to DeletionPolicy"),
                Self::PathEmpty,
            ),
            (
                says("Secret does not exist") || says("ResourceNotFound"),
                Self::PathMissing,
            ),
        ];
        table.into_iter().find(|row| row.0).map(|row| row.1)
    }

    /// What the newest of these events that tells anything tells.
    pub fn of_events(events: &[Event]) -> Option<Self> {
        let mut told: Vec<_> = events.iter().collect();
        told.sort_by_key(|event| event.last);
        told.iter().rev().find_map(|event| Self::of(&event.message))
    }

    /// In a few words, after "because".
    pub fn describe(&self) -> &'static str {
        match self {
            Self::PathMissing => "there is no such entry in the store",
            Self::PathEmpty => "the entry in the store has no fields",
            Self::Refused => {
                "the store refuses the operator's credentials: unknown, revoked or expired"
            }
            Self::NotAllowed => {
                "the store knows the operator and does not let it do that there: the path is wrong, or \
                 its policy lacks it"
            }
            Self::NoCredentials => "the Secret with the operator's credentials is not there",
            Self::Sealed => "the store is sealed",
            Self::Unreachable => "nobody answers at the store's address",
            Self::Untrusted => "the operator does not trust the store's certificate",
            Self::StoreAbsent => "there is no such store object",
            Self::StoreForbidden => "the store may not be used from that namespace",
            Self::StoreNotReady => "the store is not ready",
            Self::FieldMissing => "the entry in the store has no such field",
            Self::TargetTaken => "another ExternalSecret owns the Secret",
            Self::NotManaged => "the entry is there already, and the operator did not write it",
            Self::NoCreateOnly => {
                "this version of the operator cannot create only what is missing in a store of that \
                 kind (IfNotExists)"
            }
            Self::BadName => "names in a store of that kind have no slash",
        }
    }

    /// Tells whether trying again would be of no use.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoCreateOnly | Self::BadName | Self::NotManaged | Self::StoreForbidden
        )
    }

    /// What to do about it, where a store is used from a namespace.
    pub fn remedy(&self, store: &StoreRef, namespace: &Namespace, reach: &HintContext) -> String {
        let describe = store.describe(namespace, reach);
        match self {
            Self::StoreAbsent => format!(
                "name another: {} -n {namespace} get clustersecretstores,secretstores",
                reach.kubectl
            ),
            Self::Refused | Self::NotAllowed | Self::NoCredentials => {
                format!("see which credentials it has, and mend them: {describe}")
            }
            Self::StoreForbidden => format!("see its conditions: {describe}"),
            Self::NoCreateOnly => {
                "update the operator, or write the entries with the store's own program: populate -o \
                 yaml --show-values prints them"
                    .to_owned()
            }
            Self::BadName => "name each entry: --path router=NAME".to_owned(),
            Self::Sealed => "unseal it, then run this again".to_owned(),
            Self::Unreachable | Self::Untrusted => {
                format!("see its address and CA, and whether the store runs: {describe}")
            }
            _ => describe,
        }
    }
}
