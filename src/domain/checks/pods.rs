//! Pods that read the Secrets: do they run on the values of today, do they wait for one.

use super::case::Case;
use super::check::{Check, Id};
use super::rotation;
use super::words::some_of;
use super::workloads::{Leads, alone, bundle, follow, is_not_made, readers, references, supply};
use crate::domain::cluster::freshness::{Tie, started_after};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::{Denied, NamespaceSnapshot};
use crate::domain::cluster::workload::{Pod, Reference, Way, Workload};
use std::collections::BTreeSet;

/// How long Reloader may take, in seconds.
const RELOADER_GRACE: i64 = 10;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = fresh(case);
    checks.extend(waiting(case));
    checks.extend(reloader(case));
    checks
}

/// The Secrets of the table that have changed since a container of the pod took its environment
/// from them, with when.
fn outdated<'a>(case: &Case<'_>, pod: &'a Pod) -> Vec<(&'a str, i64)> {
    let mut found = BTreeSet::new();
    for (reference, started) in taken(pod) {
        let Leads::There(live) = follow(case, &pod.namespace, &reference) else {
            continue;
        };
        let is_newer = |changed: &i64| !started_after(started, *changed, Tie::Fresh);
        if let Some(changed) = live.changed.filter(is_newer) {
            found.insert((reference.secret, changed));
        }
    }
    found.into_iter().collect()
}

/// The same without what a rotation answers for: it restarts each pod when it is its turn, and none
/// for what does not concern it.
pub(super) fn missed<'a>(case: &Case<'_>, pod: &'a Pod) -> Vec<(&'a str, i64)> {
    let mut found = outdated(case, pod);
    found.retain(|(secret, changed)| !rotation::answers_for(case, pod, secret, *changed));
    found
}

/// The Secrets of the table that a running container of the pod took its environment from, whole
/// or in part, with when it started.
fn taken(pod: &Pod) -> impl Iterator<Item = (Reference<'_>, i64)> {
    let references = pod.spec.references().into_iter();
    references
        .filter(|reference| reference.way == Way::Environment && bundle(reference.secret).is_some())
        .filter_map(|reference| {
            let started = *pod.started.get(reference.container?)?;
            let whole = Reference {
                key: None,
                ..reference
            };
            Some((whole, started))
        })
}

/// A workload whose pods run on old values.
struct Stale {
    workload: Workload,
    pods: Vec<Pod>,
    secrets: BTreeSet<String>,
    /// When the oldest change that it has missed was made, in seconds since 1970.
    since: i64,
}

/// Every workload of this place that runs on old values.
fn stale(case: &Case<'_>, place: &NamespaceSnapshot) -> Vec<Stale> {
    let mut found = Vec::new();
    for workload in readers(place) {
        let pods = place.pods.iter().filter(|pod| pod.belongs_to(&workload));
        let outdated: Vec<_> = pods
            .map(|pod| (pod, missed(case, pod)))
            .filter(|(_, secrets)| !secrets.is_empty())
            .collect();
        let changes = || outdated.iter().flat_map(|(_, secrets)| secrets);
        let Some(since) = changes().map(|(_, changed)| *changed).min() else {
            continue;
        };
        found.push(Stale {
            since,
            secrets: changes().map(|(secret, _)| (*secret).to_owned()).collect(),
            pods: outdated.iter().map(|(pod, _)| (*pod).clone()).collect(),
            workload,
        });
    }
    found
}

/// How pods come to the values of today.
fn restart(case: &Case<'_>, stale: &Stale) -> String {
    let workload = &stale.workload;
    let namespace = &workload.namespace;
    let names: Vec<_> = stale.pods.iter().map(|pod| pod.name.as_str()).collect();
    let delete = || delete(case, namespace, &names.join(" "));
    match (workload.kind, stale.pods.as_slice()) {
        (WorkloadKind::Pod, [pod]) => restart_hint(case, pod),
        (WorkloadKind::Pod | WorkloadKind::CronJob, _) => delete(),
        // A rollout would wait for the pod that cannot become ready.
        (_, pods) if pods.iter().any(|pod| !pod.ready) => delete(),
        (kind, _) => {
            let kind = kind.as_str().to_lowercase();
            case.kubectl(
                namespace,
                &format!("rollout restart {kind}/{}", workload.name),
            )
        }
    }
}

