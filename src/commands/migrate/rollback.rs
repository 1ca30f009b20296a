//! `migrate --rollback`: turns Secrets that the operator makes back into plain ones. Works with the
//! store up or down, and changes no value.
//!
//! Deleting an ExternalSecret deletes its Secret too. So the steps are:
//!
//! 1. Change the ExternalSecret so that it does not own the Secret. Wait until the operator has
//!    reconciled that, or has failed to read the store, in which case it writes nothing either.
//! 2. Remove the owner reference from the Secret.
//! 3. Delete the ExternalSecret.
//! 4. Remove the operator's labels and annotations from the Secret.
//!
//! A run can stop after any step; the next run continues from there.

use crate::cli::{Global, Migrate};
use crate::commands::shared::answer::{Answer, Verdict};
use crate::commands::shared::cluster::{connect, home_router, refuse_rotation, usable_fleet};
use crate::commands::shared::eso::{
    LIMIT, check_home, check_values, externals, is_of_the_table, served,
};
use crate::commands::shared::hint_context::{HintOptions, reach};
use crate::commands::shared::options::fleet;
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::plan::manifest::Manifest;
use crate::domain::rotation::stored_state;
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::eso::ExternalRef;
use crate::io::eso::disown::Release;
use crate::io::eso::ephemeral::Temporaries;
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::kube::observe::Found;
use crate::render::json::Body;
use crate::render::migration as rendered;
use crate::render::migration::{MigrationBody, MoveAction, MoveResult};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Rolls back, or previews that.
///
/// # Errors
/// A failure before the first write; later failures are in the answer.
pub async fn run(global: &Global, migrate: &Migrate, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, HintOptions::of_fleet(&migrate.fleet));
    let cluster = connect(global, ui, "migrate", &reach).await?;
    let version = served(&cluster, &reach).await?;
    let fleet = fleet(&migrate.fleet);
    let home = &global.namespace;
    let found = cluster.observe(home, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    check_home(home, found.home)?;
    let open = stored_state::of_cluster(home_router(&found.secrets, home));
    refuse_rotation(open, false, &reach)?;
    let usable = usable_fleet(&found, &fleet, &reach, ui)?;
    // List them again and strictly: an ExternalSecret that is missed would recreate its Secret.
    let namespaces = std::iter::once(home).chain(&usable);
    let all = externals(&cluster, version, namespaces).await?;
    let ours: Vec<_> = all
        .iter()
        .filter(|external| is_of_the_table(external, home, &usable))
        .collect();
    let returns = find_returns(&found, &all, &ours);
    let mut results = Vec::new();
    let outcome = if let Some(failure) = refusal(&ours, &reach.kubectl) {
        Err(failure)
    } else if migrate.apply {
        ui.story(&format!(
            "taking {} Secrets of {home} on {} back from External Secrets Operator",
            returns.len(),
            cluster.server
        ));
        let work = return_all(&cluster, version, &returns, &mut results);
        cluster.with_temporaries(&Temporaries::new(), work).await
    } else {
        results.extend(returns.iter().map(Return::result));
        Ok(())
    };
    let failure = outcome.err().or_else(|| {
        let failure = rendered::failure_of(&results, "rolled back")?;
        Some(failure.hint("run it again: it continues where it stopped"))
    });
    let next = if failure.is_some() {
        None
    } else if returns.is_empty() {
        Some("No ExternalSecret makes one of the Secrets: nothing to do.")
    } else if !migrate.apply {
        Some("This was a preview: nothing has been written. Run it again with --apply.")
    } else {
        None
    };
    Ok(Answer {
        text: rendered::results_text(&results, !migrate.apply, ui.palette()),
        next: next.map(str::to_owned),
        body: Body::Migration(MigrationBody {
            server: cluster.server.clone(),
            store: None,
            entries: Vec::new(),
            secrets: results,
            values: None,
        }),
        verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
    })
}

/// Rolls all Secrets back. Each result is recorded when it is known, so that the answer is right
/// after an interruption.
async fn return_all(
    cluster: &Cluster,
    version: &str,
    returns: &[Return<'_>],
    results: &mut Vec<MoveResult>,
) -> Result<(), Failure> {
    let work = returns.iter().map(|secret| async move {
        let result = secret.result();
        match secret.run(cluster, version).await {
            Ok(()) => result,
            Err(failure) => result.failed(&failure),
        }
    });
    let mut work = stream::iter(work).buffer_unordered(WIDTH);
    while let Some(result) = work.next().await {
        results.push(result);
    }
    results.sort_by(|one, other| one.at.cmp(&other.at));
    Ok(())
}

/// Refuses ExternalSecrets that have an owner, which would apply them again, those that only add
/// keys, and several for one Secret.
fn refusal(externals: &[&ExternalSecret], kubectl: &str) -> Option<Failure> {
    let mut failure = Failure::undecided();
    for (index, external) in externals.iter().enumerate() {
        if let Some(owner) = &external.owner {
            failure = failure
                .cause(format!("{external} belongs to {owner}"))
                .hint(format!("remove it there: {}", owner.instead()));
        }
        let has_same_target = |other: &&&ExternalSecret| {
            other.namespace == external.namespace && other.target == external.target
        };
        if let Some(other) = externals[..index].iter().find(has_same_target) {
            let (namespace, name) = (&external.namespace, &external.name);
            failure = failure
                .cause(format!(
                    "{other} and {external} have the same target, {}",
                    external.target
                ))
                .hint(format!(
                    "keep one: {kubectl} -n {namespace} delete externalsecret {name} \
                     --cascade=orphan"
                ));
        } else if !external.makes_secret() {
            failure = failure
                .cause(format!("{external} adds keys to {}", external.target))
                .hint(format!(
                    "remove it first: {kubectl} -n {} delete externalsecret {}",
                    external.namespace, external.name
                ));
        }
    }
    (!failure.causes.is_empty()).then_some(failure)
}

/// A Secret to be rolled back.
struct Return<'a> {
    at: SecretRef,
    /// `None` if an earlier run has deleted the ExternalSecret.
    external: Option<&'a ExternalSecret>,
}

