//! Runs the steps of a rotation until it is finished or a person has to act. It must not decide
//! which step comes next: that is `domain::rotation::next_step`.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::{probe, start, tokens_file};
use crate::commands::shared::answer::{Answer, Verdict};
use crate::commands::shared::rollout_wait::RolloutTracker;
use crate::domain::rotation::edits::PlaceRef;
use crate::domain::rotation::gate::{OldTokenUser, holders_before};
use crate::domain::rotation::next_step::{Step, View, next};
use crate::domain::rotation::outcome::Outcome;
use crate::domain::rotation::{Phase, Rotation, Side, is_retired};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, Token, TokenName};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::written::Written;
use crate::render::json::Body;
use crate::render::{rotation as rendered, rotation_document as document};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const IMMEDIATE_WARNING: &str = "--immediate: until every workload has restarted, clients get 401";

/// The number of consecutive write conflicts after which a run gives up.
const MAX_CONFLICTS: usize = 20;

/// The number of rewrites after which a run gives up. Each rewrite restarts pods.
const MAX_REWRITES: usize = 3;

/// The pause between two snapshots while pods terminate.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The memory of one run, kept between its snapshots.
#[derive(Default)]
pub struct Progress {
    /// The home namespace's tokens in the first snapshot.
    initial_home: Option<PerToken<Option<Token>>>,
    /// The open rotation in the last snapshot.
    rotation: Option<Rotation>,
    /// The mark of the phase in which the servers were probed.
    proven_mark: Option<String>,
    /// Whether this run opened the rotation.
    is_opener: bool,
    /// The last phase that was printed.
    announced_phase: Option<Phase>,
    /// The number of consecutive write conflicts.
    conflicts: usize,
    /// The number of rewrites because another program changed a place.
    rewrites: usize,
    /// The mark of the last write to each store entry: an entry has no annotation for it.
    entry_marks: BTreeMap<PlaceRef, String>,
    /// The pods and Secrets that `--close-anyway` left with the removed token.
    left_behind: Vec<OldTokenUser>,
    /// When this run began to wait for terminating pods.
    waiting_since: Option<Instant>,
    pub tracker: RolloutTracker,
}