/// Deletes pods. A StatefulSet's come back under their names, which kubectl may miss and wait on.
fn delete(case: &Case<'_>, namespace: &Namespace, names: &str) -> String {
    case.kubectl(namespace, &format!("delete pod {names} --wait=false"))
}

/// Makes a pod anew.
pub(super) fn restart_hint(case: &Case<'_>, pod: &Pod) -> String {
    let (namespace, name) = (&pod.namespace, &pod.name);
    match pod.owner {
        Some(_) => delete(case, namespace, name),
        // Nobody else would.
        None => format!(
            "{} | {}",
            case.kubectl(namespace, &format!("get pod {name} -o yaml")),
            case.kubectl(namespace, "replace --force -f -")
        ),
    }
}

fn fresh(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadFresh;
    let mut checks = Vec::new();
    let mut fresh = 0;
    let mut unread = BTreeSet::new();
    for place in case.cluster.places.values() {
        let stale = stale(case, place);
        for pod in &place.pods {
            unread.extend(unread_by(case, pod));
            fresh += usize::from(is_fresh(case, pod));
        }
        checks.extend(stale.iter().map(|stale| {
            let pods: Vec<_> = stale.pods.iter().map(|pod| &pod.name).collect();
            let secrets: Vec<_> = stale.secrets.iter().collect();
            let message = format!(
                "{} started before {} last changed and runs on old values",
                some_of(&pods),
                some_of(&secrets)
            );
            let workload = &stale.workload;
            Check::warn(id, message, restart(case, stale)).at(
                &workload.namespace,
                workload.kind.as_str(),
                &workload.name,
            )
        }));
    }
    let mut denied = case.denials(id, "list", &["pods"]);
    denied.extend(case.skips(id, unread));
    if fresh > 0 {
        let message = match fresh {
            _ if rotation::open(case).is_some() => format!(
                "{fresh} of the pods run on the values of today, or wait for their phase of the rotation"
            ),
            1 => "1 pod runs on the values of today".to_owned(),
            _ => format!("{fresh} pods run on the values of today"),
        };
        checks.push(Check::pass(id, message));
    } else if checks.is_empty() && denied.is_empty() {
        checks.push(Check::skip(id, "no running pod reads these Secrets"));
    }
    checks.extend(denied);
    checks
}

/// The permissions for want of which Secrets were not read that a pod runs on.
fn unread_by<'a>(case: &Case<'a>, pod: &Pod) -> Vec<&'a Denied> {
    taken(pod)
        .filter_map(|(reference, _)| case.unread(&pod.namespace, reference.secret))
        .collect()
}

/// Tells whether a pod runs on the values of today: it took some, and all of them were seen.
fn is_fresh(case: &Case<'_>, pod: &Pod) -> bool {
    let mut there = false;
    for (reference, _) in taken(pod) {
        match follow(case, &pod.namespace, &reference) {
            Leads::Unknown => return false,
            Leads::There(_) => there = true,
            Leads::Nowhere(_) => {}
        }
    }
    there && missed(case, pod).is_empty()
}

fn waiting(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadWaiting;
    let mut checks = Vec::new();
    for place in case.cluster.places.values() {
        let waiting = place.pods.iter().filter(|pod| !pod.waiting.is_empty());
        checks.extend(waiting.filter_map(|pod| waits(case, place, pod)));
    }
    let denied = case.denials(id, "list", &["pods"]);
    if checks.is_empty() && denied.is_empty() {
        checks.push(Check::pass(id, "no pod waits for one of these Secrets"));
    }
    checks.extend(denied);
    checks
}

