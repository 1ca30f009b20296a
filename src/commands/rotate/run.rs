//! The loop of `rotate`: reads a snapshot, runs the next step, and pauses if that step waits, until
//! the rotation is finished or a person has to act. It must not decide which step comes next: that
//! is `domain::rotation::next_step`.

use super::context::RotateRun;
use super::probe::Proofs;
use super::snapshot::{self, Snapshot};
use super::wait::{CurrentWait, Next, WaitFor};
use super::{manual_store, preflight, probe, restart, start, write};
use crate::commands::shared::answer::{Answer, Verdict};
use crate::commands::shared::rollouts::RolloutTracker;
use crate::commands::shared::wait::Wait;
use crate::domain::cluster::snapshot::Denied;
use crate::domain::rotation::edits::{Edit, Odd, PlaceRef};
use crate::domain::rotation::gate::{OldTokenUser, holders_before};
use crate::domain::rotation::next_step::{Step, View, next};
use crate::domain::rotation::outcome::Outcome;
use crate::domain::rotation::sight::missing_reads;
use crate::domain::rotation::{Phase, Rotation, Side, is_retired};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, Token, TokenName};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::written::Written;
use crate::render::json::Body;
use crate::render::{rotation as rendered, rotation_document as document};
use std::collections::BTreeMap;

/// The number of consecutive write conflicts after which a run gives up.
const MAX_CONFLICTS: usize = 20;

/// The number of rewrites after which a run gives up. Each rewrite restarts pods.
const MAX_REWRITES: usize = 3;

/// The memory of one run, kept between its snapshots.
#[derive(Default)]
struct Progress {
    /// The home namespace's tokens in the first snapshot.
    initial_home: Option<PerToken<Option<Token>>>,
    /// The open rotation in the last snapshot.
    rotation: Option<Rotation>,
    /// The mark of the phase in which the servers were probed.
    proven_mark: Option<String>,
    /// The servers that were probed so far in this phase.
    proofs: Proofs,
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
    wait: CurrentWait,
    /// The wait for a snapshot with every read that the next step needs.
    blind: Option<Wait>,
    tracker: RolloutTracker,
}

impl Progress {
    async fn pause(&self) {
        match &self.blind {
            Some(wait) => wait.pause().await,
            None => self.wait.pause().await,
        }
    }
}

/// Runs the command with `--apply`.
pub(super) async fn apply(run: &RotateRun<'_>) -> Result<Answer, Failure> {
    let mut progress = Progress::default();
    let outcome = run_steps(run, &mut progress).await;
    let outcome = outcome.map_err(|failure| match &progress.rotation {
        // Most failures are temporary, so the rotation can be continued.
        Some(rotation) if failure.hints.is_empty() => failure
            .cause(format!("the rotation stays in {}", rotation.phase))
            .hint(format!("continue it: {}", run.carry_on_command())),
        _ => failure,
    })?;
    let verdict = match &outcome {
        Outcome::Held(rotation, holders) => Verdict::Failed(
            rendered::holders_failure(holders, rotation.phase.removed_side(), &run.reach)
                .hint(format!("then continue it: {}", run.carry_on_command())),
        ),
        _ => Verdict::Yes,
    };
    let text = rendered::outcome(&outcome, &run.reach, run.ui.palette());
    let body = Body::Rotation(document::of(&outcome, &run.reach));
    Ok(Answer {
        verdict,
        ..Answer::new(text, body)
    })
}

async fn run_steps(run: &RotateRun<'_>, progress: &mut Progress) -> Result<Outcome, Failure> {
    loop {
        let mut snapshot = snapshot::read(run, progress.rotation.as_ref()).await?;
        for target in &mut snapshot.targets {
            if let Some(mark) = progress.entry_marks.get(&target.at) {
                target.last_write = Some(mark.clone());
            }
        }
        progress.initial_home.get_or_insert_with(|| snapshot.home());
        let next = match &snapshot.state {
            Some(rotation) => step(run, &snapshot, rotation, progress).await?,
            None => begin(run, &snapshot, progress).await?,
        };
        match next {
            Next::End(outcome) => return Ok(outcome),
            Next::Pause => progress.pause().await,
            Next::Step => progress.wait = CurrentWait::default(),
        }
    }
}

