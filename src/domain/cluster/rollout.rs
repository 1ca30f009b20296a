//! How far a workload has come in giving its pods a changed template.

use super::names::WorkloadKind;

/// How far a workload has come, by its own status. Of a CronJob or a pod nothing is known, nor
/// waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`: how often its spec has changed.
    pub generation: i64,
    /// The generation that its controller has seen.
    pub observed: i64,
    /// How many pods there should be.
    pub wanted: i64,
    /// How many there are.
    pub replicas: i64,
    /// How many are of the template of today.
    pub updated: i64,
    /// How many serve.
    pub ready: i64,
    /// How many have served for long enough.
    pub available: i64,
    /// Of a StatefulSet: whether the revision of today is the current one.
    pub same_revision: bool,
    /// Of a Deployment: whether it is told to leave its pods alone.
    pub paused: bool,
    /// Of a StatefulSet or DaemonSet: whether it waits for somebody to delete each pod.
    pub on_delete: bool,
    /// Of a StatefulSet: whether it leaves the first of its pods alone.
    pub partitioned: bool,
    /// When its template says that it was last restarted, in seconds since 1970.
    pub restarted: Option<i64>,
}

impl Rollout {
    /// Tells whether all pods are of the template of today and serve, as `kubectl rollout status`
    /// does; but where a partition keeps old pods it is never complete.
    pub fn is_complete(&self, kind: WorkloadKind) -> bool {
        let seen = self.observed > 0 && self.observed >= self.generation;
        let updated = self.updated >= self.wanted;
        let alone = self.replicas <= self.updated;
        match kind {
            // One that waits for deletions never calls a new revision the current one.
            WorkloadKind::StatefulSet => {
                let settled = self.same_revision || self.on_delete;
                seen && settled && updated && alone && self.ready >= self.wanted
            }
            WorkloadKind::Deployment => seen && updated && alone && self.available >= self.updated,
            WorkloadKind::DaemonSet => seen && updated && self.available >= self.wanted,
            WorkloadKind::CronJob | WorkloadKind::Pod => true,
        }
    }

    /// How far it is, for a line that is written again and again.
    pub fn progress(&self, kind: WorkloadKind) -> String {
        let wanted = self.wanted;
        let pods = if wanted == 1 { "pod" } else { "pods" };
        let of = |count: i64, what: &str| format!("{count} of {wanted} {pods} {what}");
        let serving = match kind {
            WorkloadKind::StatefulSet => self.ready,
            _ => self.available,
        };
        match kind {
            WorkloadKind::CronJob | WorkloadKind::Pod => "nothing to wait for".to_owned(),
            _ if self.observed < self.generation.max(1) => "not begun".to_owned(),
            _ if self.updated < wanted => of(self.updated, "made anew"),
            WorkloadKind::Deployment if self.replicas > self.updated => {
                match self.replicas - self.updated {
                    1 => "1 old pod still there".to_owned(),
                    old => format!("{old} old pods still there"),
                }
            }
            _ => of(serving.min(wanted), "ready"),
        }
    }

    /// What keeps it from ever ending by itself.
    pub fn trouble(&self, kind: WorkloadKind) -> Option<&'static str> {
        match kind {
            WorkloadKind::Deployment if self.paused => Some("it is paused (spec.paused)"),
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet if self.on_delete => {
                Some("it makes a pod anew only when somebody deletes it (updateStrategy OnDelete)")
            }
            WorkloadKind::StatefulSet if self.partitioned => Some(
                "it leaves its first pods as they are (updateStrategy.rollingUpdate.partition)",
            ),
            _ => None,
        }
    }
}
