//! Path 2: External Secrets Operator brings the Secrets from a store. Nothing is said of it where
//! nothing points to it.

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

/// All checks of Path 2; none where nothing points to it.
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
        checks.extend(eso.or_skipped(id, found));
    }
    checks.extend(eso.contents(&targets));
    checks
}
