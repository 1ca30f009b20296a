//! Carrying a rotation on, step by step, until it is over or somebody has to do something.

use super::look::Look;
use super::{Run, file, prove};
use crate::commands::rolling::Rolling;
use crate::commands::{Answer, Verdict};
use crate::domain::bundles::ROUTER;
use crate::domain::live::LiveValue;
use crate::domain::manifest::{MINTED_AT, Manifest, UNKNOWN};
use crate::domain::rotation::edits::{At, Edit};
use crate::domain::rotation::holders::{Holder, holders};
use crate::domain::rotation::step::{Step, View, next};
use crate::domain::rotation::{MADE, Phase, Rotation, STATE, Side, WRITTEN, is_retired};
use crate::domain::tokens::{PerToken, Token, TokenName};
use crate::domain::tokens_file::Held;
use crate::error::Failure;
use crate::io::cluster::{WIDTH, Written};
use crate::render::rotation as rendered;
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a write is tried at most where somebody else wrote first.
const ROUNDS: usize = 20;

/// The pause between two looks at pods that end.
const PAUSE: Duration = Duration::from_millis(500);

/// What a run ended with, where it did not fail.
#[derive(Debug)]
pub enum Ended {
    /// The rotation, or its abort, is over.
    Over(Rotation),
    /// Somebody else finished it meanwhile.
    Meanwhile,
    /// It stands after the phase that the run was to reach.
    Stopped(Rotation),
    /// Somebody still holds what the next phase forgets.
    Held(Rotation, Vec<Holder>),
    /// There was nothing to do.
    Nothing,
}

/// What a run remembers.
#[derive(Default)]
pub struct Memory {
    /// The tokens of home when it began.
    began: Option<PerToken<Option<Token>>>,
    /// The rotation that it works on, as it was last seen.
    rotation: Option<Rotation>,
    /// The phase that it has proven.
    proven: Option<(String, Phase)>,
    /// Whether it opened the rotation itself.
    opened: bool,
    /// The phase that it has told of.
    told: Option<Phase>,
    /// How often in a row somebody else wrote first.
    stale: usize,
    /// Since when it waits for pods that are being deleted.
    leaving: Option<Instant>,
    /// What it has seen of rollouts.
    pub rolling: Rolling,
}

impl rendered::Outcome for Ended {
    fn rotation(&self) -> Option<&Rotation> {
        match self {
            Self::Over(rotation) | Self::Stopped(rotation) | Self::Held(rotation, _) => {
                Some(rotation)
            }
            Self::Meanwhile | Self::Nothing => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Over(rotation) if rotation.phase.is_back() => "aborted",
            Self::Over(_) => "done",
            Self::Meanwhile => "meanwhile",
            Self::Stopped(_) => "stopped",
            Self::Held(..) => "held",
            Self::Nothing => "nothing",
        }
    }

    fn holders(&self) -> &[Holder] {
        match self {
            Self::Held(_, holders) => holders,
            _ => &[],
        }
    }
}

