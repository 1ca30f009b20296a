//! The gate before servers forget a token: who still holds it.

use super::workloads::{sends, started};
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

/// Somebody who holds a token that is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OldTokenUser {
    /// A Secret that still has it.
    Secret {
        /// Which one.
        at: CopyRef,
        /// Under these keys.
        keys: Vec<String>,
        /// Whether the rotation writes it.
        ours: bool,
    },
    /// A pod that took it before it was exchanged.
    Pod {
        /// Where it is.
        namespace: Namespace,
        /// What it is called.
        name: String,
        /// What made it: kind and name.
        owner: Option<(String, String)>,
        /// Whether it is being deleted.
        leaving: bool,
        /// The tokens that it took.
        tokens: Vec<TokenName>,
    },
}

/// Who still holds what that phase forgets.
pub fn forgotten(
    rotation: &Rotation,
    phase: Phase,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    let side = phase.forgets();
    side.map(|side| holders(rotation, side, facts, outside))
        .unwrap_or_default()
}

/// Who still holds that value.
pub fn holders(
    rotation: &Rotation,
    side: Side,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    let mut found = Vec::new();
    for (namespace, place) in &facts.places {
        let router = place.live(ROUTER.secret);
        let router = router.map(|live| (ROUTER.secret, keys_of_clients(rotation, side, live)));
        let others = place.others.iter().filter_map(|(name, observed)| {
            let ours = BUNDLES.iter().any(|bundle| bundle.secret == name);
            let live = observed.live.as_ref().filter(|_| !ours)?;
            Some((name.as_str(), keys_with(rotation, side, live)))
        });
        let router = router.and_then(|(name, keys)| secret(namespace, name, keys, true));
        let others = others.filter_map(|(name, keys)| secret(namespace, name, keys, false));
        found.extend(router.into_iter().chain(others));
        found.extend(pods(rotation, side, place));
    }
    for (at, observed) in &facts.copies {
        let Some(live) = &observed.live else { continue };
        let keys = keys_with(rotation, side, live);
        found.extend(secret(&at.namespace, &at.name, keys, false));
    }
    found.extend(strangers(rotation, side, outside));
    found.sort();
    found.dedup();
    found
}

/// The router Secrets of namespaces that the rotation does not cover and that have the value.
pub fn strangers(
    rotation: &Rotation,
    side: Side,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<OldTokenUser> {
    let found = outside.iter().filter_map(|(namespace, observed)| {
        let keys = keys_of_clients(rotation, side, observed.live.as_ref()?);
        secret(namespace, ROUTER.secret, keys, false)
    });
    found.collect()
}

fn secret(
    namespace: &Namespace,
    name: &str,
    keys: Vec<String>,
    ours: bool,
) -> Option<OldTokenUser> {
    let at = CopyRef {
        namespace: namespace.clone(),
        name: name.to_owned(),
    };
    (!keys.is_empty()).then_some(OldTokenUser::Secret { at, keys, ours })
}

/// The keys of a router Secret that clients read and that have the value.
fn keys_of_clients(rotation: &Rotation, side: Side, live: &LiveSecret) -> Vec<String> {
    let keys = rotation.changes().filter(|(name, change)| {
        live.text(name.as_str())
            .is_some_and(|value| change.side(value) == Some(side))
    });
    keys.map(|(name, _)| name.as_str().to_owned()).collect()
}

/// The keys of any Secret that have the value, alone or on a list.
fn keys_with(rotation: &Rotation, side: Side, live: &LiveSecret) -> Vec<String> {
    let has = |value: &SecretValue| {
        value.entries().any(|entry| {
            let entry = SecretValue::from(entry);
            rotation
                .changes()
                .any(|(_, change)| change.side(&entry) == Some(side))
        })
    };
    let keys = live.data.iter();
    keys.filter(|(_, value)| value.text.as_ref().is_some_and(has))
        .map(|(key, _)| key.clone())
        .collect()
}

/// The pods of a place that took that value, or may have.
fn pods(rotation: &Rotation, side: Side, place: &NamespaceSnapshot) -> Vec<OldTokenUser> {
    let row = rotation.phase.row();
    let all_have_it = rotation.phase == Phase::Open && side == row.sent;
    // From open on no client has got the new one; and when the clients' turn is over, nobody can
    // tell any more by the time at which Secrets changed.
    if !all_have_it && !row.clients {
        return Vec::new();
    }
    let changed = place.live(ROUTER.secret).and_then(|live| live.changed);
    let all = place.pods.iter().map(|pod| (pod, false));
    let all = all.chain(place.leaving.iter().map(|pod| (pod, true)));
    let holds = |pod: &Pod| match (started(pod), changed) {
        // It has nothing until a container runs, and then it gets what is there.
        (None, _) => false,
        (Some(_), _) if all_have_it => true,
        (Some(_), _) if rotation.marks_client(pod.mark.as_deref()) => false,
        (Some(started), Some(changed)) => !started_after(started, changed, Tie::Stale),
        (Some(_), None) => true,
    };
    let found = all
        .filter(|(pod, _)| holds(pod))
        .filter_map(|(pod, leaving)| {
            let tokens: Vec<_> = rotation
                .changes()
                .map(|(name, _)| name)
                .filter(|name| sends(&pod.spec, maker(pod), *name))
                .collect();
            (!tokens.is_empty()).then(|| OldTokenUser::Pod {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                owner: pod.owner.clone(),
                leaving,
                tokens,
            })
        });
    found.collect()
}

/// The StatefulSet that made a pod.
fn maker(pod: &Pod) -> Option<&str> {
    let (kind, name) = pod.owner.as_ref()?;
    (kind == WorkloadKind::StatefulSet.as_str()).then_some(name)
}
