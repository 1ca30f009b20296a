//! Restarts the workloads of a phase, or asks a person to. It must not decide which workloads
//! restart.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::wait::{CurrentWait, Next, WaitFor};
use crate::commands::shared::rollouts::{RolloutTracker, restart_due, timed_out};
use crate::commands::shared::wait::Wait;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::rotation::Rotation;
use crate::domain::rotation::restart::Due;
use crate::domain::rotation::workloads::{Who, is_marked, mark, pending};
use crate::error::Failure;
use std::time::Duration;

/// Kubernetes times have a resolution of one second. A restart in the second of the write would
/// leave open whether the pod started before or after it.
const SECOND: Duration = Duration::from_secs(1);

/// The workloads that have to roll out in the roles `who`.
pub(super) fn due<'a>(rotation: &Rotation, facts: &'a ClusterSnapshot, who: Who) -> Vec<Due<'a>> {
    let pending = pending(rotation, facts, who).into_iter();
    pending
        .map(|workload| Due {
            workload,
            mark: mark(rotation, who),
            is_marked: is_marked(rotation, workload, who),
        })
        .collect()
}

/// Restarts these workloads, or asks a person to (`--no-restart`), and waits.
///
/// # Errors
/// The rollouts timed out, or a request failed (exit code 3).
pub(super) async fn roll(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    due: &[Due<'_>],
    tracker: &mut RolloutTracker,
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    let wait = wait.enter(WaitFor::Rollouts, run.rotate.timeout.0);
    let result = if wait.is_over() {
        Err(timed_out(&run.cluster, &snapshot.facts, due).await?)
    } else if run.rotate.no_restart {
        print_commands(run, due, wait);
        Ok(())
    } else {
        let grace = run.rotate.reloader_grace.0.unwrap_or_default();
        let now = snapshot.facts.now;
        restart_due(&run.cluster, run.ui, due, now, grace, tracker, wait).await
    };
    result.map(|()| Next::Pause).map_err(|failure| {
        failure
            .cause(format!("the rotation stays in {}", rotation.phase))
            .hint(format!(
                "fix that, then continue it: {}",
                run.carry_on_command()
            ))
    })
}

fn print_commands(run: &RotateRun<'_>, due: &[Due<'_>], wait: &mut Wait) {
    if wait.elapsed() < SECOND {
        return;
    }
    for due in due {
        let at = due.workload;
        let kind = at.kind.as_str().to_lowercase();
        wait.say(
            run.ui,
            format!(
                "  restart it: {} -n {} rollout restart {kind}/{}",
                run.reach.kubectl, at.namespace, at.name
            ),
        );
    }
}
