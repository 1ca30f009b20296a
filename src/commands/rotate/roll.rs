//! Restarts, and waiting for them: by us, by Reloader, or by hand.

use super::Run;
use super::look::Look;
use crate::domain::rotation::Rotation;
use crate::domain::rotation::rollouts::{Who, WorkloadRef, pending, role};
use crate::domain::workloads::Workload;
use crate::error::Failure;
use crate::io::cluster::{WIDTH, Written};
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long one wait for a change lasts at most.
const LOOK: Duration = Duration::from_secs(10);
/// The pause between two looks at what a person does.
const PAUSE: Duration = Duration::from_secs(1);

/// What a run has seen of rollouts.
#[derive(Default)]
pub struct Rolling {
    /// When something was last written: from then on Reloader has its time.
    written: Option<Instant>,
    /// The generation of each workload before that.
    before: BTreeMap<WorkloadRef, i64>,
    /// What Reloader restarted, or did not in its time: it is not waited for again in this phase.
    left: BTreeSet<(String, WorkloadRef)>,
}

impl Rolling {
    /// Notes that something is about to be written, and how the workloads are before that.
    pub fn written(&mut self, look: &Look) {
        let workloads = look.facts.places.values().flat_map(|it| &it.workloads);
        self.before = workloads
            .map(|it| (WorkloadRef::of(it), it.rollout.generation))
            .collect();
        self.written = Some(Instant::now());
    }
}

/// How one workload ended.
enum Rolled {
    /// It runs on what was written, as far as it can be told of it alone.
    Done,
    /// Reloader has dealt with it, or let its time go by: the pods will tell.
    Left,
}

