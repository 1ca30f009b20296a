//! Which workloads have to run on what has been written, and which of them do.

use super::{Phase, Rotation};
use crate::domain::cluster::freshness::{Tie, started_after};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::cluster::workload::{BRAIN_API, EMBEDDINGS, Pod, PodSpec, Workload};
use crate::domain::table::{EMBEDDINGS as EMBEDDINGS_BUNDLE, Origin, ROUTER};
use crate::domain::values::token::TokenName;
use std::fmt;

/// What a workload is to the tokens that rotate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// It checks one of them.
    pub server: bool,
    /// It sends one of them.
    pub client: bool,
}

/// The names of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadRef {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is.
    pub kind: WorkloadKind,
    /// What it is called.
    pub name: String,
}

impl WorkloadRef {
    /// Those of a workload.
    pub fn of(workload: &Workload) -> Self {
        Self {
            namespace: workload.namespace.clone(),
            kind: workload.kind,
            name: workload.name.clone(),
        }
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// The StatefulSet that checks a token.
pub const fn server_of(token: TokenName) -> &'static str {
    match token {
        TokenName::KbRouterToken => BRAIN_API,
        TokenName::EmbeddingsApiKey => EMBEDDINGS,
    }
}

/// Tells whether a pod of this spec reads a token as one who sends it. `maker` is the StatefulSet
/// that made it, where one did: who checks a token does not send it.
pub fn sends(spec: &PodSpec, maker: Option<&str>, token: TokenName) -> bool {
    if maker == Some(server_of(token)) {
        return false;
    }
    let mut references = spec.references().into_iter();
    references.any(|reference| {
        let key = reference.key.is_none_or(|key| key == token.as_str());
        reference.secret == ROUTER.secret && key
    })
}

/// The StatefulSet that makes a workload's pods: itself, where it is one.
pub fn maker(workload: &Workload) -> Option<&str> {
    (workload.kind == WorkloadKind::StatefulSet).then_some(workload.name.as_str())
}

/// Tells whether a workload checks a token that it takes from our Secrets.
pub fn is_server(workload: &Workload, token: TokenName) -> bool {
    maker(workload) == Some(server_of(token)) && reads_tokens(&workload.spec)
}

/// Tells whether a workload reads a list of such tokens: only so it can accept two of them.
pub fn reads_list(workload: &Workload, token: TokenName) -> bool {
    let bundles = [&ROUTER, &EMBEDDINGS_BUNDLE];
    workload.spec.references().into_iter().any(|reference| {
        let bundle = bundles.iter().find(|it| it.secret == reference.secret);
        let keys = bundle.into_iter().flat_map(|bundle| bundle.keys);
        let mut lists =
            keys.filter(|key| matches!(key.origin, Origin::TokenList(of, _) if of == token));
        lists.any(|list| reference.key.is_none_or(|key| key == list.name))
    })
}

/// What a workload is to this rotation, among the rest of its namespace.
pub fn role(rotation: &Rotation, workload: &Workload) -> Role {
    let mut role = Role::default();
    for (token, _) in rotation.changes() {
        role.server |= is_server(workload, token);
        role.client |= sends(&workload.spec, maker(workload), token);
    }
    role
}

fn reads_tokens(spec: &PodSpec) -> bool {
    let mut references = spec.references().into_iter();
    references.any(|it| it.secret == ROUTER.secret || it.secret == EMBEDDINGS_BUNDLE.secret)
}

/// Tells whether a brain-api of this place takes its tokens from the router Secret.
pub fn serves(place: &NamespaceSnapshot) -> bool {
    let brain_api = place.stateful_set(BRAIN_API);
    brain_api.is_some_and(|it| {
        it.spec
            .references()
            .iter()
            .any(|it| it.secret == ROUTER.secret)
    })
}

/// When the Secrets with tokens that a spec refers to last changed, in seconds since 1970.
pub fn changed(place: &NamespaceSnapshot, spec: &PodSpec) -> Option<i64> {
    let references = spec.references();
    let changed = [&ROUTER, &EMBEDDINGS_BUNDLE].map(|bundle| {
        let read = references.iter().any(|it| it.secret == bundle.secret);
        place.live(bundle.secret).filter(|_| read)?.changed
    });
    changed.into_iter().flatten().max()
}

/// When a pod took its environment, as far as it runs: the first of its containers.
pub fn started(pod: &Pod) -> Option<i64> {
    pod.started.values().min().copied()
}

/// Tells whether all pods of a workload started after its Secrets last changed, for sure.
pub fn is_fresh(place: &NamespaceSnapshot, workload: &Workload) -> bool {
    is_fresh_since(place, workload, changed(place, &workload.spec))
}

/// Tells whether all pods of a workload started after that time, in seconds since 1970, for sure.
pub fn is_fresh_since(
    place: &NamespaceSnapshot,
    workload: &Workload,
    changed: Option<i64>,
) -> bool {
    let Some(changed) = changed else {
        return false;
    };
    let mut pods = place
        .pods
        .iter()
        .chain(&place.leaving)
        .filter(|pod| pod.belongs_to(workload))
        .peekable();
    if workload.rollout.wanted == 0 {
        return pods.peek().is_none();
    }
    let is_fresh =
        |pod: &Pod| started(pod).is_some_and(|started| started_after(started, changed, Tie::Stale));
    pods.peek().is_some() && pods.all(is_fresh)
}

/// How a workload stands to what it has to do in the present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs on what has been written.
    Right,
    /// It has been restarted and is not there yet.
    Rolling,
    /// It has to be restarted.
    Stale,
}

