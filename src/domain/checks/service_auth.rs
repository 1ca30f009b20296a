//! `embeddings.door` and `live.*`: the two services have tokens to check their callers with and, with
//! `--live`, accept the right token and reject a wrong one.

use super::case::Case;
use super::check::{Check, Id};
use super::pods;
use super::settle;
use super::variables::{
    self, Setting, WITHOUT_KEY, env_source, is_unguarded, serving_containers, setting,
};
use super::workloads::bundle;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::{ProbeOutcome, Reply};
use crate::domain::cluster::workload::{self, Pod, PodSpec, VariableSource, first_pod};
use crate::domain::table::Bundle;
use crate::domain::table::{self, ROUTER};
use crate::domain::values::token::TokenName;

/// A service that checks its callers.
struct Service {
    /// The name of its StatefulSet.
    name: &'static str,
    /// The environment variables with the accepted tokens; one is enough.
    variables: &'static [&'static str],
    /// The Secret that holds the variables.
    secret: &'static str,
    /// The token that its clients send.
    token: TokenName,
    /// The HTTP status for the right token.
    accepted: u16,
    live: Id,
}

static BRAIN_API: Service = Service {
    name: workload::BRAIN_API,
    variables: &variables::OF_BRAIN_API,
    secret: ROUTER.secret,
    token: TokenName::KbRouterToken,
    accepted: 200,
    live: Id::LiveBrainApi,
};

static EMBEDDINGS: Service = Service {
    name: workload::EMBEDDINGS,
    variables: &[table::API_KEYS],
    secret: table::EMBEDDINGS.secret,
    token: TokenName::EmbeddingsApiKey,
    accepted: 422,
    live: Id::LiveEmbeddings,
};

/// The HTTP status of a newer service that gets no key, or is not configured.
const UNAVAILABLE: u16 = 503;
/// The HTTP status for a token that is not accepted.
const REFUSED: u16 = 401;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = vec![embeddings(case)];
    checks.extend(unguarded_brain_api(case));
    for service in [&BRAIN_API, &EMBEDDINGS] {
        checks.push(live(case, service));
    }
    checks
}

/// True if the pods of a service take a variable from its Secret in the table.
fn reads_own_secret(service: &Service, spec: &PodSpec) -> bool {
    serving_containers(spec).any(|container| {
        service
            .variables
            .iter()
            .any(|variable| match env_source(container, variable) {
                Some(VariableSource::Secret { name, key, .. }) => {
                    name == service.secret && key == variable
                }
                Some(_) => false,
                None => container.env_from.iter().any(|whole| {
                    whole.prefix.is_empty() && whole.secret.as_deref() == Some(service.secret)
                }),
            })
    })
}

/// The next command that sets a variable of a service: in the Secret, then in the pod spec. A changed
/// template restarts the pods, too.
fn secure_hint(case: &Case<'_>, service: &Service) -> String {
    let observed = case.cluster.home_place().secrets.get(service.secret);
    if observed.is_some_and(|observed| observed.owner.is_some()) {
        return Id::OwnerSecret.docs_link();
    }
    let variable = service.variables[service.variables.len() - 1];
    let live = observed.and_then(|observed| observed.live.as_ref());
    let value = live.and_then(|live| live.text(variable));
    if value.is_some_and(|value| value.entries().next().is_some()) {
        let (name, secret) = (service.name, service.secret);
        let set = format!("set env statefulset/{name} --from=secret/{secret} --keys={variable}");
        return case.kubectl(&case.cluster.home, &set);
    }
    let absent = observed.is_some_and(|observed| observed.live.is_none());
    let bundle = bundle(service.secret).filter(|_| absent);
    let required = bundle.map(Bundle::required_inputs).unwrap_or_default();
    case.apply_with(&required, "")
}

/// The command that restarts a service.
fn restart_hint(case: &Case<'_>, service: &Service) -> String {
    match probed_pod(case, service) {
        // A rollout would wait for a pod that is not ready.
        Some(pod) if !pod.ready => pods::restart_hint(case, pod),
        _ => case.kubectl(
            &case.cluster.home,
            &format!("rollout restart statefulset/{}", service.name),
        ),
    }
}

