//! `workload.fresh`, `workload.waiting` and `workload.reloader`: pods run with current values, do not
//! wait for a Secret, and Reloader restarts those that ask for it.

use super::case::Case;
use super::check::{Check, Id, conclude};
use super::rotation;
use super::words::some_of;
use super::workloads::{Resolved, bundle, readers, references, resolve, supply_hint, workload_of};
use crate::domain::cluster::freshness::{Tie, started_after};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::{Denied, NamespaceSnapshot};
use crate::domain::cluster::workload::{Pod, Reference, Way, Workload};
use std::collections::BTreeSet;

/// How long Reloader may take to react, in seconds.
const RELOADER_GRACE: i64 = 10;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = fresh(case);
    checks.extend(waiting(case));
    checks.extend(reloader(case));
    checks
}

/// The Secrets that changed after a container of the pod read them into its environment, with the
/// time of the change.
fn changes_since_start<'a>(case: &Case<'_>, pod: &'a Pod) -> Vec<(&'a str, i64)> {
    let mut found = BTreeSet::new();
    for (reference, started) in environment_references(pod) {
        let Resolved::Found(live) = resolve(case, &pod.namespace, &reference) else {
            continue;
        };
        let is_newer = |changed: &i64| !started_after(started, *changed, Tie::Fresh);
        if let Some(changed) = live.changed.filter(is_newer) {
            found.insert((reference.secret, changed));
        }
    }
    found.into_iter().collect()
}

/// Like `changes_since_start`, but without changes made by a rotation, which restarts pods itself.
pub(super) fn missed_changes<'a>(case: &Case<'_>, pod: &'a Pod) -> Vec<(&'a str, i64)> {
    let mut found = changes_since_start(case, pod);
    found.retain(|(secret, changed)| !rotation::explains(case, pod, secret, *changed));
    found
}

/// The Secrets of the table in the environment of running containers, with the start time of each
/// container.
fn environment_references(pod: &Pod) -> impl Iterator<Item = (Reference<'_>, i64)> {
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

/// A workload whose pods run with old values.
struct Stale {
    workload: Workload,
    pods: Vec<Pod>,
    secrets: BTreeSet<String>,
    /// The time of the oldest missed change, in seconds since 1970.
    since: i64,
}

/// The workloads of a namespace that run with old values.
fn stale(case: &Case<'_>, place: &NamespaceSnapshot) -> Vec<Stale> {
    let mut found = Vec::new();
    for workload in readers(place) {
        let pods = place.pods.iter().filter(|pod| pod.belongs_to(&workload));
        let outdated: Vec<_> = pods
            .map(|pod| (pod, missed_changes(case, pod)))
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

/// The command that restarts the pods of a workload.
fn restart_workload_hint(case: &Case<'_>, stale: &Stale) -> String {
    let workload = &stale.workload;
    let namespace = &workload.namespace;
    let names: Vec<_> = stale.pods.iter().map(|pod| pod.name.as_str()).collect();
    let delete = || delete(case, namespace, &names.join(" "));
    match (workload.kind, stale.pods.as_slice()) {
        (WorkloadKind::Pod, [pod]) => restart_hint(case, pod),
        (WorkloadKind::CronJob, _) => delete(),
        // A rollout would wait for a pod that cannot become ready.
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

/// Deletes pods. A StatefulSet recreates its pods with the same names, and kubectl might wait forever.
fn delete(case: &Case<'_>, namespace: &Namespace, names: &str) -> String {
    case.kubectl(namespace, &format!("delete pod {names} --wait=false"))
}

/// The command that recreates a pod, or the link to the steps if no workload recreates it.
pub(super) fn restart_hint(case: &Case<'_>, pod: &Pod) -> String {
    match pod.owner {
        Some(_) => delete(case, &pod.namespace, &pod.name),
        None => Id::WorkloadFresh.docs_link(),
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
                "{} started before {} last changed and runs with old values",
                some_of(&pods),
                some_of(&secrets)
            );
            let workload = &stale.workload;
            Check::warn(id, message)
                .hint(restart_workload_hint(case, stale))
                .at(&workload.namespace, workload.kind.as_str(), &workload.name)
        }));
    }
    let mut denied = case.denials(id, "list", &["pods"]);
    denied.extend(case.skips(id, unread));
    let passed = match fresh {
        _ if rotation::open_rotation(case).is_some() => {
            format!("{fresh} pods run with current values, or wait for a phase of the rotation")
        }
        1 => "1 pod runs with current values".to_owned(),
        _ => format!("{fresh} pods run with current values"),
    };
    let passed = (fresh > 0).then(|| Check::pass(id, passed));
    let nothing = Check::skip(id, "no running pod reads these Secrets");
    conclude(checks, passed, denied, nothing)
}

/// The missing permissions because of which Secrets of a pod were not read.
fn unread_by<'a>(case: &Case<'a>, pod: &Pod) -> Vec<&'a Denied> {
    environment_references(pod)
        .filter_map(|(reference, _)| case.unread(&pod.namespace, reference.secret))
        .collect()
}

