//! Which workloads are servers or clients of a rotating token, and which of them must restart.

use super::{Phase, Rotation};
use crate::domain::cluster::freshness::{Tie, started_after};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::cluster::workload::{BRAIN_API, EMBEDDINGS, Pod, PodSpec, Workload};
use crate::domain::table::{EMBEDDINGS as EMBEDDINGS_BUNDLE, ROUTER};
use crate::domain::values::token::TokenName;
use std::fmt;

/// The role of a workload for the rotating tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// It checks a rotating token.
    pub server: bool,
    /// It sends a rotating token.
    pub client: bool,
}

impl Role {
    fn only(self, who: Who) -> Self {
        Self {
            server: self.server && who != Who::Clients,
            client: self.client && who != Who::Servers,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadRef {
    pub namespace: Namespace,
    pub kind: WorkloadKind,
    pub name: String,
}

impl WorkloadRef {
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

/// True if a pod of this spec sends the token as a client. `stateful_set` is the name of the
/// StatefulSet that owns the pod: the server of a token does not send it.
pub fn sends(spec: &PodSpec, stateful_set: Option<&str>, token: TokenName) -> bool {
    stateful_set != Some(server_of(token))
        && spec.references().into_iter().any(|reference| {
            reference.secret == ROUTER.secret
                && reference.key.is_none_or(|key| key == token.as_str())
        })
}

/// The name of a workload that is a StatefulSet.
pub fn stateful_set_of(workload: &Workload) -> Option<&str> {
    (workload.kind == WorkloadKind::StatefulSet).then_some(workload.name.as_str())
}

/// True if the workload checks the token and reads it from a Secret of the table.
pub fn is_server(workload: &Workload, token: TokenName) -> bool {
    let spec = &workload.spec;
    stateful_set_of(workload) == Some(server_of(token))
        && (spec.reads(ROUTER.secret) || spec.reads(EMBEDDINGS_BUNDLE.secret))
}

/// True if the workload reads a list of tokens: only then it can accept both values.
pub fn reads_list(workload: &Workload, token: TokenName) -> bool {
    let bundles = [&ROUTER, &EMBEDDINGS_BUNDLE];
    workload.spec.references().into_iter().any(|reference| {
        bundles
            .iter()
            .filter(|bundle| bundle.secret == reference.secret)
            .flat_map(|bundle| bundle.keys)
            .filter(|key| key.origin.is_list_of(token))
            .any(|list| reference.key.is_none_or(|key| key == list.name))
    })
}

pub fn role(rotation: &Rotation, workload: &Workload) -> Role {
    let mut role = Role::default();
    for (token, _) in rotation.changes() {
        role.server |= is_server(workload, token);
        role.client |= sends(&workload.spec, stateful_set_of(workload), token);
    }
    role
}

/// True if the namespace has a brain-api that reads the router Secret.
pub fn reads_router_secret(place: &NamespaceSnapshot) -> bool {
    let brain_api = place.stateful_set(BRAIN_API);
    brain_api.is_some_and(|it| it.spec.reads(ROUTER.secret))
}

/// The last change of the Secrets with tokens that a spec references, in seconds since 1970.
fn secrets_changed_at(place: &NamespaceSnapshot, spec: &PodSpec) -> Option<i64> {
    [&ROUTER, &EMBEDDINGS_BUNDLE]
        .into_iter()
        .filter(|bundle| spec.reads(bundle.secret))
        .filter_map(|bundle| place.live(bundle.secret)?.changed)
        .max()
}

/// When the first container of a pod started, in seconds since 1970; `None` if none runs.
pub fn started_at(pod: &Pod) -> Option<i64> {
    pod.started.values().min().copied()
}

/// True if all pods of a workload certainly started after the last change of its Secrets.
pub fn is_fresh(place: &NamespaceSnapshot, workload: &Workload) -> bool {
    is_fresh_since(place, workload, secrets_changed_at(place, &workload.spec))
}

/// True if all pods of a workload certainly started after `changed`, in seconds since 1970.
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
    let is_fresh = |pod: &Pod| {
        started_at(pod).is_some_and(|started| started_after(started, changed, Tie::Stale))
    };
    pods.peek().is_some() && pods.all(is_fresh)
}

/// The state of a workload in the current phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All pods run with the written values.
    Right,
    /// The workload was restarted, and its rollout is not complete.
    Rolling,
    /// The workload must be restarted.
    Stale,
}

/// True if the mark in the pod template is valid for the roles `who`.
pub fn is_marked(rotation: &Rotation, workload: &Workload, who: Who) -> bool {
    let (role, mark) = (role(rotation, workload).only(who), workload.mark.as_deref());
    (!role.server || rotation.marks_server(mark)) && (!role.client || rotation.marks_client(mark))
}

/// The state of a workload in the roles `who`.
pub fn standing(
    rotation: &Rotation,
    place: &NamespaceSnapshot,
    workload: &Workload,
    who: Who,
) -> Standing {
    let is_marked = is_marked(rotation, workload, who);
    let is_complete = workload.rollout.is_complete(workload.kind);
    if is_marked && !is_complete {
        Standing::Rolling
    } else if is_complete && (is_marked || is_fresh(place, workload)) {
        Standing::Right
    } else {
        Standing::Stale
    }
}

/// The roles that a step considers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Servers,
    Clients,
    /// Servers and clients.
    Everybody,
}

impl Who {
    /// The roles that restart in a phase.
    pub fn of(phase: Phase) -> Self {
        let row = phase.row();
        if row.servers == row.clients {
            Self::Everybody
        } else if row.servers {
            Self::Servers
        } else {
            Self::Clients
        }
    }
}

/// The mark for the pod template of a workload that restarts in the roles `who`.
pub fn mark(rotation: &Rotation, who: Who) -> String {
    match who {
        Who::Servers => rotation.server_mark(),
        Who::Clients | Who::Everybody => rotation.mark(),
    }
}

/// The workloads whose rollout must complete before the phase goes on.
pub fn pending<'a>(rotation: &Rotation, facts: &'a ClusterSnapshot, who: Who) -> Vec<&'a Workload> {
    let mut found = Vec::new();
    for place in facts.places.values() {
        for workload in &place.workloads {
            // A CronJob starts new pods itself. A bare pod cannot be restarted.
            if matches!(workload.kind, WorkloadKind::CronJob | WorkloadKind::Pod) {
                continue;
            }
            let role = role(rotation, workload).only(who);
            if (role.server || role.client)
                && standing(rotation, place, workload, who) != Standing::Right
            {
                found.push(workload);
            }
        }
    }
    found
}
