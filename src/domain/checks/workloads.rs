//! `workload.wired`: the Secrets and keys that workloads refer to exist.

use super::case::Case;
use super::check::{Check, Id, conclude};
use super::variables::{WITHOUT_KEY, is_unguarded};
use super::words::some_of;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::{LiveSecret, Observed};
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::snapshot::NamespaceSnapshot;
use crate::domain::cluster::workload::{BRAIN_API, Pod, Reference, Way, Workload};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Key, Origin, Presence, ROUTER};
use std::collections::BTreeSet;

/// The Secret of the table with that name.
pub(super) fn bundle(name: &str) -> Option<&'static Bundle> {
    BUNDLES.into_iter().find(|bundle| bundle.secret == name)
}

/// A pod without a workload, as a workload of kind Pod.
pub(super) fn workload_of(pod: &Pod) -> Workload {
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

/// The workloads of a namespace, and its pods without a workload.
pub(super) fn readers(place: &NamespaceSnapshot) -> Vec<Workload> {
    let workloads = &place.workloads;
    let has_workload = |pod: &Pod| workloads.iter().any(|workload| pod.belongs_to(workload));
    let pods = place.pods.iter().filter(|pod| !has_workload(pod));
    workloads
        .iter()
        .cloned()
        .chain(pods.map(workload_of))
        .collect()
}

/// The references to Secrets of the table, without duplicates.
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

/// What a reference to a Secret resolves to.
pub(super) enum Resolved<'a> {
    Found(&'a LiveSecret),
    /// The Secret does not exist, or it exists without the key.
    Missing(Option<&'a Observed>),
    /// A permission is missing.
    Unknown,
}

pub(super) fn resolve<'a>(
    case: &Case<'a>,
    namespace: &Namespace,
    reference: &Reference<'_>,
) -> Resolved<'a> {
    let place = &case.cluster.places[namespace];
    let name = reference.secret;
    let Some(observed) = place.secrets.get(name).or_else(|| place.others.get(name)) else {
        // In the fleet the other Secrets are listed, never read by name.
        let is_listed = !case.cluster.is_denied("list", "secrets", namespace);
        return if is_home_only(case, namespace, name) && is_listed {
            Resolved::Missing(None)
        } else {
            Resolved::Unknown
        };
    };
    match (&observed.live, reference.key) {
        (Some(live), None) => Resolved::Found(live),
        (Some(live), Some(key)) if live.data.contains_key(key) => Resolved::Found(live),
        _ => Resolved::Missing(Some(observed)),
    }
}

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadWired;
    let mut checks = Vec::new();
    let (mut found, mut workloads) = (0, 0);
    let mut unread = BTreeSet::new();
    let mut unknown = Vec::new();
    for (namespace, place) in &case.cluster.places {
        for workload in readers(place) {
            let before = found;
            for reference in references(&workload) {
                match resolve(case, namespace, &reference) {
                    Resolved::Found(_) => found += 1,
                    Resolved::Unknown => match case.unread(namespace, reference.secret) {
                        Some(denied) => {
                            unread.insert(denied);
                        }
                        None => unknown.push(format!("{workload} reads {}", reference.secret)),
                    },
                    Resolved::Missing(observed) => {
                        checks.push(dangling(case, &workload, &reference, observed));
                    }
                }
            }
            workloads += usize::from(found > before);
        }
    }
    let mut denied = case.denials(id, "list", &WorkloadKind::ALL.map(WorkloadKind::resource));
    denied.extend(case.skips(id, unread));
    if !unknown.is_empty() {
        let message = format!(
            "unknown whether these exist, because you may not list secrets: {}",
            some_of(&unknown)
        );
        denied.push(Check::skip(id, message));
    }
    let valid = match (found, workloads) {
        (1, _) => "1 reference to a Secret is valid".to_owned(),
        (_, 1) => format!("{found} references of 1 workload to Secrets are valid"),
        _ => format!("{found} references of {workloads} workloads to Secrets are valid"),
    };
    let valid = (found > 0).then(|| Check::pass(id, valid));
    let nothing = Check::skip(id, "no workload reads these Secrets");
    conclude(checks, valid, denied, nothing)
}

