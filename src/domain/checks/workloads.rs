//! Who reads the Secrets: does it find what it refers to.

use super::case::Case;
use super::check::{Check, Id};
use super::words::some_of;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::{LiveSecret, Observed};
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::snapshot::NamespaceSnapshot;
use crate::domain::cluster::workload::{BRAIN_API, Pod, Reference, Way, Workload};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Origin, Presence, ROUTER};
use std::collections::BTreeSet;

/// The Secret of the table with that name.
pub(super) fn bundle(name: &str) -> Option<&'static Bundle> {
    BUNDLES.into_iter().find(|bundle| bundle.secret == name)
}

/// A pod as a workload of its own.
pub(super) fn alone(pod: &Pod) -> Workload {
    Workload {
        kind: WorkloadKind::Pod,
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        spec: pod.spec.clone(),
        reloaded: false,
        mark: pod.mark.clone(),
        rollout: Rollout::default(),
    }
}

/// What makes pods here, and the pods that none of it makes.
pub(super) fn readers(place: &NamespaceSnapshot) -> Vec<Workload> {
    let made = |pod: &Pod| {
        place
            .workloads
            .iter()
            .any(|workload| pod.belongs_to(workload))
    };
    let pods = place.pods.iter().filter(|pod| !made(pod)).map(alone);
    place.workloads.iter().cloned().chain(pods).collect()
}

/// Those of its references that lead to a Secret of the table, each once.
pub(super) fn references(workload: &Workload) -> BTreeSet<Reference<'_>> {
    let references = workload.spec.references().into_iter();
    references
        .filter(|reference| bundle(reference.secret).is_some())
        .map(|reference| Reference {
            way: Way::Environment,
            container: None,
            ..reference
        })
        .collect()
}

/// What a reference leads to.
pub(super) enum Leads<'a> {
    /// It is there.
    There(&'a LiveSecret),
    /// The Secret, or the key in it, is not.
    Nowhere(Option<&'a Observed>),
    /// It could not be seen.
    Unknown,
}

pub(super) fn follow<'a>(
    case: &Case<'a>,
    namespace: &Namespace,
    reference: &Reference<'_>,
) -> Leads<'a> {
    let place = &case.cluster.places[namespace];
    let name = reference.secret;
    let Some(observed) = place.secrets.get(name).or_else(|| place.others.get(name)) else {
        // Of what is not made here only a list tells.
        let listed = !case.cluster.is_denied("list", "secrets", namespace);
        return match elsewhere(case, namespace, name) && listed {
            true => Leads::Nowhere(None),
            false => Leads::Unknown,
        };
    };
    match (&observed.live, reference.key) {
        (Some(live), None) => Leads::There(live),
        (Some(live), Some(key)) if live.data.contains_key(key) => Leads::There(live),
        _ => Leads::Nowhere(Some(observed)),
    }
}

pub(super) fn wired(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadWired;
    let mut checks = Vec::new();
    let (mut leading, mut leaders) = (0, 0);
    let mut unread = BTreeSet::new();
    let mut unknown = Vec::new();
    for (namespace, place) in &case.cluster.places {
        for workload in readers(place) {
            let mut fine = 0;
            for reference in references(&workload) {
                match follow(case, namespace, &reference) {
                    Leads::There(_) => fine += 1,
                    Leads::Unknown => match case.unread(namespace, reference.secret) {
                        Some(denied) => drop(unread.insert(denied)),
                        // Only a list would tell.
                        None => unknown.push(format!("{workload} reads {}", reference.secret)),
                    },
                    Leads::Nowhere(observed) => {
                        checks.push(dangling(case, &workload, &reference, observed));
                    }
                }
            }
            leading += fine;
            leaders += usize::from(fine > 0);
        }
    }
    let mut denied = case.denials(id, "list", &WorkloadKind::ALL.map(WorkloadKind::resource));
    denied.extend(case.skips(id, unread));
    if !unknown.is_empty() {
        let message = format!(
            "not known whether it is there, for you may not list secrets: {}",
            some_of(&unknown)
        );
        denied.push(Check::skip(id, message));
    }
    if leading > 0 {
        let message = match (leading, leaders) {
            (1, _) => "1 reference leads to what is there".to_owned(),
            (_, 1) => format!("{leading} references of 1 workload lead to what is there"),
            _ => format!("{leading} references of {leaders} workloads lead to what is there"),
        };
        checks.push(Check::pass(id, message));
    } else if checks.is_empty() && denied.is_empty() {
        checks.push(Check::skip(id, "nothing reads these Secrets yet"));
    }
    checks.extend(denied);
    checks
}

