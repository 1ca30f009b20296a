//! `eso.store` and `eso.present`: the stores are ready, and each Secret has an ExternalSecret.

use super::targets::{BundleTarget, Eso};
use crate::domain::checks::check::{Check, Id};
use crate::domain::checks::words::some_of;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::Seen;
use crate::domain::eso::status::{ExternalSecretStatus, StoreAt, StoreSeen};

impl Eso<'_> {
    pub(super) fn stores(&self) -> Vec<Check> {
        let stores = self.path2.stores.iter();
        let checks = stores.map(|(at, seen)| {
            let check = self.store(at, seen);
            let namespace = at.namespace.as_ref().map(Namespace::as_str);
            check.at(
                namespace.unwrap_or_default(),
                at.at.kind.as_str(),
                &at.at.name,
            )
        });
        checks.collect()
    }

    pub(super) fn store(&self, at: &StoreAt, seen: &StoreSeen) -> Check {
        let id = Id::EsoStore;
        let store = match &seen.seen {
            Seen::There(store) => store,
            Seen::Forbidden => return self.unread_store(at),
            Seen::Absent => {
                let users: Vec<_> = self.users(at).map(|it| it.object.to_string()).collect();
                let message = format!("store not found; {} refers to it", some_of(&users));
                return Check::fail(id, message);
            }
        };
        let trouble = self.path2.store_problem(at);
        let message = match (&store.condition, trouble) {
            (None, _) => "the operator has not reconciled it yet".to_owned(),
            (Some(found), None) if found.ready => return Check::pass(id, "it is ready"),
            (Some(found), Some(cause)) if found.ready => {
                format!("Ready, but it does not work: {}", cause.describe())
            }
            (Some(_), _) => match &seen.cause {
                Some(cause) => format!("not ready: {}", cause.describe()),
                None => {
                    let why = self.events_denied(at.namespace.as_ref());
                    format!("not ready; the cause is unknown{why}")
                }
            },
        };
        Check::fail(id, message)
    }

    pub(super) fn unread_store(&self, at: &StoreAt) -> Check {
        let denied = self.case.cluster.denied.iter().find(|denied| {
            denied.resource == at.at.kind.resource() && denied.namespace == at.namespace
        });
        match denied {
            Some(denied) => self.case.denied(Id::EsoStore, denied),
            None => Check::skip(Id::EsoStore, "not checked"),
        }
    }

    pub(super) fn present(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let id = Id::EsoPresent;
        let cluster = self.case.cluster;
        let is_listed = |target: &&BundleTarget<'_>| {
            let denied = cluster.is_denied("list", "externalsecrets", target.namespace);
            !target.externals.is_empty() || !denied
        };
        let checks = targets.iter().filter(is_listed).map(|target| {
            let names = |externals: &[&ExternalSecretStatus]| {
                let name =
                    |it: &&ExternalSecretStatus| format!("ExternalSecret {}", it.object.name);
                some_of(&externals.iter().map(name).collect::<Vec<_>>())
            };
            let makers: Vec<_> = target.makers().copied().collect();
            let check = if !makers.is_empty() {
                Check::pass(id, format!("created by {}", names(&makers)))
            } else if target.externals.is_empty() {
                Check::skip(id, "no ExternalSecret creates it")
            } else {
                let names = names(&target.externals);
                Check::skip(
                    id,
                    format!("no ExternalSecret creates it; {names} adds to it"),
                )
            };
            check.at(target.namespace, "Secret", target.bundle.secret)
        });
        checks.collect()
    }
}
