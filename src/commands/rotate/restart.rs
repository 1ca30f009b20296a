//! Restarts the workloads of a phase, or waits until Reloader or a person restarts them. It must
//! not decide which workloads restart.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::commands::shared::rollout_wait::{
    RolloutGoal, RolloutTracker, explain_stuck, roll, timed_out,
};
use crate::domain::cluster::workload::Workload;
use crate::domain::rotation::Rotation;
use crate::domain::rotation::workloads::{Who, WorkloadRef, is_marked, mark, pending};
use crate::error::Failure;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause between two snapshots while a person restarts workloads.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

impl RotateRun<'_> {
    /// Restarts these workloads, or asks a person to (`--no-restart`), and waits for their
    /// rollouts.
    ///
    /// # Errors
    /// A rollout timed out, or a request failed (exit code 3).
    pub(super) async fn restart_and_wait(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
        who: Who,
        workloads: &[WorkloadRef],
        tracker: &mut RolloutTracker,
    ) -> Result<(), Failure> {
        let rolled = if self.rotate.no_restart {
            self.wait_for_manual_restarts(rotation, who, workloads, tracker)
                .await
        } else {
            let is_restarted = |workload: &Workload| is_marked(rotation, workload, who);
            let goal = RolloutGoal {
                mark: mark(rotation, who),
                good: &is_restarted,
                now: &snapshot.now(),
                grace: self.rotate.reloader_grace.0.unwrap_or_default(),
                limit: self.rotate.timeout.0,
            };
            roll(&self.cluster, self.ui, workloads, &goal, tracker).await
        };
        rolled.map_err(|failure| {
            failure
                .cause(format!("the rotation stays in {}", rotation.phase))
                .hint(format!(
                    "fix that, then continue it: {}",
                    self.carry_on_command()
                ))
        })
    }

    /// Prints the restart commands, and waits until a person has run them.
    ///
    /// # Errors
    /// `--timeout` is over, or a request failed (exit code 3).
    async fn wait_for_manual_restarts(
        &self,
        rotation: &Rotation,
        who: Who,
        workloads: &[WorkloadRef],
        tracker: &mut RolloutTracker,
    ) -> Result<(), Failure> {
        let mark = mark(rotation, who);
        let unannounced: Vec<_> = workloads
            .iter()
            .filter(|at| tracker.leave(&mark, at))
            .collect();
        if !unannounced.is_empty() {
            // Kubernetes times have a resolution of one second. A restart in the second of the
            // write would leave open whether the pod started before or after it.
            sleep(POLL_INTERVAL).await;
        }
        for at in unannounced {
            let kind = at.kind.as_str().to_lowercase();
            self.ui.story(&format!(
                "  restart it: {} -n {} rollout restart {kind}/{}",
                self.reach.kubectl, at.namespace, at.name
            ));
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            sleep(POLL_INTERVAL).await;
            let snapshot = self.read_snapshot().await?;
            let is_same = snapshot
                .state
                .as_ref()
                .is_some_and(|it| it.is_same_state(rotation));
            let waiting: Vec<_> = pending(rotation, &snapshot.facts, who)
                .into_iter()
                .map(WorkloadRef::of)
                .filter(|at| workloads.contains(at))
                .collect();
            if !is_same || waiting.is_empty() {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let mut failures = Vec::new();
                for at in waiting {
                    let found = snapshot.workloads().find(|it| WorkloadRef::of(it) == at);
                    let unready = found.filter(|it| !it.rollout.is_complete(it.kind));
                    let why = match unready {
                        Some(workload) => explain_stuck(&self.cluster, workload).await?,
                        None => Failure::unable("it has not been restarted"),
                    };
                    failures.push((at, why));
                }
                return timed_out(workloads.len(), failures);
            }
        }
    }
}
