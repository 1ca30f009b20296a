//! Commands for an ExternalSecret. The steps that need more than one command are in docs/checks.md.

use super::targets::Eso;
use crate::domain::checks::check::Id;
use crate::domain::eso::objects::Cause;
use crate::domain::eso::status::ExternalSecretStatus;

impl Eso<'_> {
    pub(super) fn describe(&self, external: &ExternalSecretStatus) -> String {
        let object = &external.object;
        let describe = format!("describe externalsecret {}", object.name);
        self.case.kubectl(&object.namespace, &describe)
    }

    /// Makes the operator refresh it now; `sync` works in the home namespace only.
    pub(super) fn resync(&self, external: &ExternalSecretStatus) -> String {
        let object = &external.object;
        if object.namespace == self.case.cluster.home {
            return format!("{} sync", self.case.reach.program);
        }
        let annotate = format!(
            "annotate --overwrite externalsecret {} force-sync=\"$(date +%s)\"",
            object.name
        );
        self.case.kubectl(&object.namespace, &annotate)
    }
}

/// The check whose steps remove the cause.
pub(super) fn steps_for(cause: &Cause) -> Id {
    match cause {
        Cause::Refused
        | Cause::NoCredentials
        | Cause::Sealed
        | Cause::Unreachable
        | Cause::Untrusted
        | Cause::StoreForbidden
        | Cause::StoreAbsent
        | Cause::StoreNotReady => Id::EsoStore,
        Cause::TargetTaken => Id::EsoTarget,
        _ => Id::EsoSynced,
    }
}
