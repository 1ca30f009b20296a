//! Path 2: External Secrets Operator brings the Secrets from a store. Nothing is said of it where
//! nothing points to it.

mod contents;
mod hints;
mod ownership;
mod synced;
#[cfg(test)]
mod tests;

use super::check::{Check, Id, Status};
use super::{Case, some_of};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::Denied;
use crate::domain::eso::objects::{SecretStore, Seen, Served, StoreKind};
use crate::domain::eso::status::{Path2, StoreAt, StoreSeen, Tended, age_if_stale, is_left_alone};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Key, Origin, Presence, ROUTER};

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
        (Id::EsoTarget, eso.hands(&targets)),
        (Id::EsoPolicy, eso.policies(&targets)),
    ];
    for (id, found) in of_targets {
        checks.extend(eso.or_skipped(id, found));
    }
    checks.extend(eso.contents(&targets));
    checks
}

/// What Path 2 is judged by.
#[derive(Clone, Copy)]
struct Eso<'a> {
    case: &'a Case<'a>,
    path2: &'a Path2,
}

/// A Secret of the table, and the ExternalSecrets that target it.
struct Target<'a> {
    namespace: &'a Namespace,
    bundle: &'static Bundle,
    /// The Secret; `None` where it does not exist or was not read.
    live: Option<&'a LiveSecret>,
    /// Whether it may be read.
    seen: bool,
    externals: Vec<&'a Tended>,
}

impl<'a> Target<'a> {
    /// Those that make it, and do not only add to it.
    fn makers(&self) -> impl Iterator<Item = &&'a Tended> {
        self.externals.iter().filter(|it| it.object.makes_secret())
    }
}

