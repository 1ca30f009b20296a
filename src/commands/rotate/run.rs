//! Carrying a rotation on, step by step, until it is over or somebody has to do something.

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

/// What a rotation in one step costs.
const AT_ONCE: &str = "--immediate: until every workload has restarted, clients are answered 401";

/// How often a write is tried at most where somebody else wrote first.
const ROUNDS: usize = 20;

/// How often places are written again at most that somebody resets: each time pods restart.
const AGAIN: usize = 3;

/// The pause between two looks at pods that end.
const PAUSE: Duration = Duration::from_millis(500);

/// What a run remembers.
#[derive(Default)]
pub struct Progress {
    /// The tokens of home when it began.
    began: Option<PerToken<Option<Token>>>,
    /// The rotation that it works on, as it was last seen.
    rotation: Option<Rotation>,
    /// The mark of the phase that it has proven.
    proven: Option<String>,
    /// Whether it opened the rotation itself.
    opened: bool,
    /// The phase that it has told of.
    told: Option<Phase>,
    /// How often in a row somebody else wrote first.
    stale: usize,
    /// How often somebody put something else where the rotation had written.
    again: usize,
    /// The entries of the store that it has written, and in which phase: they have no mark.
    entries: BTreeMap<PlaceRef, String>,
    /// Who held what is holders_before when that was done anyway.
    left: Vec<OldTokenUser>,
    /// Since when it waits for pods that are being deleted.
    leaving: Option<Instant>,
    /// What it has seen of rollouts.
    pub rolling: RolloutTracker,
}

