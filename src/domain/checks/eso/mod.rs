//! `eso.*` and `store.*`: Path 2, where External Secrets Operator writes the Secrets from a store.
//! Without ExternalSecrets and without marks of the operator there is no check of Path 2.

mod contents;
mod hints;
mod operator;
mod ownership;
mod stores;
mod synced;
mod targets;
#[cfg(test)]
mod tests;

use super::case::Case;
use super::check::{Check, Id};
use targets::Eso;

/// All checks of Path 2; none if the cluster does not use it.
pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let Some(path2) = &case.cluster.path2 else {
        return Vec::new();
    };
    let eso = Eso { case, path2 };
    let targets = eso.targets();
    let mut checks = vec![eso.served(), eso.operator()];
    let of_targets = [
        (Id::EsoPresent, eso.present(&targets)),
        (Id::EsoStore, eso.stores()),
        (Id::EsoSynced, eso.synced(&targets)),
        (Id::EsoFields, eso.fields(&targets)),
        (Id::EsoTarget, eso.ownership(&targets)),
        (Id::EsoPolicy, eso.policies(&targets)),
    ];
    for (id, found) in of_targets {
        checks.extend(eso.summarize(id, found));
    }
    checks.extend(eso.contents(&targets));
    checks
}
