//! Who reads the Secrets: does it find what it refers to, does it run on the values of today, does
//! it wait.

use super::check::{Check, Id};
use super::{Case, some_of};
use crate::domain::bundles::{BUNDLES, Bundle, InputRule, Origin, ROUTER};
use crate::domain::facts::Place;
use crate::domain::live::Observed;
use crate::domain::names::Namespace;
use crate::domain::tokens::TokenName;
use crate::domain::workloads::{Kind, Pod, Reference, Way, Workload};
use std::collections::BTreeSet;

/// The lists that workloads come from, as RBAC calls them.
const LISTS: [&str; 5] = [
    "statefulsets",
    "deployments",
    "daemonsets",
    "cronjobs",
    "pods",
];
/// How long Reloader may take, in seconds.
const RELOADER_GRACE: i64 = 10;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = wired(case);
    checks.extend(fresh(case));
    checks.extend(waiting(case));
    checks.extend(reloader(case));
    checks
}

/// The Secret of the table with that name.
fn bundle(name: &str) -> Option<&'static Bundle> {
    BUNDLES.into_iter().find(|bundle| bundle.secret == name)
}

/// A pod as a workload of its own.
fn alone(pod: &Pod) -> Workload {
    Workload {
        kind: Kind::Pod,
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        spec: pod.spec.clone(),
        reloaded: false,
    }
}

