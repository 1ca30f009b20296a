//! `eso.synced` and `eso.fields`: the operator writes the Secret from the store, with every field.

use super::hints::steps_for;
use super::targets::{BundleTarget, Eso, require_fields};
use crate::domain::checks::check::{Check, Id};
use crate::domain::checks::words::span;
use crate::domain::eso::objects::Cause;
use crate::domain::eso::status::{ExternalSecretStatus, SyncProblem};

impl Eso<'_> {
    /// One check for each ExternalSecret.
    pub(super) fn synced(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let all = targets.iter().flat_map(|target| &target.externals);
        let checks = all.map(|external| {
            let check = match self.path2.problem(external, self.case.cluster.now) {
                None => Check::pass(Id::EsoSynced, self.describe_sync(external)),
                Some(problem) => self.problem(external, &problem),
            };
            let object = &external.object;
            check.at(&object.namespace, "ExternalSecret", &object.name)
        });
        checks.collect()
    }

    fn describe_sync(&self, external: &ExternalSecretStatus) -> String {
        match external.object.refreshed {
            Some(at) => format!("synced {} ago", span((self.case.cluster.now - at).max(0))),
            None => "synced".to_owned(),
        }
    }

    fn problem(&self, external: &ExternalSecretStatus, problem: &SyncProblem) -> Check {
        let object = &external.object;
        let entry = object
            .entry()
            .map(|path| format!(" {path}"))
            .unwrap_or_default();
        let fail = |message: String| Check::fail(Id::EsoSynced, message);
        match problem {
            SyncProblem::Unjudged => fail("the operator has not reconciled it yet".to_owned())
                .hint(self.resync(external)),
            SyncProblem::For(Cause::PathMissing) => fail(format!(
                "entry{entry} not found in the store, or its newest version is deleted"
            )),
            SyncProblem::For(Cause::PathEmpty) => fail(format!(
                "entry{entry} in the store has no fields: the ExternalSecret is Ready, and the \
                 operator does not change the Secret"
            )),
            SyncProblem::For(Cause::FieldMissing) => fail(match &external.field {
                Some(field) => format!("field {field} not found in its store entry"),
                None => "a field that it reads is not found in its store entry".to_owned(),
            }),
            SyncProblem::For(cause) => {
                fail(format!("not ready: {}", cause.describe())).see(steps_for(cause))
            }
            SyncProblem::Unknown => {
                let why = if external.events_denied {
                    self.events_denied(Some(&object.namespace))
                } else {
                    String::new()
                };
                fail(format!("not ready; the cause is unknown{why}")).hint(self.describe(external))
            }
            SyncProblem::Deleted => fail(format!(
                "entry{entry} not found in the store, or it has no fields: the ExternalSecret is \
                 Ready, and the operator has deleted the Secret"
            )),
            SyncProblem::NothingToMerge => fail(
                "the ExternalSecret is Ready, but the Secret that it adds to does not exist"
                    .to_owned(),
            )
            .see(Id::EsoPolicy),
            SyncProblem::Pending => fail(
                "the ExternalSecret is Ready, but the operator has not applied its latest change"
                    .to_owned(),
            )
            .hint(self.resync(external)),
            SyncProblem::Stale(age) => fail(format!(
                "the ExternalSecret is Ready, but stale: last refreshed {} ago, more than three \
                 intervals of {}",
                span(*age),
                span(object.interval)
            ))
            .hint(self.resync(external)),
        }
    }

    /// One check for each Secret that an ExternalSecret creates.
    pub(super) fn fields(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let checks = targets.iter().filter_map(|target| {
            let maker = target.makers().next()?;
            let check = match self.path2.problem(maker, self.case.cluster.now) {
                None => complete(target)?,
                Some(_) => Check::skip(Id::EsoFields, "not checked: it is not synced"),
            };
            Some(check.at(target.namespace, "Secret", target.bundle.secret))
        });
        checks.collect()
    }
}

fn complete(target: &BundleTarget<'_>) -> Option<Check> {
    let id = Id::EsoFields;
    let Some(live) = target.live else {
        let skipped = Check::skip(id, "not checked: the Secret was not read");
        return (!target.is_readable).then_some(skipped);
    };
    let has = |name: &str| live.data.contains_key(name);
    Some(match require_fields(target.bundle, "", has) {
        Ok(count) => Check::pass(id, format!("it has all {count} fields")),
        Err(message) => Check::fail(id, message).see(Id::EsoSynced),
    })
}