impl RotateRun<'_> {
    pub(super) async fn apply(&self) -> Result<Answer, Failure> {
        let mut progress = Progress::default();
        let outcome = self.run_steps(&mut progress).await;
        let outcome = outcome.map_err(|failure| match &progress.rotation {
            // Most failures are temporary, so the rotation can be continued.
            Some(rotation) if failure.hints.is_empty() => failure
                .cause(format!("the rotation stays in {}", rotation.phase))
                .hint(format!("continue it: {}", self.carry_on_command())),
            _ => failure,
        })?;
        let verdict = match &outcome {
            Outcome::Held(rotation, holders) => Verdict::Failed(
                rendered::holders_failure(holders, rotation.phase.removed_side(), &self.reach)
                    .hint(format!("then continue it: {}", self.carry_on_command())),
            ),
            _ => Verdict::Yes,
        };
        Ok(Answer {
            text: rendered::outcome(&outcome, &self.reach, self.ui.palette()),
            next: None,
            body: Body::Rotation(document::of(&outcome, &self.reach)),
            verdict,
        })
    }

    async fn run_steps(&self, progress: &mut Progress) -> Result<Outcome, Failure> {
        loop {
            let mut snapshot = self.read_snapshot().await?;
            for target in &mut snapshot.targets {
                if let Some(mark) = progress.entry_marks.get(&target.at) {
                    target.last_write = Some(mark.clone());
                }
            }
            if let Some(outcome) = self.step(&snapshot, progress).await? {
                return Ok(outcome);
            }
        }
    }

    /// Runs the next step. Returns the outcome if the run ends with it.
    async fn step(
        &self,
        snapshot: &Snapshot,
        progress: &mut Progress,
    ) -> Result<Option<Outcome>, Failure> {
        let home = snapshot.home();
        let initial_home = progress
            .initial_home
            .get_or_insert_with(|| home.clone())
            .clone();
        let Some(rotation) = &snapshot.state else {
            if let Some(before) = &progress.rotation {
                return self.ended_by_other(snapshot, before).map(Some);
            }
            if self.rotate.abort {
                return Err(Failure::no("no rotation is open").hint(format!(
                    "to replace the tokens again: {} --apply",
                    self.command()
                )));
            }
            if self.rotate.carry_on {
                return Ok(Some(Outcome::Nothing));
            }
            if self
                .chosen_tokens()
                .iter()
                .any(|name| home.get(*name) != initial_home.get(*name))
            {
                self.adopt_home_tokens(snapshot)?;
                return Ok(Some(Outcome::FinishedByOther));
            }
            self.prepare(snapshot).await?;
            progress.tracker.written(snapshot.workloads());
            let written = self.open(snapshot).await?;
            progress.is_opener = written == Written::Done;
            self.count_conflicts(written, progress)?;
            return Ok(None);
        };
        self.check_can_continue(snapshot, rotation, progress.rotation.as_ref())?;
        let wider = self.with_places(rotation);
        if snapshot.only_in_store || wider != *rotation {
            self.put_state(snapshot, &wider, progress).await?;
            return Ok(None);
        }
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check_tokens_file(rotation, &held)?;
        let values = snapshot.values(rotation, &held);
        let outside = snapshot.outside();
        let view = View {
            rotation,
            values: &values,
            held: &held,
            home: &home,
            targets: &snapshot.targets,
            facts: &snapshot.facts,
            outside: &outside,
            stale_secrets: &snapshot.stale_secrets,
            is_proven: progress.proven_mark == Some(rotation.mark()),
            until: self.rotate.until.map(Into::into),
            close_anyway: self.rotate.close_anyway,
        };
        if let Some(phase) = self.requested_phase(rotation)? {
            self.jump_to(snapshot, &view, phase, progress).await?;
            return Ok(None);
        }
        self.announce(rotation, progress);
        progress.rotation = Some(rotation.clone());
        let step = next(&view).map_err(|odd| self.odd_failure(rotation, &odd))?;
        match step {
            Step::File(wanted) => {
                self.update_tokens_file(|_| wanted)?;
            }
            Step::CountRewrite => {
                self.ui.story(
                    "  another program overwrote values of this rotation: they are written again, \
                     and workloads that may have started with the wrong values restart once more",
                );
                progress.rewrites += 1;
                if progress.rewrites > MAX_REWRITES {
                    return Err(self.conflict_failure());
                }
                self.put_state(snapshot, &rotation.with_rewrite(), progress)
                    .await?;
            }
            Step::Write(edits) => {
                progress.tracker.written(snapshot.workloads());
                let (manual, automatic): (Vec<_>, Vec<_>) = edits
                    .into_iter()
                    .partition(|edit| matches!(edit.at, PlaceRef::Manual(_)));
                let written = self.write_places(snapshot, rotation, &automatic).await?;
                self.count_conflicts(written, progress)?;
                if written == Written::Done {
                    progress.entry_marks.extend(
                        automatic
                            .into_iter()
                            .filter(|edit| matches!(edit.at, PlaceRef::Entry(_)))
                            .map(|edit| (edit.at, rotation.mark())),
                    );
                }
                self.edit_manually(rotation, &held, &manual).await?;
            }
            Step::Follow(secrets) => self.wait_for_secrets(snapshot, &secrets).await?,
            Step::Roll(who, workloads) => {
                self.restart_and_wait(snapshot, rotation, who, &workloads, &mut progress.tracker)
                    .await?;
            }
            Step::Prove => {
                probe::prove(self, snapshot, rotation, &values).await?;
                progress.proven_mark = Some(rotation.mark());
            }
            Step::Hold(holders) => {
                if !self.wait_for_terminating_pods(&holders, progress).await {
                    return Ok(Some(Outcome::Held(rotation.clone(), holders)));
                }
            }
            Step::Stop => return Ok(Some(Outcome::Stopped(rotation.clone()))),
            Step::Advance(phase, left_behind) => {
                // The tokens file comes first: a token is on disk before any pod can get it.
                let wanted = rotation.in_phase(phase, "").held(&values, &home);
                self.update_tokens_file(|_| wanted)?;
                for holder in &left_behind {
                    let holder = rendered::describe_holder(holder);
                    self.ui
                        .warn(&format!("--close-anyway: {holder} is left behind"));
                }
                progress.left_behind = left_behind;
                let next = rotation.in_phase(phase, &snapshot.now());
                self.put_state(snapshot, &next, progress).await?;
            }
            Step::Finish(wanted) => {
                self.update_tokens_file(|_| wanted)?;
                let retired = rotation.retire(snapshot.retired.as_deref());
                let written = self
                    .cluster
                    .write_state(&snapshot.state_object, None, Some(&retired))
                    .await?;
                if written == Written::Done {
                    let mut left_behind = std::mem::take(&mut progress.left_behind);
                    // An earlier run may have used `--close-anyway` too.
                    left_behind.extend(holders_before(
                        rotation,
                        rotation.phase,
                        &snapshot.facts,
                        &outside,
                    ));
                    left_behind.sort();
                    left_behind.dedup();
                    return Ok(Some(Outcome::Finished(rotation.clone(), left_behind)));
                }
                self.count_conflicts(written, progress)?;
            }
        }
        Ok(None)
    }

    /// Checks that a rotation can begin, and prints its scope and what could not be seen.
    async fn prepare(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check_can_begin(snapshot, &held)?;
        self.check_store(snapshot).await?;
        let context = self.cluster.context.as_deref().unwrap_or("in-cluster");
        let fleet = match snapshot.facts.fleet().count() {
            0 => String::new(),
            1 => " and 1 fleet namespace".to_owned(),
            count => format!(" and {count} fleet namespaces"),
        };
        let chosen: Vec<_> = self
            .chosen_tokens()
            .iter()
            .map(|name| name.as_str())
            .collect();
        self.ui.story(&format!(
            "rotating {} on context {context} ({}), namespace {}{fleet}",
            chosen.join(" and "),
            self.cluster.server,
            self.global.namespace,
        ));
        for unseen in Self::describe_unseen(snapshot) {
            self.ui.story(&format!("not seen: {unseen}"));
        }
        for copy in start::absent_copies(snapshot) {
            self.ui.warn(&format!("--copy {copy}: Secret not found"));
        }
        if self.rotate.immediate {
            self.ui.warn(IMMEDIATE_WARNING);
        }
        Ok(())
    }

    fn announce(&self, rotation: &Rotation, progress: &mut Progress) {
        if progress.announced_phase.is_none() && !progress.is_opener {
            self.ui.story(&format!(
                "rotation {} of {}, open since {}, is in {}",
                rotation.id,
                rendered::names(rotation),
                rotation.since,
                rotation.phase
            ));
        }
        if progress.announced_phase != Some(rotation.phase) {
            progress.announced_phase = Some(rotation.phase);
            self.ui.story(rendered::describe(rotation.phase));
        }
    }

    /// Begins the phase that `--abort` or `--immediate` asks for.
    ///
    /// # Errors
    /// A pod or a Secret holds the token that the phase removes (exit code 1), or no step of the
    /// phase can be computed (1).
    async fn jump_to(
        &self,
        snapshot: &Snapshot,
        view: &View<'_>,
        phase: Phase,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let holders = holders_before(view.rotation, phase, view.facts, view.outside);
        if !holders.is_empty() && !self.rotate.close_anyway {
            return Err(rendered::holders_failure(
                &holders,
                phase.removed_side(),
                &self.reach,
            ));
        }
        if phase == Phase::Immediate {
            self.ui.warn(IMMEDIATE_WARNING);
        }
        let changed = view.rotation.in_phase(phase, &snapshot.now());
        // Assume that the tokens file is up to date. Otherwise `next` would return the step that writes
        // it, before it looks at any place.
        let held = changed.held(view.values, view.home);
        next(&View {
            rotation: &changed,
            held: &held,
            ..*view
        })
        .map_err(|odd| self.odd_failure(&changed, &odd))?;
        progress.left_behind = holders;
        self.put_state(snapshot, &changed, progress).await
    }

    /// Writes the state if its object has not changed since the snapshot.
    async fn put_state(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let text = rotation.text();
        let written = self
            .cluster
            .write_state(&snapshot.state_object, Some(&text), None);
        self.count_conflicts(written.await?, progress)
    }

    fn update_tokens_file(&self, decide: impl FnOnce(&Held) -> Held) -> Result<(), Failure> {
        tokens_file::change(
            &self.global.tokens_file,
            &self.applied_to(),
            self.ui,
            |held| Ok(decide(held)),
        )
    }

    /// The outcome when another run has finished or aborted the rotation.
    ///
    /// # Errors
    /// The other run did the opposite of this one (exit code 1).
    fn ended_by_other(&self, snapshot: &Snapshot, before: &Rotation) -> Result<Outcome, Failure> {
        self.adopt_home_tokens(snapshot)?;
        let home = snapshot.home();
        let aborted = before.changes().any(|(name, change)| {
            let token = home.get(name).as_ref();
            token.is_some_and(|token| change.side(token.value()) == Some(Side::Old))
        });
        if aborted == self.rotate.abort || before.phase.is_back() {
            return Ok(Outcome::FinishedByOther);
        }
        let message = if aborted {
            "another run has aborted the rotation"
        } else {
            "another run has finished the rotation"
        };
        Err(Failure::no(message).hint(format!("{} verify", self.reach.program)))
    }

    /// Copies home's tokens to the tokens file where another run has replaced the token in it.
    fn adopt_home_tokens(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let home = snapshot.home();
        let retired = snapshot.retired.clone();
        self.update_tokens_file(|held| {
            let current = PerToken::from_fn(|name: TokenName| {
                let filed = held.current.get(name);
                let is_replaceable = filed
                    .as_ref()
                    .is_none_or(|token| is_retired(retired.as_deref(), name, token.value()));
                if is_replaceable {
                    home.get(name).clone()
                } else {
                    filed.clone()
                }
            });
            Held {
                current,
                ..Held::default()
            }
        })
    }

    /// Waits a moment if all holders are terminating pods. Returns false if a holder does not go
    /// away by itself, or if `--timeout` is over.
    async fn wait_for_terminating_pods(
        &self,
        holders: &[OldTokenUser],
        progress: &mut Progress,
    ) -> bool {
        let is_terminating =
            |holder: &OldTokenUser| matches!(holder, OldTokenUser::Pod { leaving: true, .. });
        if !holders.iter().all(is_terminating) {
            return false;
        }
        let since = *progress.waiting_since.get_or_insert_with(|| {
            let names: Vec<_> = holders.iter().map(rendered::describe_holder).collect();
            self.ui
                .story(&format!("  waiting for {}", names.join("; ")));
            Instant::now()
        });
        sleep(POLL_INTERVAL).await;
        let limit = self.rotate.timeout.0;
        limit.is_none_or(|limit| since.elapsed() < limit)
    }

    /// Counts consecutive write conflicts.
    ///
    /// # Errors
    /// There were [`MAX_CONFLICTS`] of them (exit code 3).
    fn count_conflicts(&self, written: Written, progress: &mut Progress) -> Result<(), Failure> {
        progress.conflicts = match written {
            Written::Done => 0,
            Written::Stale => progress.conflicts + 1,
        };
        if progress.conflicts >= MAX_CONFLICTS {
            return Err(self.conflict_failure());
        }
        Ok(())
    }

    fn conflict_failure(&self) -> Failure {
        let (kubectl, home) = (&self.reach.kubectl, &self.global.namespace);
        Failure::unable("other programs keep changing the Secrets of the rotation").hint(format!(
            "see which: {kubectl} -n {home} get secret {} -o \
             jsonpath='{{.metadata.managedFields}}' --show-managed-fields; then run it again",
            ROUTER.secret
        ))
    }
}
