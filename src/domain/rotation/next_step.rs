//! What comes next: from what is there now, however it came about. A run that was killed, another
//! operator, somebody who restarted a workload by hand: all of them are only a different start.

use super::edits::{Edit, Odd, Part, PlaceRef, TokenPlace, edit, holds_both};
use super::gate::{OldTokenUser, forgotten};
use super::workloads::{Who, WorkloadRef, is_server, maker, pending, sends};
use super::{Phase, Rotation, TokenValues};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::cluster::workload::Workload;
use crate::domain::table::Origin;
use crate::domain::values::token::{PerToken, Token};
use crate::domain::values::tokens_file::Held;
use std::collections::BTreeMap;

/// Everything that the next step depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The state.
    pub rotation: &'a Rotation,
    /// The values of its tokens.
    pub values: &'a TokenValues,
    /// The tokens file.
    pub held: &'a Held,
    /// The tokens of the home namespace, for those that do not rotate.
    pub home: &'a PerToken<Option<Token>>,
    /// Where tokens are kept.
    pub targets: &'a [TokenPlace],
    /// The cluster.
    pub facts: &'a ClusterSnapshot,
    /// The router Secrets of all other namespaces, as far as they may be listed.
    pub outside: &'a BTreeMap<Namespace, Observed>,
    /// The Secrets that do not carry what the store holds.
    pub lagging: &'a [SecretRef],
    /// Whether this run has proven the phase.
    pub proven: bool,
    /// The phase after which this run stops.
    pub until: Option<Phase>,
    /// Whether servers forget a token that somebody still holds.
    pub anyway: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The tokens file gets these values.
    File(Held),
    /// A place is to be written again that pods may have started on already: the state says so first,
    /// so that whoever carries on restarts them.
    Again,
    /// These places are written.
    Write(Vec<Edit>),
    /// These Secrets have to follow the store.
    Follow(Vec<SecretRef>),
    /// These workloads have to roll out, as that.
    Roll(Who, Vec<WorkloadRef>),
    /// The servers are asked.
    Prove,
    /// Somebody still holds what the next phase forgets.
    Hold(Vec<OldTokenUser>),
    /// The run stops here, as it was told to.
    Stop,
    /// The next phase begins, although these hold what it forgets.
    Advance(Phase, Vec<OldTokenUser>),
    /// The rotation is over: the tokens file gets these values, the state goes.
    Finish(Held),
}

/// Says what comes next.
///
/// # Errors
/// Each place that holds what the rotation does not know, and each value that is nowhere.
pub fn next(view: &View<'_>) -> Result<Step, Vec<Odd>> {
    let rotation = view.rotation;
    let row = rotation.phase.row();
    let held = rotation.held(view.values, view.home);
    if is_needed(&held, view.held) {
        return Ok(Step::File(held));
    }
    let roll = |who| {
        let workloads = pending(rotation, view.facts, who);
        let names: Vec<_> = workloads.into_iter().map(WorkloadRef::of).collect();
        (!names.is_empty()).then_some(Step::Roll(who, names))
    };
    let follow = || (!view.lagging.is_empty()).then(|| Step::Follow(view.lagging.to_vec()));
    if row.both {
        // What servers accept comes before what clients send.
        let step = written(view, Part::Lists)?.or_else(follow);
        if let Some(step) = step.or_else(|| roll(Who::Servers)) {
            return Ok(step);
        }
    }
    if let Some(step) = written(view, Part::All)?.or_else(follow) {
        return Ok(step);
    }
    // Who got the wrong one meanwhile comes before servers forget it.
    if !row.both
        && rotation.again > 0
        && let Some(step) = roll(Who::Clients)
    {
        return Ok(step);
    }
    if let Some(step) = roll(Who::of(rotation.phase)) {
        return Ok(step);
    }
    if row.servers && !view.proven {
        return Ok(Step::Prove);
    }
    let Some(next) = row.next else {
        let none = PerToken::default;
        return Ok(Step::Finish(Held {
            next: none(),
            previous: none(),
            ..held
        }));
    };
    if view.until.is_some_and(|until| rotation.phase >= until) && !rotation.phase.is_back() {
        return Ok(Step::Stop);
    }
    let holders = forgotten(rotation, next, view.facts, view.outside);
    match holders.is_empty() || view.anyway {
        true => Ok(Step::Advance(next, holders)),
        false => Ok(Step::Hold(holders)),
    }
}

/// Tells whether the file lacks any of it, or has more. A token that nobody knows is no reason.
fn is_needed(wanted: &Held, held: &Held) -> bool {
    let differs = |wanted: &Option<Token>, held: &Option<Token>| wanted.is_some() && wanted != held;
    wanted
        .current
        .iter()
        .any(|(name, token)| differs(token, held.current.get(name)))
        || wanted.next != held.next
        || wanted.previous != held.previous
}

/// The edits that are needed.
fn written(view: &View<'_>, part: Part) -> Result<Option<Step>, Vec<Odd>> {
    let listed = holds_both(view.rotation, view.targets);
    let mut odd = Vec::new();
    let mut edits = Vec::new();
    for target in view.targets {
        match edit(view.rotation, view.values, target, part, listed) {
            Ok(edit) => edits.extend(edit),
            Err(why) => odd.push(why),
        }
    }
    match (odd.is_empty(), edits.is_empty()) {
        (false, _) => Err(odd),
        (true, true) => Ok(None),
        (true, false) if edits.iter().any(|edit| is_relied_on(view, edit)) => Ok(Some(Step::Again)),
        (true, false) => Ok(Some(Step::Write(edits))),
    }
}

/// Tells whether a workload counts as right that may have started with what the edit is about to
/// mend: somebody has put something else there since.
fn is_relied_on(view: &View<'_>, edit: &Edit) -> bool {
    let rotation = view.rotation;
    let row = rotation.phase.row();
    let target = view.targets.iter().find(|target| target.at == edit.at);
    let keys = target.into_iter().flat_map(|target| target.bundle.keys);
    let mut edited =
        keys.filter(|key| edit.set.contains_key(key.name) || edit.remove.contains(key.name));
    let here = |place: &&Workload| match &edit.at {
        PlaceRef::Secret(at) => at.namespace == place.namespace,
        PlaceRef::Entry(_) | PlaceRef::Manual(_) => true,
    };
    let all = view.facts.places.values();
    let workloads: Vec<_> = all
        .flat_map(|place| &place.workloads)
        .filter(here)
        .collect();
    edited.any(|key| {
        let (token, sent) = match key.origin {
            Origin::Token(token) => (token, true),
            Origin::TokenList(token, _) => (token, false),
            Origin::Input(_) => return false,
        };
        // When the clients' turn is over, all of them have theirs: what is wrong came later.
        let late = sent && !row.both && !row.clients && rotation.again == 0;
        late || workloads.iter().any(|workload| {
            let mark = workload.mark.as_deref();
            let server = is_server(workload, token) && (!sent || !row.both);
            let client = sent && sends(&workload.spec, maker(workload), token);
            server && rotation.marks_server(mark) || client && rotation.marks_client(mark)
        })
    })
}
