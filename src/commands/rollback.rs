//! `migrate --rollback`: from the secret store back to plain Secrets, with the store up or down.
//!
//! An ExternalSecret that is simply deleted takes its Secret along. So it is first made to read
//! nothing and to own nothing, which the operator works off without the store; then the owner
//! reference is taken off the Secret, the ExternalSecret is deleted, and what the operator left on
//! the Secret is taken off. Each step can be the last of a run: the next run goes on from there.

use super::path2::{is_of_the_table, served};
use super::reach::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Migrate};
use crate::domain::bundles::BUNDLES;
use crate::domain::external_secrets::ExternalSecret;
use crate::domain::live::LiveSecret;
use crate::domain::manifest::Manifest;
use crate::domain::migration::compare;
use crate::domain::names::SecretRef;
use crate::error::Failure;
use crate::io::cluster::{Cluster, WIDTH};
use crate::io::external_secrets::release::Release;
use crate::io::observe::Found;
use crate::render::document::Body;
use crate::render::migration::{self as rendered, Ended, Passage};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long the operator has for an ExternalSecret.
const LIMIT: Duration = Duration::from_secs(60);
/// What happened to a Secret, and what would; `{}` is the ExternalSecret.
const DONE: (&str, &str) = (
    "is plain again, without ExternalSecret {}; no value has changed",
    "would be plain again, without ExternalSecret {}",
);

/// Goes back, or shows what would be done.
///
/// # Errors
/// What keeps a run from its first write; later failures are in the answer.
pub async fn run(global: &Global, migrate: &Migrate, ui: Ui) -> Result<Answer, Failure> {
    let given = Given {
        fleet: Some(&migrate.fleet),
        ..Given::default()
    };
    let reach = reach(global, given);
    let cluster = super::connect(global, ui, "migrate", &reach).await?;
    let version = served(&cluster, &reach).await?;
    let fleet = super::fleet(&migrate.fleet);
    let found = cluster.observe(&global.namespace, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    let usable = super::usable_fleet(&found, &fleet, &reach, ui)?;
    let externals = found.externals.iter();
    let externals: Vec<_> = externals
        .filter(|external| external.makes_secret())
        .filter(|external| is_of_the_table(external, &global.namespace, &usable))
        .collect();
    let returns = returns(&found, &externals);
    if let (true, Some(failure)) = (migrate.apply, refusal(&externals)) {
        return Err(failure);
    }
    let passages = match migrate.apply {
        false => returns
            .iter()
            .map(|back| back.passage(Ended::Planned))
            .collect(),
        true => {
            ui.story(&format!(
                "taking {} Secrets of {} on {} back from External Secrets Operator",
                returns.len(),
                global.namespace,
                cluster.server
            ));
            let work = returns.iter().map(|back| async {
                let ended = match back.go(&cluster, version).await {
                    Ok(()) => Ended::Done,
                    Err(failure) => Ended::Failed(failure.told()),
                };
                back.passage(ended)
            });
            stream::iter(work).buffered(WIDTH).collect::<Vec<_>>().await
        }
    };
    let failed = passages
        .iter()
        .filter(|passage| matches!(passage.ended, Ended::Failed(_)));
    let failure = match failed.count() {
        0 => refusal(&externals),
        count => Some(
            Failure::unable(format!(
                "{count} of {} Secrets did not go back",
                passages.len()
            ))
            .hint("run it again: it goes on from where it is"),
        ),
    };
    let next = match (migrate.apply, passages.is_empty(), failure.is_some()) {
        (_, true, _) => {
            Some("No ExternalSecret makes one of the Secrets: nothing to do.".to_owned())
        }
        (false, false, false) => Some(
            "This was a preview: nothing has been written. Run it again with --apply.".to_owned(),
        ),
        _ => None,
    };
    Ok(Answer {
        text: rendered::passages_text(&passages, DONE, ui.palette()),
        next,
        body: Body::Migration(rendered::body(
            &cluster.server,
            None,
            &[],
            &passages,
            "returned",
            None,
        )),
        verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
    })
}

/// Refuses ExternalSecrets that somebody else would apply again.
fn refusal(externals: &[&ExternalSecret]) -> Option<Failure> {
    let owned = externals
        .iter()
        .filter_map(|external| Some((external, external.owner.as_ref()?)));
    let mut failure = Failure::no("refused, and nothing has been written: others apply these");
    for (external, owner) in owned {
        failure = failure
            .cause(format!("{external} belongs to {owner}"))
            .hint(format!("take it out there: {}", owner.instead()));
    }
    (!failure.causes.is_empty()).then_some(failure)
}

/// A Secret that goes back.
struct Return<'a> {
    at: SecretRef,
    /// The ExternalSecret; `None` where a run before this one has deleted it.
    external: Option<&'a ExternalSecret>,
}

