//! The doors of the two services: what their pods are given to check callers with, and, with
//! `--live`, whom they let in.

use super::Case;
use super::check::{Check, Id};
use crate::domain::bundles::{self, ROUTER};
use crate::domain::facts::{Place, Probe, ProbeOutcome};
use crate::domain::probe::Reply;
use crate::domain::workloads::{self, Kind, PodSpec, Source, Workload, first_pod};

/// A service that checks its callers.
struct Door {
    /// Its StatefulSet.
    service: &'static str,
    /// The variables that hold what it accepts, any of which will do.
    variables: &'static [&'static str],
    /// The Secret that they belong in.
    secret: &'static str,
    /// How it answers the right token.
    accepted: u16,
    /// What the main command needs to put them there.
    option: &'static str,
    live: Id,
}

static BRAIN_API: Door = Door {
    service: workloads::BRAIN_API,
    variables: &["KB_ROUTER_TOKENS", "KB_ROUTER_TOKEN"],
    secret: ROUTER.secret,
    accepted: 200,
    option: "",
    live: Id::LiveBrainApi,
};

static EMBEDDINGS: Door = Door {
    service: workloads::EMBEDDINGS,
    variables: &[bundles::API_KEYS],
    secret: bundles::EMBEDDINGS.secret,
    accepted: 422,
    option: " --with-api-keys",
    live: Id::LiveEmbeddings,
};

/// How a service answers a token that it does not accept.
const REFUSED: u16 = 401;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = vec![embeddings(case)];
    checks.extend(unguarded_brain_api(case));
    for door in [&BRAIN_API, &EMBEDDINGS] {
        checks.push(live(case, door));
    }
    checks
}

/// What a pod is given of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Something,
    Nothing,
    /// It may come from somewhere that was not read.
    Unknown,
}

fn given(place: &Place, spec: &PodSpec, variables: &[&str]) -> Given {
    let secret = |name: &str, key: &str| {
        let observed = place.secrets.get(name).or_else(|| place.others.get(name));
        match observed {
            None => Given::Unknown,
            Some(observed) => {
                let value = observed.live.as_ref().and_then(|live| live.text(key));
                match value.is_some_and(|value| value.entries().count() > 0) {
                    true => Given::Something,
                    false => Given::Nothing,
                }
            }
        }
    };
    let mut unknown = false;
    for container in &spec.containers {
        for variable in variables {
            // What `env` says beats `envFrom`.
            let direct = container.env.iter().rev().find(|env| env.name == *variable);
            let sources: Vec<Given> = match direct.map(|env| &env.source) {
                Some(Source::Literal { empty: true }) => vec![Given::Nothing],
                Some(Source::Literal { empty: false }) => vec![Given::Something],
                Some(Source::Secret { name, key, .. }) => vec![secret(name, key)],
                Some(Source::Other) => vec![Given::Unknown],
                None => container
                    .env_from
                    .iter()
                    .filter_map(|whole| {
                        let key = variable.strip_prefix(whole.prefix.as_str())?;
                        Some(match &whole.secret {
                            Some(name) => secret(name, key),
                            None => Given::Unknown,
                        })
                    })
                    .collect(),
            };
            if sources.contains(&Given::Something) {
                return Given::Something;
            }
            unknown |= sources.contains(&Given::Unknown);
        }
    }
    match unknown {
        true => Given::Unknown,
        false => Given::Nothing,
    }
}

/// What gives a service its variables: the Secret, the reference to it, the restart.
fn close(case: &Case<'_>, door: &Door, workload: &Workload) -> String {
    let home = &case.cluster.home;
    let whole = workload.spec.containers.iter().any(|container| {
        let of_secret = |name: &Option<String>| name.as_deref() == Some(door.secret);
        container
            .env_from
            .iter()
            .any(|whole| of_secret(&whole.secret))
    });
    let target = format!("statefulset/{}", door.service);
    let then = match whole {
        true => format!("rollout restart {target}"),
        // Changing the template restarts the pods too.
        false => format!(
            "set env {target} --from=secret/{} --keys={}",
            door.secret,
            door.variables[door.variables.len() - 1]
        ),
    };
    format!(
        "{} && {}",
        case.apply_with(&[], door.option),
        case.kubectl(home, &then)
    )
}

fn embeddings(case: &Case<'_>) -> Check {
    let id = Id::EmbeddingsDoor;
    let door = &EMBEDDINGS;
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let Some(workload) = place.stateful_set(door.service) else {
        let denied = case
            .denials(id, "list", &["statefulsets"])
            .into_iter()
            .next();
        return denied.unwrap_or_else(|| {
            Check::skip(id, format!("there is no StatefulSet {}", door.service))
        });
    };
    let check = match given(place, &workload.spec, door.variables) {
        Given::Something => Check::pass(id, "API_KEYS is set, so the service checks its callers"),
        Given::Unknown => case
            .unread_at_home(id, &bundles::EMBEDDINGS)
            .unwrap_or_else(|| {
                let message =
                    "not known: API_KEYS may come from a ConfigMap or a Secret that was not read";
                Check::skip(id, message)
            }),
        Given::Nothing => Check::warn(
            id,
            "no API_KEYS in its pod spec, so the service lets everyone in",
            close(case, door, workload),
        ),
    };
    check.at(home, workload.kind.as_str(), &workload.name)
}