/// Opens a rotation, or ends the run because there is none to continue.
async fn begin(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    if let Some(before) = &progress.rotation {
        return ended_by_other(run, snapshot, before).map(Next::End);
    }
    if run.rotate.abort {
        return Err(Failure::no("no rotation is open").hint(format!(
            "to replace the tokens again: {} --apply",
            run.command()
        )));
    }
    if run.rotate.carry_on {
        return Ok(Next::End(Outcome::Nothing));
    }
    let home = snapshot.home();
    let mut chosen = run.chosen_tokens().into_iter();
    let initial = progress.initial_home.as_ref();
    if chosen.any(|name| initial.is_some_and(|initial| home.get(name) != initial.get(name))) {
        adopt_home_tokens(run, snapshot)?;
        return Ok(Next::End(Outcome::FinishedByOther));
    }
    start::prepare(run, snapshot).await?;
    progress.tracker.record_write(snapshot.facts.workloads());
    let written = start::open(run, snapshot).await?;
    progress.is_opener = written == Written::Done;
    after_write(run, written, progress)
}

/// Runs the next step of an open rotation.
async fn step(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    preflight::check_can_continue(run, snapshot, rotation, progress.rotation.as_ref())?;
    let wider = run.with_places(rotation);
    if snapshot.only_in_store || wider != *rotation {
        return put_state(run, snapshot, &wider, progress).await;
    }
    let held = run.held()?;
    preflight::check_tokens_file(run, rotation, &held)?;
    let home = snapshot.home();
    let values = snapshot.values(rotation, &held);
    let view = View {
        rotation,
        values: &values,
        held: &held,
        home: &home,
        targets: &snapshot.targets,
        facts: &snapshot.facts,
        outside: &snapshot.outside,
        stale_secrets: &snapshot.stale_secrets,
        is_proven: progress.proven_mark == Some(rotation.mark()),
        until: run.rotate.until.map(Into::into),
        close_anyway: run.rotate.close_anyway,
    };
    if let Some(phase) = run.requested_phase(rotation)? {
        return jump_to(run, snapshot, &view, phase, progress).await;
    }
    announce(run, rotation, progress);
    progress.rotation = Some(rotation.clone());
    let step = next(&view);
    if !matches!(step, Ok(Step::Look(_))) {
        progress.blind = None;
    }
    let step = match step {
        Ok(step) => step,
        Err(odd) if progress.wait.is_for_edits() && odd.iter().all(Odd::is_edited_by_hand) => {
            return manual_store::ask_again(run, snapshot, &odd, &mut progress.wait).await;
        }
        Err(odd) => return Err(run.odd_failure(rotation, &odd)),
    };
    let due = match &step {
        Step::Roll(who, _) => restart::due(rotation, &snapshot.facts, *who),
        _ => Vec::new(),
    };
    let Progress {
        tracker,
        proofs,
        wait,
        ..
    } = progress;
    if !matches!(step, Step::Look(_)) {
        tracker.report(run.ui, &snapshot.facts, &due);
    }
    match step {
        Step::Look(missing) => look_again(run, rotation, &missing, progress),
        Step::File(wanted) => {
            run.change_tokens_file(|_| Ok(wanted))?;
            Ok(Next::Step)
        }
        Step::CountRewrite => {
            run.ui.story(
                "  another program overwrote values of this rotation: they are written again, and \
                 workloads that may have started with the wrong values restart once more",
            );
            progress.rewrites += 1;
            if progress.rewrites > MAX_REWRITES {
                return Err(conflict_failure(run));
            }
            put_state(run, snapshot, &rotation.with_rewrite(), progress).await
        }
        Step::Write(edits) => write_edits(run, snapshot, &view, edits, progress).await,
        Step::Follow(secrets) => write::follow(run, snapshot, &secrets, wait).await,
        Step::Roll(..) => restart::roll(run, snapshot, rotation, &due, tracker, wait).await,
        Step::Prove => {
            let next = probe::prove(run, snapshot, rotation, &values, proofs, wait).await?;
            if matches!(next, Next::Step) {
                progress.proven_mark = Some(rotation.mark());
            }
            Ok(next)
        }
        Step::Hold(holders) => Ok(wait_for_pods(run, rotation, holders, wait)),
        Step::Stop => Ok(Next::End(Outcome::Stopped(rotation.clone()))),
        Step::Advance(phase, left_behind) => {
            let next = rotation.in_phase(phase, &snapshot.time());
            // The tokens file comes first: a token is on disk before any pod can get it.
            run.change_tokens_file(|_| Ok(next.held(&values, &home)))?;
            for holder in &left_behind {
                let holder = rendered::describe_holder(holder);
                run.ui
                    .warn(&format!("--close-anyway: {holder} is left behind"));
            }
            progress.left_behind = left_behind;
            put_state(run, snapshot, &next, progress).await
        }
        Step::Finish(wanted) => finish(run, snapshot, &view, wanted, progress).await,
    }
}

