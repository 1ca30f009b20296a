//! `cluster.*`: the API server, its version, the home namespace, and the permissions.

use super::case::Case;
use super::check::{Check, Id};
use super::words::some_of;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::cluster::snapshot::Denied;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let cluster = case.cluster;
    vec![
        Check::pass(
            Id::ClusterReachable,
            format!("the API server {} answers", cluster.server),
        ),
        match &cluster.version {
            Some(version) => Check::pass(Id::ClusterVersion, format!("Kubernetes {version}")),
            None => Check::skip(Id::ClusterVersion, "not checked: you may not get /version"),
        },
        namespace(case),
        access(case),
    ]
}

fn namespace(case: &Case<'_>) -> Check {
    let home = &case.cluster.home;
    let id = Id::ClusterNamespace;
    let check = match case.cluster.home_place().state {
        NamespaceState::Active => Check::pass(id, format!("namespace {home} exists")),
        NamespaceState::Forbidden => Check::skip(
            id,
            format!("not checked: you may not get namespaces/{home}"),
        )
        .hint(case.role_hint()),
        NamespaceState::Absent => Check::fail(id, format!("namespace {home} does not exist"))
            .hint(case.apply_with(&[], "")),
        NamespaceState::Terminating => {
            Check::fail(id, format!("namespace {home} is being deleted"))
                .hint(case.apply_with(&[], ""))
        }
    };
    check.at(home, "Namespace", home.as_str())
}

fn access(case: &Case<'_>) -> Check {
    // `list secrets` reads every Secret, so no Role of `rbac` grants it.
    let denied = case.cluster.denied.iter();
    let granted = |denied: &&Denied| (denied.verb, denied.resource.as_str()) != ("list", "secrets");
    let missing: Vec<_> = denied.filter(granted).collect();
    match missing.iter().min_by_key(|denied| denied.why.is_some()) {
        None => Check::pass(
            Id::ClusterAccess,
            "you have all permissions that rbac verify grants",
        ),
        Some(first) => case.skip_for(Id::ClusterAccess, some_of(&missing), first),
    }
}
