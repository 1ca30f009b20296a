//! The checks of `verify`: pure functions that judge a snapshot, one small function per cause.
//!
//! A failed check names its cause and one shell command, or links to the steps in docs/checks.md. A
//! check that lacks a permission is skipped and names the permission; it never passes.

mod case;
pub mod check;
mod cluster;
mod eso;
mod file;
mod fleet;
mod hints;
mod pods;
mod rotation;
mod secrets;
mod service_auth;
mod settle;
#[cfg(test)]
mod tests;
mod tokens;
mod variables;
pub mod words;
mod workloads;

pub use case::Case;

use super::cluster::snapshot::{ClusterSnapshot, FileFacts};
use super::hint_context::HintContext;
use check::{Check, Id, Status};

/// All checks, in the order of [`Id::ALL`].
pub fn findings(case: &Case<'_>) -> Vec<Check> {
    let complete = case.complete_file();
    let mut checks = file::checks(case.file, Some(&complete), case.can_recover());
    checks.extend(cluster::checks(case));
    checks.extend(secrets::checks(case));
    checks.extend(tokens::checks(case));
    checks.extend(fleet::checks(case));
    checks.push(rotation::check(case));
    checks.extend(workloads::checks(case));
    checks.extend(pods::checks(case));
    checks.extend(service_auth::checks(case));
    checks.extend(eso::checks(case));
    checks.sort_by_key(|check| check.id);
    checks
}

/// The checks that are possible when the API server does not answer.
pub fn without_cluster(file: &FileFacts, reach: &HintContext, why: &str) -> Vec<Check> {
    let unreachable =
        Check::fail(Id::ClusterReachable, why).hint(format!("{} cluster-info", reach.kubectl));
    std::iter::once(unreachable)
        .chain(file::checks(file, None, false))
        .collect()
}

/// True if no check fails.
pub fn healthy(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.status != Status::Fail)
}

/// True if no Secret of the home namespace could be read.
pub fn sees_nothing(cluster: &ClusterSnapshot) -> bool {
    cluster.home_place().secrets.is_empty()
}