/// Tells whether the mark of a workload's template is good for what it is looked at as.
pub fn is_marked(rotation: &Rotation, workload: &Workload, who: Who) -> bool {
    let (role, mark) = (role(rotation, workload), workload.mark.as_deref());
    let server = role.server && who != Who::Clients;
    let client = role.client && who != Who::Servers;
    (!server || rotation.marks_server(mark)) && (!client || rotation.marks_client(mark))
}

/// How a workload stands, looked at as that.
pub fn standing(
    rotation: &Rotation,
    place: &NamespaceSnapshot,
    workload: &Workload,
    who: Who,
) -> Standing {
    let marked = is_marked(rotation, workload, who);
    let complete = workload.rollout.is_complete(workload.kind);
    match (marked, complete) {
        (true, true) => Standing::Right,
        (true, false) => Standing::Rolling,
        (false, true) if is_fresh(place, workload) => Standing::Right,
        (false, _) => Standing::Stale,
    }
}

/// Which of them to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Who checks a token.
    Servers,
    /// Who sends one.
    Clients,
    /// Both.
    Everybody,
}

impl Who {
    /// Who restarts in a phase.
    pub fn of(phase: Phase) -> Self {
        let row = phase.row();
        match (row.servers, row.clients) {
            (true, false) => Self::Servers,
            (false, true) => Self::Clients,
            _ => Self::Everybody,
        }
    }
}

/// What the template of a workload says that is restarted as that.
pub fn mark(rotation: &Rotation, who: Who) -> String {
    match who {
        Who::Servers => rotation.server_mark(),
        Who::Clients | Who::Everybody => rotation.mark(),
    }
}

/// The workloads that have to roll out before the phase can go on.
pub fn pending<'a>(rotation: &Rotation, facts: &'a ClusterSnapshot, who: Who) -> Vec<&'a Workload> {
    let mut found = Vec::new();
    for place in facts.places.values() {
        for workload in &place.workloads {
            // A CronJob makes new pods by itself.
            if matches!(workload.kind, WorkloadKind::CronJob | WorkloadKind::Pod) {
                continue;
            }
            let role = role(rotation, workload);
            let counts = match who {
                Who::Servers => role.server,
                Who::Clients => role.client,
                Who::Everybody => role.server || role.client,
            };
            if counts && standing(rotation, place, workload, who) != Standing::Right {
                found.push(workload);
            }
        }
    }
    found
}
