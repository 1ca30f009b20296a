//! A snapshot of the tokens file, of the Secrets in home and fleet namespaces, and of the workloads
//! that read them.
//!
//! It is plain data: it must not read anything itself. A denied read is part of it.

use super::names::{Namespace, SecretRef, WorkloadKind, is_object_name};
use super::observed_secret::{LiveSecret, NamespaceState, Observations, Observed};
use super::workload::{Pod, Workload};
use crate::domain::eso::status::{ExternalSecretStatus, Path2};
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How git treats a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Git ignores the file, or there is no git or no repository.
    Away,
    /// `git add` would add the file.
    NotIgnored,
    /// The file is in the index.
    Tracked,
    /// There is a repository, but git is missing or failed.
    Unknown,
}

/// The tokens file.
#[derive(Clone, Debug)]
pub struct FileFacts {
    pub path: FilePath,
    pub state: FileState,
    pub keeping: Keeping,
}

/// The path of a file.
#[derive(Clone, Debug, Default)]
pub struct FilePath {
    /// The path for messages.
    pub shown: String,
    /// The path, quoted for a shell.
    pub quoted: String,
    /// The folder, quoted for a shell.
    pub folder: String,
    /// The name without the folder, quoted for a shell.
    pub name: String,
}

/// The content of the tokens file.
#[derive(Clone, Debug)]
pub enum FileState {
    Absent,
    /// The file cannot be used, for this reason.
    Unusable(String),
    Read {
        tokens: PerToken<Option<Token>>,
        /// Whether other users may read the file.
        loose: bool,
    },
}

/// The Secrets in which operators usually keep copies of the tokens.
pub const KNOWN_COPIES: [&str; 2] = ["agentibrain-mcp-secrets", "brain-ops-secrets"];

/// A read that failed, because a permission is missing unless `why` names another reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// The verb in RBAC rules.
    pub verb: &'static str,
    /// The resource in RBAC rules: `pods`, `secrets/agentibrain-router-secrets`.
    pub resource: String,
    /// `None` for the whole cluster.
    pub namespace: Option<Namespace>,
    /// The reason if it is not a missing permission.
    pub why: Option<String>,
}

impl Denied {
    /// A missing permission.
    pub fn new(
        verb: &'static str,
        resource: impl Into<String>,
        namespace: Option<&Namespace>,
    ) -> Self {
        Self {
            verb,
            resource: resource.into(),
            namespace: namespace.cloned(),
            why: None,
        }
    }

    pub fn secret(namespace: &Namespace, name: &str) -> Self {
        Self::new("get", format!("secrets/{name}"), Some(namespace))
    }

    #[must_use]
    pub fn because(self, why: Option<String>) -> Self {
        Self { why, ..self }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why {
            return f.write_str(why);
        }
        write!(f, "you may not {} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// The facts about one namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceSnapshot {
    pub state: NamespaceState,
    /// The Secrets of the table that could be read.
    pub secrets: BTreeMap<&'static str, Observed>,
    /// Other Opaque Secrets, by name.
    pub others: BTreeMap<String, Observed>,
    pub workloads: Vec<Workload>,
    /// The pods that have not ended and are not being deleted.
    pub pods: Vec<Pod>,
    /// The pods that are being deleted and have not ended: they may still run with old values.
    pub leaving: Vec<Pod>,
}

impl NamespaceSnapshot {
    pub fn stateful_set(&self, name: &str) -> Option<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.kind == WorkloadKind::StatefulSet && workload.name == name)
    }

    /// Returns `None` for a Secret that does not exist or could not be read.
    pub fn live(&self, name: &str) -> Option<&LiveSecret> {
        self.secrets.get(name)?.live.as_ref()
    }
}

/// The result of requests to a service through the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The name of the StatefulSet.
    pub service: &'static str,
    pub outcome: ProbeOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// No request was sent, for this reason.
    NotAsked(String),
    Asked {
        /// The reply to the token of the home namespace; `None` if home has no token.
        right: Option<Reply>,
        /// The reply to a random token.
        wrong: Reply,
    },
}

/// The reply of a service, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The HTTP status.
    Status(u16),
    /// The API server denied the port-forward. It needs `get` and `create` on `pods/portforward`.
    Forbidden,
    /// The reason, which quotes no content.
    Unreachable(String),
}

/// A Secret that was given with `--copy`: it holds copies of tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyRef {
    pub namespace: Namespace,
    pub name: String,
}

impl CopyRef {
    pub fn new(namespace: &Namespace, name: &str) -> Self {
        let (namespace, name) = (namespace.clone(), name.to_owned());
        Self { namespace, name }
    }
}

impl FromStr for CopyRef {
    type Err = ();

    /// Parses `NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (namespace, name) = text.split_once('/').ok_or(())?;
        if !is_object_name(name) {
            return Err(());
        }
        Ok(Self {
            namespace: namespace.parse().map_err(|_| ())?,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for CopyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The facts about the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterSnapshot {
    /// The URL of the API server.
    pub server: String,
    /// The version of the API server; `None` if it may not be read.
    pub version: Option<String>,
    /// The time, in seconds since 1970.
    pub now: i64,
    pub home: Namespace,
    /// Home and the fleet namespaces.
    pub places: BTreeMap<Namespace, NamespaceSnapshot>,
    /// Whether a fleet selector matches no namespace.
    pub nothing_selected: bool,
    /// The Secrets of `--copy` that could be read.
    pub copies: BTreeMap<CopyRef, Observed>,
    /// The namespaces of `--copy` that are known not to exist.
    pub absent: BTreeSet<Namespace>,
    pub denied: BTreeSet<Denied>,
    /// Empty without `--live`.
    pub probes: Vec<Probe>,
    /// `None` if nothing points to Path 2.
    pub path2: Option<Path2>,
}

impl ClusterSnapshot {
    /// The Secrets of all namespaces, in the form that plans need.
    pub fn observations(&self) -> Observations {
        self.places
            .iter()
            .flat_map(|(namespace, place)| {
                place.secrets.iter().map(|(name, found)| {
                    let at = SecretRef::new(namespace, name);
                    (at, found.clone())
                })
            })
            .collect()
    }

    /// The ExternalSecrets of Path 2.
    pub fn externals(&self) -> impl Iterator<Item = &ExternalSecretStatus> {
        self.path2.iter().flat_map(|path2| &path2.externals)
    }

    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.places.values().flat_map(|place| &place.workloads)
    }

    pub fn home_place(&self) -> &NamespaceSnapshot {
        &self.places[&self.home]
    }

    pub fn fleet(&self) -> impl Iterator<Item = (&Namespace, &NamespaceSnapshot)> {
        self.places.iter().filter(|(name, _)| **name != self.home)
    }

    /// Missing `list` permissions on workloads or pods. Without them rollout progress is unknown.
    pub fn unlistable_workloads(&self) -> impl Iterator<Item = &Denied> {
        let resources = WorkloadKind::ALL.map(WorkloadKind::resource);
        self.denied
            .iter()
            .filter(move |it| it.verb == "list" && resources.contains(&it.resource.as_str()))
    }

    /// True if this read was denied in the namespace or in the whole cluster.
    pub fn is_denied(&self, verb: &str, resource: &str, namespace: &Namespace) -> bool {
        self.denied.iter().any(|denied| {
            denied.verb == verb
                && denied.resource == resource
                && denied.namespace.as_ref().is_none_or(|at| at == namespace)
        })
    }
}
