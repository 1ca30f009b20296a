//! Restarts of a rotation: by us and by Reloader, or by hand.

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

/// The pause between two looks at what a person does.
const PAUSE: Duration = Duration::from_secs(1);

impl RotateRun<'_> {
    /// Restarts these workloads, or has somebody do it, and waits until they have rolled out.
    ///
    /// # Errors
    /// Those that do not roll out in time, with the reason; a server that refuses (exit code 3).
    pub(super) async fn roll(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        who: Who,
        workloads: &[WorkloadRef],
        rolling: &mut RolloutTracker,
    ) -> Result<(), Failure> {
        let rolled = match self.rotate.no_restart {
            true => self.wait_for_hands(rotation, who, workloads, rolling).await,
            false => {
                let good = |workload: &Workload| is_marked(rotation, workload, who);
                let aim = RolloutGoal {
                    mark: mark(rotation, who),
                    good: &good,
                    now: &look.now(),
                    grace: self.rotate.reloader_grace.0.unwrap_or_default(),
                    limit: self.rotate.timeout.0,
                };
                roll(&self.cluster, self.ui, workloads, &aim, rolling).await
            }
        };
        rolled.map_err(|failure| {
            failure
                .cause(format!("the rotation stays in {}", rotation.phase))
                .hint(format!("mend that, then carry it on: {}", self.carry_on()))
        })
    }

    /// Prints the commands that restart, and waits until they have been run.
    async fn wait_for_hands(
        &self,
        rotation: &Rotation,
        who: Who,
        workloads: &[WorkloadRef],
        rolling: &mut RolloutTracker,
    ) -> Result<(), Failure> {
        let mark = mark(rotation, who);
        let mut only_in_store = workloads.to_vec();
        only_in_store.retain(|at| rolling.leave(&mark, at));
        if !only_in_store.is_empty() {
            // Who restarts at once would do so within the second of the write, and then nobody
            // could tell what a pod started with.
            sleep(PAUSE).await;
        }
        for at in only_in_store {
            let kind = at.kind.as_str().to_lowercase();
            self.ui.story(&format!(
                "  restart it: {} -n {} rollout restart {kind}/{}",
                self.reach.kubectl, at.namespace, at.name
            ));
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            sleep(PAUSE).await;
            let look = self.look().await?;
            let same = look
                .state
                .as_ref()
                .is_some_and(|it| it.is_same_state(rotation));
            let waiting: Vec<_> = pending(rotation, &look.facts, who)
                .into_iter()
                .map(WorkloadRef::of)
                .filter(|at| workloads.contains(at))
                .collect();
            if !same || waiting.is_empty() {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let mut unrun = Vec::new();
                for at in waiting {
                    let found = look.workloads().find(|it| WorkloadRef::of(it) == at);
                    let unready = found.filter(|it| !it.rollout.is_complete(it.kind));
                    let why = match unready {
                        Some(workload) => explain_stuck(&self.cluster, workload).await?,
                        None => Failure::unable("nobody has restarted it yet"),
                    };
                    unrun.push((at, why));
                }
                return timed_out(workloads.len(), unrun);
            }
        }
    }
}
