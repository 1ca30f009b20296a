//! A rotation that is open, and what it explains elsewhere: two tokens of ours on the lists, keys
//! that come and go, pods whose turn to restart has not come.

use super::case::Case;
use super::check::{Check, Id};
use super::words::span;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::workload::{BRAIN_API, EMBEDDINGS, Pod};
use crate::domain::rotation::{
    LAST_WRITE, NEXT_KEY, PREVIOUS_KEY, Phase, Rotation, STORE_STATE, Side, leftovers, parse_mark,
};
use crate::domain::table::{BUNDLES, Bundle, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;

const ID: Id = Id::RotationOpen;

/// The rotation that is open.
pub(super) fn open<'a>(case: &'a Case<'_>) -> Option<&'a Rotation> {
    case.rotation.as_ref().ok()?.as_ref()
}

pub(super) fn check(case: &Case<'_>) -> Check {
    let home = &case.cluster.home;
    let router = case.cluster.home_place().secrets.get(ROUTER.secret);
    let owner = router.and_then(|router| router.owner.as_ref());
    let check = match &case.rotation {
        Ok(Some(rotation)) => describe(case, rotation),
        Ok(None) => {
            let externals = case.cluster.denied.iter().find(|denied| {
                let list = denied.verb == "list" && denied.resource == "externalsecrets";
                list && denied.namespace.as_ref().is_none_or(|at| at == home)
            });
            let unlisted = externals.filter(|_| owner.is_some());
            let unseen = unlisted.map(|denied| case.denied(ID, denied));
            unseen
                .or_else(|| case.unread_at_home(ID, &ROUTER))
                .unwrap_or_else(|| none(case))
        }
        Err(bad) => Check::fail(
            ID,
            format!("whether a rotation is open is not known: {bad}"),
            match owner {
                Some(owner) => case.ask_owner(home, owner),
                // It shows the annotations, and of the values only how long they are.
                None => case.kubectl(home, &format!("describe secret {}", ROUTER.secret)),
            },
        ),
    };
    check.at(home, "Secret", ROUTER.secret)
}

fn none(case: &Case<'_>) -> Check {
    let home = case.cluster.home_place();
    let left = home.live(ROUTER.secret).map(leftovers).unwrap_or_default();
    match left.is_empty() {
        true => Check::pass(ID, "no rotation is open"),
        false => Check::warn(
            ID,
            format!(
                "it has {} of a rotation whose state is gone: lists may still have its old token",
                left.join(" and ")
            ),
            case.kubectl(
                &case.cluster.home,
                &format!("edit secret {}", ROUTER.secret),
            ),
        ),
    }
}

fn describe(case: &Case<'_>, rotation: &Rotation) -> Check {
    let age = case
        .since
        .map_or(0, |since| (case.cluster.now - since).max(0));
    let message = format!(
        "{} since {}, and open for {}",
        rotation.describe(),
        rotation.at,
        span(age)
    );
    match age > case.max_overlap {
        true => Check::warn(
            ID,
            format!("{message}, over the limit of {}", span(case.max_overlap)),
            case.reach.carry_on(),
        ),
        false => Check::pass(ID, message),
    }
}

/// Which value of the rotation that is open a place has, where another has the other one: they
/// differ because of it.
pub(super) fn part(
    case: &Case<'_>,
    name: TokenName,
    one: &SecretValue,
    other: &SecretValue,
) -> Option<Side> {
    let change = open(case)?.change(name)?;
    let side = change.side(one)?;
    (change.side(other) == Some(side.other())).then_some(side)
}

/// Tells whether a Secret has a key for the rotation that is open.
pub(super) fn needs(case: &Case<'_>, bundle: &Bundle, key: &str) -> bool {
    let known = [NEXT_KEY, PREVIOUS_KEY, STORE_STATE].contains(&key);
    known && bundle == &ROUTER && open(case).is_some()
}

/// Tells whether a change of a Secret that a pod has missed is of a rotation: of the one that is
/// open, which restarts it when it is its turn; of the last one, which has restarted it, and changed
/// afterwards only what does not concern it.
pub(super) fn answers_for(case: &Case<'_>, pod: &Pod, secret: &str, changed: i64) -> bool {
    let mut bundles = BUNDLES.into_iter();
    if !bundles.any(|bundle| bundle.secret == secret && bundle.holds_tokens()) {
        return false;
    }
    if open(case).is_some() {
        return case.since.is_some_and(|since| changed >= since);
    }
    let home = case.cluster.home_place();
    let router = home.secrets.get(ROUTER.secret);
    let over = router.and_then(|router| router.rotated);
    let servers = home.pods.iter().filter(|pod| is_server(pod));
    let place = case.cluster.places.get(&pod.namespace);
    let live = place.and_then(|place| place.live(secret));
    let wrote = live.and_then(|live| parse_mark(live.annotations.get(LAST_WRITE)?));
    let mine = pod.mark.as_deref().and_then(parse_mark);
    // Only who was restarted for what it sends is not restarted when servers forget.
    let switched = mine.is_some_and(|(id, phase, _)| {
        let turned = [Phase::Switch, Phase::Back].contains(&phase);
        let mut marks = servers.filter_map(|pod| parse_mark(pod.mark.as_deref()?));
        turned && marks.any(|(it, ..)| it == id)
    });
    let answered = match wrote {
        // Who got no other token needs none back.
        Some((id, Phase::Undo, _)) => mine.is_none_or(|(it, ..)| it != id),
        // Somebody else has restarted it when it was its turn: close waited for that.
        Some((_, Phase::Close, _)) => live.is_some_and(|live| started_since(live, pod)),
        _ => false,
    };
    over.is_some_and(|over| changed <= over) && (switched || answered)
}

/// Tells whether a pod started since the last rotation of a Secret's tokens began: they are as old as
/// that.
fn started_since(live: &LiveSecret, pod: &Pod) -> bool {
    let minted = live.minted.values().max();
    let started = pod.started.values().min();
    minted
        .zip(started)
        .is_some_and(|(minted, started)| started > minted)
}

fn is_server(pod: &Pod) -> bool {
    let (kind, name) = pod
        .owner
        .as_ref()
        .map_or(("", ""), |(kind, name)| (kind, name));
    kind == WorkloadKind::StatefulSet.as_str() && [BRAIN_API, EMBEDDINGS].contains(&name)
}
