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
    /// The workloads that had not rolled out in the previous snapshot, with the mark that they roll
    /// out with.
    rolling: BTreeMap<WorkloadRef, String>,
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

    /// Prints which workloads have rolled out since the previous snapshot. `due` is empty if the
    /// rotation does not wait for rollouts now.
    pub fn report(&mut self, ui: Ui, facts: &ClusterSnapshot, due: &[Due<'_>]) {
        for line in self.ended(facts, due) {
            ui.story(&format!("  {line}"));
        }
    }

    /// Says how the rollouts ended that are no longer due. One that is not complete is only forgotten:
    /// it may be that the rotation has something else to do first.
    fn ended(&mut self, facts: &ClusterSnapshot, due: &[Due<'_>]) -> Vec<String> {
        let still = due.iter().map(|due| {
            let own = due.workload.mark.as_ref().filter(|_| due.is_marked);
            (due.at(), own.unwrap_or(&due.mark).clone())
        });
        let before = std::mem::replace(&mut self.rolling, still.collect());
        let all: BTreeMap<_, _> = facts
            .workloads()
            .map(|it| (WorkloadRef::of(it), it))
            .collect();
        let has_ended = before
            .into_iter()
            .filter(|(at, _)| !self.rolling.contains_key(at));
        let describe = |(at, mark): (WorkloadRef, String)| match all.get(&at) {
            Some(workload) => {
                let Workload { kind, rollout, .. } = workload;
                let has_rolled_out =
                    workload.mark.as_ref() == Some(&mark) && rollout.is_complete(*kind);
                has_rolled_out.then(|| format!("{at}: rolled out, {}", rollout.progress(*kind)))
            }
            None => {
                let is_read = !facts.is_denied("list", at.kind.resource(), &at.namespace);
                is_read.then(|| format!("{at}: is gone"))
            }
        };
        has_ended.filter_map(describe).collect()
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
        pods: &place.pods,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::names::Namespace;
    use crate::domain::cluster::rollout::Rollout;
    use crate::domain::cluster::snapshot::{Denied, NamespaceSnapshot};
    use crate::domain::cluster::workload::PodSpec;

    const MARK: &str = "0123abcd.open";

    fn workload(name: &str, mark: &str, is_complete: bool) -> Workload {
        Workload {
            kind: WorkloadKind::Deployment,
            namespace: Namespace::default(),
            name: name.to_owned(),
            spec: PodSpec::default(),
            reloaded: false,
            mark: Some(mark.to_owned()),
            rollout: Rollout::example(is_complete),
        }
    }

    fn facts(workloads: Vec<Workload>) -> ClusterSnapshot {
        let place = NamespaceSnapshot {
            workloads,
            ..NamespaceSnapshot::default()
        };
        ClusterSnapshot {
            places: BTreeMap::from([(Namespace::default(), place)]),
            ..ClusterSnapshot::default()
        }
    }

    /// The workloads are due with a mark. In the next snapshot none is.
    fn ended(before: &[Workload], after: &ClusterSnapshot) -> Vec<String> {
        let due = before.iter().map(|workload| Due {
            workload,
            mark: MARK.to_owned(),
            is_marked: true,
        });
        let due: Vec<_> = due.collect();
        let mut tracker = RolloutTracker::default();
        assert!(tracker.ended(&facts(before.to_vec()), &due).is_empty());
        let lines = tracker.ended(after, &[]);
        assert!(tracker.ended(after, &[]).is_empty());
        lines
    }

    #[test]
    fn only_what_has_rolled_out_is_said_to_have() {
        let names = ["done", "rolling", "rewritten", "gone"];
        let before = names.map(|name| workload(name, MARK, false));
        let after = facts(vec![
            workload("done", MARK, true),
            workload("rolling", MARK, false),
            workload("rewritten", "0123abcd.open.1", true),
        ]);
        let lines = ended(&before, &after);
        let done = "Deployment default/done: rolled out, 1 of 1 pod ready";
        assert_eq!(lines, [done, "Deployment default/gone: is gone"]);
    }

    #[test]
    fn a_workload_is_not_gone_because_the_list_was_not_read() {
        let before = [workload("there", MARK, false)];
        let mut after = facts(Vec::new());
        let denied = Denied::new("list", "deployments", None);
        after
            .denied
            .insert(denied.because(Some("no answer".to_owned())));
        assert!(ended(&before, &after).is_empty());
    }
}
