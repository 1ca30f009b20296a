//! The Secrets that Path 2 makes or may make, and what was read about them.

use crate::domain::checks::case::Case;
use crate::domain::checks::check::{Check, Id, Status};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::Denied;
use crate::domain::eso::objects::{SecretStore, StoreKind};
use crate::domain::eso::status::{ExternalSecretStatus, Path2, StoreAt};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Key, Origin, Presence, ROUTER};

/// What Path 2 is judged by.
#[derive(Clone, Copy)]
pub(super) struct Eso<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) path2: &'a Path2,
}

/// A Secret of the table, and the ExternalSecrets that target it.
pub(super) struct BundleTarget<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) bundle: &'static Bundle,
    /// The Secret; `None` where it does not exist or was not read.
    pub(super) live: Option<&'a LiveSecret>,
    /// Whether it may be read.
    pub(super) seen: bool,
    pub(super) externals: Vec<&'a ExternalSecretStatus>,
}

impl<'a> BundleTarget<'a> {
    /// Those that make it, and do not only add to it.
    pub(super) fn makers(&self) -> impl Iterator<Item = &&'a ExternalSecretStatus> {
        self.externals.iter().filter(|it| it.object.makes_secret())
    }
}

impl<'a> Eso<'a> {
    /// Home's Secrets, and those of the fleet that have to do with Path 2.
    pub(super) fn targets(&self) -> Vec<BundleTarget<'a>> {
        let cluster = self.case.cluster;
        let mut targets = Vec::new();
        for (namespace, place) in &cluster.places {
            let home = *namespace == cluster.home;
            for bundle in BUNDLES {
                let observed = place.secrets.get(bundle.secret);
                let live = observed.and_then(|observed| observed.live.as_ref());
                let of_it = |it: &&ExternalSecretStatus| {
                    it.object.namespace == *namespace && it.object.target == bundle.secret
                };
                let externals: Vec<_> = self.path2.externals.iter().filter(of_it).collect();
                let marked = live.is_some_and(|live| live.marks.any());
                let belongs = home || bundle == &ROUTER;
                if belongs && (home || marked || !externals.is_empty()) {
                    targets.push(BundleTarget {
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
    pub(super) fn or_skipped(&self, id: Id, found: Vec<Check>) -> Vec<Check> {
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

    /// Why no event was seen, for the end of a sentence.
    pub(super) fn events_denied(&self, namespace: Option<&Namespace>) -> String {
        let default = Namespace::default();
        let namespace = namespace.unwrap_or(&default);
        let of_it = |denied: &&Denied| {
            denied.resource == "events" && denied.namespace.as_ref() == Some(namespace)
        };
        let denied = self.case.cluster.denied.iter().filter(of_it);
        denied.map(|denied| format!(" ({denied})")).collect()
    }

    /// The ExternalSecrets that read a store.
    pub(super) fn users(&self, at: &StoreAt) -> impl Iterator<Item = &'a ExternalSecretStatus> {
        let externals = self.path2.externals.iter();
        externals.filter(move |it| StoreAt::of(&it.object).as_ref() == Some(at))
    }

    /// The store of an ExternalSecret, where it was read.
    pub(super) fn store_of(&self, tended: &ExternalSecretStatus) -> Option<&'a SecretStore> {
        self.path2.store_of(&tended.object)?.there()
    }
}

/// The fields that the entry of a bundle has to have: the embeddings bundle has six.
pub(super) fn fields_of(bundle: &'static Bundle) -> impl Iterator<Item = &'static Key> {
    bundle.keys.iter().filter(|key| match key.origin {
        Origin::Token(_) | Origin::TokenList(_, Presence::Always) => true,
        Origin::TokenList(..) => false,
        Origin::Input(InputRule::Required | InputRule::Default(_) | InputRule::EnvFileOnly) => true,
    })
}

/// As kubectl names the kind of a store.
pub(super) fn kubectl_kind(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::ClusterSecretStore => "clustersecretstore",
        StoreKind::SecretStore => "secretstore",
    }
}
