//! Workloads and pods, with the references to Secrets in their specs. It must not keep the literal
//! values of variables.

use super::names::{Namespace, WorkloadKind};
use super::rollout::Rollout;
use std::collections::BTreeMap;
use std::fmt;

/// The StatefulSet that checks `KB_ROUTER_TOKEN`.
pub const BRAIN_API: &str = "agentibrain-brain-api";
/// The StatefulSet that checks the keys of the embeddings service.
pub const EMBEDDINGS: &str = "agentibrain-embeddings";
/// The annotation of a pod template with the mark of the rotation that restarted the workload last.
/// Each pod copies it from its template.
pub const ROTATION_MARK: &str = "k8s-bootstrap/rotation";

pub fn first_pod(stateful_set: &str) -> String {
    format!("{stateful_set}-0")
}

/// An object that creates pods, or a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub namespace: Namespace,
    pub name: String,
    pub spec: PodSpec,
    /// Whether an annotation asks Reloader to restart it when a Secret changes.
    pub reloaded: bool,
    /// [`ROTATION_MARK`] of its pod template.
    pub mark: Option<String>,
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
    pub namespace: Namespace,
    pub name: String,
    /// Kind and name of the owner. For a pod of a ReplicaSet it is the Deployment.
    pub owner: Option<(String, String)>,
    pub spec: PodSpec,
    pub ready: bool,
    /// When each running container started, in seconds since 1970.
    pub started: BTreeMap<String, i64>,
    /// Containers in `CreateContainerConfigError`, each with the missing object if the kubelet names
    /// it.
    pub waiting: BTreeMap<String, Option<Missing>>,
    /// The reason of each waiting container, such as `ErrImagePull`, except `ContainerCreating` and
    /// `PodInitializing`.
    pub stuck: BTreeMap<String, String>,
    pub unschedulable: bool,
    /// [`ROTATION_MARK`] from its template.
    pub mark: Option<String>,
}

/// The missing object that a container waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The Secret; `None` for a ConfigMap.
    pub secret: Option<String>,
    /// The key; `None` for the whole object.
    pub key: Option<String>,
}

impl Missing {
    /// Parses the message of the kubelet: `secret "NAME" not found` or `couldn't find key KEY in
    /// Secret NAMESPACE/NAME`.
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

    /// True if the reference needs the missing object or key.
    pub fn is(&self, reference: &Reference<'_>) -> bool {
        self.secret.as_deref() == Some(reference.secret)
            && self
                .key
                .as_deref()
                .is_none_or(|key| reference.key == Some(key))
    }
}

impl Pod {
    /// True if the workload owns the pod, or is the pod.
    pub fn belongs_to(&self, workload: &Workload) -> bool {
        self.namespace == workload.namespace
            && match (&self.owner, workload.kind) {
                (_, WorkloadKind::Pod) => self.name == workload.name,
                (Some((kind, name)), of) => kind == of.as_str() && *name == workload.name,
                (None, _) => false,
            }
    }
}

/// The sources of the environment and of the files of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSpec {
    /// Init containers first.
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub env: Vec<Variable>,
    pub env_from: Vec<Whole>,
    /// Its first port; `None` for an init container.
    pub port: Option<u16>,
}

/// An entry of `env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub source: VariableSource,
}

/// The source of the value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableSource {
    /// `value`, which may be a credential and is not kept.
    Literal { empty: bool },
    /// `secretKeyRef`.
    Secret {
        name: String,
        key: String,
        optional: bool,
    },
    /// Another source, such as a ConfigMap.
    Other,
}

/// An entry of `envFrom`: all keys of an object as variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The prefix of each variable.
    pub prefix: String,
    /// The name of the Secret; `None` for a ConfigMap.
    pub secret: Option<String>,
    pub optional: bool,
}

/// A mounted Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub secret: String,
    /// The keys in `items`; empty for all keys.
    pub keys: Vec<String>,
    pub optional: bool,
}

/// How a pod reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A variable: it keeps the value from the start of the container.
    Environment,
    /// A file: the kubelet updates it when the Secret changes.
    File,
}

/// One reference of a pod to a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference<'a> {
    pub secret: &'a str,
    /// `None` for the whole Secret.
    pub key: Option<&'a str>,
    pub optional: bool,
    pub way: Way,
    /// The container; `None` for a volume.
    pub container: Option<&'a str>,
}

impl PodSpec {
    /// True if the spec refers to the Secret.
    pub fn reads(&self, secret: &str) -> bool {
        self.references().iter().any(|it| it.secret == secret)
    }

    /// The first port that a container names.
    pub fn port(&self) -> Option<u16> {
        self.containers.iter().find_map(|container| container.port)
    }

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
            if volume.keys.is_empty() {
                found.push(of(None));
            } else {
                found.extend(volume.keys.iter().map(|key| of(Some(key))));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_object_is_parsed_from_the_message_of_the_kubelet() {
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
