//! The cluster: whether it answers, what it is, what this identity may see.

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
            Some(version) => Check::pass(Id::ClusterVersion, format!("it is Kubernetes {version}")),
            None => Check::skip(
                Id::ClusterVersion,
                "not looked at: you may not get /version",
            ),
        },
        namespace(case),
        access(case),
    ]
}

fn namespace(case: &Case<'_>) -> Check {
    let home = &case.cluster.home;
    let id = Id::ClusterNamespace;
    let check = match case.cluster.home_place().state {
        NamespaceState::Active => Check::pass(id, format!("namespace {home} is there")),
        NamespaceState::Forbidden => Check::skip(
            id,
            format!("not looked at: you may not get namespaces/{home}"),
        )
        .hint(case.role_hint()),
        NamespaceState::Absent => Check::fail(
            id,
            format!("namespace {home} does not exist"),
            case.apply_with(&[], ""),
        ),
        NamespaceState::Terminating => Check::fail(
            id,
            format!("namespace {home} is being deleted"),
            case.apply_with(&[], ""),
        ),
    };
    check.at(home, "Namespace", home.as_str())
}

fn access(case: &Case<'_>) -> Check {
    // To list Secrets is to read them all, which no Role of `rbac` allows.
    let denied = case.cluster.denied.iter();
    let granted = |denied: &&Denied| (denied.verb, denied.resource.as_str()) != ("list", "secrets");
    let missing: Vec<_> = denied.filter(granted).collect();
    match missing.is_empty() {
        true => Check::pass(
            Id::ClusterAccess,
            "you may read all that rbac verify grants",
        ),
        false => Check::skip(Id::ClusterAccess, some_of(&missing)).hint(case.role_hint()),
    }
}
