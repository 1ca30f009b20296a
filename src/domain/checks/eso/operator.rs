//! `eso.served` and `eso.operator`: External Secrets Operator is installed and reconciles the objects.

use super::targets::Eso;
use crate::domain::checks::check::{Check, Id};
use crate::domain::checks::words::some_of;
use crate::domain::eso::objects::Served;
use crate::domain::eso::status::{ExternalSecretStatus, age_if_stale, is_left_alone};

impl Eso<'_> {
    pub(super) fn served(&self) -> Check {
        let id = Id::EsoServed;
        match self.path2.served {
            Served::Version("v1") => Check::pass(id, "external-secrets.io/v1 is served"),
            Served::Version(version) => Check::warn(
                id,
                format!(
                    "only external-secrets.io/{version} is served; newer versions of the operator \
                     do not serve it"
                ),
            ),
            Served::Nothing => Check::fail(
                id,
                "ExternalSecret is not served: External Secrets Operator is not installed, and \
                 nothing updates the Secrets from the store",
            ),
            Served::Forbidden => {
                let mut denied = self.case.cluster.denied.iter();
                let denied = denied.find(|denied| denied.resource == "external-secrets.io");
                let group = || "you may not get /apis/external-secrets.io".to_owned();
                let why = denied.map_or_else(group, ToString::to_string);
                // No Role of `rbac` grants it.
                Check::skip(id, format!("not checked: {why}"))
            }
        }
    }

    /// Whether an operator reconciles the objects, as their status shows.
    pub(super) fn operator(&self) -> Check {
        let id = Id::EsoOperator;
        let now = self.case.cluster.now;
        let mut idle = Vec::new();
        let mut reserved = None;
        let mut total = 0;
        for (at, store) in &self.path2.stores {
            let Some(found) = store.there() else { continue };
            total += 1;
            if is_left_alone(found.condition.as_ref(), found.created, now) {
                idle.push(at.at.to_string());
                reserved = reserved.or(found.controller.as_ref().map(|class| (at, class)));
            }
        }
        for ExternalSecretStatus { object, .. } in &self.path2.externals {
            total += 1;
            let is_ignored = is_left_alone(object.condition.as_ref(), object.created, now);
            let is_ready = object.condition.as_ref().is_some_and(|it| it.ready);
            if is_ignored || is_ready && age_if_stale(object, now).is_some() {
                idle.push(object.to_string());
            }
        }
        let names = some_of(&idle);
        match (idle.is_empty(), reserved) {
            (true, _) if total == 0 => Check::skip(id, "no ExternalSecret or store found"),
            (true, _) => Check::pass(id, format!("it reconciles {total} objects")),
            (false, Some((at, class))) => Check::fail(
                id,
                format!(
                    "no operator reconciles {names}: {} is reserved for operators of class {class}",
                    at.at
                ),
            ),
            (false, None) => Check::fail(
                id,
                format!("no operator reconciles {names}: is External Secrets Operator running?"),
            ),
        }
    }
}