/// What makes pods here, and the pods that none of it makes.
pub(super) fn readers(place: &Place) -> Vec<Workload> {
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
fn references(workload: &Workload) -> BTreeSet<Reference<'_>> {
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
enum Leads<'a> {
    /// It is there.
    There,
    /// The Secret, or the key in it, is not.
    Nowhere(Option<&'a Observed>),
    /// It could not be seen.
    Unknown,
}

fn follow<'a>(place: &'a Place, reference: &Reference<'_>) -> Leads<'a> {
    let observed = match place.secrets.get(reference.secret) {
        Some(observed) => observed,
        None => match place.others.get(reference.secret) {
            Some(observed) => observed,
            None => return Leads::Unknown,
        },
    };
    match (&observed.live, reference.key) {
        (None, _) => Leads::Nowhere(Some(observed)),
        (Some(live), Some(key)) if !live.data.contains_key(key) => Leads::Nowhere(Some(observed)),
        (Some(_), _) => Leads::There,
    }
}

fn wired(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadWired;
    let mut checks = Vec::new();
    let (mut leading, mut leaders) = (0, 0);
    let mut unread = BTreeSet::new();
    for (namespace, place) in &case.cluster.places {
        for workload in readers(place) {
            let mut fine = 0;
            for reference in references(&workload) {
                match follow(place, &reference) {
                    Leads::There => fine += 1,
                    Leads::Unknown => match case.unread(namespace, reference.secret) {
                        Some(denied) => drop(unread.insert(denied)),
                        // Home alone has it.
                        None => checks.push(dangling(case, &workload, &reference, None)),
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
    let mut denied = case.denials(id, "list", &LISTS);
    denied.extend(case.skips(id, unread));
    if leading > 0 {
        checks.push(Check::pass(
            id,
            format!("{leading} references of {leaders} workloads lead to what is there"),
        ));
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
        _ => format!("it refers to Secret {secret}, which is not there"),
    };
    let hint = supply(case, workload, reference, observed);
    let check = match reference.optional {
        true => {
            let token = reference
                .key
                .is_none_or(|key| TokenName::parse(key).is_some());
            let cost = match token {
                true => "it starts without, and what it calls answers 401",
                false => "it starts without",
            };
            Check::warn(id, format!("{what}: {cost}"), hint)
        }
        false => Check::fail(id, format!("{what}: its pods do not start"), hint),
    };
    check.at(&workload.namespace, workload.kind.as_str(), &workload.name)
}

/// What brings a reference to something that is there.
fn supply(
    case: &Case<'_>,
    workload: &Workload,
    reference: &Reference<'_>,
    observed: Option<&Observed>,
) -> String {
    let namespace = &workload.namespace;
    if let Some(owner) = observed.and_then(|observed| observed.owner.as_ref()) {
        return case.ask_owner(namespace, owner);
    }
    let there = observed.is_some_and(|observed| observed.live.is_some());
    let edit = || {
        let kind = workload.kind.as_str().to_lowercase();
        case.kubectl(namespace, &format!("edit {kind} {}", workload.name))
    };
    let Some(bundle) = bundle(reference.secret) else {
        return edit();
    };
    if elsewhere(case, namespace, bundle.secret) {
        return edit();
    }
    let key = reference
        .key
        .map(|name| bundle.keys.iter().find(|key| key.name == name));
    let required = || {
        let keys = bundle.keys.iter();
        keys.filter(|key| key.origin == Origin::Input(InputRule::Required))
            .map(|key| key.name)
            .filter(|name| !there || reference.key == Some(name))
            .collect::<Vec<_>>()
    };
    match key {
        Some(None) => edit(),
        Some(Some(key)) => match key.origin {
            Origin::TokenList(_, crate::domain::bundles::Presence::OnRequest) => {
                case.apply_with(&required(), " --with-api-keys")
            }
            Origin::TokenList(_, crate::domain::bundles::Presence::IfFound)
            | Origin::Input(InputRule::EnvFileOnly) => edit(),
            _ => case.apply_with(&required(), ""),
        },
        None => case.apply_with(&required(), ""),
    }
}

/// The Secrets of the table that have changed since a container of the pod took its environment
/// from them, with when.
fn outdated<'a>(place: &'a Place, pod: &'a Pod) -> Vec<(&'a str, i64)> {
    let mut found = BTreeSet::new();
    for reference in pod.spec.references() {
        let container = reference.container.and_then(|name| pod.started.get(name));
        let changed = bundle(reference.secret)
            .and_then(|bundle| place.live(bundle.secret))
            .and_then(|live| live.changed);
        let (Way::Environment, Some(started), Some(changed)) = (reference.way, container, changed)
        else {
            continue;
        };
        // The same second counts as fresh.
        if changed > *started {
            found.insert((reference.secret, changed));
        }
    }
    found.into_iter().collect()
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
fn stale(place: &Place) -> Vec<Stale> {
    let mut found = Vec::new();
    for workload in readers(place) {
        let pods = place.pods.iter().filter(|pod| pod.belongs_to(&workload));
        let outdated: Vec<_> = pods
            .map(|pod| (pod, outdated(place, pod)))
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
    let names = names.join(" ");
    let owned = stale.pods.iter().any(|pod| pod.owner.is_some());
    match workload.kind {
        // Nobody would make it again.
        Kind::Pod if !owned => format!(
            "{} | {}",
            case.kubectl(namespace, &format!("get pod {names} -o yaml")),
            case.kubectl(namespace, "replace --force -f -")
        ),
        Kind::Pod | Kind::CronJob => case.kubectl(namespace, &format!("delete pod {names}")),
        // A rollout would wait for the pod that cannot become ready.
        _ if stale.pods.iter().any(|pod| !pod.ready) => {
            case.kubectl(namespace, &format!("delete pod {names}"))
        }
        kind => case.kubectl(
            namespace,
            &format!(
                "rollout restart {}/{}",
                kind.as_str().to_lowercase(),
                workload.name
            ),
        ),
    }
}

fn fresh(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadFresh;
    let mut checks = Vec::new();
    let mut fresh = 0;
    let mut unread = BTreeSet::new();
    for (namespace, place) in &case.cluster.places {
        let stale = stale(place);
        for pod in &place.pods {
            let secrets = environment_of(pod);
            let mut unseen = secrets
                .iter()
                .filter(|name| !place.secrets.contains_key(**name));
            unread.extend(
                unseen
                    .clone()
                    .filter_map(|name| case.unread(namespace, name)),
            );
            let all_seen = !secrets.is_empty() && unseen.next().is_none();
            let is_stale = stale.iter().any(|stale| stale.pods.contains(pod));
            fresh += usize::from(all_seen && !is_stale);
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

/// The Secrets of the table from which the running containers of a pod took their environment.
fn environment_of(pod: &Pod) -> BTreeSet<&str> {
    let started = |name| pod.started.contains_key(name);
    let references = pod.spec.references().into_iter();
    references
        .filter(|reference| reference.way == Way::Environment)
        .filter(|reference| reference.container.is_some_and(started))
        .map(|reference| reference.secret)
        .filter(|secret| bundle(secret).is_some())
        .collect()
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

/// What a pod in CreateContainerConfigError waits for; `None` where it reads none of our Secrets.
fn waits(case: &Case<'_>, place: &Place, pod: &Pod) -> Option<Check> {
    let id = Id::WorkloadWaiting;
    let workload = alone(pod);
    let of_containers: Vec<_> = pod
        .spec
        .references()
        .into_iter()
        .filter(|reference| bundle(reference.secret).is_some())
        .filter(|reference| {
            let container = reference.container;
            container.is_some_and(|name| pod.waiting.iter().any(|waiting| waiting == name))
        })
        .collect();
    if of_containers.is_empty() {
        return None;
    }
    let again = case.kubectl(&pod.namespace, &format!("delete pod {}", pod.name));
    let again = match pod.owner {
        Some(_) => again,
        None => format!(
            "{} | {}",
            case.kubectl(&pod.namespace, &format!("get pod {} -o yaml", pod.name)),
            case.kubectl(&pod.namespace, "replace --force -f -")
        ),
    };
    let missing = of_containers.iter().find_map(|reference| {
        match (reference.optional, follow(place, reference)) {
            (false, Leads::Nowhere(observed)) => Some((reference, observed)),
            _ => None,
        }
    });
    let check = match missing {
        Some((reference, observed)) => {
            let there = observed.is_some_and(|observed| observed.live.is_some());
            let what = match reference.key {
                Some(key) if there => format!("key {key} of Secret {}", reference.secret),
                _ => format!("Secret {}", reference.secret),
            };
            let supply = supply(case, &workload, reference, observed);
            Check::fail(
                id,
                format!("it is in CreateContainerConfigError: it waits for {what}"),
                format!("{supply} && {again}"),
            )
        }
        None => Check::fail(
            id,
            "it is in CreateContainerConfigError, though all that it reads of these Secrets is \
             there",
            again,
        ),
    };
    Some(check.at(&pod.namespace, "Pod", &pod.name))
}

fn reloader(case: &Case<'_>) -> Vec<Check> {
    let id = Id::WorkloadReloader;
    let mut checks = Vec::new();
    let mut asking = 0;
    let mut unread = BTreeSet::new();
    for (namespace, place) in &case.cluster.places {
        for workload in place.workloads.iter().filter(|workload| workload.reloaded) {
            let references = references(workload);
            asking += usize::from(!references.is_empty());
            unread.extend(
                references
                    .iter()
                    .filter_map(|reference| case.unread(namespace, reference.secret)),
            );
        }
        let late = stale(place).into_iter().filter(|stale| {
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
    let mut denied = case.denials(id, "list", &LISTS);
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
