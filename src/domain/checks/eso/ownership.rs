//! `eso.target` and `eso.policy`: the ExternalSecret owns the Secret, and its policies do not delete
//! or freeze the Secret.

use super::targets::{BundleTarget, Eso};
use crate::domain::checks::check::{Check, Id};
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::eso::status::ExternalSecretStatus;

impl Eso<'_> {
    /// One check for each Secret of Path 2.
    pub(super) fn ownership(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let checks = targets.iter().filter_map(|target| {
            let makers: Vec<_> = target.makers().copied().collect();
            let check = match (makers.as_slice(), target.live) {
                ([], Some(live)) => self.without_maker(target, live)?,
                ([], None) => return None,
                ([maker], live) => self.with_maker(target, maker, live)?,
                (many, live) => with_many_makers(many, live),
            };
            Some(check.at(target.namespace, "Secret", target.bundle.secret))
        });
        checks.collect()
    }

    /// A Secret that no ExternalSecret creates.
    fn without_maker(&self, target: &BundleTarget<'_>, live: &LiveSecret) -> Option<Check> {
        let id = Id::EsoTarget;
        let marks = &live.marks;
        let cluster = self.case.cluster;
        if !marks.any() || cluster.is_denied("list", "externalsecrets", target.namespace) {
            return None;
        }
        Some(match &marks.owner {
            Some((name, uid)) if self.owner(target, uid).is_some() => Check::fail(
                id,
                format!("owned by ExternalSecret {name}, which now has another target"),
            ),
            Some((name, _)) => Check::fail(
                id,
                format!(
                    "owned by ExternalSecret {name}, which does not exist: the garbage collector may \
                     delete the Secret at any time"
                ),
            ),
            None => Check::warn(
                id,
                "it has the marks of an ExternalSecret that does not exist: a new one with that name \
                 may delete the Secret",
            ),
        })
    }

    /// The ExternalSecret with that uid.
    fn owner(&self, target: &BundleTarget<'_>, uid: &str) -> Option<&ExternalSecretStatus> {
        let mut externals = self.path2.externals.iter();
        externals.find(|it| it.object.uid == uid && it.object.namespace == *target.namespace)
    }

    /// A Secret that one ExternalSecret creates.
    fn with_maker(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        live: Option<&LiveSecret>,
    ) -> Option<Check> {
        let id = Id::EsoTarget;
        let object = &maker.object;
        let name = &object.name;
        if object.deleting {
            let message = format!("ExternalSecret {name} and the Secret are being deleted");
            return Some(Check::warn(id, message));
        }
        let live = live?;
        let has_problem = self.path2.problem(maker, self.case.cluster.now).is_some();
        Some(match &live.marks.owner {
            Some((_, uid)) if *uid == object.uid => {
                Check::pass(id, format!("owned by ExternalSecret {name}"))
            }
            Some((other, uid)) => {
                let gone = match self.owner(target, uid) {
                    Some(_) => "",
                    None => ", which does not exist",
                };
                Check::fail(
                    id,
                    format!(
                        "ExternalSecret {name} should own it, but the owner is ExternalSecret \
                         {other}{gone}"
                    ),
                )
            }
            None if object.creation_policy == "Orphan" => Check::pass(
                id,
                format!("created by ExternalSecret {name}, without an owner"),
            ),
            None if has_problem => Check::skip(
                id,
                format!("ExternalSecret {name} does not own it yet: it is not synced"),
            ),
            None => Check::fail(
                id,
                format!("ExternalSecret {name} is synced and should own it, but does not"),
            )
            .hint(self.resync(maker)),
        })
    }

    /// One or more checks for each ExternalSecret of a Secret of the table.
    pub(super) fn policies(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let all = targets.iter().flat_map(|target| {
            target
                .externals
                .iter()
                .map(move |external| (target, external))
        });
        let checks = all.flat_map(|(target, external)| {
            let object = &external.object;
            let mut checks = policy_problems(target, external);
            if checks.is_empty() {
                checks.push(Check::pass(Id::EsoPolicy, describe_policies(external)));
            }
            let at = |check: Check| check.at(&object.namespace, "ExternalSecret", &object.name);
            checks.into_iter().map(at).collect::<Vec<_>>()
        });
        checks.collect()
    }
}

/// A Secret that several ExternalSecrets create.
fn with_many_makers(makers: &[&ExternalSecretStatus], live: Option<&LiveSecret>) -> Check {
    let names: Vec<_> = makers.iter().map(|it| it.object.name.as_str()).collect();
    let owner = live
        .and_then(|live| live.marks.owner.as_ref())
        .filter(|(_, uid)| makers.iter().any(|it| it.object.uid == *uid));
    let message = format!(
        "{} ExternalSecrets create it: {}{}",
        makers.len(),
        names.join(", "),
        match owner {
            Some((name, _)) => format!("; the owner is {name}"),
            None => String::new(),
        }
    );
    Check::fail(Id::EsoTarget, message)
}

fn policy_problems(target: &BundleTarget<'_>, external: &ExternalSecretStatus) -> Vec<Check> {
    let id = Id::EsoPolicy;
    let object = &external.object;
    let policy = object.deletion_policy.as_str();
    let clears = match policy {
        "Delete" => Some("deleting the store entry deletes the Secret"),
        "Merge" => Some("deleting a field in the store deletes the key in the Secret"),
        _ => None,
    };
    let clears = clears.filter(|_| object.makes_secret()).map(|what| {
        let message = format!("deletionPolicy {policy}: {what}, and pods do not start");
        Check::warn(id, message)
    });
    let never = "creationPolicy None: Ready, but the operator never";
    let writes_nothing = (object.creation_policy == "None").then(|| match target.live {
        None if target.is_readable => Check::fail(id, format!("{never} creates the Secret")),
        _ => Check::warn(id, format!("{never} writes the Secret")),
    });
    let once = match (object.refresh_policy.as_str(), object.interval) {
        ("Periodic", 0) => Some("refreshInterval 0"),
        ("CreatedOnce", _) => Some("refreshPolicy CreatedOnce"),
        ("OnChange", _) => Some("refreshPolicy OnChange"),
        _ => None,
    };
    let once = once.map(|what| {
        let message = format!("{what}: a change in the store does not reach the Secret");
        Check::warn(id, message)
    });
    let problems = [clears, writes_nothing, once];
    problems.into_iter().flatten().collect()
}

/// What the policies mean for the Secret.
fn describe_policies(external: &ExternalSecretStatus) -> &'static str {
    match external.object.creation_policy.as_str() {
        "Orphan" => "the Secret is kept if the store entry or the ExternalSecret is deleted",
        "Merge" => "it adds keys to an existing Secret",
        _ => {
            "the Secret is kept if the store entry is deleted, and deleted with the ExternalSecret"
        }
    }
}