impl Run<'_> {
    pub(super) async fn apply(&self) -> Result<Answer, Failure> {
        let mut memory = Memory::default();
        let ended = self.go(&mut memory).await;
        let ended = ended.map_err(|failure| match &memory.rotation {
            // What has begun can be carried on, and that is the remedy of most.
            Some(rotation) if failure.hints.is_empty() => {
                let failure = failure.cause(format!("the rotation stands in {}", rotation.phase));
                failure.hint(format!(
                    "carry it on: {} rotate --apply",
                    self.reach.program
                ))
            }
            _ => failure,
        })?;
        let verdict = match &ended {
            Ended::Held(_, holders) => Verdict::Failed(rendered::held(holders, &self.reach).hint(
                format!("then carry it on: {} rotate --apply", self.reach.program),
            )),
            _ => Verdict::Yes,
        };
        Ok(Answer {
            text: rendered::ended(&ended, &self.reach, self.ui.palette()),
            next: None,
            body: rendered::body_of(&ended, &self.reach),
            verdict,
        })
    }

    async fn go(&self, memory: &mut Memory) -> Result<Ended, Failure> {
        loop {
            let look = self.look().await?;
            if let Some(ended) = self.step(&look, memory).await? {
                return Ok(ended);
            }
        }
    }

    /// Does what comes next; gives how the run ended, where it did.
    async fn step(&self, look: &Look, memory: &mut Memory) -> Result<Option<Ended>, Failure> {
        let home = look.home();
        let began = memory.began.get_or_insert_with(|| home.clone()).clone();
        let Some(rotation) = &look.state else {
            if let Some(before) = &memory.rotation {
                return self.over_meanwhile(look, before).map(Some);
            }
            if self.rotate.abort {
                return Err(Failure::no("no rotation is open")
                    .hint("to have a token exchanged again: rotate --apply"));
            }
            if self.rotate.carry_on {
                return Ok(Some(Ended::Nothing));
            }
            let chosen = self.chosen();
            if chosen
                .iter()
                .any(|name| home.get(*name) != began.get(*name))
            {
                self.adopt(look)?;
                return Ok(Some(Ended::Meanwhile));
            }
            self.begin(look).await?;
            memory.rolling.written(look.workloads());
            let written = self.open(look).await?;
            memory.opened = written == Written::Done;
            self.count(written, memory)?;
            return Ok(None);
        };
        self.check_carried_on(look, rotation, memory)?;
        if look.untold {
            let text = rotation.text();
            let written = self.cluster.keep_state(&look.keeper, Some(&text), None);
            self.count(written.await?, memory)?;
            return Ok(None);
        }
        if self.turn(look, rotation, memory).await? {
            return Ok(None);
        }
        self.tell(rotation, memory);
        memory.rotation = Some(rotation.clone());
        let held = file::read(&self.global.tokens_file)?;
        self.check_file(rotation, &held)?;
        let values = look.values(rotation, &held);
        let nothing = BTreeMap::new();
        let view = View {
            rotation,
            values: &values,
            held: &held,
            home: &home,
            targets: &look.targets,
            facts: &look.facts,
            outside: look.outside.as_ref().unwrap_or(&nothing),
            lagging: &look.lagging,
            proven: memory.proven == Some((rotation.id.clone(), rotation.phase)),
            until: self.rotate.until.map(Into::into),
            anyway: self.rotate.close_anyway,
        };
        let step = next(&view).map_err(|odd| super::odd(&odd, &self.reach))?;
        match step {
            Step::File(wanted) => {
                self.keep(|_| wanted)?;
            }
            Step::Write(edits) => {
                memory.rolling.written(look.workloads());
                let (by_hand, ours): (Vec<_>, Vec<_>) = edits
                    .into_iter()
                    .partition(|edit| matches!(edit.at, At::Hand(_)));
                let written = self.write_all(look, rotation, &ours).await?;
                self.count(written, memory)?;
                self.by_hand(rotation, &held, &by_hand).await?;
            }
            Step::Follow(secrets) => self.follow(look, &secrets).await?,
            Step::Roll(workloads) => {
                self.roll(look, rotation, &workloads, &mut memory.rolling)
                    .await?;
            }
            Step::Prove => {
                prove::prove(self, look, rotation, &values).await?;
                memory.proven = Some((rotation.id.clone(), rotation.phase));
            }
            Step::Hold(holders) => {
                if !self.wait_for_leaving(&holders, memory).await {
                    return Ok(Some(Ended::Held(rotation.clone(), holders)));
                }
            }
            Step::Stop => return Ok(Some(Ended::Stopped(rotation.clone()))),
            Step::Advance(phase) => {
                // The file first: what is about to be handed out has to be on disk.
                let wanted = rotation.in_phase(phase, "").held(&values, &home);
                self.keep(|_| wanted)?;
                let next = rotation.in_phase(phase, &self.now(look));
                let written = self
                    .cluster
                    .keep_state(&look.keeper, Some(&next.text()), None)
                    .await?;
                self.count(written, memory)?;
            }
            Step::Finish(wanted) => {
                self.keep(|_| wanted)?;
                let retired = rotation.retire(look.retired.as_deref());
                let written = self
                    .cluster
                    .keep_state(&look.keeper, None, Some(&retired))
                    .await?;
                if written == Written::Done {
                    return Ok(Some(Ended::Over(rotation.clone())));
                }
                self.count(written, memory)?;
            }
        }
        Ok(None)
    }

    /// Before a rotation begins: what a person has to decide, and what nobody can see.
    async fn begin(&self, look: &Look) -> Result<(), Failure> {
        let held = file::read(&self.global.tokens_file)?;
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
        for copy in super::open::absent_copies(look) {
            self.ui
                .warn(&format!("--copy {copy}: there is no such Secret"));
        }
        if self.rotate.immediate {
            self.ui
                .warn("--immediate: until every workload has restarted, clients are answered 401");
        }
        Ok(())
    }

    fn tell(&self, rotation: &Rotation, memory: &mut Memory) {
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
            self.ui.story(rendered::told(rotation.phase));
        }
    }

    /// Refuses to carry on what does not fit the options.
    fn check_carried_on(
        &self,
        look: &Look,
        rotation: &Rotation,
        memory: &Memory,
    ) -> Result<(), Failure> {
        if let Some(before) = memory.rotation.as_ref().filter(|it| it.id != rotation.id) {
            return Err(Failure::no(format!(
                "rotation {} is over, and somebody has begun another one",
                before.id
            ))
            .hint(format!(
                "see where it stands: {} rotate --status",
                self.reach.program
            )));
        }
        let other = self
            .rotate
            .token
            .iter()
            .find(|name| rotation.change(**name).is_none());
        if let Some(name) = other {
            return Err(Failure::no(format!(
                "the rotation that is open is of {}, not of {name}",
                rendered::names(rotation)
            ))
            .hint(format!(
                "carry it on first: {} rotate --apply",
                self.reach.program
            )));
        }
        if self.rotate.abort && rotation.phase.aborted().is_none() && !rotation.phase.is_back() {
            return Err(Failure::no(format!(
                "the rotation is in {}: servers have begun to forget the old token, and there is \
                 no way back",
                rotation.phase
            ))
            .hint(format!("finish it: {} rotate --apply", self.reach.program)));
        }
        if memory.rotation.is_none() {
            self.check_sight_and_strangers(look, rotation)?;
        }
        Ok(())
    }

    fn check_sight_and_strangers(&self, look: &Look, rotation: &Rotation) -> Result<(), Failure> {
        self.check_sight(look)?;
        let Some(outside) = &look.outside else {
            return Ok(());
        };
        let mut failure = Failure::undecided();
        for side in [Side::Old, Side::New] {
            for holder in crate::domain::rotation::holders::strangers(rotation, side, outside) {
                if let Holder::Secret { at, .. } = holder {
                    failure = failure
                        .cause(format!(
                            "Secret {at} has a token of this rotation, and namespace {} is not of \
                             the selection",
                            at.namespace
                        ))
                        .hint(format!("add --fleet-namespace {}", at.namespace));
                }
            }
        }
        match failure.causes.is_empty() {
            true => Ok(()),
            false => Err(failure),
        }
    }

    /// Takes the turn that the options ask for; tells whether there was one to take.
    async fn turn(
        &self,
        look: &Look,
        rotation: &Rotation,
        memory: &mut Memory,
    ) -> Result<bool, Failure> {
        let phase = match (self.rotate.abort, self.rotate.immediate, rotation.phase) {
            (true, _, phase) => phase.aborted(),
            (_, true, Phase::Open | Phase::Switch) => Some(Phase::Immediate),
            _ => None,
        };
        let Some(phase) = phase else {
            return Ok(false);
        };
        let nothing = BTreeMap::new();
        let outside = look.outside.as_ref().unwrap_or(&nothing);
        let holders = holders(rotation, phase, &look.facts, outside);
        if !holders.is_empty() && !self.rotate.close_anyway {
            return Err(rendered::held(&holders, &self.reach));
        }
        let next = rotation.in_phase(phase, &self.now(look));
        let written = self
            .cluster
            .keep_state(&look.keeper, Some(&next.text()), None)
            .await?;
        self.count(written, memory)?;
        Ok(true)
    }

    /// A tokens file that knows neither value belongs to something else.
    fn check_file(&self, rotation: &Rotation, held: &Held) -> Result<(), Failure> {
        for (name, change) in rotation.changes() {
            let current = held.current.get(name).as_ref();
            if current.is_some_and(|token| change.side(token.value()).is_none()) {
                let path = self.global.tokens_file.display();
                return Err(Failure::no(format!(
                    "{name} in {path} is neither the old nor the new token of the rotation that is \
                     open"
                ))
                .hint(format!(
                    "if that file is of another installation, name the right one with \
                     --tokens-file; else move it away and run this again: the values are in the \
                     cluster (mv {path} {path}.stale)"
                )));
            }
        }
        Ok(())
    }

    fn keep(&self, decide: impl FnOnce(&Held) -> Held) -> Result<Held, Failure> {
        file::change(&self.global.tokens_file, &self.place(), self.ui, |held| {
            Ok(decide(held))
        })
    }

    /// The rotation is gone: somebody else finished it, or aborted it.
    fn over_meanwhile(&self, look: &Look, before: &Rotation) -> Result<Ended, Failure> {
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
            false => Ok(Ended::Meanwhile),
        }
    }

    /// Takes home's tokens over into the file: what it held has been exchanged by somebody else.
    fn adopt(&self, look: &Look) -> Result<(), Failure> {
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
        })?;
        Ok(())
    }

    /// Pods that are being deleted end by themselves: tells whether they have time left, after a
    /// pause.
    async fn wait_for_leaving(&self, holders: &[Holder], memory: &mut Memory) -> bool {
        let leaving = |holder: &Holder| matches!(holder, Holder::Pod { leaving: true, .. });
        if !holders.iter().all(leaving) {
            return false;
        }
        let since = *memory.leaving.get_or_insert_with(|| {
            let names: Vec<_> = holders.iter().map(rendered::shown).collect();
            self.ui
                .story(&format!("  waiting for {}", names.join("; ")));
            Instant::now()
        });
        sleep(PAUSE).await;
        let limit = self.rotate.timeout.0;
        limit.is_none_or(|limit| since.elapsed() < limit)
    }

    /// Bounds how often somebody else may write first.
    fn count(&self, written: Written, memory: &mut Memory) -> Result<(), Failure> {
        memory.stale = match written {
            Written::Done => 0,
            Written::Stale => memory.stale + 1,
        };
        if memory.stale >= ROUNDS {
            return Err(
                Failure::unable("others keep changing the Secrets while this runs").hint(
                    "see who: kubectl get secrets --show-managed-fields -o yaml; then run it again",
                ),
            );
        }
        Ok(())
    }

    /// Writes all of them, and says which could not be.
    async fn write_all(
        &self,
        look: &Look,
        rotation: &Rotation,
        edits: &[Edit],
    ) -> Result<Written, Failure> {
        let writes = edits
            .iter()
            .map(|edit| async move { (edit, self.write(look, rotation, edit, None).await) });
        let progress = self.ui.progress(edits.len(), "places written");
        let ended: Vec<_> = stream::iter(writes)
            .buffered(WIDTH)
            .inspect(|_| progress.step())
            .collect()
            .await;
        let mut state = Written::Done;
        let mut failures = Vec::new();
        for (edit, ended) in ended {
            match ended {
                Ok(Written::Done) => {
                    self.ui.detail(1, &format!("wrote {}", edit.at));
                }
                Ok(Written::Stale) => state = Written::Stale,
                Err(failure) => failures.push((&edit.at, failure)),
            }
        }
        if failures.is_empty() {
            return Ok(state);
        }
        let mut whole = Failure::unable(format!(
            "{} of {} places could not be written, so the rotation stays in {}",
            failures.len(),
            edits.len(),
            rotation.phase
        ));
        for (at, failure) in failures {
            whole = whole.cause(format!("{at}: {}", failure.told()));
            for hint in failure.hints {
                whole = whole.hint(hint);
            }
        }
        Err(whole.hint(format!(
            "mend that, then: {} rotate --apply",
            self.reach.program
        )))
    }

    /// Writes a place on top of what was read, unless the rotation has gone on meanwhile. `state` is
    /// what opens one.
    pub(super) async fn write(
        &self,
        look: &Look,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let At::Secret(at) = &edit.at else {
            return self.write_entry(look, rotation, edit, state).await;
        };
        let home = at.namespace == look.facts.home && at.name == ROUTER.secret;
        let live = look.facts.places.get(&at.namespace);
        let Some(live) = live.and_then(|place| place.live(at.name)) else {
            return Ok(Written::Stale);
        };
        if !home {
            // What was read may be older than the phase that it was planned for.
            let now = self.state_now(&look.keeper).await?;
            let same = now.is_some_and(|it| it.id == rotation.id && it.phase == rotation.phase);
            if !same {
                return Ok(Written::Stale);
            }
        }
        let (mut data, mut annotations) = live.applied_before();
        for key in &edit.remove {
            data.remove(*key);
        }
        for (key, value) in &edit.set {
            data.insert((*key).to_owned(), LiveValue::encode(value).base64);
        }
        match edit.made {
            true => drop(annotations.insert(MADE.to_owned(), rotation.id.clone())),
            false => drop(annotations.remove(MADE)),
        }
        annotations.insert(WRITTEN.to_owned(), rotation.mark());
        for (name, change) in rotation.changes() {
            if !edit.set.contains_key(name.as_str()) {
                continue;
            }
            let minted = match rotation.phase.row().sent {
                Side::New => rotation.since.clone(),
                Side::Old => change.minted.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            };
            annotations.insert(format!("{MINTED_AT}{name}"), minted);
        }
        if let Some(state) = state {
            annotations.insert(STATE.to_owned(), state.to_owned());
        }
        let manifest = Manifest {
            at: at.clone(),
            annotations,
            data,
            resource_version: Some(live.resource_version.clone()),
        };
        self.cluster.write(&manifest, false).await
    }
}