/// True if a pod runs with current values: it reads at least one Secret, and all were read.
fn is_fresh(case: &Case<'_>, pod: &Pod) -> bool {
    let mut reads_secret = false;
    for (reference, _) in environment_references(pod) {
        match resolve(case, &pod.namespace, &reference) {
            Resolved::Unknown => return false,
            Resolved::Found(_) => reads_secret = true,
            Resolved::Missing(_) => {}
        }
    }
    reads_secret && missed_changes(case, pod).is_empty()
}

fn waiting(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadWaiting;
    let mut checks = Vec::new();
    for place in case.cluster.places.values() {
        let waiting = place.pods.iter().filter(|pod| !pod.waiting.is_empty());
        checks.extend(waiting.filter_map(|pod| waiting_check(case, place, pod)));
    }
    let denied = case.denials(id, "list", &["pods"]);
    let nothing = Check::pass(id, "no pod waits for one of these Secrets");
    conclude(checks, None, denied, nothing)
}

/// The failed check of a pod in CreateContainerConfigError; `None` if it waits for something else
/// than a Secret of the table.
pub(super) fn waiting_check(
    case: &Case<'_>,
    place: &NamespaceSnapshot,
    pod: &Pod,
) -> Option<Check> {
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
    // What is missing now counts more than the older message of the kubelet.
    let missing =
        of_waiting
            .iter()
            .find_map(|reference| match resolve(case, &pod.namespace, reference) {
                Resolved::Missing(observed) => Some((reference, observed)),
                Resolved::Found(_) | Resolved::Unknown => None,
            });
    let reported: Vec<_> = pod.waiting.values().flatten().collect();
    let missing_for_kubelet = of_waiting
        .iter()
        .find(|reference| reported.iter().any(|missing| missing.is(reference)));
    let fail = |what: &str| {
        let message = format!("CreateContainerConfigError{what}");
        Check::fail(id, message).hint(restart_hint(case, pod))
    };
    let check = match (missing, missing_for_kubelet) {
        (Some((reference, observed)), _) => waits_for(case, place, pod, reference, observed),
        (None, Some(reference)) => match resolve(case, &pod.namespace, reference) {
            Resolved::Unknown => waits_for(case, place, pod, reference, None),
            _ => fail(&format!(
                ": it waited for {}, which exists now",
                describe(reference, true)
            )),
        },
        // It waits for something else.
        (None, None) if of_waiting.is_empty() || !reported.is_empty() => return None,
        (None, None) => fail(", although the Secrets that could be read exist"),
    };
    Some(check.at(&pod.namespace, "Pod", &pod.name))
}

/// The key if the Secret exists, otherwise the Secret.
fn describe(reference: &Reference<'_>, secret_exists: bool) -> String {
    match reference.key {
        Some(key) if secret_exists => format!("{key} of Secret {}", reference.secret),
        _ => format!("Secret {}", reference.secret),
    }
}

fn waits_for(
    case: &Case<'_>,
    place: &NamespaceSnapshot,
    pod: &Pod,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> Check {
    let workload = readers(place)
        .into_iter()
        .find(|workload| pod.belongs_to(workload))
        .unwrap_or_else(|| workload_of(pod));
    let secret_exists = observed.is_some_and(|observed| observed.live.is_some());
    let names = (reference.secret, reference.key);
    let is_in_template = references(&workload)
        .iter()
        .any(|reference| (reference.secret, reference.key) == names);
    Check::fail(
        Id::WorkloadWaiting,
        format!(
            "CreateContainerConfigError: it waits for {}",
            describe(reference, secret_exists)
        ),
    )
    .hint(if is_in_template {
        supply_hint(case, &workload, reference, observed)
    } else {
        // A StatefulSet waits for the old pod before it creates one from the changed template.
        restart_hint(case, pod)
    })
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
                    "its annotation asks Reloader for restarts, and Reloader has not reacted for {} s: \
                     is it installed?",
                    case.cluster.now - stale.since
                ),
            )
            .hint(restart_workload_hint(case, &stale))
            .at(&workload.namespace, workload.kind.as_str(), &workload.name)
        }));
    }
    let mut denied = case.denials(id, "list", &WorkloadKind::ALL.map(WorkloadKind::resource));
    denied.extend(case.skips(id, unread));
    let nothing = match asking {
        0 => Check::skip(id, "no workload asks for Reloader"),
        _ => Check::pass(
            id,
            format!("{asking} workloads ask for Reloader, and no change is pending"),
        ),
    };
    conclude(checks, None, denied, nothing)
}
