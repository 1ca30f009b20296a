//! The progress of a rollout: how many pods of a workload have the current template.

use super::names::WorkloadKind;

/// The rollout of a workload, from its spec and status. A CronJob or a pod has no rollout: its
/// counts are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`: counts the changes of the spec.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed: i64,
    /// How many pods the spec wants.
    pub wanted: i64,
    /// How many pods exist.
    pub replicas: i64,
    /// How many pods have the current template.
    pub updated: i64,
    pub ready: i64,
    /// How many pods have been ready for `minReadySeconds`.
    pub available: i64,
    /// StatefulSet: whether the update revision is the current revision.
    pub same_revision: bool,
    /// Deployment: `spec.paused`.
    pub paused: bool,
    /// StatefulSet or DaemonSet: whether the update strategy is `OnDelete`.
    pub on_delete: bool,
    /// StatefulSet: whether a partition keeps the first pods from being updated.
    pub partitioned: bool,
    /// The annotation `kubectl.kubernetes.io/restartedAt` of the template, in seconds since 1970.
    pub restarted: Option<i64>,
}

impl Rollout {
    /// The second rollout of a workload with one pod.
    #[cfg(test)]
    pub fn example(is_complete: bool) -> Self {
        let ready = i64::from(is_complete);
        Self {
            generation: 2,
            observed: 2,
            wanted: 1,
            replicas: 1,
            updated: ready,
            available: ready,
            ..Self::default()
        }
    }

    /// True if all pods have the current template and are ready, by the rules of `kubectl rollout
    /// status`. Unlike there, a partition that keeps old pods is never complete.
    pub fn is_complete(&self, kind: WorkloadKind) -> bool {
        let is_observed = self.observed > 0 && self.observed >= self.generation;
        let is_updated = is_observed && self.updated >= self.wanted;
        let has_old_pods = self.replicas > self.updated;
        match kind {
            WorkloadKind::StatefulSet => {
                // With OnDelete the update revision never becomes the current revision.
                let is_settled = self.same_revision || self.on_delete;
                is_updated && is_settled && !has_old_pods && self.ready >= self.wanted
            }
            WorkloadKind::Deployment => {
                is_updated && !has_old_pods && self.available >= self.updated
            }
            WorkloadKind::DaemonSet => is_updated && self.available >= self.wanted,
            WorkloadKind::CronJob | WorkloadKind::Pod => true,
        }
    }

    /// Describes the progress for a line that is updated in place.
    pub fn progress(&self, kind: WorkloadKind) -> String {
        let wanted = self.wanted;
        let pods = if wanted == 1 { "pod" } else { "pods" };
        let of = |count: i64, what: &str| format!("{count} of {wanted} {pods} {what}");
        let ready = match kind {
            WorkloadKind::StatefulSet => self.ready,
            _ => self.available,
        };
        match kind {
            WorkloadKind::CronJob | WorkloadKind::Pod => "nothing to wait for".to_owned(),
            _ if self.observed < self.generation.max(1) => "not started".to_owned(),
            _ if self.updated < wanted => of(self.updated, "updated"),
            WorkloadKind::Deployment if self.replicas > self.updated => {
                match self.replicas - self.updated {
                    1 => "1 old pod still running".to_owned(),
                    old => format!("{old} old pods still running"),
                }
            }
            _ => of(ready.min(wanted), "ready"),
        }
    }

    /// The setting that keeps the rollout from completing without a person.
    pub fn blocker(&self, kind: WorkloadKind) -> Option<&'static str> {
        match kind {
            WorkloadKind::Deployment if self.paused => Some("it is paused (spec.paused)"),
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet if self.on_delete => {
                Some("it replaces a pod only when the pod is deleted (updateStrategy OnDelete)")
            }
            WorkloadKind::StatefulSet if self.partitioned => {
                Some("it does not update its first pods (updateStrategy.rollingUpdate.partition)")
            }
            _ => None,
        }
    }
}
