//! `rotation.open`, and what an open rotation explains in other checks: two values of a token, extra
//! keys, and pods that are restarted in a later phase.

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

pub(super) fn open_rotation<'a>(case: &'a Case<'_>) -> Option<&'a Rotation> {
    case.rotation.as_ref().ok()?.as_ref()
}

pub(super) fn check(case: &Case<'_>) -> Check {
    let home = &case.cluster.home;
    let router = case.cluster.home_place().secrets.get(ROUTER.secret);
    let owner = router.and_then(|router| router.owner.as_ref());
    let check = match &case.rotation {
        Ok(Some(rotation)) => open(case, rotation),
        Ok(None) => {
            let externals = case.cluster.denied.iter().find(|denied| {
                let list = denied.verb == "list" && denied.resource == "externalsecrets";
                list && denied.namespace.as_ref().is_none_or(|at| at == home)
            });
            let unlisted = externals.filter(|_| owner.is_some());
            let skipped = unlisted.map(|denied| case.denied(ID, denied));
            skipped
                .or_else(|| case.unread_at_home(ID, &ROUTER))
                .unwrap_or_else(|| none(case))
        }
        Err(bad) => Check::fail(ID, format!("cannot tell whether a rotation is open: {bad}"))
            .unless_owned(owner),
    };
    check.at(home, "Secret", ROUTER.secret)
}

fn none(case: &Case<'_>) -> Check {
    let home = case.cluster.home_place();
    let left = home.live(ROUTER.secret).map(leftovers).unwrap_or_default();
    if left.is_empty() {
        return Check::pass(ID, "no rotation is open");
    }
    Check::warn(
        ID,
        format!(
            "{} left over from a rotation without state: lists may still contain its old token",
            left.join(" and ")
        ),
    )
}

fn open(case: &Case<'_>, rotation: &Rotation) -> Check {
    let age = case
        .since
        .map_or(0, |since| (case.cluster.now - since).max(0));
    let message = format!(
        "{} since {}, and open for {}",
        rotation.describe(),
        rotation.at,
        span(age)
    );
    if age > case.max_overlap {
        Check::warn(
            ID,
            format!("{message}, over the limit of {}", span(case.max_overlap)),
        )
        .hint(case.reach.carry_on())
    } else {
        Check::pass(ID, message)
    }
}

/// The side of `one` if the open rotation explains the difference: one place has the old value, the
/// other place the new one.
pub(super) fn side_of(
    case: &Case<'_>,
    name: TokenName,
    one: &SecretValue,
    other: &SecretValue,
) -> Option<Side> {
    let change = open_rotation(case)?.change(name)?;
    let side = change.side(one)?;
    (change.side(other) == Some(side.other())).then_some(side)
}

/// True if the open rotation needs a key in a Secret.
pub(super) fn is_rotation_key(case: &Case<'_>, bundle: &Bundle, key: &str) -> bool {
    let is_known = [NEXT_KEY, PREVIOUS_KEY, STORE_STATE].contains(&key);
    is_known && bundle == &ROUTER && open_rotation(case).is_some()
}

/// True if a rotation made a change that a pod has missed, and the pod needs no restart for it now.
/// The open rotation restarts the pod in a later phase. The last rotation restarted the pod where
/// needed, and its later changes do not matter to the pod.
pub(super) fn explains(case: &Case<'_>, pod: &Pod, secret: &str, changed: i64) -> bool {
    let mut bundles = BUNDLES.into_iter();
    if !bundles.any(|bundle| bundle.secret == secret && bundle.holds_tokens()) {
        return false;
    }
    if open_rotation(case).is_some() {
        return case.since.is_some_and(|since| changed >= since);
    }
    let home = case.cluster.home_place();
    let router = home.secrets.get(ROUTER.secret);
    let ended = router.and_then(|router| router.rotated);
    let servers = home.pods.iter().filter(|pod| is_server(pod));
    let place = case.cluster.places.get(&pod.namespace);
    let live = place.and_then(|place| place.live(secret));
    let last_writer = live.and_then(|live| parse_mark(live.annotations.get(LAST_WRITE)?));
    let pod_mark = pod.mark.as_deref().and_then(parse_mark);
    // Close and undo restart the servers only. A pod that was restarted as a client stays.
    let is_client = pod_mark.is_some_and(|(id, phase, _)| {
        let mut server_marks = servers.filter_map(|pod| parse_mark(pod.mark.as_deref()?));
        [Phase::Switch, Phase::Back].contains(&phase)
            && server_marks.any(|(server_id, ..)| server_id == id)
    });
    let needs_nothing = match last_writer {
        // A pod that never got the new token needs no restart after undo.
        Some((id, Phase::Undo, _)) => pod_mark.is_none_or(|(pod_id, ..)| pod_id != id),
        // Restarted by a third party; close already waited for it.
        Some((_, Phase::Close, _)) => live.is_some_and(|live| started_since(live, pod)),
        _ => false,
    };
    ended.is_some_and(|ended| changed <= ended) && (is_client || needs_nothing)
}

/// True if a pod started after the last rotation of the tokens in a Secret began. The tokens were
/// minted at that time.
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
