//! `migrate --rollback`: from the secret store back to plain Secrets, with the store up or down.
//!
//! An ExternalSecret that is simply deleted takes its Secret along. So it is first made to own
//! nothing, and the operator has to work that off, or be unable to write for want of the store; then
//! the owner reference is taken off the Secret, the ExternalSecret is deleted, and what the operator
//! left on the Secret is taken off. Each step can be the last of a run: the next goes on from there.

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
use crate::domain::rotation::elsewhere;
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::eso::disown::Release;
use crate::io::eso::ephemeral::Temporaries;
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::kube::observe::Found;
use crate::render::json::Body;
use crate::render::migration as rendered;
use crate::render::migration::{Ended, Passage};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::collections::BTreeMap;
use tokio::time::Instant;

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
    let given = HintOptions {
        fleet: Some(&migrate.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, given);
    let cluster = connect(global, ui, "migrate", &reach).await?;
    let version = served(&cluster, &reach).await?;
    let fleet = fleet(&migrate.fleet);
    let home = &global.namespace;
    let found = cluster.observe(home, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    check_home(home, found.home)?;
    let open = elsewhere::of_cluster(home_router(&found.secrets, home));
    refuse_rotation(open, false, &reach)?;
    let usable = usable_fleet(&found, &fleet, &reach, ui)?;
    // What is not seen would be made again from the store: so they are listed here, and now.
    let places = std::iter::once(home).chain(&usable);
    let all = externals(&cluster, version, places).await?;
    let ours: Vec<_> = all
        .iter()
        .filter(|external| is_of_the_table(external, home, &usable))
        .collect();
    let refused = refusal(&ours, &reach.kubectl);
    let returns = returns(&found, &all, &ours);
    let mut passages = Vec::new();
    let ended = match (migrate.apply, refused) {
        (_, Some(failure)) => Err(failure),
        (false, None) => {
            passages.extend(returns.iter().map(|back| back.passage(Ended::Planned)));
            Ok(())
        }
        (true, None) => {
            ui.story(&format!(
                "taking {} Secrets of {home} on {} back from External Secrets Operator",
                returns.len(),
                cluster.server
            ));
            let work = go_all(&cluster, version, &returns, &mut passages);
            cluster.with_temporaries(&Temporaries::new(), work).await
        }
    };
    let failed = passages
        .iter()
        .filter(|passage| matches!(passage.ended, Ended::Failed(_)));
    let failure = match (failed.count(), ended) {
        (_, Err(failure)) => Some(failure),
        (0, Ok(())) => None,
        (count, Ok(())) => Some(
            Failure::unable(format!(
                "{count} of {} Secrets did not go back",
                passages.len()
            ))
            .hint("run it again: it goes on from where it is"),
        ),
    };
    let next = match (migrate.apply, returns.is_empty(), failure.is_some()) {
        (_, true, false) => {
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

/// Takes all of them back; each is told as it ends, so that an interruption leaves a true account.
async fn go_all(
    cluster: &Cluster,
    version: &str,
    returns: &[Return<'_>],
    passages: &mut Vec<Passage>,
) -> Result<(), Failure> {
    let work = returns.iter().map(|back| async move {
        let ended = match back.go(cluster, version).await {
            Ok(()) => Ended::Done,
            Err(failure) => Ended::Failed(failure.describe()),
        };
        back.passage(ended)
    });
    let mut work = stream::iter(work).buffer_unordered(WIDTH);
    while let Some(passage) = work.next().await {
        passages.push(passage);
    }
    passages.sort_by(|one, other| {
        (&one.namespace, &one.secret).cmp(&(&other.namespace, &other.secret))
    });
    Ok(())
}

/// Refuses ExternalSecrets that somebody else would apply again, and several for one Secret.
fn refusal(externals: &[&ExternalSecret], kubectl: &str) -> Option<Failure> {
    let mut failure = Failure::undecided();
    for (index, external) in externals.iter().enumerate() {
        if let Some(owner) = &external.owner {
            failure = failure
                .cause(format!("{external} belongs to {owner}"))
                .hint(format!("take it out there: {}", owner.instead()));
        }
        let same = |other: &&&ExternalSecret| {
            other.namespace == external.namespace && other.target == external.target
        };
        if let Some(other) = externals[..index].iter().find(same) {
            let (namespace, name) = (&external.namespace, &external.name);
            failure = failure
                .cause(format!(
                    "{other} and {external} have one target, {}",
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
                    "take it away first: {kubectl} -n {} delete externalsecret {}",
                    external.namespace, external.name
                ));
        }
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
fn returns<'a>(
    found: &'a Found,
    all: &[ExternalSecret],
    ours: &[&'a ExternalSecret],
) -> Vec<Return<'a>> {
    let made = ours.iter().filter_map(|external| {
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
        let mut all = all.iter();
        let targeted =
            all.any(|external| external.namespace == at.namespace && external.target == at.name);
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
            self.disown(cluster, version, external).await?;
        }
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

    /// Makes the ExternalSecret own nothing. Where the store answers the operator works that off; where
    /// it does not, the operator writes nothing either.
    async fn disown(
        &self,
        cluster: &Cluster,
        version: &str,
        external: &ExternalSecret,
    ) -> Result<(), Failure> {
        let (namespace, name) = (&external.namespace, &external.name);
        // One that is made once would never be worked off.
        let nothing = json!({ "spec": {
            "refreshPolicy": "Periodic",
            "refreshInterval": "1h",
            "target": { "creationPolicy": "Orphan", "deletionPolicy": "Retain" },
        } });
        cluster
            .change_external_secret(version, namespace, name, &nothing)
            .await?;
        let deadline = Instant::now().checked_add(LIMIT);
        match cluster
            .settled(version, namespace, name, "", deadline)
            .await
        {
            Ok(_) => Ok(()),
            // It was tried for a while and cannot read the store. By now no refresh is under way that
            // began before the change, and each later one knows of it.
            Err(_) if self.is_judged(cluster, version, external).await? => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Tells whether the operator has said that the ExternalSecret does not work.
    async fn is_judged(
        &self,
        cluster: &Cluster,
        version: &str,
        external: &ExternalSecret,
    ) -> Result<bool, Failure> {
        let (namespace, name) = (&external.namespace, &external.name);
        let now = cluster.external_secret(version, namespace, name).await?;
        let condition = now.and_then(|now| now.condition);
        Ok(condition.is_some_and(|condition| !condition.ready))
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
        check_values(&live, &texts.collect())
    }
}