impl<'a> Eso<'a> {
    /// Home's Secrets, and those of the fleet that have to do with Path 2.
    fn targets(&self) -> Vec<Target<'a>> {
        let cluster = self.case.cluster;
        let mut targets = Vec::new();
        for (namespace, place) in &cluster.places {
            let home = *namespace == cluster.home;
            for bundle in BUNDLES {
                let observed = place.secrets.get(bundle.secret);
                let live = observed.and_then(|observed| observed.live.as_ref());
                let of_it = |it: &&Tended| {
                    it.object.namespace == *namespace && it.object.target == bundle.secret
                };
                let externals: Vec<_> = self.path2.externals.iter().filter(of_it).collect();
                let marked = live.is_some_and(|live| live.marks.any());
                let belongs = home || bundle == &ROUTER;
                if belongs && (home || marked || !externals.is_empty()) {
                    targets.push(Target {
                        namespace,
                        bundle,
                        live,
                        seen: observed.is_some(),
                        externals,
                    });
                }
            }
        }
        targets
    }

    /// What was found, with one line for all that is fine in the fleet; why there is nothing.
    fn or_skipped(&self, id: Id, found: Vec<Check>) -> Vec<Check> {
        let home = self.case.cluster.home.as_str();
        let fine = |check: &Check| {
            check.status == Status::Pass && ![home, ""].contains(&check.namespace.as_str())
        };
        let (elsewhere, mut checks): (Vec<_>, Vec<_>) = found.into_iter().partition(fine);
        match elsewhere.as_slice() {
            [] => {}
            [_] => checks.extend(elsewhere),
            many => checks.push(Check::pass(
                id,
                format!("the same of {} objects of the fleet", many.len()),
            )),
        }
        checks.extend(self.case.denials(id, "list", &["externalsecrets"]));
        if checks.is_empty() {
            checks.push(Check::skip(id, "there is no ExternalSecret to look at"));
        }
        checks
    }

    fn served(&self) -> Check {
        let id = Id::EsoServed;
        let crd = "get crd externalsecrets.external-secrets.io";
        match self.path2.served {
            Served::Version("v1") => Check::pass(id, "external-secrets.io/v1 is served"),
            Served::Version(version) => Check::warn(
                id,
                format!(
                    "only external-secrets.io/{version} is served, which newer versions of the \
                     operator no longer do"
                ),
                self.install(),
            ),
            Served::Nothing => Check::fail(
                id,
                "no ExternalSecret is served: External Secrets Operator is not installed, and \
                 nothing keeps the Secrets in step with the store",
                self.install(),
            ),
            Served::Forbidden => {
                let mut denied = self.case.cluster.denied.iter();
                let why = denied.find(|denied| denied.resource == "external-secrets.io");
                let why = why.map_or_else(
                    || "you may not get /apis/external-secrets.io".to_owned(),
                    ToString::to_string,
                );
                Check::skip(id, format!("not looked at: {why}"))
                    .hint(format!("{} {crd}", self.case.reach.kubectl))
            }
        }
    }

    /// Whether anybody works on the objects, told by what they show.
    fn operator(&self) -> Check {
        let id = Id::EsoOperator;
        let now = self.case.cluster.now;
        let mut idle = Vec::new();
        let mut reserved = None;
        let mut seen = 0;
        for (at, store) in &self.path2.stores {
            let Some(found) = store.there() else { continue };
            seen += 1;
            if is_left_alone(found.condition.as_ref(), found.created, now) {
                idle.push(at.at.to_string());
                reserved = reserved.or(found.controller.as_ref().map(|class| (at, class)));
            }
        }
        for Tended { object, .. } in &self.path2.externals {
            seen += 1;
            let left = is_left_alone(object.condition.as_ref(), object.created, now);
            let ready = object.condition.as_ref().is_some_and(|it| it.ready);
            if left || ready && age_if_stale(object, now).is_some() {
                idle.push(object.to_string());
            }
        }
        let names = some_of(&idle);
        match (idle.is_empty(), reserved) {
            (true, _) if seen == 0 => Check::skip(id, "there is nothing that it could work on"),
            (true, _) => Check::pass(id, format!("it has looked at {seen} objects")),
            (false, Some((at, class))) => Check::fail(
                id,
                format!(
                    "nobody works on {names}: {} is reserved for operators of the class {class}",
                    at.at
                ),
                self.unreserve(at),
            ),
            (false, None) => Check::fail(
                id,
                format!("nobody works on {names}: does External Secrets Operator run?"),
                self.look_for_operator(),
            ),
        }
    }

    fn stores(&self) -> Vec<Check> {
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

    fn store(&self, at: &StoreAt, seen: &StoreSeen) -> Check {
        let id = Id::EsoStore;
        let store = match &seen.seen {
            Seen::There(store) => store,
            Seen::Forbidden => return self.unread_store(at),
            Seen::Absent => {
                let users: Vec<_> = self.users(at).map(|it| it.object.to_string()).collect();
                let message = format!("there is no such store, and {} names it", some_of(&users));
                let hint = self.another_store(at);
                return Check::fail(id, message, hint);
            }
        };
        let trouble = self.path2.store_trouble(at);
        match (&store.condition, trouble) {
            (None, _) => Check::fail(id, "the operator has not looked at it yet", self.again(at)),
            (Some(found), Some(cause)) if found.ready => Check::fail(
                id,
                format!("it says Ready, and does not work: {}", cause.told()),
                self.mend_store(at, store, &cause),
            ),
            (Some(found), None) if found.ready => Check::pass(id, "it is ready"),
            (Some(_), _) => match &seen.cause {
                Some(cause) => Check::fail(
                    id,
                    format!("it is not ready: {}", cause.told()),
                    self.mend_store(at, store, cause),
                ),
                None => {
                    let why = self.events_denied(at.namespace.as_ref());
                    let message = format!("it is not ready, and nothing tells why{why}");
                    Check::fail(id, message, self.describe_store(at))
                }
            },
        }
    }

    fn unread_store(&self, at: &StoreAt) -> Check {
        let mut denied = self.case.cluster.denied.iter();
        let denied = denied.find(|denied| {
            denied.resource == at.at.kind.resource() && denied.namespace == at.namespace
        });
        match denied {
            Some(denied) => self.case.denied(Id::EsoStore, denied),
            None => Check::skip(Id::EsoStore, "not looked at"),
        }
    }

    /// Why no event was seen, for the end of a sentence.
    fn events_denied(&self, namespace: Option<&Namespace>) -> String {
        let default = Namespace::default();
        let namespace = namespace.unwrap_or(&default);
        let of_it = |denied: &&Denied| {
            denied.resource == "events" && denied.namespace.as_ref() == Some(namespace)
        };
        let denied = self.case.cluster.denied.iter().filter(of_it);
        denied.map(|denied| format!(" ({denied})")).collect()
    }

    /// The ExternalSecrets that read a store.
    fn users(&self, at: &StoreAt) -> impl Iterator<Item = &'a Tended> {
        let externals = self.path2.externals.iter();
        externals.filter(move |it| StoreAt::of(&it.object).as_ref() == Some(at))
    }

    fn present(&self, targets: &[Target<'_>]) -> Vec<Check> {
        let id = Id::EsoPresent;
        let cluster = self.case.cluster;
        let listed = |target: &&Target<'_>| {
            let denied = cluster.is_denied("list", "externalsecrets", target.namespace);
            !target.externals.is_empty() || !denied
        };
        let checks = targets.iter().filter(listed).map(|target| {
            let names = |of: Vec<&Tended>| {
                let names = of
                    .iter()
                    .map(|it| format!("ExternalSecret {}", it.object.name));
                some_of(&names.collect::<Vec<_>>())
            };
            let makers: Vec<_> = target.makers().copied().collect();
            let check = match (makers.is_empty(), target.externals.is_empty()) {
                (false, _) => Check::pass(id, format!("{} makes it", names(makers))),
                (true, false) => {
                    let names = names(target.externals.clone());
                    Check::skip(id, format!("no ExternalSecret makes it, beside {names}"))
                }
                (true, true) => Check::skip(id, "no ExternalSecret makes it"),
            };
            check.at(target.namespace, "Secret", target.bundle.secret)
        });
        checks.collect()
    }

    /// The store of an ExternalSecret, where it was read.
    fn store_of(&self, tended: &Tended) -> Option<&'a SecretStore> {
        self.path2.store_of(&tended.object)?.there()
    }
}

/// The fields that the entry of a bundle has to have: the embeddings bundle has six.
fn fields_of(bundle: &'static Bundle) -> impl Iterator<Item = &'static Key> {
    bundle.keys.iter().filter(|key| match key.origin {
        Origin::Token(_) | Origin::TokenList(_, Presence::Always) => true,
        Origin::TokenList(..) => false,
        Origin::Input(InputRule::Required | InputRule::Default(_) | InputRule::EnvFileOnly) => true,
    })
}

/// As kubectl names the kind of a store.
fn kubectl_kind(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::ClusterSecretStore => "clustersecretstore",
        StoreKind::SecretStore => "secretstore",
    }
}
