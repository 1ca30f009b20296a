//! `eso.target` and `eso.policy`: whose the Secret is, and what its ExternalSecret does to it on a
//! bad day.

use super::targets::{BundleTarget, Eso};
use crate::domain::checks::check::{Check, Id};
use crate::domain::cluster::observed_secret::{LiveSecret, OperatorMarks};
use crate::domain::eso::status::ExternalSecretStatus;

impl Eso<'_> {
    /// Each Secret that has to do with Path 2: whether it and its ExternalSecret are in the same
    /// hands.
    pub(super) fn ownership(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let checks = targets.iter().filter_map(|target| {
            let makers: Vec<_> = target.makers().copied().collect();
            let check = match (makers.as_slice(), target.live) {
                ([], Some(live)) => self.lost_owner(target, live)?,
                ([], None) => return None,
                ([maker], live) => self.held(target, maker, live)?,
                (many, live) => self.contested(target, many, live),
            };
            Some(check.at(target.namespace, "Secret", target.bundle.secret))
        });
        checks.collect()
    }

    /// A Secret that no ExternalSecret makes.
    fn lost_owner(&self, target: &BundleTarget<'_>, live: &LiveSecret) -> Option<Check> {
        let id = Id::EsoTarget;
        let marks = &live.marks;
        let cluster = self.case.cluster;
        if !marks.any() || cluster.is_denied("list", "externalsecrets", target.namespace) {
            return None;
        }
        let strip = self.strip(target, marks);
        Some(match &marks.owner {
            Some((name, uid)) if self.owner(target, uid).is_some() => Check::fail(
                id,
                format!("it is owned by ExternalSecret {name}, which has another target by now"),
                strip,
            ),
            Some((name, _)) => Check::fail(
                id,
                format!(
                    "it is owned by ExternalSecret {name}, which is gone: the cluster may delete \
                     the Secret after it at any time"
                ),
                strip,
            ),
            None => Check::warn(
                id,
                "it has the marks of an ExternalSecret that is gone: a new one of that name may \
                 delete the Secret",
                strip,
            ),
        })
    }

    /// The ExternalSecret of that uid.
    fn owner(&self, target: &BundleTarget<'_>, uid: &str) -> Option<&ExternalSecretStatus> {
        let mut externals = self.path2.externals.iter();
        externals.find(|it| it.object.uid == uid && it.object.namespace == *target.namespace)
    }

    /// A Secret that one ExternalSecret makes.
    fn held(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        live: Option<&LiveSecret>,
    ) -> Option<Check> {
        let id = Id::EsoTarget;
        let object = &maker.object;
        let name = &object.name;
        if object.deleting {
            let message = format!("ExternalSecret {name} is being deleted, and the Secret with it");
            return Some(Check::warn(id, message, self.describe(maker)));
        }
        let live = live?;
        let troubled = self.path2.trouble(maker, self.case.cluster.now).is_some();
        Some(match &live.marks.owner {
            Some((_, uid)) if *uid == object.uid => {
                Check::pass(id, format!("ExternalSecret {name} owns it"))
            }
            Some((other, uid)) => {
                let gone = match self.owner(target, uid) {
                    Some(_) => "",
                    None => ", which is gone",
                };
                Check::fail(
                    id,
                    format!(
                        "ExternalSecret {name} is to make it, and it is owned by ExternalSecret \
                         {other}{gone}"
                    ),
                    self.give(target, maker, &live.marks),
                )
            }
            None if object.creation_policy == "Orphan" => Check::pass(
                id,
                format!("ExternalSecret {name} makes it and owns nothing"),
            ),
            None if troubled => Check::skip(
                id,
                format!("ExternalSecret {name} does not own it yet: it is not synced"),
            ),
            None => Check::fail(
                id,
                format!("ExternalSecret {name} is synced and is to own it, and does not"),
                self.resync(maker),
            ),
        })
    }

    /// A Secret that several ExternalSecrets make.
    fn contested(
        &self,
        target: &BundleTarget<'_>,
        makers: &[&ExternalSecretStatus],
        live: Option<&LiveSecret>,
    ) -> Check {
        let names: Vec<_> = makers.iter().map(|it| it.object.name.as_str()).collect();
        let owner = live.and_then(|live| live.marks.owner.as_ref());
        let owner = owner.filter(|(_, uid)| makers.iter().any(|it| it.object.uid == *uid));
        let message = format!(
            "{} ExternalSecrets make it: {}{}",
            makers.len(),
            names.join(", "),
            match owner {
                Some((name, _)) => format!("; it is owned by {name}"),
                None => String::new(),
            }
        );
        let hint = match owner {
            Some((_, uid)) => {
                let others = makers.iter().filter(|it| it.object.uid != *uid);
                let deletes = others.map(|it| self.delete(it));
                deletes.collect::<Vec<_>>().join(" && ")
            }
            // Whichever goes must not take the Secret along.
            None => self
                .case
                .kubectl(target.namespace, "get externalsecrets -o wide"),
        };
        Check::fail(Id::EsoTarget, message, hint)
    }

    /// Has the Secret let go of its owner, so that the one that is to make it can take it.
    fn give(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        marks: &OperatorMarks,
    ) -> String {
        format!("{} && {}", self.strip(target, marks), self.resync(maker))
    }

    /// Each ExternalSecret of a Secret of the table: what its policies lead to.
    pub(super) fn policies(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let all = targets
            .iter()
            .flat_map(|target| target.externals.iter().map(move |tended| (target, tended)));
        let checks = all.flat_map(|(target, tended)| {
            let object = &tended.object;
            let traps = self.traps(target, tended);
            let checks = match traps.is_empty() {
                true => vec![Check::pass(Id::EsoPolicy, kept(tended))],
                false => traps,
            };
            let at = |check: Check| check.at(&object.namespace, "ExternalSecret", &object.name);
            checks.into_iter().map(at).collect::<Vec<_>>()
        });
        checks.collect()
    }

    fn traps(&self, target: &BundleTarget<'_>, tended: &ExternalSecretStatus) -> Vec<Check> {
        let id = Id::EsoPolicy;
        let object = &tended.object;
        let clears = match object.deletion_policy.as_str() {
            "Delete" if object.makes_secret() => {
                Some("an entry that is gone from the store deletes the Secret")
            }
            "Merge" if object.makes_secret() => {
                Some("a field that is gone from the store leaves the Secret")
            }
            _ => None,
        };
        let clears = clears.map(|what| {
            let policy = &object.deletion_policy;
            Check::warn(
                id,
                format!("deletionPolicy {policy}: {what}, and pods no longer start"),
                self.set_policy(tended, "deletionPolicy", "Retain"),
            )
        });
        let writes_nothing = (object.creation_policy == "None").then(|| {
            let hint = self.set_policy(tended, "creationPolicy", "Owner");
            match target.live {
                None if target.seen => Check::fail(
                    id,
                    "creationPolicy None: the operator says Ready and never makes the Secret",
                    hint,
                ),
                _ => Check::warn(
                    id,
                    "creationPolicy None: the operator says Ready and never writes to the Secret",
                    hint,
                ),
            }
        });
        let once = match (object.refresh_policy.as_str(), object.interval) {
            ("Periodic", 0) => Some("refreshInterval 0"),
            ("CreatedOnce", _) => Some("refreshPolicy CreatedOnce"),
            ("OnChange", _) => Some("refreshPolicy OnChange"),
            _ => None,
        };
        let once = once.map(|what| {
            Check::warn(
                id,
                format!("{what}: a change in the store does not reach the Secret"),
                self.set_refresh(tended),
            )
        });
        [clears, writes_nothing, once]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What comes of the policies, where they hold no trap.
fn kept(tended: &ExternalSecretStatus) -> &'static str {
    match tended.object.creation_policy.as_str() {
        "Orphan" => "the Secret outlives its entry in the store and the ExternalSecret",
        "Merge" => "it adds to a Secret that others make",
        _ => {
            "the Secret outlives its entry in the store; it goes when the ExternalSecret is deleted"
        }
    }
}
