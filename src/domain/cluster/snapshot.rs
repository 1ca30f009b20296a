//! What `verify` found out, as plain data: the tokens file, the Secrets of home and fleet, and who
//! reads them. What could not be read is a fact too.

use super::names::{Namespace, SecretRef, WorkloadKind, is_object_name};
use super::observed_secret::{LiveSecret, NamespaceState, Observations, Observed};
use super::workload::{Pod, Workload};
use crate::domain::eso::status::Path2;
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// What git does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// It ignores it, or there is no git, or no repository.
    Away,
    /// It would add it.
    NotIgnored,
    /// It has it.
    Tracked,
    /// There is a repository, and no git to ask, or git does not answer.
    Unknown,
}

/// The tokens file.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// Its path as it may be shown, and quoted for a shell: its folder, its name, itself.
    pub path: FilePath,
    /// What is in it.
    pub state: FileState,
    /// What git does with it.
    pub keeping: Keeping,
}

/// The path of a file.
#[derive(Clone, Debug, Default)]
pub struct FilePath {
    /// As it may be shown.
    pub shown: String,
    /// Quoted for a shell.
    pub quoted: String,
    /// Its folder, quoted for a shell.
    pub folder: String,
    /// Its name alone, quoted for a shell.
    pub name: String,
}

/// What is in the tokens file.
#[derive(Clone, Debug)]
pub enum FileState {
    /// There is none.
    Absent,
    /// It cannot be used, and why.
    Unusable(String),
    /// It was read.
    Read {
        /// The tokens in it.
        tokens: PerToken<Option<Token>>,
        /// Whether others may read it.
        loose: bool,
    },
}

/// Secrets that operators are known to keep copies of the tokens in.
pub const KNOWN_COPIES: [&str; 2] = ["agentibrain-mcp-secrets", "brain-ops-secrets"];

/// Something that could not be read, for want of a permission unless `why` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// As RBAC calls it.
    pub verb: &'static str,
    /// As RBAC calls it: `pods`, `secrets/agentibrain-router-secrets`.
    pub resource: String,
    /// Where; `None` for the whole cluster.
    pub namespace: Option<Namespace>,
    /// Why, where that is not a permission.
    pub why: Option<String>,
}

impl Denied {
    /// A Secret that may not be read.
    pub fn secret(namespace: &Namespace, name: &str) -> Self {
        Self {
            verb: "get",
            resource: format!("secrets/{name}"),
            namespace: Some(namespace.clone()),
            why: None,
        }
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

/// Everything that is known about a namespace.
#[derive(Clone, Debug)]
pub struct NamespaceSnapshot {
    /// Whether it is there.
    pub state: NamespaceState,
    /// The Secrets of the table that belong here, those that could be read.
    pub secrets: BTreeMap<&'static str, Observed>,
    /// Other Opaque Secrets, by name.
    pub others: BTreeMap<String, Observed>,
    /// What makes pods.
    pub workloads: Vec<Workload>,
    /// The pods that have not ended, without those that are being deleted.
    pub pods: Vec<Pod>,
    /// The pods that are being deleted and have not ended: they may still run on old values.
    pub leaving: Vec<Pod>,
}

impl Default for NamespaceSnapshot {
    fn default() -> Self {
        Self {
            state: NamespaceState::Forbidden,
            secrets: BTreeMap::new(),
            others: BTreeMap::new(),
            workloads: Vec::new(),
            pods: Vec::new(),
            leaving: Vec::new(),
        }
    }
}

impl NamespaceSnapshot {
    /// The StatefulSet of that name.
    pub fn stateful_set(&self, name: &str) -> Option<&Workload> {
        let is_it = |workload: &&Workload| {
            workload.kind == WorkloadKind::StatefulSet && workload.name == name
        };
        self.workloads.iter().find(is_it)
    }

    /// A Secret of the table; `None` where it could not be read, or is not there.
    pub fn live(&self, name: &str) -> Option<&LiveSecret> {
        self.secrets.get(name)?.live.as_ref()
    }
}

/// How a service answered through the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The StatefulSet.
    pub service: &'static str,
    /// What came of it.
    pub outcome: ProbeOutcome,
}

/// What came of asking a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It was not asked, and why.
    NotAsked(String),
    /// It was asked with the right and with a wrong token.
    Asked {
        /// With the token of the home namespace; `None` where it has none.
        right: Option<Reply>,
        /// With a token that was made up.
        wrong: Reply,
    },
}

/// How a service answered, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answered with this HTTP status.
    Status(u16),
    /// The API server does not let us through to it: that takes `get` and `create` of
    /// `pods/portforward`.
    Forbidden,
    /// There is no answer; why not, in words that quote nothing.
    Unreachable(String),
}

/// A Secret that the operator names as one that holds copies of tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyRef {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: String,
}

impl FromStr for CopyRef {
    type Err = ();

    /// Reads `NAMESPACE/NAME`.
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

/// What is known about the cluster.
#[derive(Clone, Debug)]
pub struct ClusterSnapshot {
    /// The API server's URL.
    pub server: String,
    /// Its version; `None` where it may not be asked for.
    pub version: Option<String>,
    /// The time, in seconds since 1970.
    pub now: i64,
    /// The home namespace.
    pub home: Namespace,
    /// Home and the fleet namespaces.
    pub places: BTreeMap<Namespace, NamespaceSnapshot>,
    /// Whether there is a fleet selector that matches nothing.
    pub nothing_selected: bool,
    /// The Secrets of `--copy` that could be read, with what is in them.
    pub copies: BTreeMap<CopyRef, Observed>,
    /// The namespaces of `--copy` that do not exist, as far as that is known.
    pub absent: BTreeSet<Namespace>,
    /// What could not be read.
    pub denied: BTreeSet<Denied>,
    /// How the services answered; none without `--live`.
    pub probes: Vec<Probe>,
    /// Path 2; `None` where nothing points to it.
    pub path2: Option<Path2>,
}

impl ClusterSnapshot {
    /// The Secrets of all places, as plans are made from them.
    pub fn observations(&self) -> Observations {
        let places = self.places.iter();
        let secrets = places.flat_map(|(namespace, place)| {
            let at = |name| SecretRef {
                namespace: namespace.clone(),
                name,
            };
            let secrets = place.secrets.iter();
            secrets.map(move |(name, found)| (at(*name), found.clone()))
        });
        secrets.collect()
    }

    /// The home namespace.
    pub fn home_place(&self) -> &NamespaceSnapshot {
        &self.places[&self.home]
    }

    /// The fleet namespaces.
    pub fn fleet(&self) -> impl Iterator<Item = (&Namespace, &NamespaceSnapshot)> {
        self.places.iter().filter(|(name, _)| **name != self.home)
    }

    /// What could not be listed of who reads the Secrets: whoever may not see that cannot know who
    /// has restarted.
    pub fn unlistable_workloads(&self) -> impl Iterator<Item = &Denied> {
        let readers = WorkloadKind::ALL.map(WorkloadKind::resource);
        let denied = self.denied.iter();
        denied.filter(move |it| it.verb == "list" && readers.contains(&it.resource.as_str()))
    }

    /// Tells whether that could not be read.
    pub fn is_denied(&self, verb: &str, resource: &str, namespace: &Namespace) -> bool {
        self.denied.iter().any(|denied| {
            denied.verb == verb
                && denied.resource == resource
                && denied.namespace.as_ref().is_none_or(|at| at == namespace)
        })
    }
}
