//! Decides the next step of a rotation from the current state of the cluster alone. A killed run,
//! another operator or a manual restart is only a different start. It must not act on the cluster.

use super::edits::{Edit, Odd, Part, PlaceRef, TokenPlace, edit, has_list_of_both};
use super::gate::{OldTokenUser, holders_before};
use super::sight::missing_reads;
use super::workloads::{Who, WorkloadRef, is_server, pending, sends, stateful_set_of};
use super::{Phase, Rotation, TokenValues};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::{ClusterSnapshot, Denied};
use crate::domain::cluster::workload::Workload;
use crate::domain::table::Origin;
use crate::domain::values::token::{PerToken, Token};
use crate::domain::values::tokens_file::Held;
use std::collections::BTreeMap;

/// Everything that the next step depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub rotation: &'a Rotation,
    pub values: &'a TokenValues,
    /// The content of the tokens file.
    pub held: &'a Held,
    /// The tokens of the home namespace, for the tokens that do not rotate.
    pub home: &'a PerToken<Option<Token>>,
    pub targets: &'a [TokenPlace],
    pub facts: &'a ClusterSnapshot,
    /// The router Secrets of all other namespaces that may be listed.
    pub outside: &'a BTreeMap<Namespace, Observed>,
    /// The Secrets that do not yet match their store entry.
    pub stale_secrets: &'a [SecretRef],
    /// Whether this run has probed the servers in this phase.
    pub is_proven: bool,
    /// The phase after which this run stops (`--until`).
    pub until: Option<Phase>,
    /// Whether the old token is removed although a pod or a Secret still holds it
    /// (`--close-anyway`).
    pub close_anyway: bool,
}

/// The next step of a rotation.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Read again, or end: the snapshot lacks these reads, so no other step can be decided.
    Look(Vec<Denied>),
    /// Write these values to the tokens file.
    File(Held),
    /// Count a rewrite in the state: pods may already have started with a wrong value. The state is
    /// written before the value, so that every later run restarts these pods.
    CountRewrite,
    /// Write these places.
    Write(Vec<Edit>),
    /// Wait until these Secrets match their store entries.
    Follow(Vec<SecretRef>),
    /// Restart these workloads as servers or clients, and wait for their rollouts.
    Roll(Who, Vec<WorkloadRef>),
    /// Probe the servers with both tokens.
    Prove,
    /// Wait: these pods and Secrets still hold the token that the next phase removes.
    Hold(Vec<OldTokenUser>),
    /// Stop after the phase of `--until`.
    Stop,
    /// Begin the next phase, although these pods and Secrets hold the token that it removes.
    Advance(Phase, Vec<OldTokenUser>),
    /// Write these values to the tokens file and remove the state: the rotation is finished.
    Finish(Held),
}

/// Decides the next step.
///
/// # Errors
/// Each place that holds an unknown value, and each value that was not found.
pub fn next(view: &View<'_>) -> Result<Step, Vec<Odd>> {
    let rotation = view.rotation;
    let row = rotation.phase.row();
    let missing = missing_reads(rotation, view.facts);
    if !missing.is_empty() {
        return Ok(Step::Look(missing.into_iter().cloned().collect()));
    }
    let held = rotation.held(view.values, view.home);
    if must_change_file(&held, view.held) {
        return Ok(Step::File(held));
    }
    let roll = |who| {
        let names: Vec<_> = pending(rotation, view.facts, who)
            .into_iter()
            .map(WorkloadRef::of)
            .collect();
        (!names.is_empty()).then_some(Step::Roll(who, names))
    };
    let follow = || {
        let secrets = view.stale_secrets;
        (!secrets.is_empty()).then(|| Step::Follow(secrets.to_vec()))
    };
    if row.both {
        // Servers accept a token before clients send it.
        let step = write_step(view, Part::Lists)?.or_else(follow);
        if let Some(step) = step.or_else(|| roll(Who::Servers)) {
            return Ok(step);
        }
    }
    if let Some(step) = write_step(view, Part::All)?.or_else(follow) {
        return Ok(step);
    }
    // Clients that started with a wrong value restart before servers stop accepting it.
    if !row.both
        && rotation.rewrites > 0
        && let Some(step) = roll(Who::Clients)
    {
        return Ok(step);
    }
    if let Some(step) = roll(Who::of(rotation.phase)) {
        return Ok(step);
    }
    if row.servers && !view.is_proven {
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
    let holders = holders_before(rotation, next, view.facts, view.outside);
    if holders.is_empty() || view.close_anyway {
        Ok(Step::Advance(next, holders))
    } else {
        Ok(Step::Hold(holders))
    }
}

/// True if the tokens file differs from `wanted`. An unknown current token does not count.
fn must_change_file(wanted: &Held, held: &Held) -> bool {
    let differs = |wanted: &Option<Token>, held: &Option<Token>| wanted.is_some() && wanted != held;
    wanted
        .current
        .iter()
        .any(|(name, token)| differs(token, held.current.get(name)))
        || wanted.next != held.next
        || wanted.previous != held.previous
}

/// The step that writes the places whose content is wrong; `None` if all are right.
fn write_step(view: &View<'_>, part: Part) -> Result<Option<Step>, Vec<Odd>> {
    let listed = has_list_of_both(view.rotation, view.targets);
    let mut odd = Vec::new();
    let mut edits = Vec::new();
    for target in view.targets {
        match edit(view.rotation, view.values, target, part, listed) {
            Ok(edit) => edits.extend(edit),
            Err(why) => odd.push(why),
        }
    }
    if !odd.is_empty() {
        Err(odd)
    } else if edits.is_empty() {
        Ok(None)
    } else if edits.iter().any(|edit| is_relied_on(view, edit)) {
        Ok(Some(Step::CountRewrite))
    } else {
        Ok(Some(Step::Write(edits)))
    }
}

/// True if a workload already counted as up to date may have started with the wrong value that this
/// edit corrects.
fn is_relied_on(view: &View<'_>, edit: &Edit) -> bool {
    let rotation = view.rotation;
    let row = rotation.phase.row();
    let can_read = |workload: &&Workload| match &edit.at {
        PlaceRef::Secret(at) => at.namespace == workload.namespace,
        PlaceRef::Entry(_) | PlaceRef::Manual(_) => true,
    };
    let workloads: Vec<_> = view.facts.workloads().filter(can_read).collect();
    let is_in_use = |origin| {
        let (token, is_sent) = match origin {
            Origin::Token(token) => (token, true),
            Origin::TokenList(token, _) => (token, false),
            Origin::Input(_) => return false,
        };
        // All clients have restarted in an earlier phase: the wrong value was written after that.
        let has_restarted = is_sent && !row.both && !row.clients && rotation.rewrites == 0;
        has_restarted
            || workloads.iter().any(|workload| {
                let mark = workload.mark.as_deref();
                let server = is_server(workload, token) && (!is_sent || !row.both);
                let client = is_sent && sends(&workload.spec, stateful_set_of(workload), token);
                server && rotation.marks_server(mark) || client && rotation.marks_client(mark)
            })
    };
    view.targets
        .iter()
        .find(|target| target.at == edit.at)
        .into_iter()
        .flat_map(|target| target.bundle.keys)
        .filter(|key| edit.set.contains_key(key.name) || edit.remove.contains(key.name))
        .any(|key| is_in_use(key.origin))
}
