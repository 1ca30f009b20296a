//! Restarts workloads, or leaves the restart to Reloader, and prints the progress of their
//! rollouts. Which workloads have to restart is decided by the caller, which also waits.

use super::wait::Wait;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::cluster::stuck::{StuckFacts, why_stuck};
use crate::domain::cluster::workload::{Workload, first_pod};
use crate::domain::rotation::restart::{Due, Need, Reloader, need};
use crate::domain::rotation::workloads::WorkloadRef;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::local::environment::rfc3339;
use crate::io::written::Written;
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// What a run knows about rollouts.
#[derive(Default)]
pub struct RolloutTracker {
    /// When a Secret was last written, or else when the first rollout was waited for. The grace
    /// period of Reloader starts here.
    written: Option<Instant>,
    /// The generation of each workload before that write.
    generations: BTreeMap<WorkloadRef, i64>,
    /// The workloads, by restart mark, that Reloader has restarted. It is not waited for again.
    reloaded: BTreeSet<(String, WorkloadRef)>,
    /// The workloads that had not rolled out in the previous snapshot.
    rolling: BTreeSet<WorkloadRef>,
}

impl RolloutTracker {
    /// Records the workloads just before a write.
    pub fn record_write<'a>(&mut self, workloads: impl Iterator<Item = &'a Workload>) {
        self.generations = workloads
            .map(|workload| (WorkloadRef::of(workload), workload.rollout.generation))
            .collect();
        self.written = Some(Instant::now());
        self.reloaded.clear();
    }

    fn need(&mut self, due: &Due<'_>, grace: Duration) -> Need {
        let written = self.written.get_or_insert_with(Instant::now);
        let at = due.at();
        let generation_before = self.generations.get(&at).copied();
        let is_left = !self.reloaded.contains(&(due.mark.clone(), at));
        need(
            due,
            is_left.then(|| Reloader {
                generation_before,
                is_grace_over: written.elapsed() >= grace,
            }),
        )
    }

    /// Prints which workloads have rolled out since the previous snapshot.
    pub fn report<'a>(
        &mut self,
        ui: Ui,
        workloads: impl Iterator<Item = &'a Workload>,
        due: &[Due<'_>],
    ) {
        let still: BTreeSet<_> = due.iter().map(Due::at).collect();
        let all: BTreeMap<_, _> = workloads.map(|it| (WorkloadRef::of(it), it)).collect();
        for at in self.rolling.difference(&still) {
            ui.story(&match all.get(at) {
                Some(workload) => {
                    let progress = workload.rollout.progress(workload.kind);
                    format!("  {at}: rolled out, {progress}")
                }
                None => format!("  {at}: is gone"),
            });
        }
        self.rolling = still;
    }
}

/// Restarts the workloads whose turn it is, at most [`WIDTH`] at a time, and prints the progress of
/// the others. `now` is the server's time, in seconds since 1970; `grace` is how long Reloader may
/// take to start a rollout.
///
/// # Errors
/// The workloads that cannot be restarted (exit code 3).
pub async fn restart_due(
    cluster: &Cluster,
    ui: Ui,
    due: &[Due<'_>],
    now: i64,
    grace: Duration,
    tracker: &mut RolloutTracker,
    wait: &mut Wait,
) -> Result<(), Failure> {
    let mut restarts = Vec::new();
    for due in due {
        let at = due.workload;
        match tracker.need(due, grace) {
            Need::Restart => restarts.push(due),
            Need::Grace => {}
            Need::Rollout(progress) => {
                wait.say(ui, format!("  {at}: {progress}"));
            }
            Need::Reloaded => {
                wait.say(ui, format!("  {at}: restarted by Reloader"));
                tracker.reloaded.insert((due.mark.clone(), due.at()));
            }
        }
    }
    let rolling = due.iter().filter(|due| due.is_marked).count();
    restarts.truncate(WIDTH.saturating_sub(rolling));
    let now = &rfc3339(now);
    let work = restarts
        .into_iter()
        .map(|due| async move { (due, cluster.restart(due.workload, &due.mark, now).await) });
    let mut whole = Failure::unable("workloads cannot be restarted");
    let mut ended = stream::iter(work).buffered(WIDTH);
    while let Some((due, restarted)) = ended.next().await {
        let at = due.workload;
        match restarted {
            Ok(Written::Done) => ui.story(&format!("  {at}: restarting")),
            Ok(Written::Stale) => {}
            Err(failure) => whole = whole.of(at, &failure),
        }
    }
    whole.if_any()
}

/// The failure of a wait for these workloads that is over, with the reason for each.
///
/// # Errors
/// A failed read (exit code 3).
pub async fn timed_out(
    cluster: &Cluster,
    facts: &ClusterSnapshot,
    due: &[Due<'_>],
) -> Result<Failure, Failure> {
    let mut whole = Failure::unable("workloads have not rolled out in time");
    for due in due {
        let why = explain_stuck(cluster, facts, due.workload).await?;
        whole = whole.of(due.workload, &why);
    }
    Ok(whole)
}

/// Describes why a workload has not rolled out: what its progress, pods and events say.
async fn explain_stuck(
    cluster: &Cluster,
    facts: &ClusterSnapshot,
    workload: &Workload,
) -> Result<Failure, Failure> {
    let Workload {
        kind,
        namespace,
        name,
        rollout,
        ..
    } = workload;
    if rollout.is_complete(*kind) {
        return Ok(Failure::unable("it has not been restarted"));
    }
    let warnings = cluster.rollout_warnings(namespace).await?;
    let place = &facts.places[namespace];
    let stuck = StuckFacts {
        pods: Some(&place.pods),
        leaving: &place.leaving,
        warnings: warnings.as_deref(),
    };
    let kubectl = format!("{} -n {namespace}", cluster.reach().kubectl);
    let describe = format!("{kubectl} describe {} {name}", kind.as_str().to_lowercase());
    let mut failure = Failure::unable(format!(
        "timed out waiting for the rollout: {}",
        rollout.progress(*kind)
    ));
    failure.causes = why_stuck(workload, stuck, &describe);
    if *kind == WorkloadKind::StatefulSet {
        let pod = first_pod(name);
        failure = failure.hint(format!(
            "once that is fixed, delete the pod, since a StatefulSet does not replace one that \
             was never ready: {kubectl} delete pod {pod} --wait=false"
        ));
    }
    Ok(failure)
}