/// Waits for a snapshot that has these reads.
///
/// # Errors
/// A permission is missing, or `--timeout` is over (exit code 3).
fn look_again(
    run: &RotateRun<'_>,
    rotation: &Rotation,
    missing: &[Denied],
    progress: &mut Progress,
) -> Result<Next, Failure> {
    let stays = |failure: Failure| {
        failure
            .cause(format!("the rotation stays in {}", rotation.phase))
            .hint(format!("then continue it: {}", run.carry_on_command()))
    };
    let forbidden = missing.iter().filter(|denied| denied.why.is_none());
    preflight::unreadable(forbidden)
        .if_any()
        .map_err(|failure| stays(failure.hint(run.role_hint())))?;
    let limit = run.rotate.timeout.0;
    let wait = progress.blind.get_or_insert_with(|| Wait::new(limit));
    if wait.is_over() || progress.wait.is_over() {
        let failure = Failure::unable("timed out: the cluster could not be read");
        let causes = missing.iter().map(ToString::to_string);
        return Err(stays(causes.fold(failure, Failure::cause)));
    }
    for denied in missing {
        wait.say(run.ui, format!("  reading again: {denied}"));
    }
    Ok(Next::Pause)
}

/// Writes the places that this program can write. If only a person can write the others, asks for
/// that and waits.
async fn write_edits(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    view: &View<'_>,
    edits: Vec<Edit>,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    let (manual, automatic): (Vec<_>, Vec<_>) = edits
        .into_iter()
        .partition(|edit| matches!(edit.at, PlaceRef::Manual(_)));
    let Progress { tracker, wait, .. } = progress;
    if automatic.is_empty() {
        return manual_store::ask(run, snapshot, view.held, &manual, tracker, wait).await;
    }
    tracker.record_write(snapshot.facts.workloads());
    let written = write::write_all(run, snapshot, view.rotation, &automatic).await?;
    if written == Written::Done {
        let entries = automatic.into_iter().map(|edit| edit.at);
        let entries = entries.filter(|at| matches!(at, PlaceRef::Entry(_)));
        let mark = view.rotation.mark();
        progress
            .entry_marks
            .extend(entries.map(|at| (at, mark.clone())));
    }
    after_write(run, written, progress)
}

/// Waits if all holders are terminating pods; otherwise the run ends.
fn wait_for_pods(
    run: &RotateRun<'_>,
    rotation: &Rotation,
    holders: Vec<OldTokenUser>,
    wait: &mut CurrentWait,
) -> Next {
    let wait = wait.enter(WaitFor::Pods, run.rotate.timeout.0);
    let is_terminating =
        |holder: &OldTokenUser| matches!(holder, OldTokenUser::Pod { leaving: true, .. });
    if wait.is_over() || !holders.iter().all(is_terminating) {
        return Next::End(Outcome::Held(rotation.clone(), holders));
    }
    let names: Vec<_> = holders.iter().map(rendered::describe_holder).collect();
    wait.say(run.ui, format!("  waiting for {}", names.join("; ")));
    Next::Pause
}

/// Removes the state.
async fn finish(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    view: &View<'_>,
    wanted: Held,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    run.change_tokens_file(|_| Ok(wanted))?;
    let rotation = view.rotation;
    let retired = rotation.retire(snapshot.retired.as_deref());
    let written = run
        .cluster
        .write_state(&snapshot.state_object, None, Some(&retired))
        .await?;
    if written == Written::Stale {
        return after_write(run, written, progress);
    }
    let mut left_behind = std::mem::take(&mut progress.left_behind);
    // An earlier run may have used `--close-anyway` too.
    left_behind.extend(holders_before(
        rotation,
        rotation.phase,
        view.facts,
        view.outside,
    ));
    left_behind.sort();
    left_behind.dedup();
    Ok(Next::End(Outcome::Finished(rotation.clone(), left_behind)))
}

