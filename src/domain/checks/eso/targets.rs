//! The Secrets that Path 2 may create, each with the ExternalSecrets that target it.

use crate::domain::checks::case::Case;
use crate::domain::checks::check::{Check, Id, Status, conclude};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::Denied;
use crate::domain::eso::objects::SecretStore;
use crate::domain::eso::status::{ExternalSecretStatus, Path2, StoreAt};
use crate::domain::table::{BUNDLES, Bundle, Origin, Presence, ROUTER};

/// The facts that the checks of Path 2 judge.
#[derive(Clone, Copy)]
pub(super) struct Eso<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) path2: &'a Path2,
}

/// A Secret of the table and the ExternalSecrets that target it.
pub(super) struct BundleTarget<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) bundle: &'static Bundle,
    /// `None` if the Secret does not exist or was not read.
    pub(super) live: Option<&'a LiveSecret>,
    /// False if the Secret may not be read.
    pub(super) is_readable: bool,
    pub(super) externals: Vec<&'a ExternalSecretStatus>,
}

impl<'a> BundleTarget<'a> {
    /// The ExternalSecrets that create the Secret. Those that only add keys are left out.
    pub(super) fn makers(&self) -> impl Iterator<Item = &&'a ExternalSecretStatus> {
        self.externals.iter().filter(|it| it.object.makes_secret())
    }
}

impl<'a> Eso<'a> {
    /// The Secrets of the home namespace, and those of the fleet with marks or an ExternalSecret.
    pub(super) fn targets(&self) -> Vec<BundleTarget<'a>> {
        let cluster = self.case.cluster;
        let mut targets = Vec::new();
        for (namespace, place) in &cluster.places {
            let home = *namespace == cluster.home;
            for bundle in BUNDLES {
                let observed = place.secrets.get(bundle.secret);
                let live = observed.and_then(|observed| observed.live.as_ref());
                let targets_secret = |it: &&ExternalSecretStatus| {
                    it.object.namespace == *namespace && it.object.target == bundle.secret
                };
                let externals: Vec<_> =
                    self.path2.externals.iter().filter(targets_secret).collect();
                let has_marks = live.is_some_and(|live| live.marks.any());
                let belongs = home || bundle == &ROUTER;
                if belongs && (home || has_marks || !externals.is_empty()) {
                    targets.push(BundleTarget {
                        namespace,
                        bundle,
                        live,
                        is_readable: observed.is_some(),
                        externals,
                    });
                }
            }
        }
        targets
    }

    /// The checks of one id, with all passed checks of the fleet in one line, and a skipped check if
    /// there is none.
    pub(super) fn summarize(&self, id: Id, found: Vec<Check>) -> Vec<Check> {
        let home = self.case.cluster.home.as_str();
        let is_passed_in_fleet = |check: &Check| {
            check.status == Status::Pass && ![home, ""].contains(&check.namespace.as_str())
        };
        let (mut passed, checks): (Vec<_>, Vec<_>) =
            found.into_iter().partition(is_passed_in_fleet);
        let passed = match passed.len() {
            0 | 1 => passed.pop(),
            many => Some(Check::pass(
                id,
                format!("passed for {many} objects of the fleet"),
            )),
        };
        let denied = self.case.denials(id, "list", &["externalsecrets"]);
        let nothing = Check::skip(id, "no ExternalSecret found");
        conclude(checks, passed, denied, nothing)
    }

    /// The missing permission for events, for the end of a message.
    pub(super) fn events_denied(&self, namespace: Option<&Namespace>) -> String {
        let default = Namespace::default();
        let namespace = namespace.unwrap_or(&default);
        let is_meant = |denied: &&Denied| {
            denied.resource == "events" && denied.namespace.as_ref() == Some(namespace)
        };
        let denied = self.case.cluster.denied.iter().filter(is_meant);
        denied.map(|denied| format!(" ({denied})")).collect()
    }

    /// The ExternalSecrets that read a store.
    pub(super) fn users(&self, at: &StoreAt) -> impl Iterator<Item = &'a ExternalSecretStatus> {
        let externals = self.path2.externals.iter();
        externals.filter(move |it| StoreAt::of(&it.object).as_ref() == Some(at))
    }

    /// The store of an ExternalSecret if it was read.
    pub(super) fn store_of(&self, external: &ExternalSecretStatus) -> Option<&'a SecretStore> {
        self.path2.store_of(&external.object)?.there()
    }
}

/// How many fields the store entry of a bundle needs, or the message that names the missing ones.
/// LOG_LEVEL is needed: the embeddings entry has six.
pub(super) fn require_fields(
    bundle: &Bundle,
    place: &str,
    has: impl Fn(&str) -> bool,
) -> Result<usize, String> {
    let keys = bundle.keys.iter().filter(|key| match key.origin {
        Origin::Token(_) | Origin::TokenList(_, Presence::Always) | Origin::Input(_) => true,
        Origin::TokenList(..) => false,
    });
    let all: Vec<_> = keys.collect();
    let missing = all.iter().filter(|key| key.is_missing(&has));
    let missing: Vec<_> = missing.map(|key| key.name).collect();
    if missing.is_empty() {
        return Ok(all.len());
    }
    let (count, total, names) = (missing.len(), all.len(), missing.join(", "));
    Err(format!("{count} of {total} fields missing{place}: {names}"))
}