/// Tells whether a Secret is made in another namespace only.
fn elsewhere(case: &Case<'_>, namespace: &Namespace, secret: &str) -> bool {
    *namespace != case.cluster.home && secret != ROUTER.secret
}

fn dangling(
    case: &Case<'_>,
    workload: &Workload,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> Check {
    let id = Id::WorkloadWired;
    let secret = reference.secret;
    let there = observed.is_some_and(|observed| observed.live.is_some());
    let what = match reference.key {
        Some(key) if there => format!("it refers to {key} of Secret {secret}, which is not in it"),
        _ if elsewhere(case, &workload.namespace, secret) => format!(
            "it refers to Secret {secret}, which is made in {} only",
            case.cluster.home
        ),
        _ => format!("it refers to Secret {secret}, which is not there"),
    };
    let hint = supply(case, workload, reference, observed);
    let check = match reference.optional {
        true => Check::warn(id, format!("{what}: {}", cost(workload, reference)), hint),
        false => {
            let who = match workload.kind {
                WorkloadKind::Pod => "it does",
                _ => "its pods do",
            };
            Check::fail(id, format!("{what}: {who} not start"), hint)
        }
    };
    check.at(&workload.namespace, workload.kind.as_str(), &workload.name)
}

/// What comes of starting without what an optional reference refers to.
fn cost(workload: &Workload, reference: &Reference<'_>) -> &'static str {
    let keys = bundle(reference.secret).map_or(&[][..], |bundle| bundle.keys);
    let token = keys.iter().any(|key| {
        matches!(key.origin, Origin::Token(_)) && reference.key.is_none_or(|name| name == key.name)
    });
    match token {
        true if workload.kind == WorkloadKind::StatefulSet && workload.name == BRAIN_API => {
            "it starts without, and without a token it lets everyone in"
        }
        true => "it starts without, and what it calls answers 401",
        false => "it starts without",
    }
}

/// What the workload itself is changed with, since nothing makes what it refers to.
fn edit(case: &Case<'_>, workload: &Workload) -> String {
    let (namespace, name) = (&workload.namespace, &workload.name);
    match workload.kind {
        // Its containers cannot be changed.
        WorkloadKind::Pod => format!(
            "{} > {name}.yaml && ${{EDITOR:-vi}} {name}.yaml && {}",
            case.kubectl(namespace, &format!("get pod {name} -o yaml")),
            case.kubectl(namespace, &format!("replace --force -f {name}.yaml"))
        ),
        kind => {
            let kind = kind.as_str().to_lowercase();
            case.kubectl(namespace, &format!("edit {kind}/{name}"))
        }
    }
}

/// Tells whether this program makes neither that Secret there nor that key in it.
pub(super) fn is_not_made(
    case: &Case<'_>,
    namespace: &Namespace,
    reference: &Reference<'_>,
) -> bool {
    let Some(bundle) = bundle(reference.secret) else {
        return true;
    };
    let is_made = |name: &str| {
        bundle.keys.iter().any(|key| {
            key.name == name
                && !matches!(
                    key.origin,
                    Origin::TokenList(_, Presence::IfFound) | Origin::Input(InputRule::EnvFileOnly)
                )
        })
    };
    elsewhere(case, namespace, bundle.secret) || !reference.key.is_none_or(is_made)
}

/// What brings a reference to something that is there.
pub(super) fn supply(
    case: &Case<'_>,
    workload: &Workload,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> String {
    let namespace = &workload.namespace;
    if let Some(owner) = observed.and_then(|observed| observed.owner.as_ref()) {
        return case.ask_owner(namespace, owner);
    }
    if is_not_made(case, namespace, reference) {
        return edit(case, workload);
    }
    let there = observed.is_some_and(|observed| observed.live.is_some());
    let bundle = bundle(reference.secret);
    let mut required = bundle.map(Bundle::required_inputs).unwrap_or_default();
    required.retain(|name| !there || reference.key == Some(name));
    let keys = bundle.map_or(&[][..], |bundle| bundle.keys);
    let on_request = keys.iter().any(|key| {
        reference.key == Some(key.name)
            && matches!(key.origin, Origin::TokenList(_, Presence::OnRequest))
    });
    let option = if on_request { " --with-api-keys" } else { "" };
    case.apply_with(&required, option)
}