/// What a pod in CreateContainerConfigError waits for; `None` where that is none of our Secrets.
pub(super) fn waits(case: &Case<'_>, place: &NamespaceSnapshot, pod: &Pod) -> Option<Check> {
    let id = Id::WorkloadWaiting;
    let references = pod.spec.references().into_iter();
    let of_waiting: Vec<_> = references
        .filter(|reference| bundle(reference.secret).is_some() && !reference.optional)
        .filter(|reference| {
            reference
                .container
                .is_some_and(|name| pod.waiting.contains_key(name))
        })
        .collect();
    // What is seen now counts more than what the node said then.
    let missing =
        of_waiting
            .iter()
            .find_map(|reference| match follow(case, &pod.namespace, reference) {
                Leads::Nowhere(observed) => Some((reference, observed)),
                Leads::There(_) | Leads::Unknown => None,
            });
    let told: Vec<_> = pod.waiting.values().flatten().collect();
    let named_by_node = of_waiting
        .iter()
        .find(|reference| told.iter().any(|missing| missing.is(reference)));
    let fail = |what: &str| {
        let message = format!("it is in CreateContainerConfigError{what}");
        Check::fail(id, message, restart_hint(case, pod))
    };
    let check = match (missing, named_by_node) {
        (Some((reference, observed)), _) => lacks(case, place, pod, reference, observed),
        (None, Some(reference)) => match follow(case, &pod.namespace, reference) {
            Leads::Unknown => lacks(case, place, pod, reference, None),
            _ => fail(&format!(
                ": it waited for {}, which is there by now",
                named(reference, true)
            )),
        },
        // It waits for something else.
        (None, None) if of_waiting.is_empty() || !told.is_empty() => return None,
        (None, None) => fail(", though nothing that was seen of these Secrets is missing"),
    };
    Some(check.at(&pod.namespace, "Pod", &pod.name))
}

/// A Secret, or a key of one that is there.
fn named(reference: &Reference<'_>, there: bool) -> String {
    match reference.key {
        Some(key) if there => format!("{key} of Secret {}", reference.secret),
        _ => format!("Secret {}", reference.secret),
    }
}

/// A pod that waits for this.
fn lacks(
    case: &Case<'_>,
    place: &NamespaceSnapshot,
    pod: &Pod,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> Check {
    let made_by = readers(place)
        .into_iter()
        .find(|workload| pod.belongs_to(workload));
    let workload = made_by.unwrap_or_else(|| alone(pod));
    let supply = supply(case, &workload, reference, observed);
    let there = observed.is_some_and(|observed| observed.live.is_some());
    let owned = observed.is_some_and(|observed| observed.owner.is_some());
    let edited = is_not_made(case, &pod.namespace, reference);
    let hint = match (owned, edited, workload.kind) {
        // The node sees it when it comes.
        (true, ..) => supply,
        // A new template brings new pods; a StatefulSet's would wait for this one.
        (_, true, kind) if kind != WorkloadKind::StatefulSet => supply,
        _ => format!("{supply} && {}", restart_hint(case, pod)),
    };
    Check::fail(
        Id::WorkloadWaiting,
        format!(
            "it is in CreateContainerConfigError: it waits for {}",
            named(reference, there)
        ),
        hint,
    )
}

fn reloader(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadReloader;
    let mut checks = Vec::new();
    let mut asking = 0;
    let mut unread = BTreeSet::new();
    for place in case.cluster.places.values() {
        for workload in place.workloads.iter().filter(|workload| workload.reloaded) {
            let references = references(workload);
            asking += usize::from(!references.is_empty());
            let secrets = references.iter().map(|reference| reference.secret);
            unread.extend(secrets.filter_map(|name| case.unread(&workload.namespace, name)));
        }
        let late = stale(case, place).into_iter().filter(|stale| {
            stale.workload.reloaded && case.cluster.now - stale.since > RELOADER_GRACE
        });
        checks.extend(late.map(|stale| {
            let workload = &stale.workload;
            Check::warn(
                id,
                format!(
                    "its annotation asks Reloader for restarts, and nothing has reacted for {} s: \
                     is Reloader installed?",
                    case.cluster.now - stale.since
                ),
                restart(case, &stale),
            )
            .at(&workload.namespace, workload.kind.as_str(), &workload.name)
        }));
    }
    let mut denied = case.denials(id, "list", &WorkloadKind::ALL.map(WorkloadKind::resource));
    denied.extend(case.skips(id, unread));
    if checks.is_empty() && denied.is_empty() {
        checks.push(match asking {
            0 => Check::skip(id, "no workload asks for Reloader"),
            _ => Check::pass(
                id,
                format!("{asking} workloads ask for Reloader, and no change is waiting for it"),
            ),
        });
    }
    checks.extend(denied);
    checks
}
