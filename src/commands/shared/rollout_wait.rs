//! Workloads that have to make their pods anew: restarted by us, or left to Reloader, and waited for.

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

/// How long one wait for a change lasts at most.
const LOOK: Duration = Duration::from_secs(10);

/// What a run has seen of rollouts.
#[derive(Default)]
pub struct RolloutTracker {
    /// When something was last written: from then on Reloader has its time.
    written: Option<Instant>,
    /// The generation of each workload before that.
    before: BTreeMap<WorkloadRef, i64>,
    /// What Reloader has restarted since, or not in its time: it is not waited for again with this
    /// mark.
    left: BTreeSet<(String, WorkloadRef)>,
}

impl RolloutTracker {
    /// Notes that something is about to be written, and how the workloads are before that.
    pub fn written<'a>(&mut self, workloads: impl Iterator<Item = &'a Workload>) {
        self.before = workloads
            .map(|it| (WorkloadRef::of(it), it.rollout.generation))
            .collect();
        self.written = Some(Instant::now());
        self.left.clear();
    }

    /// Notes that a workload is left to others; tells whether that is new.
    pub fn leave(&mut self, mark: &str, at: &WorkloadRef) -> bool {
        self.left.insert((mark.to_owned(), at.clone()))
    }
}

/// What is to be reached.
pub struct RolloutGoal<'a> {
    /// What a template says that was restarted for it.
    pub mark: String,
    /// Tells whether a template's mark is as good.
    pub good: &'a dyn Fn(&Workload) -> bool,
    /// The time, by the server's clock, as RFC 3339.
    pub now: &'a str,
    /// How long Reloader may take.
    pub grace: Duration,
    /// How long all of it may take; `None` for no limit.
    pub limit: Option<Duration>,
}

/// How one workload ended.
enum Rolled {
    /// It runs on what was written, as far as it can be told of it alone.
    Done,
    /// Reloader has dealt with it, or let its time go by: the pods will tell.
    Left,
}

/// A workload that has to roll out.
struct Task<'a> {
    aim: &'a RolloutGoal<'a>,
    at: &'a WorkloadRef,
    /// Until when Reloader has time; `None` where it is not waited for.
    grace: Option<Instant>,
    /// The generation before the last write.
    before: Option<i64>,
    end: Option<Instant>,
}

/// Restarts these workloads and waits until they have rolled out, a line for each step of each.
///
/// # Errors
/// Those that do not roll out in time, with the reason; a server that refuses (exit code 3).
pub async fn roll(
    cluster: &Cluster,
    ui: Ui,
    workloads: &[WorkloadRef],
    aim: &RolloutGoal<'_>,
    rolling: &mut RolloutTracker,
) -> Result<(), Failure> {
    let end = aim
        .limit
        .and_then(|limit| Instant::now().checked_add(limit));
    let (written, before, left) = (rolling.written, &rolling.before, &rolling.left);
    let work = workloads.iter().map(|at| {
        let waits = !left.contains(&(aim.mark.clone(), at.clone()));
        let task = Task {
            aim,
            at,
            grace: waits.then(|| written.unwrap_or_else(Instant::now) + aim.grace),
            before: before.get(at).copied(),
            end,
        };
        async move { (at, roll_one(cluster, ui, &task).await) }
    });
    let ended: Vec<_> = stream::iter(work).buffer_unordered(WIDTH).collect().await;
    let mut failures = Vec::new();
    for (at, ended) in ended {
        match ended {
            Ok(Rolled::Done) => {}
            Ok(Rolled::Left) => drop(rolling.leave(&aim.mark, at)),
            Err(failure) => failures.push((at.clone(), failure)),
        }
    }
    timed_out(workloads.len(), failures)
}

/// The failure of those that are not there yet.
///
/// # Errors
/// Where there are any (exit code 3).
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

async fn roll_one(cluster: &Cluster, ui: Ui, task: &Task<'_>) -> Result<Rolled, Failure> {
    let at = task.at;
    let mut told = String::new();
    let mut tell = |text: String| {
        if text != told {
            ui.story(&format!("  {at}: {text}"));
            told = text;
        }
    };
    loop {
        let found = cluster.workload(at.kind, &at.namespace, &at.name).await?;
        let Some(workload) = found else {
            tell("is gone".to_owned());
            return Ok(Rolled::Done);
        };
        let rollout = &workload.rollout;
        let complete = rollout.is_complete(at.kind);
        let marked = (task.aim.good)(&workload);
        if marked && complete {
            tell(format!("rolled out, {}", rollout.progress(at.kind)));
            return Ok(Rolled::Done);
        }
        let now = Instant::now();
        let mut limit = LOOK;
        let reloader = task.grace.filter(|_| workload.reloaded && !marked);
        let changed = task
            .before
            .is_some_and(|before| rollout.generation > before);
        match reloader {
            _ if marked => tell(rollout.progress(at.kind)),
            Some(_) if changed && complete => {
                tell("restarted by Reloader".to_owned());
                return Ok(Rolled::Left);
            }
            Some(_) if changed || !complete => tell(format!(
                "is restarted by Reloader, {}",
                rollout.progress(at.kind)
            )),
            Some(end) if now < end => limit = end - now,
            _ => {
                let (mark, now) = (&task.aim.mark, task.aim.now);
                if cluster.restart(&workload, mark, now).await? == Written::Done {
                    tell("restarting".to_owned());
                }
                continue;
            }
        }
        if let Some(end) = task.end {
            if now >= end {
                return Err(explain_stuck(cluster, &workload).await?);
            }
            limit = limit.min(end - now);
        }
        cluster.changed_since(&workload, limit).await;
    }
}

/// Why a rollout does not end.
///
/// # Errors
/// What cannot be read (exit code 3).
pub async fn explain_stuck(cluster: &Cluster, workload: &Workload) -> Result<Failure, Failure> {
    let mut failure = Failure::unable(format!(
        "it did not roll out in time: {}",
        workload.rollout.progress(workload.kind)
    ));
    for why in cluster.why_stuck(workload).await? {
        failure = failure.cause(why);
    }
    if workload.kind == WorkloadKind::StatefulSet {
        let (kubectl, namespace) = (&cluster.reach().kubectl, &workload.namespace);
        let pod = first_pod(&workload.name);
        failure = failure.hint(format!(
            "when that is mended, a StatefulSet keeps a pod that never was ready: {kubectl} -n \
             {namespace} delete pod {pod} --wait=false"
        ));
    }
    Ok(failure)
}
