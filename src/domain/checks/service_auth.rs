//! The doors of the two services: what their pods are given to check callers with, and, with
//! `--live`, whom they let in.

use super::case::Case;
use super::check::{Check, Id};
use super::pods;
use super::workloads::bundle;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::{NamespaceSnapshot, Probe, ProbeOutcome, Reply};
use crate::domain::cluster::workload::{
    self, Container, Pod, PodSpec, VariableSource, Workload, first_pod,
};
use crate::domain::table::Bundle;
use crate::domain::table::{self, ROUTER};
use crate::domain::values::token::TokenName;

/// A service that checks its callers.
struct Door {
    /// Its StatefulSet.
    service: &'static str,
    /// The variables that hold what it accepts, any of which will do.
    variables: &'static [&'static str],
    /// The Secret that they belong in.
    secret: &'static str,
    /// The token that its clients send.
    token: TokenName,
    /// How it answers the right token.
    accepted: u16,
    /// What the main command needs to put them there.
    option: &'static str,
    live: Id,
}

static BRAIN_API: Door = Door {
    service: workload::BRAIN_API,
    variables: &["KB_ROUTER_TOKENS", "KB_ROUTER_TOKEN"],
    secret: ROUTER.secret,
    token: TokenName::KbRouterToken,
    accepted: 200,
    option: "",
    live: Id::LiveBrainApi,
};

static EMBEDDINGS: Door = Door {
    service: workload::EMBEDDINGS,
    variables: &[table::API_KEYS],
    secret: table::EMBEDDINGS.secret,
    token: TokenName::EmbeddingsApiKey,
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

/// The containers that serve: those with a port, where any has one.
fn serving(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let any = spec.containers.iter().any(|it| it.port.is_some());
    spec.containers
        .iter()
        .filter(move |it| it.port.is_some() || !any)
}

/// What `env` says of a variable, which beats `envFrom`.
fn direct<'a>(container: &'a Container, variable: &str) -> Option<&'a VariableSource> {
    let env = container.env.iter().rev().find(|env| env.name == variable);
    env.map(|env| &env.source)
}

fn given(place: &NamespaceSnapshot, spec: &PodSpec, variables: &[&str]) -> Given {
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
    for container in serving(spec) {
        for variable in variables {
            let sources: Vec<Given> = match direct(container, variable) {
                Some(VariableSource::Literal { empty: true }) => vec![Given::Nothing],
                Some(VariableSource::Literal { empty: false }) => vec![Given::Something],
                Some(VariableSource::Secret { name, key, .. }) => vec![secret(name, key)],
                Some(VariableSource::Other) => vec![Given::Unknown],
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

/// Tells whether the pods of a service take a variable from the Secret that it belongs in.
fn takes_ours(door: &Door, spec: &PodSpec) -> bool {
    serving(spec).any(|container| {
        door.variables
            .iter()
            .any(|variable| match direct(container, variable) {
                Some(VariableSource::Secret { name, key, .. }) => {
                    name == door.secret && key == variable
                }
                Some(_) => false,
                None => container.env_from.iter().any(|whole| {
                    whole.prefix.is_empty() && whole.secret.as_deref() == Some(door.secret)
                }),
            })
    })
}

/// What gives a service its variables: the Secret, the reference to it, new pods.
fn close(case: &Case<'_>, door: &Door, workload: &Workload, options: &str) -> String {
    let home = &case.cluster.home;
    let observed = case.cluster.home_place().secrets.get(door.secret);
    if let Some(owner) = observed.and_then(|observed| observed.owner.as_ref()) {
        return case.ask_owner(home, owner);
    }
    let absent = observed.is_some_and(|observed| observed.live.is_none());
    let bundle = bundle(door.secret).filter(|_| absent);
    let required = bundle.map(Bundle::required_inputs).unwrap_or_default();
    let then = match takes_ours(door, &workload.spec) {
        true => restart(case, door),
        // Changing the template restarts the pods too.
        false => case.kubectl(
            home,
            &format!(
                "set env statefulset/{} --from=secret/{} --keys={}",
                door.service,
                door.secret,
                door.variables[door.variables.len() - 1]
            ),
        ),
    };
    let apply = case.apply_with(&required, options);
    format!("{apply} && {then}")
}

/// What brings a service a new pod.
fn restart(case: &Case<'_>, door: &Door) -> String {
    match pod(case, door) {
        // A rollout would wait for it.
        Some(pod) if !pod.ready => pods::restart_hint(case, pod),
        _ => case.kubectl(
            &case.cluster.home,
            &format!("rollout restart statefulset/{}", door.service),
        ),
    }
}

/// The pod that is asked.
fn pod<'a>(case: &Case<'a>, door: &Door) -> Option<&'a Pod> {
    let name = first_pod(door.service);
    let pods = &case.cluster.home_place().pods;
    pods.iter().find(|pod| pod.name == name)
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
        Given::Something if older_than_secret(case, door) => Check::warn(
            id,
            format!(
                "API_KEYS is set by now, but its pod is older than {} and may let everyone in",
                door.secret
            ),
            restart(case, door),
        ),
        Given::Something => Check::pass(id, "API_KEYS is set, so the service checks its callers"),
        Given::Unknown => case
            .unread_at_home(id, &table::EMBEDDINGS)
            .unwrap_or_else(|| {
                let message =
                    "not known: API_KEYS may come from a ConfigMap or a Secret that was not read";
                Check::skip(id, message)
            }),
        Given::Nothing => Check::warn(
            id,
            "no API_KEYS in its pod spec, so the service lets everyone in",
            close(case, door, workload, door.option),
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
        close(case, &BRAIN_API, workload, BRAIN_API.option),
    );
    // Without the Secret that it refers to its pods do not start, and that is told elsewhere.
    let waits = place.live(ROUTER.secret).is_none() && takes_ours(&BRAIN_API, &workload.spec);
    (!waits && given(place, &workload.spec, BRAIN_API.variables) == Given::Nothing)
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
    check.at(home, WorkloadKind::StatefulSet.as_str(), door.service)
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
            unreachable(case, door, why)
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
            REFUSED => {
                let (why, hint) = why_refused(case, door);
                Check::fail(
                    id,
                    format!("the right token is refused ({REFUSED}): {why}"),
                    hint,
                )
            }
            status => Check::fail(
                id,
                format!("the right token gets {status} instead of {}", door.accepted),
                logs,
            ),
        },
    }
}