/// The Secrets to be rolled back: those that an ExternalSecret makes, and those that only carry
/// labels or annotations that the operator has left behind.
fn find_returns<'a>(
    found: &'a Found,
    all: &[ExternalSecret],
    ours: &[&'a ExternalSecret],
) -> Vec<Return<'a>> {
    let made: BTreeMap<_, _> = ours
        .iter()
        .filter_map(|external| {
            let bundle = external.bundle()?;
            let at = SecretRef::new(&external.namespace, bundle.secret);
            Some((at, Some(*external)))
        })
        .collect();
    let is_target = |at: &SecretRef| {
        all.iter()
            .any(|external| external.namespace == at.namespace && external.target == at.name)
    };
    let left_behind = found
        .secrets
        .iter()
        .filter(|(at, observed)| {
            let is_marked = observed.live.as_ref().is_some_and(|live| live.marks.any());
            is_marked && !is_target(at)
        })
        .map(|(at, _)| (at.clone(), None));
    made.into_iter()
        .chain(left_behind)
        .map(|(at, external)| Return { at, external })
        .collect()
}

impl Return<'_> {
    /// The result if all goes well.
    fn result(&self) -> MoveResult {
        let external = self.external.map(|external| external.name.clone());
        MoveResult {
            at: self.at.clone(),
            external_secret: external.unwrap_or_default(),
            action: MoveAction::Returned,
            reason: None,
            note: None,
        }
    }

    /// Carries out the steps that are left for this Secret.
    async fn run(&self, cluster: &Cluster, version: &str) -> Result<(), Failure> {
        let deadline = Instant::now().checked_add(LIMIT);
        if let Some(external) = self.external.filter(|external| !external.deleting) {
            let external = ExternalRef::of(version, external);
            self.disown(cluster, external).await?;
        }
        let before = cluster.secret(&self.at).await?.live;
        if let Some(external) = self.external {
            let external = ExternalRef::of(version, external);
            cluster.disown(&self.at, Release::Owner).await?;
            cluster.orphan_external_secret(external, deadline).await?;
        }
        let exists = cluster.disown(&self.at, Release::All).await?;
        let Some(before) = before else {
            return Ok(());
        };
        if !exists {
            self.recreate(cluster, &before).await?;
        }
        self.check_unchanged(cluster, &before).await
    }

    /// Changes the ExternalSecret so that it does not own its Secret, and waits until the operator
    /// has reconciled that or has failed to read the store.
    async fn disown(&self, cluster: &Cluster, external: ExternalRef<'_>) -> Result<(), Failure> {
        // With a refreshPolicy of CreatedOnce or an interval of 0 the operator would not reconcile
        // again.
        let orphaning = json!({ "spec": {
            "refreshPolicy": "Periodic",
            "refreshInterval": "1h",
            "target": { "creationPolicy": "Orphan", "deletionPolicy": "Retain" },
        } });
        cluster.change_external_secret(external, &orphaning).await?;
        let deadline = Instant::now().checked_add(LIMIT);
        let Err(failure) = cluster.settled(external, "", deadline).await else {
            return Ok(());
        };
        let now = cluster.external_secret(external).await?;
        let condition = now.and_then(|now| now.condition);
        if condition.is_some_and(|condition| !condition.ready) {
            // The operator cannot read the store. A refresh that began before the change has ended
            // by now, and later ones see the change.
            return Ok(());
        }
        Err(failure)
    }

    /// Creates the Secret again, as it was before.
    async fn recreate(&self, cluster: &Cluster, before: &LiveSecret) -> Result<(), Failure> {
        let manifest = Manifest {
            at: self.at.clone(),
            resource_version: None,
            data: before
                .data
                .iter()
                .map(|(key, value)| (key.clone(), value.base64.clone()))
                .collect(),
            annotations: before.annotations.clone(),
        };
        cluster.write(&manifest, false).await?;
        Ok(())
    }

    /// Checks that no value has changed.
    async fn check_unchanged(&self, cluster: &Cluster, before: &LiveSecret) -> Result<(), Failure> {
        let live = cluster.secret(&self.at).await?.live;
        let live = live.ok_or_else(|| Failure::unable("the Secret is gone"))?;
        check_values(&live, &before.texts())
    }
}
