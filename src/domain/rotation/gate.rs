//! The gate before servers reject a token: finds the pods and Secrets that still hold it.
//!
//! It must not decide whether the rotation goes on: [`super::next_step`] does.

use super::workloads::{sends, started_at};
use super::{Phase, Rotation, Side};
use crate::domain::cluster::freshness::{Tie, started_after};
use crate::domain::cluster::names::{Namespace, WorkloadKind};
use crate::domain::cluster::observed_secret::{LiveSecret, Observed};
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef, NamespaceSnapshot};
use crate::domain::cluster::workload::Pod;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::BTreeMap;

/// A pod or a Secret that holds a token that the rotation removes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OldTokenUser {
    Secret {
        at: CopyRef,
        /// The keys that hold the token.
        keys: Vec<String>,
        /// Whether the rotation writes this Secret.
        ours: bool,
    },
    /// A pod that started before the token was replaced.
    Pod {
        namespace: Namespace,
        name: String,
        /// Kind and name of its owner.
        owner: Option<(String, String)>,
        /// Whether the pod is being deleted.
        leaving: bool,
        tokens: Vec<TokenName>,
    },
}

/// Finds the pods and Secrets that hold the token that servers reject from `phase` on.
pub fn holders_before(
    rotation: &Rotation,
    phase: Phase,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    match phase.gated_side() {
        Some(side) => holders(rotation, side, facts, outside),
        None => Vec::new(),
    }
}

/// Finds the pods and Secrets that hold the old or the new value of a rotating token.
pub fn holders(
    rotation: &Rotation,
    side: Side,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    let mut found = Vec::new();
    for (namespace, place) in &facts.places {
        found.extend(place.live(ROUTER.secret).and_then(|live| {
            let keys = client_keys(rotation, side, live);
            secret(namespace, ROUTER.secret, keys, true)
        }));
        found.extend(place.others.iter().filter_map(|(name, observed)| {
            let ours = BUNDLES.iter().any(|bundle| bundle.secret == name);
            let live = observed.live.as_ref().filter(|_| !ours)?;
            secret(namespace, name, keys_with(rotation, side, live), false)
        }));
        found.extend(pods(rotation, side, place));
    }
    for (at, observed) in &facts.copies {
        let Some(live) = &observed.live else { continue };
        let keys = keys_with(rotation, side, live);
        found.extend(secret(&at.namespace, &at.name, keys, false));
    }
    found.extend(holders_outside(rotation, side, outside));
    found.sort();
    found.dedup();
    found
}

/// Finds the router Secrets that hold the value in namespaces that the rotation does not cover.
pub fn holders_outside(
    rotation: &Rotation,
    side: Side,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    outside
        .iter()
        .filter_map(|(namespace, observed)| {
            let keys = client_keys(rotation, side, observed.live.as_ref()?);
            secret(namespace, ROUTER.secret, keys, false)
        })
        .collect()
}

/// Returns `None` for a Secret without such keys.
fn secret(
    namespace: &Namespace,
    name: &str,
    keys: Vec<String>,
    ours: bool,
) -> Option<OldTokenUser> {
    let at = CopyRef::new(namespace, name);
    (!keys.is_empty()).then_some(OldTokenUser::Secret { at, keys, ours })
}

/// The keys of a router Secret that clients read and that hold the value.
fn client_keys(rotation: &Rotation, side: Side, live: &LiveSecret) -> Vec<String> {
    rotation
        .changes()
        .filter(|(name, change)| {
            live.text(name.as_str())
                .is_some_and(|value| change.side(value) == Some(side))
        })
        .map(|(name, _)| name.as_str().to_owned())
        .collect()
}

/// The keys of any Secret that hold the value, alone or in a list.
fn keys_with(rotation: &Rotation, side: Side, live: &LiveSecret) -> Vec<String> {
    let holds_it = |value: &SecretValue| {
        value.entries().any(|entry| {
            let entry = SecretValue::from(entry);
            rotation
                .changes()
                .any(|(_, change)| change.side(&entry) == Some(side))
        })
    };
    live.data
        .iter()
        .filter(|(_, value)| value.text.as_ref().is_some_and(holds_it))
        .map(|(key, _)| key.clone())
        .collect()
}

/// The pods in a namespace that have the value in their environment, or may have it.
fn pods(rotation: &Rotation, side: Side, place: &NamespaceSnapshot) -> Vec<OldTokenUser> {
    let row = rotation.phase.row();
    let all_have_it = rotation.phase == Phase::Open && side == row.sent;
    // In `open` no client has the new value. Later phases write the Secret again, so a pod that is older
    // than the last write may still have the right value.
    if !all_have_it && !row.clients {
        return Vec::new();
    }
    let changed = place.live(ROUTER.secret).and_then(|live| live.changed);
    let holds_it = |pod: &Pod| match (started_at(pod), changed) {
        // A pod reads its environment when its first container starts.
        (None, _) => false,
        (Some(_), _) if all_have_it => true,
        (Some(_), _) if rotation.marks_client(pod.mark.as_deref()) => false,
        (Some(started), Some(changed)) => !started_after(started, changed, Tie::Stale),
        (Some(_), None) => true,
    };
    let running = place.pods.iter().map(|pod| (pod, false));
    let leaving = place.leaving.iter().map(|pod| (pod, true));
    running
        .chain(leaving)
        .filter(|(pod, _)| holds_it(pod))
        .filter_map(|(pod, leaving)| {
            let tokens: Vec<_> = rotation
                .changes()
                .map(|(name, _)| name)
                .filter(|name| sends(&pod.spec, stateful_set_of(pod), *name))
                .collect();
            (!tokens.is_empty()).then(|| OldTokenUser::Pod {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                owner: pod.owner.clone(),
                leaving,
                tokens,
            })
        })
        .collect()
}

/// The name of the StatefulSet that owns a pod.
fn stateful_set_of(pod: &Pod) -> Option<&str> {
    let (kind, name) = pod.owner.as_ref()?;
    (kind == WorkloadKind::StatefulSet.as_str()).then_some(name)
}
