//! The JSON of workloads and pods, with the fields that are read, and its conversion into facts.
//!
//! The literal value of an environment variable must not be kept.

use super::wire::seconds;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::workload::{
    Container, Missing, Pod, PodSpec, ROTATION_MARK, Variable, VariableSource, Volume, Whole,
    Workload,
};
use crate::domain::table::BUNDLES;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The annotations that make Reloader restart a workload when any of its Secrets changes.
const RELOADER: [&str; 2] = [
    "reloader.stakater.com/auto",
    "secret.reloader.stakater.com/auto",
];
/// The annotation that makes Reloader do so for the named Secrets.
const RELOADER_NAMES: &str = "secret.reloader.stakater.com/reload";
/// The waiting reason of a container whose Secret, ConfigMap or key is missing.
const CONFIG_ERROR: &str = "CreateContainerConfigError";
/// The waiting reasons of a container that is starting normally.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// The annotation of `kubectl rollout restart`: the time of the last restart.
pub(in crate::io) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// A StatefulSet, Deployment, DaemonSet or CronJob.
#[derive(Deserialize)]
pub struct WorkloadBody {
    metadata: ObjectMeta,
    spec: WorkloadSpec,
    #[serde(default)]
    status: WorkloadStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadSpec {
    template: Option<TemplateBody>,
    job_template: Option<JobTemplate>,
    replicas: Option<i64>,
    #[serde(default)]
    paused: bool,
    update_strategy: Option<UpdateStrategy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateStrategy {
    #[serde(default)]
    r#type: String,
    rolling_update: Option<RollingUpdate>,
}

#[derive(Deserialize)]
struct RollingUpdate {
    partition: Option<i64>,
}

/// The pod counts of all kinds. A DaemonSet has different names for them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadStatus {
    observed_generation: i64,
    replicas: i64,
    updated_replicas: i64,
    ready_replicas: i64,
    available_replicas: i64,
    current_revision: String,
    update_revision: String,
    desired_number_scheduled: i64,
    current_number_scheduled: i64,
    updated_number_scheduled: i64,
    number_ready: i64,
    number_available: i64,
}

impl WorkloadStatus {
    /// The rollout of a workload of this kind. `replicas` is from its spec.
    fn rollout(self, kind: WorkloadKind, replicas: Option<i64>) -> Rollout {
        let common = Rollout {
            observed: self.observed_generation,
            same_revision: self.current_revision == self.update_revision,
            ..Rollout::default()
        };
        match kind {
            WorkloadKind::StatefulSet | WorkloadKind::Deployment => Rollout {
                wanted: replicas.unwrap_or(1),
                replicas: self.replicas,
                updated: self.updated_replicas,
                ready: self.ready_replicas,
                available: self.available_replicas,
                ..common
            },
            WorkloadKind::DaemonSet => Rollout {
                wanted: self.desired_number_scheduled,
                replicas: self.current_number_scheduled,
                updated: self.updated_number_scheduled,
                ready: self.number_ready,
                available: self.number_available,
                ..common
            },
            WorkloadKind::CronJob | WorkloadKind::Pod => common,
        }
    }
}

impl WorkloadSpec {
    fn is_on_delete(&self) -> bool {
        let strategy = self.update_strategy.as_ref();
        strategy.is_some_and(|strategy| strategy.r#type == "OnDelete")
    }

    fn is_partitioned(&self) -> bool {
        let strategy = self.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        rolling.is_some_and(|rolling| rolling.partition > Some(0))
    }
}

#[derive(Deserialize)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Deserialize)]
struct JobSpec {
    template: TemplateBody,
}

#[derive(Deserialize)]
struct TemplateBody {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: SpecBody,
}

impl WorkloadBody {
    /// Makes a workload of this kind; `None` if it has no pod template or name.
    pub fn workload(self, kind: WorkloadKind) -> Option<Workload> {
        let rollout = self.status.rollout(kind, self.spec.replicas);
        let (on_delete, partitioned) = (self.spec.is_on_delete(), self.spec.is_partitioned());
        let job = self.spec.job_template.map(|job| job.spec.template);
        let template = self.spec.template.or(job)?;
        let restarted = annotation(&template.metadata, RESTARTED_AT)
            .and_then(|at| at.parse::<jiff::Timestamp>().ok());
        Some(Workload {
            kind,
            reloaded: uses_reloader(&self.metadata) || uses_reloader(&template.metadata),
            mark: annotation(&template.metadata, ROTATION_MARK),
            rollout: Rollout {
                resource_version: self.metadata.resource_version.unwrap_or_default(),
                generation: self.metadata.generation.unwrap_or_default(),
                paused: self.spec.paused,
                on_delete,
                partitioned,
                restarted: restarted.map(|at| at.as_second()),
                ..rollout
            },
            namespace: self.metadata.namespace?.parse().ok()?,
            name: self.metadata.name?,
            spec: template.spec.into(),
        })
    }
}

fn annotation(metadata: &ObjectMeta, name: &str) -> Option<String> {
    metadata.annotations.as_ref()?.get(name).cloned()
}

/// Checks whether Reloader restarts a workload when a Secret of the table changes.
fn uses_reloader(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| {
        let is_true = |name: &&str| annotations.get(*name).is_some_and(|value| value == "true");
        let is_ours = |name: &str| BUNDLES.iter().any(|bundle| bundle.secret == name.trim());
        let names = annotations.get(RELOADER_NAMES);
        RELOADER.iter().any(is_true) || names.is_some_and(|names| names.split(',').any(is_ours))
    })
}

/// Deserializes a list that may be null.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
pub struct PodBody {
    metadata: ObjectMeta,
    spec: SpecBody,
    #[serde(default)]
    status: StatusBody,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct StatusBody {
    phase: String,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<ConditionBody>,
    #[serde(deserialize_with = "nullable")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct ConditionBody {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    state: ContainerState,
}

#[derive(Deserialize, Default)]
struct ContainerState {
    running: Option<RunningState>,
    waiting: Option<WaitingState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunningState {
    started_at: Option<Time>,
}

#[derive(Deserialize)]
struct WaitingState {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Whether a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It has no deletion timestamp.
    Yes,
    /// It is being deleted and may still run.
    Leaves,
}

impl PodBody {
    /// Makes a pod; `None` if it has succeeded or failed.
    pub fn pod(self) -> Option<(Pod, Stays)> {
        let stays = match self.metadata.deletion_timestamp {
            None => Stays::Yes,
            Some(_) => Stays::Leaves,
        };
        let status = self.status;
        if matches!(status.phase.as_str(), "Succeeded" | "Failed") {
            return None;
        }
        let has_condition = |kind: &str, value: &str, reason: Option<&str>| {
            status.conditions.iter().any(|condition| {
                condition.r#type == kind
                    && condition.status == value
                    && reason.is_none_or(|reason| condition.reason.as_deref() == Some(reason))
            })
        };
        let ready = has_condition("Ready", "True", None);
        let unschedulable = has_condition("PodScheduled", "False", Some("Unschedulable"));
        let mut started = BTreeMap::new();
        let mut waiting = BTreeMap::new();
        let mut stuck = BTreeMap::new();
        let containers = status.init_container_statuses.into_iter();
        for container in containers.chain(status.container_statuses) {
            let running = container.state.running.and_then(|state| state.started_at);
            if let Some(time) = running {
                started.insert(container.name.clone(), seconds(&time));
            }
            let Some(state) = container.state.waiting else {
                continue;
            };
            let word = word(&state.reason);
            if !word.is_empty() && !STARTING.contains(&word.as_str()) {
                stuck.insert(container.name.clone(), word);
            }
            if state.reason == CONFIG_ERROR {
                waiting.insert(container.name, Missing::parse(&state.message));
            }
        }
        let pod = Pod {
            owner: owner(&self.metadata),
            mark: annotation(&self.metadata, ROTATION_MARK),
            namespace: self.metadata.namespace?.parse::<Namespace>().ok()?,
            name: self.metadata.name?,
            spec: self.spec.into(),
            ready,
            started,
            waiting,
            stuck,
            unschedulable,
        };
        Some((pod, stays))
    }
}

/// Reduces a reason to one word, so that it can be printed.
fn word(reason: &str) -> String {
    let letters = reason.chars().filter(char::is_ascii_alphanumeric);
    letters.take(60).collect()
}

/// Finds the kind and name of the workload of a pod. The ReplicaSet of a Deployment has the name of
/// the Deployment and a hash.
fn owner(metadata: &ObjectMeta) -> Option<(String, String)> {
    let references = metadata.owner_references.as_ref()?;
    let controller = references
        .iter()
        .find(|reference| reference.controller == Some(true))?;
    let hash = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    let deployment = hash
        .filter(|_| controller.kind == "ReplicaSet")
        .and_then(|hash| controller.name.strip_suffix(&format!("-{hash}")));
    Some(match deployment {
        Some(name) => ("Deployment".to_owned(), name.to_owned()),
        None => (controller.kind.clone(), controller.name.clone()),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecBody {
    #[serde(default, deserialize_with = "nullable")]
    init_containers: Vec<ContainerBody>,
    #[serde(default, deserialize_with = "nullable")]
    containers: Vec<ContainerBody>,
    #[serde(default, deserialize_with = "nullable")]
    volumes: Vec<VolumeBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerBody {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<EnvBody>,
    #[serde(default, deserialize_with = "nullable")]
    env_from: Vec<EnvFromBody>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<PortBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortBody {
    container_port: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvBody {
    name: String,
    value: Option<String>,
    value_from: Option<ValueFrom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueFrom {
    secret_key_ref: Option<KeyRef>,
}

#[derive(Deserialize)]
struct KeyRef {
    #[serde(default)]
    name: String,
    key: String,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvFromBody {
    #[serde(default)]
    prefix: String,
    secret_ref: Option<WholeRef>,
}

#[derive(Deserialize)]
struct WholeRef {
    #[serde(default)]
    name: String,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
struct VolumeBody {
    secret: Option<SecretVolume>,
    projected: Option<Projected>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretVolume {
    #[serde(default)]
    secret_name: String,
    #[serde(default)]
    optional: bool,
    #[serde(default, deserialize_with = "nullable")]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    key: String,
}

#[derive(Deserialize)]
struct Projected {
    #[serde(default, deserialize_with = "nullable")]
    sources: Vec<ProjectedSource>,
}

#[derive(Deserialize)]
struct ProjectedSource {
    secret: Option<ProjectedSecret>,
}

#[derive(Deserialize)]
struct ProjectedSecret {
    #[serde(default)]
    name: String,
    #[serde(default)]
    optional: bool,
    #[serde(default, deserialize_with = "nullable")]
    items: Vec<Item>,
}

impl From<SpecBody> for PodSpec {
    fn from(body: SpecBody) -> Self {
        let volume = |secret: String, optional, items: Vec<Item>| Volume {
            secret,
            optional,
            keys: items.into_iter().map(|item| item.key).collect(),
        };
        let mut volumes = Vec::new();
        for found in body.volumes {
            if let Some(secret) = found.secret {
                volumes.push(volume(secret.secret_name, secret.optional, secret.items));
            }
            let sources = found.projected.into_iter().flat_map(|body| body.sources);
            for secret in sources.filter_map(|source| source.secret) {
                volumes.push(volume(secret.name, secret.optional, secret.items));
            }
        }
        let init = body.init_containers.into_iter().map(|body| Container {
            port: None,
            ..body.into()
        });
        let containers = body.containers.into_iter().map(Container::from);
        Self {
            containers: init.chain(containers).collect(),
            volumes,
        }
    }
}

impl From<ContainerBody> for Container {
    fn from(body: ContainerBody) -> Self {
        Self {
            name: body.name,
            port: body.ports.first().map(|port| port.container_port),
            env: body.env.into_iter().map(Variable::from).collect(),
            env_from: body
                .env_from
                .into_iter()
                .map(|whole| Whole {
                    prefix: whole.prefix,
                    optional: whole.secret_ref.as_ref().is_some_and(|it| it.optional),
                    secret: whole.secret_ref.map(|it| it.name),
                })
                .collect(),
        }
    }
}

impl From<EnvBody> for Variable {
    fn from(body: EnvBody) -> Self {
        let source = match body.value_from {
            Some(from) => match from.secret_key_ref {
                Some(reference) => VariableSource::Secret {
                    name: reference.name,
                    key: reference.key,
                    optional: reference.optional,
                },
                None => VariableSource::Other,
            },
            None => VariableSource::Literal {
                empty: body.value.unwrap_or_default().is_empty(),
            },
        };
        Self {
            name: body.name,
            source,
        }
    }
}