/// The pod that `--live` probes.
fn probed_pod<'a>(case: &Case<'a>, service: &Service) -> Option<&'a Pod> {
    let name = first_pod(service.name);
    let pods = &case.cluster.home_place().pods;
    pods.iter().find(|pod| pod.name == name)
}

/// The skipped check if StatefulSets may not be listed.
fn unlisted(case: &Case<'_>, id: Id) -> Option<Check> {
    case.denials(id, "list", &["statefulsets"]).pop()
}

fn embeddings(case: &Case<'_>) -> Check {
    let id = Id::EmbeddingsDoor;
    let service = &EMBEDDINGS;
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let Some(workload) = place.stateful_set(service.name) else {
        let absent = || Check::skip(id, format!("StatefulSet {} not found", service.name));
        return unlisted(case, id).unwrap_or_else(absent);
    };
    let check = match setting(place, &workload.spec, service.variables) {
        Setting::Set if is_older_than_secret(case, service) => Check::warn(
            id,
            format!(
                "API_KEYS is set, but the pod is older than {} and may accept every request",
                service.secret
            ),
        )
        .hint(restart_hint(case, service)),
        Setting::Set => Check::pass(id, "API_KEYS is set: the service checks its callers"),
        Setting::Unknown => case
            .unread_at_home(id, &table::EMBEDDINGS)
            .unwrap_or_else(|| {
                let message =
                    "unknown: API_KEYS may come from a ConfigMap or a Secret that was not read";
                Check::skip(id, message)
            }),
        Setting::Unset => Check::fail(id, format!("no API_KEYS in its pod spec: {WITHOUT_KEY}"))
            .hint(secure_hint(case, service)),
    };
    check.at(home, workload.kind.as_str(), &workload.name)
}

/// The same of brain-api and its tokens. `workload.wired` cannot find that, since the
/// pods have no reference to check.
fn unguarded_brain_api(case: &Case<'_>) -> Option<Check> {
    let place = case.cluster.home_place();
    let workload = place.stateful_set(BRAIN_API.name)?;
    let check = Check::fail(
        Id::WorkloadWired,
        format!("no KB_ROUTER_TOKEN in its pod spec: {WITHOUT_KEY}"),
    )
    .hint(secure_hint(case, &BRAIN_API));
    // If the Secret is missing the pods do not start; another check reports that.
    let waits = place.live(ROUTER.secret).is_none() && reads_own_secret(&BRAIN_API, &workload.spec);
    (!waits && is_unguarded(place, &workload.spec))
        .then(|| check.at(&case.cluster.home, workload.kind.as_str(), &workload.name))
}

fn live(case: &Case<'_>, service: &Service) -> Check {
    let id = service.live;
    let home = &case.cluster.home;
    let mut probes = case.cluster.probes.iter();
    let probe = probes.find(|probe| probe.service == service.name);
    let check = match probe.map(|probe| &probe.outcome) {
        None => return Check::skip(id, "not probed without --live"),
        Some(ProbeOutcome::NotAsked(why)) => {
            let denied = unlisted(case, id).or_else(|| case.unread_at_home(id, &ROUTER));
            denied.unwrap_or_else(|| Check::skip(id, why.clone()))
        }
        Some(ProbeOutcome::Asked { right, wrong }) => judge(case, service, right.as_ref(), wrong),
    };
    check.at(home, WorkloadKind::StatefulSet.as_str(), service.name)
}

