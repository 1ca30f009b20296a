//! Workloads and pods, as far as they read Secrets.

use super::names::{Namespace, WorkloadKind};
use super::rollout::Rollout;
use std::collections::BTreeMap;
use std::fmt;

/// The StatefulSet that checks `KB_ROUTER_TOKEN`.
pub const BRAIN_API: &str = "agentibrain-brain-api";
/// The StatefulSet that checks the keys of the embeddings service.
pub const EMBEDDINGS: &str = "agentibrain-embeddings";
/// The annotation of a pod template that tells which rotation restarted it last, and for which
/// phase. Each pod has it from its template.
pub const ROTATION_MARK: &str = "k8s-bootstrap/rotation";

/// The first pod of a StatefulSet.
pub fn first_pod(stateful_set: &str) -> String {
    format!("{stateful_set}-0")
}

/// An object that makes pods, or a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: String,
    /// The pods that it makes.
    pub spec: PodSpec,
    /// Whether Reloader is asked to restart it when a Secret changes.
    pub reloaded: bool,
    /// [`ROTATION_MARK`] of its pod template.
    pub mark: Option<String>,
    /// How far it has come in giving its pods the template of today.
    pub rollout: Rollout,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// A pod that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: String,
    /// WorkloadKind and name of the object that made it: of a Deployment's pod the Deployment.
    pub owner: Option<(String, String)>,
    /// What it reads.
    pub spec: PodSpec,
    /// Whether it serves.
    pub ready: bool,
    /// When each running container started, in seconds since 1970.
    pub started: BTreeMap<String, i64>,
    /// Containers in `CreateContainerConfigError`, each with what it waits for, as far as the node
    /// says so.
    pub waiting: BTreeMap<String, Option<Missing>>,
    /// Why each waiting container waits, in a word such as `ErrImagePull`; without those that are
    /// just being made.
    pub stuck: BTreeMap<String, String>,
    /// Whether no node takes it.
    pub unschedulable: bool,
    /// [`ROTATION_MARK`], as its template had it when it was made.
    pub mark: Option<String>,
}

/// What a container waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The Secret; `None` for a ConfigMap.
    pub secret: Option<String>,
    /// The key; `None` for the whole object.
    pub key: Option<String>,
}

impl Missing {
    /// Reads what a node says: `secret "NAME" not found`, or `couldn't find key KEY in Secret
    /// NAMESPACE/NAME`.
    pub fn parse(message: &str) -> Option<Self> {
        let (kind, name, key) = match message.strip_prefix("couldn't find key ") {
            Some(rest) => {
                let (key, place) = rest.split_once(" in ")?;
                let (kind, place) = place.split_once(' ')?;
                (kind, place.split_once('/')?.1, Some(key.to_owned()))
            }
            None => {
                let (kind, name) = message.split_once(" \"")?;
                (kind, name.strip_suffix("\" not found")?, None)
            }
        };
        let secret = match kind.to_lowercase().as_str() {
            "secret" | "secrets" => Some(name.to_owned()),
            "configmap" | "configmaps" => None,
            _ => return None,
        };
        Some(Self { secret, key })
    }

    /// Tells whether a reference leads there.
    pub fn is(&self, reference: &Reference<'_>) -> bool {
        self.secret.as_deref() == Some(reference.secret)
            && self
                .key
                .as_deref()
                .is_none_or(|key| reference.key == Some(key))
    }
}

impl Pod {
    /// Tells whether this workload made it.
    pub fn belongs_to(&self, workload: &Workload) -> bool {
        self.namespace == workload.namespace
            && match (&self.owner, workload.kind) {
                (_, WorkloadKind::Pod) => self.name == workload.name,
                (Some((kind, name)), of) => kind == of.as_str() && *name == workload.name,
                (None, _) => false,
            }
    }
}

/// Where the environment and the files of a pod come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSpec {
    /// Its containers, those that run before the others first.
    pub containers: Vec<Container>,
    /// Secrets that it mounts.
    pub volumes: Vec<Volume>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// What it is called.
    pub name: String,
    /// `env`.
    pub env: Vec<Variable>,
    /// `envFrom`.
    pub env_from: Vec<Whole>,
    /// The first of its ports; none of a container that runs before the others.
    pub port: Option<u16>,
}

/// A variable of `env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// What it is called.
    pub name: String,
    /// Where its value comes from.
    pub source: VariableSource,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableSource {
    /// It stands in the spec. The value itself is not kept.
    Literal {
        /// Whether it is empty.
        empty: bool,
    },
    /// `secretKeyRef`.
    Secret {
        /// The Secret.
        name: String,
        /// Its key.
        key: String,
        /// Whether the pod starts without it.
        optional: bool,
    },
    /// Somewhere else, such as a ConfigMap.
    Other,
}

/// A whole object as variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// What stands before each key.
    pub prefix: String,
    /// The Secret; `None` for a ConfigMap.
    pub secret: Option<String>,
    /// Whether the pod starts without it.
    pub optional: bool,
}

/// A Secret that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The Secret.
    pub secret: String,
    /// The keys that are asked for; none stands for all of them.
    pub keys: Vec<String>,
    /// Whether the pod starts without it.
    pub optional: bool,
}

/// How a pod comes to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By its environment, which stays as it was when the container started.
    Environment,
    /// By a file, which follows the Secret.
    File,
}

/// One reference of a pod to a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference<'a> {
    /// The Secret.
    pub secret: &'a str,
    /// The key; `None` for the whole Secret.
    pub key: Option<&'a str>,
    /// Whether the pod starts without it.
    pub optional: bool,
    /// How it is read.
    pub way: Way,
    /// The container; `None` for a volume.
    pub container: Option<&'a str>,
}

impl PodSpec {
    /// All references to Secrets.
    pub fn references(&self) -> Vec<Reference<'_>> {
        let mut found = Vec::new();
        for container in &self.containers {
            let name = Some(container.name.as_str());
            for whole in &container.env_from {
                found.extend(whole.secret.as_deref().map(|secret| Reference {
                    secret,
                    key: None,
                    optional: whole.optional,
                    way: Way::Environment,
                    container: name,
                }));
            }
            for variable in &container.env {
                if let VariableSource::Secret {
                    name: secret,
                    key,
                    optional,
                } = &variable.source
                {
                    found.push(Reference {
                        secret,
                        key: Some(key),
                        optional: *optional,
                        way: Way::Environment,
                        container: name,
                    });
                }
            }
        }
        for volume in &self.volumes {
            let of = |key| Reference {
                secret: &volume.secret,
                key,
                optional: volume.optional,
                way: Way::File,
                container: None,
            };
            match volume.keys.is_empty() {
                true => found.push(of(None)),
                false => found.extend(volume.keys.iter().map(|key| of(Some(key)))),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_waits_for_is_read_from_the_words_of_its_node() {
        let missing = |secret: Option<&str>, key: Option<&str>| {
            Some(Missing {
                secret: secret.map(str::to_owned),
                key: key.map(str::to_owned),
            })
        };
        for (message, found) in [
            ("secret \"a-b.c\" not found", missing(Some("a-b.c"), None)),
            ("configmap \"a\" not found", missing(None, None)),
            (
                "couldn't find key K in Secret ns/a",
                missing(Some("a"), Some("K")),
            ),
            (
                "couldn't find key K in ConfigMap ns/a",
                missing(None, Some("K")),
            ),
            (
                "container has runAsNonRoot and image will run as root",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(Missing::parse(message), found, "{message}");
        }
    }
}