/// What goes back: Secrets that an ExternalSecret makes, and those on which the operator left its
/// marks though it does not make them any longer.
fn returns<'a>(found: &'a Found, externals: &[&'a ExternalSecret]) -> Vec<Return<'a>> {
    let made = externals.iter().filter_map(|external| {
        let mut names = BUNDLES.iter().map(|bundle| bundle.secret);
        let at = SecretRef {
            namespace: external.namespace.clone(),
            name: names.find(|name| *name == external.target)?,
        };
        Some((at, Some(*external)))
    });
    let made: BTreeMap<_, _> = made.collect();
    let left = found.secrets.iter().filter(|(at, observed)| {
        let marked = observed.live.as_ref().is_some_and(|live| live.marks.any());
        let targeted = found
            .externals
            .iter()
            .any(|external| external.namespace == at.namespace && external.target == at.name);
        marked && !targeted
    });
    let left = left.map(|(at, _)| (at.clone(), None));
    made.into_iter()
        .chain(left)
        .map(|(at, external)| Return { at, external })
        .collect()
}

impl Return<'_> {
    fn passage(&self, ended: Ended) -> Passage {
        let external = self.external.map(|external| external.name.clone());
        Passage {
            namespace: self.at.namespace.clone(),
            secret: self.at.name.to_owned(),
            external_secret: external.unwrap_or_default(),
            ended,
            note: None,
        }
    }

    async fn go(&self, cluster: &Cluster, version: &str) -> Result<(), Failure> {
        let deadline = Instant::now().checked_add(LIMIT);
        if let Some(external) = self.external.filter(|external| !external.deleting) {
            self.freeze(cluster, version, external, deadline).await?;
        }
        // From here on the operator writes nothing, so these are the values to keep.
        let before = self.read(cluster).await?;
        if let Some(external) = self.external {
            let (namespace, name) = (&external.namespace, &external.name);
            cluster.release(&self.at, Release::Owner).await?;
            cluster
                .orphan_external_secret(version, namespace, name, deadline)
                .await?;
        }
        let there = cluster.release(&self.at, Release::All).await?;
        let Some(before) = before else {
            return Ok(());
        };
        if !there {
            self.make_again(cluster, &before).await?;
        }
        self.compare(cluster, &before).await
    }

    async fn read(&self, cluster: &Cluster) -> Result<Option<LiveSecret>, Failure> {
        let mut bundles = BUNDLES.into_iter();
        let bundle = bundles.find(|bundle| bundle.secret == self.at.name);
        let found = cluster
            .secrets(&self.at.namespace, bundle.as_slice())
            .await?;
        Ok(found.into_values().next().and_then(|found| found.live))
    }

    /// Makes the ExternalSecret read nothing and own nothing.
    async fn freeze(
        &self,
        cluster: &Cluster,
        version: &str,
        external: &ExternalSecret,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let (namespace, name) = (&external.namespace, &external.name);
        let nothing = json!({ "spec": {
            "data": null,
            "dataFrom": null,
            "target": { "creationPolicy": "Orphan", "deletionPolicy": "Retain" },
        } });
        cluster
            .change_external_secret(version, namespace, name, &nothing)
            .await?;
        cluster
            .settled(version, namespace, name, "", deadline)
            .await?;
        Ok(())
    }

    /// Creates the Secret as it was.
    async fn make_again(&self, cluster: &Cluster, before: &LiveSecret) -> Result<(), Failure> {
        let data = before.data.iter();
        let manifest = Manifest {
            at: self.at.clone(),
            resource_version: None,
            data: data
                .map(|(key, value)| (key.clone(), value.base64.clone()))
                .collect(),
            annotations: before.annotations.clone(),
        };
        cluster.write(&manifest, false).await?;
        Ok(())
    }

    /// Sees that no value has changed.
    async fn compare(&self, cluster: &Cluster, before: &LiveSecret) -> Result<(), Failure> {
        let live = self.read(cluster).await?;
        let live = live.ok_or_else(|| Failure::unable("the Secret is gone"))?;
        let texts = before.data.iter();
        let texts = texts.filter_map(|(key, value)| Some((key.clone(), value.text.clone()?)));
        let (differing, lost, gained) = compare(&live, &texts.collect());
        let odd = [differing, lost, gained].concat();
        match odd.is_empty() {
            true => Ok(()),
            false => Err(Failure::unable(format!(
                "it has other values than before: {}",
                odd.join(", ")
            ))),
        }
    }
}