fn announce(run: &RotateRun<'_>, rotation: &Rotation, progress: &mut Progress) {
    if progress.announced_phase.is_none() && !progress.is_opener {
        run.ui.story(&format!(
            "rotation {} of {}, open since {}, is in {}",
            rotation.id,
            rotation.names(),
            rotation.since,
            rotation.phase
        ));
    }
    if progress.announced_phase != Some(rotation.phase) {
        progress.announced_phase = Some(rotation.phase);
        run.ui.story(rendered::describe(rotation.phase));
    }
}

/// Begins the phase that `--abort` or `--immediate` asks for.
///
/// # Errors
/// A pod or a Secret holds the token that the phase removes (exit code 1), or no step of the phase
/// can be computed (1).
async fn jump_to(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    view: &View<'_>,
    phase: Phase,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    let missing = missing_reads(view.rotation, view.facts);
    if !missing.is_empty() {
        let missing: Vec<_> = missing.into_iter().cloned().collect();
        return look_again(run, view.rotation, &missing, progress);
    }
    let holders = holders_before(view.rotation, phase, view.facts, view.outside);
    if !holders.is_empty() && !run.rotate.close_anyway {
        return Err(rendered::holders_failure(
            &holders,
            phase.removed_side(),
            &run.reach,
        ));
    }
    if phase == Phase::Immediate {
        run.ui.warn(start::IMMEDIATE_WARNING);
    }
    let changed = view.rotation.in_phase(phase, &snapshot.time());
    // Assume that the tokens file is up to date. Otherwise `next` would return the step that writes
    // it, before it looks at any place.
    let held = changed.held(view.values, view.home);
    next(&View {
        rotation: &changed,
        held: &held,
        ..*view
    })
    .map_err(|odd| run.odd_failure(&changed, &odd))?;
    progress.left_behind = holders;
    put_state(run, snapshot, &changed, progress).await
}

/// Writes the state if its object has not changed since the snapshot.
async fn put_state(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    let text = rotation.text();
    let written = run
        .cluster
        .write_state(&snapshot.state_object, Some(&text), None)
        .await?;
    after_write(run, written, progress)
}

/// The outcome when another run has finished or aborted the rotation.
///
/// # Errors
/// The other run did the opposite of this one (exit code 1).
fn ended_by_other(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    before: &Rotation,
) -> Result<Outcome, Failure> {
    adopt_home_tokens(run, snapshot)?;
    let home = snapshot.home();
    let aborted = before.changes().any(|(name, change)| {
        let token = home.get(name).as_ref();
        token.is_some_and(|token| change.side(token.value()) == Some(Side::Old))
    });
    if aborted == run.rotate.abort || before.phase.is_back() {
        return Ok(Outcome::FinishedByOther);
    }
    let message = if aborted {
        "another run has aborted the rotation"
    } else {
        "another run has finished the rotation"
    };
    Err(Failure::no(message).hint(format!("{} verify", run.reach.program)))
}

/// Copies home's tokens to the tokens file where another run has replaced the token in it.
fn adopt_home_tokens(run: &RotateRun<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let home = snapshot.home();
    let retired = snapshot.retired.as_deref();
    run.change_tokens_file(|held| {
        let is_kept = |name: TokenName, token: &Token| !is_retired(retired, name, token.value());
        let current = PerToken::from_fn(|name| {
            let filed = held.current.get(name).as_ref();
            let kept = filed.filter(|token| is_kept(name, token));
            kept.or(home.get(name).as_ref()).cloned()
        });
        Ok(Held {
            current,
            ..Held::default()
        })
    })
}

/// Goes on after a write, and counts consecutive conflicts.
///
/// # Errors
/// There were [`MAX_CONFLICTS`] of them (exit code 3).
fn after_write(
    run: &RotateRun<'_>,
    written: Written,
    progress: &mut Progress,
) -> Result<Next, Failure> {
    progress.conflicts = match written {
        Written::Done => 0,
        Written::Stale => progress.conflicts + 1,
    };
    if progress.conflicts < MAX_CONFLICTS {
        Ok(Next::Step)
    } else {
        Err(conflict_failure(run))
    }
}

fn conflict_failure(run: &RotateRun<'_>) -> Failure {
    let (kubectl, home) = (&run.reach.kubectl, &run.global.namespace);
    Failure::unable("other programs keep changing the Secrets of the rotation").hint(format!(
        "see which: {kubectl} -n {home} get secret {} -o \
         jsonpath='{{.metadata.managedFields}}' --show-managed-fields; then run it again",
        ROUTER.secret
    ))
}