/// brain-api without a token lets everyone in too, which no reference of its pods tells.
fn unguarded_brain_api(case: &Case<'_>) -> Option<Check> {
    let place = case.cluster.home_place();
    let workload = place.stateful_set(BRAIN_API.service)?;
    let check = Check::warn(
        Id::WorkloadWired,
        "no KB_ROUTER_TOKEN in its pod spec, so the service lets everyone in",
        close(case, &BRAIN_API, workload),
    );
    (given(place, &workload.spec, BRAIN_API.variables) == Given::Nothing)
        .then(|| check.at(&case.cluster.home, workload.kind.as_str(), &workload.name))
}

fn live(case: &Case<'_>, door: &Door) -> Check {
    let id = door.live;
    let home = &case.cluster.home;
    let is_it = |probe: &&Probe| probe.service == door.service;
    let check = match case
        .cluster
        .probes
        .iter()
        .find(is_it)
        .map(|probe| &probe.outcome)
    {
        None => return Check::skip(id, "not asked: --live does"),
        Some(ProbeOutcome::NotAsked(why)) => {
            let statefulsets = case
                .denials(id, "list", &["statefulsets"])
                .into_iter()
                .next();
            let denied = statefulsets.or_else(|| case.unread_at_home(id, &ROUTER));
            denied.unwrap_or_else(|| Check::skip(id, why.clone()))
        }
        Some(ProbeOutcome::Asked { right, wrong }) => judge(case, door, right.as_ref(), wrong),
    };
    check.at(home, Kind::StatefulSet.as_str(), door.service)
}

fn judge(case: &Case<'_>, door: &Door, right: Option<&Reply>, wrong: &Reply) -> Check {
    let id = door.live;
    let home = &case.cluster.home;
    let logs = case.kubectl(home, &format!("logs {}", first_pod(door.service)));
    let open = |status: u16| status == door.accepted || (200..300).contains(&status);
    match (wrong, right) {
        (Reply::Status(status), _) if open(*status) => {
            let (why, hint) = why_open(case, door);
            Check::fail(
                id,
                format!("a wrong token gets {status}: the door is open, {why}"),
                hint,
            )
        }
        (Reply::Forbidden, _) | (_, Some(Reply::Forbidden)) => {
            let message =
                format!("not asked: you may not get and create pods/portforward in {home}");
            Check::skip(id, message).hint(case.role_hint())
        }
        (Reply::Unreachable(why), _) | (_, Some(Reply::Unreachable(why))) => {
            Check::fail(id, format!("no answer: {why}"), unanswered(case, door))
        }
        (Reply::Status(status), _) if *status != REFUSED => Check::fail(
            id,
            format!("a wrong token gets {status} instead of {REFUSED}"),
            logs,
        ),
        (Reply::Status(_), None) => {
            let unknown = "a wrong token is refused; there is no right one to ask with";
            let denied = case.unread_at_home(id, &ROUTER);
            denied.unwrap_or_else(|| Check::skip(id, unknown))
        }
        (Reply::Status(wrong), Some(Reply::Status(right))) => match *right {
            status if status == door.accepted => Check::pass(
                id,
                format!("the right token gets {status}, a wrong one {wrong}"),
            ),
            REFUSED => Check::fail(
                id,
                format!(
                    "the right token is refused ({REFUSED}): {}",
                    why_refused(case, door)
                ),
                case.kubectl(
                    home,
                    &format!("rollout restart statefulset/{}", door.service),
                ),
            ),
            status => Check::fail(
                id,
                format!("the right token gets {status} instead of {}", door.accepted),
                logs,
            ),
        },
    }
}

/// What a person looks at, or does, where there is no answer.
fn unanswered(case: &Case<'_>, door: &Door) -> String {
    let home = &case.cluster.home;
    let pod = first_pod(door.service);
    let pods = &case.cluster.home_place().pods;
    match pods.iter().any(|candidate| candidate.name == pod) {
        true => case.kubectl(home, &format!("describe pod {pod}")),
        false => case.kubectl(
            home,
            &format!("scale statefulset/{} --replicas=1", door.service),
        ),
    }
}

/// Whether the pod that was asked started before its Secret last changed.
fn older_than_secret(case: &Case<'_>, door: &Door) -> bool {
    let place = case.cluster.home_place();
    let changed = place.live(door.secret).and_then(|live| live.changed);
    let pod = first_pod(door.service);
    let started = place
        .pods
        .iter()
        .find(|candidate| candidate.name == pod)
        .and_then(|pod| pod.started.values().min());
    matches!((changed, started), (Some(changed), Some(started)) if changed > *started)
}

fn why_open(case: &Case<'_>, door: &Door) -> (String, String) {
    let place = case.cluster.home_place();
    let variables = door.variables.join(" or ");
    let restart = case.kubectl(
        &case.cluster.home,
        &format!("rollout restart statefulset/{}", door.service),
    );
    match place.stateful_set(door.service) {
        Some(workload) if given(place, &workload.spec, door.variables) == Given::Nothing => (
            format!("for there is no {variables} in the pod spec"),
            close(case, door, workload),
        ),
        _ if older_than_secret(case, door) => (
            format!("for the pod is older than {}", door.secret),
            restart,
        ),
        _ => (
            format!("though {variables} may be set: does the pod have it?"),
            restart,
        ),
    }
}

fn why_refused(case: &Case<'_>, door: &Door) -> String {
    match older_than_secret(case, door) {
        true => format!("the pod is older than {}", door.secret),
        false => "the pod accepts other tokens".to_owned(),
    }
}