/// True if this program creates a Secret in the home namespace only, and the namespace is another.
fn is_home_only(case: &Case<'_>, namespace: &Namespace, secret: &str) -> bool {
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
    let secret_exists = observed.is_some_and(|observed| observed.live.is_some());
    let what = match reference.key {
        Some(key) if secret_exists => format!("key {key} not found in Secret {secret}"),
        _ if is_home_only(case, &workload.namespace, secret) => format!(
            "Secret {secret} not found; k8s-bootstrap creates it in {} only",
            case.cluster.home
        ),
        _ => format!("Secret {secret} not found"),
    };
    let check = if reference.optional {
        let (check, consequence) = consequence(case, workload, reference);
        check(id, format!("{what}: {consequence}"))
    } else {
        let pods = match workload.kind {
            WorkloadKind::Pod => "the pod does",
            _ => "its pods do",
        };
        Check::fail(id, format!("{what}: {pods} not start"))
    };
    check
        .hint(supply_hint(case, workload, reference, observed))
        .at(&workload.namespace, workload.kind.as_str(), &workload.name)
}

/// What happens when pods start without an optional Secret or key, and the check that says so.
fn consequence(
    case: &Case<'_>,
    workload: &Workload,
    reference: &Reference<'_>,
) -> (fn(Id, String) -> Check, &'static str) {
    let keys = bundle(reference.secret).map_or(&[][..], |bundle| bundle.keys);
    let token = keys.iter().any(|key| {
        matches!(key.origin, Origin::Token(_)) && reference.key.is_none_or(|name| name == key.name)
    });
    let is_brain_api = workload.kind == WorkloadKind::StatefulSet && workload.name == BRAIN_API;
    let place = &case.cluster.places[&workload.namespace];
    if token && is_brain_api && is_unguarded(place, &workload.spec) {
        (Check::fail, WITHOUT_KEY)
    } else if !token || is_brain_api {
        (Check::warn, "its pods start without it")
    } else {
        let refused = "its pods start without it, and their requests are answered 401";
        (Check::warn, refused)
    }
}

/// True if `--apply` does not create the Secret in that namespace, or not with that key.
fn is_not_created(case: &Case<'_>, namespace: &Namespace, reference: &Reference<'_>) -> bool {
    let secrets = case
        .cluster
        .places
        .get(namespace)
        .map(|place| &place.secrets);
    let live = secrets.and_then(|secrets| secrets.get(reference.secret)?.live.as_ref());
    let has = |name: &str| live.is_some_and(|live| live.data.contains_key(name));
    let is_created = key_of(reference).is_some_and(|key| {
        let never = matches!(
            key.origin,
            Origin::TokenList(_, Presence::IfFound) | Origin::Input(InputRule::EnvFileOnly)
        );
        !never && (key.is_missing(has) || has(key.name))
    });
    is_home_only(case, namespace, reference.secret) || reference.key.is_some() && !is_created
}

/// The key of the table to which a reference refers.
fn key_of(reference: &Reference<'_>) -> Option<&'static Key> {
    let mut keys = bundle(reference.secret)?.keys.iter();
    keys.find(|key| reference.key == Some(key.name))
}

/// The command that makes a reference valid.
pub(super) fn supply_hint(
    case: &Case<'_>,
    workload: &Workload,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> String {
    let namespace = &workload.namespace;
    if observed.is_some_and(|observed| observed.owner.is_some()) {
        return Id::OwnerSecret.docs_link();
    }
    if is_not_created(case, namespace, reference) {
        return match workload.kind {
            // The containers of a pod are immutable.
            WorkloadKind::Pod => Id::WorkloadWired.docs_link(),
            kind => {
                let kind = kind.as_str().to_lowercase();
                case.kubectl(namespace, &format!("edit {kind}/{}", workload.name))
            }
        };
    }
    let secret_exists = observed.is_some_and(|observed| observed.live.is_some());
    let required = bundle(reference.secret).map(Bundle::required_inputs);
    let mut required = required.unwrap_or_default();
    required.retain(|name| !secret_exists || reference.key == Some(name));
    case.apply_with(&required, "")
}
