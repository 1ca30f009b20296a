//! `eso.synced` and `eso.fields`: does the operator bring what the store has, and is that all.

use super::targets::{BundleTarget, Eso, fields_of};
use crate::domain::checks::check::{Check, Id};
use crate::domain::eso::objects::Cause;
use crate::domain::eso::status::{ExternalSecretStatus, SyncProblem};

impl Eso<'_> {
    /// Each ExternalSecret: whether it is synced, and if not, why.
    pub(super) fn synced(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let all = targets
            .iter()
            .flat_map(|target| target.externals.iter().map(move |tended| (target, tended)));
        let checks = all.map(|(target, tended)| {
            let check = match self.path2.trouble(tended, self.case.cluster.now) {
                None => Check::pass(Id::EsoSynced, self.well(tended)),
                Some(trouble) => self.unwell(target, tended, &trouble),
            };
            let object = &tended.object;
            check.at(&object.namespace, "ExternalSecret", &object.name)
        });
        checks.collect()
    }

    fn well(&self, tended: &ExternalSecretStatus) -> String {
        let age = tended.object.refreshed;
        let age = age.map(|refreshed| ago(self.case.cluster.now - refreshed));
        match age {
            Some(age) => format!("it is synced, last {age} ago"),
            None => "it is synced".to_owned(),
        }
    }

    fn unwell(
        &self,
        target: &BundleTarget<'_>,
        tended: &ExternalSecretStatus,
        trouble: &SyncProblem,
    ) -> Check {
        let id = Id::EsoSynced;
        let object = &tended.object;
        let entry = object.entry().map(|path| format!(" {path}"));
        let entry = entry.unwrap_or_default();
        match trouble {
            SyncProblem::Unjudged => Check::fail(
                id,
                "the operator has not looked at it yet",
                self.resync(tended),
            ),
            SyncProblem::For(Cause::PathMissing) => Check::fail(
                id,
                format!("there is no entry{entry} in the store, or its newest version is deleted"),
                self.fill(target, tended),
            ),
            SyncProblem::For(Cause::PathEmpty) => Check::fail(
                id,
                format!(
                    "the entry{entry} in the store has no fields: the operator says Ready and \
                     leaves the Secret as it was"
                ),
                self.fill(target, tended),
            ),
            SyncProblem::For(Cause::FieldMissing) => Check::fail(
                id,
                match &tended.field {
                    Some(field) => format!("its entry in the store has no field {field}"),
                    None => "an entry in the store has not the field that it reads".to_owned(),
                },
                self.add_field(tended),
            ),
            SyncProblem::For(cause) => Check::fail(
                id,
                format!("not ready: {}", cause.describe()),
                self.mend(tended, cause),
            ),
            SyncProblem::Unknown => {
                let why = match tended.unseen {
                    true => self.events_denied(Some(&object.namespace)),
                    false => String::new(),
                };
                Check::fail(
                    id,
                    format!("not ready, and nothing tells why{why}"),
                    self.describe(tended),
                )
            }
            SyncProblem::Deleted => Check::fail(
                id,
                format!(
                    "there is no entry{entry} in the store, or it has no fields: the operator says \
                     Ready and has deleted the Secret"
                ),
                self.fill(target, tended),
            ),
            SyncProblem::NothingToMerge => Check::fail(
                id,
                "the operator says Ready, and there is no Secret to which it could add",
                self.set_policy(tended, "creationPolicy", "Owner"),
            ),
            SyncProblem::Pending => Check::fail(
                id,
                "the operator says Ready, and has not worked off its latest change",
                self.resync(tended),
            ),
            SyncProblem::Stale(age) => Check::fail(
                id,
                format!(
                    "the operator says Ready, and has last refreshed it {} ago, more than three of \
                     its intervals of {}",
                    ago(*age),
                    ago(object.interval)
                ),
                self.resync(tended),
            ),
        }
    }

    /// Each Secret that is synced: whether it has all that its bundle has.
    pub(super) fn fields(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let checks = targets.iter().filter_map(|target| {
            let maker = target.makers().next()?;
            let check = match self.path2.trouble(maker, self.case.cluster.now) {
                None => self.complete(target, maker)?,
                Some(_) => Check::skip(Id::EsoFields, "not looked at: it is not synced"),
            };
            Some(check.at(target.namespace, "Secret", target.bundle.secret))
        });
        checks.collect()
    }

    fn complete(&self, target: &BundleTarget<'_>, maker: &ExternalSecretStatus) -> Option<Check> {
        let id = Id::EsoFields;
        let Some(live) = target.live else {
            let why = "the Secret was not read";
            return (!target.seen).then(|| Check::skip(id, format!("not looked at: {why}")));
        };
        let all: Vec<_> = fields_of(target.bundle).map(|key| key.name).collect();
        let lacks = |name: &&str| !live.data.contains_key(*name);
        let missing: Vec<_> = all.iter().copied().filter(lacks).collect();
        Some(match missing.is_empty() {
            true => Check::pass(id, format!("it has all {} fields of its bundle", all.len())),
            false => Check::fail(
                id,
                format!(
                    "of the {} fields of its bundle it lacks {}",
                    all.len(),
                    missing.join(", ")
                ),
                self.add_fields(target, maker, &missing),
            ),
        })
    }
}

/// A span of time in a few words.
pub(super) fn ago(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let fits = |(length, _): &(i64, &str)| seconds >= 2 * length || *length == 1;
    let unit = units.into_iter().find(fits);
    unit.map_or_else(String::new, |(length, word)| {
        format!("{} {word}", seconds.max(0) / length)
    })
}