fn judge(case: &Case<'_>, service: &Service, right: Option<&Reply>, wrong: &Reply) -> Check {
    let id = service.live;
    let home = &case.cluster.home;
    let logs = case.kubectl(home, &format!("logs {}", first_pod(service.name)));
    let is_accepted = |status: u16| status == service.accepted || (200..300).contains(&status);
    match (wrong, right) {
        (Reply::Status(status), _) if is_accepted(*status) => {
            let (why, hint) = why_open(case, service);
            Check::fail(id, format!("a wrong token is accepted ({status}): {why}")).hint(hint)
        }
        (Reply::Forbidden, _) | (_, Some(Reply::Forbidden)) => {
            let message =
                format!("not probed: you may not get and create pods/portforward in {home}");
            Check::skip(id, message).hint(case.role_hint())
        }
        (Reply::Unreachable(why), _) | (_, Some(Reply::Unreachable(why))) => {
            unreachable(case, service, why)
        }
        (Reply::Status(UNAVAILABLE), _) => {
            let (why, hint) = why_open(case, service);
            let message = format!("every request gets {UNAVAILABLE}: {why}");
            Check::fail(id, message).hint(hint)
        }
        (Reply::Status(status), _) if *status != REFUSED => Check::fail(
            id,
            format!("a wrong token gets {status} instead of {REFUSED}"),
        )
        .hint(logs),
        (Reply::Status(_), None) => {
            let unknown = "a wrong token is rejected; the home namespace has no token to test with";
            let denied = case.unread_at_home(id, &ROUTER);
            denied.unwrap_or_else(|| Check::skip(id, unknown))
        }
        (Reply::Status(wrong), Some(Reply::Status(right))) => match *right {
            status if status == service.accepted => Check::pass(
                id,
                format!("the right token gets {status}, a wrong one {wrong}"),
            ),
            REFUSED => {
                let (why, hint) = why_refused(case, service);
                let message = format!("the right token is rejected ({REFUSED}): {why}");
                Check::fail(id, message).hint(hint)
            }
            status => Check::fail(
                id,
                format!(
                    "the right token gets {status} instead of {}",
                    service.accepted
                ),
            )
            .hint(logs),
        },
    }
}

fn unreachable(case: &Case<'_>, service: &Service, why: &str) -> Check {
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let pod = probed_pod(case, service);
    if pod.is_none() && !case.cluster.is_denied("list", "pods", home) {
        let scale = format!("scale statefulset/{} --replicas=1", service.name);
        let message = format!("no answer: pod {} not found", first_pod(service.name));
        return Check::fail(service.live, message).hint(case.kubectl(home, &scale));
    }
    let waiting = pod.and_then(|pod| pods::waiting_check(case, place, pod));
    match waiting {
        Some(waiting) => Check::fail(
            service.live,
            format!("no answer: its pod does not start, see {}", waiting.id),
        )
        .hint(waiting.hint),
        None => Check::fail(service.live, format!("no answer: {why}")),
    }
}

/// True if the probed pod started before its Secret last changed.
fn is_older_than_secret(case: &Case<'_>, service: &Service) -> bool {
    probed_pod(case, service).is_some_and(|pod| {
        let missed = pods::missed_changes(case, pod);
        missed.iter().any(|(secret, _)| *secret == service.secret)
    })
}

/// Why a service accepts a wrong token, and the hint.
fn why_open(case: &Case<'_>, service: &Service) -> (String, String) {
    let place = case.cluster.home_place();
    let variables = service.variables.join(" or ");
    let is_unset = place.stateful_set(service.name).is_some_and(|workload| {
        setting(place, &workload.spec, service.variables) == Setting::Unset
    });
    if is_unset {
        let why = format!("no {variables} in the pod spec");
        return (why, secure_hint(case, service));
    }
    let why = if is_older_than_secret(case, service) {
        format!("the pod is older than {}", service.secret)
    } else {
        format!("{variables} may be set, but not in the running pod")
    };
    (why, restart_hint(case, service))
}

/// A list in the Secret of the service that does not contain its token.
fn list_without_token(case: &Case<'_>, service: &Service) -> Option<&'static str> {
    let place = case.cluster.home_place();
    let token = place.live(ROUTER.secret)?.text(service.token.as_str())?;
    let lists = service.variables.iter().copied();
    lists
        .filter(|name| *name != service.token.as_str())
        .find(|name| {
            let list = place.live(service.secret).and_then(|live| live.text(name));
            list.is_some_and(|list| list.entries().count() > 0 && !list.lists(token))
        })
}

/// Why a service rejects the right token, and the hint.
fn why_refused(case: &Case<'_>, service: &Service) -> (String, String) {
    let place = case.cluster.home_place();
    if let Some(workload) = place.stateful_set(service.name) {
        if !reads_own_secret(service, &workload.spec) {
            return (
                format!("the pod does not take its tokens from {}", service.secret),
                secure_hint(case, service),
            );
        }
        if let Some(list) = list_without_token(case, service) {
            return (
                format!("it is not in list {list} of {}", service.secret),
                settle::apply(case),
            );
        }
    }
    let why = if is_older_than_secret(case, service) {
        format!("the pod is older than {}", service.secret)
    } else {
        "the pod accepts other tokens".to_owned()
    };
    (why, restart_hint(case, service))
}
