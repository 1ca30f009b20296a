//! Restarts workloads, or leaves the restart to Reloader, and waits for the rollouts. Which
//! workloads have to restart is decided by the caller.

use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::workload::{Workload, first_pod};
use crate::domain::rotation::workloads::WorkloadRef;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::written::Written;
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long one watch for a change of a workload lasts at most.
const WATCH_LIMIT: Duration = Duration::from_secs(10);

/// What a run knows about rollouts.
#[derive(Default)]
pub struct RolloutTracker {
    /// When a Secret was last written. The grace period of Reloader starts here.
    written: Option<Instant>,
    /// The generation of each workload before that write.
    before: BTreeMap<WorkloadRef, i64>,
    /// The workloads, by restart mark, for which Reloader is not waited for again: it has restarted
    /// them, or its grace period is over.
    left: BTreeSet<(String, WorkloadRef)>,
}

impl RolloutTracker {
    /// Records the workloads just before a write.
    pub fn written<'a>(&mut self, workloads: impl Iterator<Item = &'a Workload>) {
        self.before = workloads
            .map(|workload| (WorkloadRef::of(workload), workload.rollout.generation))
            .collect();
        self.written = Some(Instant::now());
        self.left.clear();
    }

    /// Records that a workload was left to Reloader. True if that is new.
    pub fn leave(&mut self, mark: &str, at: &WorkloadRef) -> bool {
        self.left.insert((mark.to_owned(), at.clone()))
    }
}

/// When a rollout counts as done, and how long it may take.
pub struct RolloutGoal<'a> {
    /// The value of the restart annotation of the pod template.
    pub mark: String,
    /// True if the mark of a workload's template is this one or an equivalent one.
    pub good: &'a dyn Fn(&Workload) -> bool,
    /// The time of the server's clock, in RFC 3339.
    pub now: &'a str,
    /// How long Reloader may take to start a rollout.
    pub grace: Duration,
    /// How long all rollouts may take; `None` for no limit.
    pub limit: Option<Duration>,
}

/// How the rollout of one workload ended.
enum RolloutEnd {
    /// The workload has rolled out with the mark, or is gone.
    Done,
    /// Reloader has restarted it. Whether that was late enough shows in the pods.
    LeftToReloader,
}

/// The rollout of one workload.
struct Task<'a> {
    goal: &'a RolloutGoal<'a>,
    at: &'a WorkloadRef,
    /// When the grace period of Reloader ends; `None` if Reloader is not waited for.
    grace: Option<Instant>,
    generation_before: Option<i64>,
    deadline: Option<Instant>,
}

/// Restarts these workloads and waits until they have rolled out. Prints a line for each step.
///
/// # Errors
/// Workloads that have not rolled out in time, each with the reason; a failed request (exit code
/// 3).
pub async fn roll(
    cluster: &Cluster,
    ui: Ui,
    workloads: &[WorkloadRef],
    goal: &RolloutGoal<'_>,
    tracker: &mut RolloutTracker,
) -> Result<(), Failure> {
    let deadline = goal
        .limit
        .and_then(|limit| Instant::now().checked_add(limit));
    let (written, before, left) = (tracker.written, &tracker.before, &tracker.left);
    let work = workloads.iter().map(|at| {
        let waits_for_reloader = !left.contains(&(goal.mark.clone(), at.clone()));
        let task = Task {
            goal,
            at,
            grace: waits_for_reloader.then(|| written.unwrap_or_else(Instant::now) + goal.grace),
            generation_before: before.get(at).copied(),
            deadline,
        };
        async move { (at, roll_one(cluster, ui, &task).await) }
    });
    let ended: Vec<_> = stream::iter(work).buffer_unordered(WIDTH).collect().await;
    let mut failures = Vec::new();
    for (at, ended) in ended {
        match ended {
            Ok(RolloutEnd::Done) => {}
            Ok(RolloutEnd::LeftToReloader) => {
                tracker.leave(&goal.mark, at);
            }
            Err(failure) => failures.push((at.clone(), failure)),
        }
    }
    timed_out(workloads.len(), failures)
}

/// Joins the failures of rollouts. `all` is the number of workloads.
///
/// # Errors
/// If there is any failure (exit code 3).
pub fn timed_out(all: usize, mut failures: Vec<(WorkloadRef, Failure)>) -> Result<(), Failure> {
    if failures.is_empty() {
        return Ok(());
    }
    failures.sort_by(|one, other| one.0.cmp(&other.0));
    let mut whole = Failure::unable(format!(
        "{} of {all} workloads have not rolled out",
        failures.len()
    ));
    for (at, failure) in failures {
        whole = whole.of(at, &failure);
    }
    Err(whole)
}

async fn roll_one(cluster: &Cluster, ui: Ui, task: &Task<'_>) -> Result<RolloutEnd, Failure> {
    let at = task.at;
    let mut printed = String::new();
    let mut print = |text: String| {
        if text != printed {
            ui.story(&format!("  {at}: {text}"));
            printed = text;
        }
    };
    loop {
        let found = cluster.workload(at.kind, &at.namespace, &at.name).await?;
        let Some(workload) = found else {
            print("is gone".to_owned());
            return Ok(RolloutEnd::Done);
        };
        let rollout = &workload.rollout;
        let is_complete = rollout.is_complete(at.kind);
        let is_marked = (task.goal.good)(&workload);
        if is_marked && is_complete {
            print(format!("rolled out, {}", rollout.progress(at.kind)));
            return Ok(RolloutEnd::Done);
        }
        let now = Instant::now();
        let mut limit = WATCH_LIMIT;
        let grace_end = task.grace.filter(|_| workload.reloaded && !is_marked);
        let has_changed = task
            .generation_before
            .is_some_and(|before| rollout.generation > before);
        match grace_end {
            _ if is_marked => print(rollout.progress(at.kind)),
            Some(_) if has_changed && is_complete => {
                print("restarted by Reloader".to_owned());
                return Ok(RolloutEnd::LeftToReloader);
            }
            Some(_) if has_changed || !is_complete => print(format!(
                "is restarted by Reloader, {}",
                rollout.progress(at.kind)
            )),
            Some(end) if now < end => limit = end - now,
            _ => {
                let (mark, now) = (&task.goal.mark, task.goal.now);
                if cluster.restart(&workload, mark, now).await? == Written::Done {
                    print("restarting".to_owned());
                }
                continue;
            }
        }
        if let Some(deadline) = task.deadline {
            if now >= deadline {
                return Err(explain_stuck(cluster, &workload).await?);
            }
            limit = limit.min(deadline - now);
        }
        cluster.wait_for_change(&workload, limit).await;
    }
}

/// Describes a rollout that timed out: its progress and what its pods and events say.
///
/// # Errors
/// A failed read (exit code 3).
pub async fn explain_stuck(cluster: &Cluster, workload: &Workload) -> Result<Failure, Failure> {
    let mut failure = Failure::unable(format!(
        "timed out waiting for the rollout: {}",
        workload.rollout.progress(workload.kind)
    ));
    for why in cluster.why_stuck(workload).await? {
        failure = failure.cause(why);
    }
    if workload.kind == WorkloadKind::StatefulSet {
        let (kubectl, namespace) = (&cluster.reach().kubectl, &workload.namespace);
        let pod = first_pod(&workload.name);
        failure = failure.hint(format!(
            "once that is fixed, delete the pod, since a StatefulSet does not replace one that \
             was never ready: {kubectl} -n {namespace} delete pod {pod} --wait=false"
        ));
    }
    Ok(failure)
}