/// Why nobody answers.
fn unreachable(case: &Case<'_>, door: &Door, why: &str) -> Check {
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let pod = pod(case, door);
    if pod.is_none() && !case.cluster.is_denied("list", "pods", home) {
        let scale = format!("scale statefulset/{} --replicas=1", door.service);
        return Check::fail(
            door.live,
            format!("no answer: there is no pod {}", first_pod(door.service)),
            case.kubectl(home, &scale),
        );
    }
    let waits = pod.and_then(|pod| pods::waits(case, place, pod));
    match waits {
        Some(waits) => Check::fail(
            door.live,
            format!("no answer: its pod does not start, see {}", waits.id),
            waits.hint,
        ),
        None => Check::fail(door.live, format!("no answer: {why}"), restart(case, door)),
    }
}

/// Whether the pod that was asked started before its Secret last changed.
fn older_than_secret(case: &Case<'_>, door: &Door) -> bool {
    pod(case, door).is_some_and(|pod| {
        let missed = pods::missed(case, pod);
        missed.iter().any(|(secret, _)| *secret == door.secret)
    })
}

fn why_open(case: &Case<'_>, door: &Door) -> (String, String) {
    let place = case.cluster.home_place();
    let variables = door.variables.join(" or ");
    match place.stateful_set(door.service) {
        Some(workload) if given(place, &workload.spec, door.variables) == Given::Nothing => (
            format!("for there is no {variables} in the pod spec"),
            close(case, door, workload, door.option),
        ),
        _ if older_than_secret(case, door) => (
            format!("for the pod is older than {}", door.secret),
            restart(case, door),
        ),
        _ => (
            format!("though {variables} may be set: does the pod have it?"),
            restart(case, door),
        ),
    }
}

/// A list of the service's Secret that its token is not on.
fn lacking(case: &Case<'_>, door: &Door) -> Option<&'static str> {
    let place = case.cluster.home_place();
    let token = place.live(ROUTER.secret)?.text(door.token.as_str())?;
    let lists = door.variables.iter().copied();
    lists
        .filter(|name| *name != door.token.as_str())
        .find(|name| {
            let list = place.live(door.secret).and_then(|live| live.text(name));
            list.is_some_and(|list| list.entries().count() > 0 && !list.lists(token))
        })
}

fn why_refused(case: &Case<'_>, door: &Door) -> (String, String) {
    let place = case.cluster.home_place();
    if let Some(workload) = place.stateful_set(door.service) {
        if !takes_ours(door, &workload.spec) {
            return (
                format!("the pod has its tokens from elsewhere than {}", door.secret),
                close(case, door, workload, door.option),
            );
        }
        if let Some(list) = lacking(case, door) {
            return (
                format!("it is not on the list {list} of {}", door.secret),
                close(case, door, workload, " --prefer cluster"),
            );
        }
    }
    let why = match older_than_secret(case, door) {
        true => format!("the pod is older than {}", door.secret),
        false => "the pod accepts other tokens".to_owned(),
    };
    (why, restart(case, door))
}