impl RotateRun<'_> {
    pub(super) async fn apply(&self) -> Result<Answer, Failure> {
        let mut memory = Progress::default();
        let outcome = self.go(&mut memory).await;
        let outcome = outcome.map_err(|failure| match &memory.rotation {
            // What has begun can be carried on, and that is the remedy of most.
            Some(rotation) if failure.hints.is_empty() => {
                let failure = failure.cause(format!("the rotation stands in {}", rotation.phase));
                failure.hint(format!("carry it on: {}", self.carry_on()))
            }
            _ => failure,
        })?;
        let verdict = match &outcome {
            Outcome::Held(rotation, holders) => Verdict::Failed(
                rendered::holders_failure(holders, rotation.phase.removed_side(), &self.reach)
                    .hint(format!("then carry it on: {}", self.carry_on())),
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

    async fn go(&self, memory: &mut Progress) -> Result<Outcome, Failure> {
        loop {
            let mut look = self.look().await?;
            for target in &mut look.targets {
                let entry = memory.entries.get(&target.at);
                target.last_write = entry.cloned().or(target.last_write.take());
            }
            if let Some(outcome) = self.step(&look, memory).await? {
                return Ok(outcome);
            }
        }
    }

    /// Does what comes next; gives how the run ended, where it did.
    async fn step(
        &self,
        look: &Snapshot,
        memory: &mut Progress,
    ) -> Result<Option<Outcome>, Failure> {
        let home = look.home();
        let began = memory.began.get_or_insert_with(|| home.clone()).clone();
        let Some(rotation) = &look.state else {
            if let Some(before) = &memory.rotation {
                return self.over_meanwhile(look, before).map(Some);
            }
            if self.rotate.abort {
                return Err(Failure::no("no rotation is open").hint(format!(
                    "to exchange the tokens again: {} --apply",
                    self.command()
                )));
            }
            if self.rotate.carry_on {
                return Ok(Some(Outcome::Nothing));
            }
            let chosen = self.chosen();
            if chosen
                .iter()
                .any(|name| home.get(*name) != began.get(*name))
            {
                self.adopt(look)?;
                return Ok(Some(Outcome::FinishedByOther));
            }
            self.begin(look).await?;
            memory.rolling.written(look.workloads());
            let written = self.open(look).await?;
            memory.opened = written == Written::Done;
            self.count(written, memory)?;
            return Ok(None);
        };
        self.check_carried_on(look, rotation, memory.rotation.as_ref())?;
        let wider = self.with_places(rotation);
        if look.only_in_store || wider != *rotation {
            self.put_state(look, &wider, memory).await?;
            return Ok(None);
        }
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check_file(rotation, &held)?;
        let values = look.values(rotation, &held);
        let outside = look.outside();
        let view = View {
            rotation,
            values: &values,
            held: &held,
            home: &home,
            targets: &look.targets,
            facts: &look.facts,
            outside: &outside,
            stale_secrets: &look.stale_secrets,
            is_proven: memory.proven == Some(rotation.mark()),
            until: self.rotate.until.map(Into::into),
            close_anyway: self.rotate.close_anyway,
        };
        if let Some(phase) = self.turn(rotation)? {
            self.take(look, &view, phase, memory).await?;
            return Ok(None);
        }
        self.tell(rotation, memory);
        memory.rotation = Some(rotation.clone());
        let step = next(&view).map_err(|odd| self.odd(rotation, &odd))?;
        match step {
            Step::File(wanted) => {
                self.keep(|_| wanted)?;
            }
            Step::CountRewrite => {
                self.ui.story(
                    "  somebody has put other values where this rotation wrote: they are written \
                     again, and what may have started with them restarts once more",
                );
                memory.again += 1;
                if memory.again > AGAIN {
                    return Err(self.contested());
                }
                self.put_state(look, &rotation.with_rewrite(), memory)
                    .await?;
            }
            Step::Write(edits) => {
                memory.rolling.written(look.workloads());
                let (by_hand, ours): (Vec<_>, Vec<_>) = edits
                    .into_iter()
                    .partition(|edit| matches!(edit.at, PlaceRef::Manual(_)));
                let written = self.write_all(look, rotation, &ours).await?;
                self.count(written, memory)?;
                if written == Written::Done {
                    let entries = ours.into_iter().map(|edit| edit.at);
                    let entries = entries.filter(|at| matches!(at, PlaceRef::Entry(_)));
                    memory
                        .entries
                        .extend(entries.map(|at| (at, rotation.mark())));
                }
                self.by_hand(rotation, &held, &by_hand).await?;
            }
            Step::Follow(secrets) => self.follow(look, &secrets).await?,
            Step::Roll(who, workloads) => {
                self.roll(look, rotation, who, &workloads, &mut memory.rolling)
                    .await?;
            }
            Step::Prove => {
                probe::prove(self, look, rotation, &values).await?;
                memory.proven = Some(rotation.mark());
            }
            Step::Hold(holders) => {
                if !self.wait_for_leaving(&holders, memory).await {
                    return Ok(Some(Outcome::Held(rotation.clone(), holders)));
                }
            }
            Step::Stop => return Ok(Some(Outcome::Stopped(rotation.clone()))),
            Step::Advance(phase, left) => {
                // The file first: what is about to be handed out has to be on disk.
                let wanted = rotation.in_phase(phase, "").held(&values, &home);
                self.keep(|_| wanted)?;
                for holder in &left {
                    let holder = rendered::describe_holder(holder);
                    self.ui
                        .warn(&format!("--close-anyway: {holder} is left behind"));
                }
                memory.left = left;
                let next = rotation.in_phase(phase, &look.now());
                self.put_state(look, &next, memory).await?;
            }
            Step::Finish(wanted) => {
                self.keep(|_| wanted)?;
                let retired = rotation.retire(look.retired.as_deref());
                let written = self
                    .cluster
                    .write_state(&look.keeper, None, Some(&retired))
                    .await?;
                if written == Written::Done {
                    let mut left = std::mem::take(&mut memory.left);
                    // A run before may have left somebody behind, too.
                    left.extend(holders_before(
                        rotation,
                        rotation.phase,
                        &look.facts,
                        &outside,
                    ));
                    left.sort();
                    left.dedup();
                    return Ok(Some(Outcome::Finished(rotation.clone(), left)));
                }
                self.count(written, memory)?;
            }
        }
        Ok(None)
    }

    /// Before a rotation begins: what a person has to decide, and what nobody can see.
    async fn begin(&self, look: &Snapshot) -> Result<(), Failure> {
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check(look, &held)?;
        self.check_store(look).await?;
        let context = self.cluster.context.as_deref().unwrap_or("in-cluster");
        let fleet = match look.facts.fleet().count() {
            0 => String::new(),
            1 => " and 1 fleet namespace".to_owned(),
            count => format!(" and {count} fleet namespaces"),
        };
        let chosen: Vec<_> = self.chosen().iter().map(|name| name.as_str()).collect();
        self.ui.story(&format!(
            "rotating {} on context {context} ({}), namespace {}{fleet}",
            chosen.join(" and "),
            self.cluster.server,
            self.global.namespace,
        ));
        for unseen in Self::unseen(look) {
            self.ui.story(&format!("not seen: {unseen}"));
        }
        for copy in start::absent_copies(look) {
            self.ui
                .warn(&format!("--copy {copy}: there is no such Secret"));
        }
        if self.rotate.immediate {
            self.ui.warn(AT_ONCE);
        }
        Ok(())
    }

    fn tell(&self, rotation: &Rotation, memory: &mut Progress) {
        if memory.told.is_none() && !memory.opened {
            self.ui.story(&format!(
                "rotation {} of {}, open since {}, stands in {}",
                rotation.id,
                rendered::names(rotation),
                rotation.since,
                rotation.phase
            ));
        }
        if memory.told != Some(rotation.phase) {
            memory.told = Some(rotation.phase);
            self.ui.story(rendered::describe(rotation.phase));
        }
    }

    /// Takes a turn, unless somebody holds what is holders_before then, or it could not be gone through.
    async fn take(
        &self,
        look: &Snapshot,
        view: &View<'_>,
        phase: Phase,
        memory: &mut Progress,
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
            self.ui.warn(AT_ONCE);
        }
        let turned = view.rotation.in_phase(phase, &look.now());
        // As if the file had followed, since that is all that would be looked at else.
        let held = turned.held(view.values, view.home);
        next(&View {
            rotation: &turned,
            held: &held,
            ..*view
        })
        .map_err(|odd| self.odd(&turned, &odd))?;
        memory.left = holders;
        self.put_state(look, &turned, memory).await
    }

    /// Writes the state on top of what was read.
    async fn put_state(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        memory: &mut Progress,
    ) -> Result<(), Failure> {
        let text = rotation.text();
        let written = self.cluster.write_state(&look.keeper, Some(&text), None);
        self.count(written.await?, memory)
    }

    fn keep(&self, decide: impl FnOnce(&Held) -> Held) -> Result<(), Failure> {
        tokens_file::change(&self.global.tokens_file, &self.place(), self.ui, |held| {
            Ok(decide(held))
        })
    }

    /// The rotation is gone: somebody else finished it, or aborted it.
    fn over_meanwhile(&self, look: &Snapshot, before: &Rotation) -> Result<Outcome, Failure> {
        self.adopt(look)?;
        let home = look.home();
        let aborted = before.changes().any(|(name, change)| {
            let token = home.get(name).as_ref();
            token.is_some_and(|token| change.side(token.value()) == Some(Side::Old))
        });
        match aborted != self.rotate.abort && !before.phase.is_back() {
            true if aborted => Err(Failure::no("somebody else aborted the rotation meanwhile")
                .hint(format!("{} verify", self.reach.program))),
            true => Err(Failure::no("somebody else finished the rotation meanwhile")
                .hint(format!("{} verify", self.reach.program))),
            false => Ok(Outcome::FinishedByOther),
        }
    }

    /// Takes home's tokens over into the file: what it held has been exchanged by somebody else.
    fn adopt(&self, look: &Snapshot) -> Result<(), Failure> {
        let home = look.home();
        let retired = look.retired.clone();
        self.keep(|held| {
            let current = PerToken::from_fn(|name: TokenName| {
                let filed = held.current.get(name);
                let known = filed
                    .as_ref()
                    .is_none_or(|token| is_retired(retired.as_deref(), name, token.value()));
                match known {
                    true => home.get(name).clone(),
                    false => filed.clone(),
                }
            });
            Held {
                current,
                ..Held::default()
            }
        })
    }

    /// Pods that are being deleted end by themselves: tells whether they have time left, after a
    /// pause.
    async fn wait_for_leaving(&self, holders: &[OldTokenUser], memory: &mut Progress) -> bool {
        let leaving =
            |holder: &OldTokenUser| matches!(holder, OldTokenUser::Pod { leaving: true, .. });
        if !holders.iter().all(leaving) {
            return false;
        }
        let since = *memory.leaving.get_or_insert_with(|| {
            let names: Vec<_> = holders.iter().map(rendered::describe_holder).collect();
            self.ui
                .story(&format!("  waiting for {}", names.join("; ")));
            Instant::now()
        });
        sleep(PAUSE).await;
        let limit = self.rotate.timeout.0;
        limit.is_none_or(|limit| since.elapsed() < limit)
    }

    /// Bounds how often somebody else may write first.
    fn count(&self, written: Written, memory: &mut Progress) -> Result<(), Failure> {
        memory.stale = match written {
            Written::Done => 0,
            Written::Stale => memory.stale + 1,
        };
        match memory.stale >= ROUNDS {
            true => Err(self.contested()),
            false => Ok(()),
        }
    }

    fn contested(&self) -> Failure {
        let (kubectl, home) = (&self.reach.kubectl, &self.global.namespace);
        Failure::unable("others keep changing the Secrets while this runs").hint(format!(
            "see who: {kubectl} -n {home} get secret {} -o \
             jsonpath='{{.metadata.managedFields}}' --show-managed-fields; then run it again",
            ROUTER.secret
        ))
    }
}