impl Run<'_> {
    /// Restarts these workloads, waits until they have rolled out, and says how far each is.
    ///
    /// # Errors
    /// Those that do not roll out in time, with the reason; a server that refuses (exit code 3).
    pub(super) async fn roll_all(
        &self,
        look: &Look,
        rotation: &Rotation,
        workloads: &[WorkloadRef],
        rolling: &mut Rolling,
    ) -> Result<(), Failure> {
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let now = self.now(look);
        let (written, before, left) = (rolling.written, &rolling.before, &rolling.left);
        let work = workloads.iter().map(|at| {
            let now = now.as_str();
            let waits = !left.contains(&(rotation.mark(), at.clone()));
            let grace = self.rotate.reloader_grace.0.unwrap_or_default();
            let grace = waits.then(|| written.unwrap_or_else(Instant::now) + grace);
            let task = Task {
                rotation,
                at,
                now,
                grace,
                before: before.get(at).copied(),
                end,
            };
            async move { (at, self.roll_one(&task).await) }
        });
        let ended: Vec<_> = stream::iter(work).buffer_unordered(WIDTH).collect().await;
        let mut failures = Vec::new();
        for (at, ended) in ended {
            match ended {
                Ok(Rolled::Done) => {}
                Ok(Rolled::Left) => drop(rolling.left.insert((rotation.mark(), at.clone()))),
                Err(failure) => failures.push((at, failure)),
            }
        }
        self.not_rolled(rotation, workloads.len(), failures)
    }

    fn not_rolled(
        &self,
        rotation: &Rotation,
        all: usize,
        mut failures: Vec<(&WorkloadRef, Failure)>,
    ) -> Result<(), Failure> {
        if failures.is_empty() {
            return Ok(());
        }
        failures.sort_by(|one, other| one.0.cmp(other.0));
        let mut whole = Failure::unable(format!(
            "{} of {all} workloads have not rolled out, so the rotation stays in {}",
            failures.len(),
            rotation.phase
        ));
        for (at, failure) in failures {
            whole = whole.cause(format!("{at}: {}", failure.told()));
            for hint in failure.hints {
                whole = whole.hint(hint);
            }
        }
        Err(whole.hint(format!(
            "mend that, then carry it on: {} rotate --apply",
            self.reach.program
        )))
    }

    async fn roll_one(&self, task: &Task<'_>) -> Result<Rolled, Failure> {
        let at = task.at;
        let mut told = String::new();
        let mut tell = |text: String| {
            if text != told {
                self.ui.story(&format!("  {at}: {text}"));
                told = text;
            }
        };
        loop {
            let found = self
                .cluster
                .workload(at.kind, &at.namespace, &at.name)
                .await?;
            let Some(workload) = found else {
                tell("is gone".to_owned());
                return Ok(Rolled::Done);
            };
            let rollout = &workload.rollout;
            let complete = rollout.is_complete(at.kind);
            let both = task.rotation.phase.row().both;
            let role = role(task.rotation, &workload);
            let server_only = both && role.server && !task.rotation.phase.row().clients;
            let marked = task.rotation.marks(workload.mark.as_deref(), server_only);
            if marked && complete {
                tell(format!("rolled out, {}", rollout.progress(at.kind)));
                return Ok(Rolled::Done);
            }
            let now = Instant::now();
            let mut limit = LOOK;
            if marked {
                tell(rollout.progress(at.kind));
            } else if let Some(end) = task.grace.filter(|_| workload.reloaded) {
                let changed = task
                    .before
                    .is_some_and(|before| rollout.generation > before);
                match (changed || !complete, complete) {
                    (true, true) => {
                        tell("restarted by Reloader".to_owned());
                        return Ok(Rolled::Left);
                    }
                    (true, false) => tell(format!(
                        "is restarted by Reloader, {}",
                        rollout.progress(at.kind)
                    )),
                    (false, _) if now < end => limit = end - now,
                    (false, _) => {
                        self.restart(&workload, task).await?;
                        continue;
                    }
                }
            } else {
                if self.restart(&workload, task).await? == Written::Done {
                    tell("restarting".to_owned());
                }
                continue;
            }
            if let Some(end) = task.end {
                if now >= end {
                    return Err(self.hangs(&workload).await?);
                }
                limit = limit.min(end - now);
            }
            self.cluster.changed_since(&workload, limit).await;
        }
    }

    async fn restart(&self, workload: &Workload, task: &Task<'_>) -> Result<Written, Failure> {
        let mark = task.rotation.mark();
        self.cluster.restart(workload, &mark, task.now).await
    }

    /// Why a rollout does not end.
    async fn hangs(&self, workload: &Workload) -> Result<Failure, Failure> {
        let mut failure = Failure::unable(format!(
            "it did not roll out in time: {}",
            workload.rollout.progress(workload.kind)
        ));
        for why in self.cluster.why_stuck(workload).await? {
            failure = failure.cause(why);
        }
        Ok(failure)
    }

    /// Prints the commands that restart, and waits until they have been run.
    ///
    /// # Errors
    /// Where that takes too long (exit code 3).
    pub(super) async fn wait_for_hands(
        &self,
        rotation: &Rotation,
        workloads: &[WorkloadRef],
        rolling: &mut Rolling,
    ) -> Result<(), Failure> {
        for at in workloads {
            if rolling.left.insert((rotation.mark(), at.clone())) {
                let kind = at.kind.as_str().to_lowercase();
                self.ui.story(&format!(
                    "  restart it: {} -n {} rollout restart {kind}/{}",
                    self.reach.kubectl, at.namespace, at.name
                ));
            }
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            sleep(PAUSE).await;
            let look = self.look().await?;
            let same = look
                .state
                .as_ref()
                .is_some_and(|it| it.id == rotation.id && it.phase == rotation.phase);
            let waiting: Vec<_> = pending(rotation, &look.facts, Who::Everybody)
                .into_iter()
                .map(WorkloadRef::of)
                .filter(|at| workloads.contains(at))
                .collect();
            if !same || waiting.is_empty() {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let late = |at| (at, Failure::unable("nobody has restarted it yet"));
                let late = waiting.iter().map(late).collect();
                return self.not_rolled(rotation, workloads.len(), late);
            }
        }
    }
}

/// A workload that has to roll out.
struct Task<'a> {
    rotation: &'a Rotation,
    at: &'a WorkloadRef,
    /// The time, by the server's clock.
    now: &'a str,
    /// Until when Reloader has time; `None` where it is not waited for.
    grace: Option<Instant>,
    /// The generation before the last write.
    before: Option<i64>,
    end: Option<Instant>,
}
