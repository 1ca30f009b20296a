//! Carrying a migration out: fill the store, prove it, have the operator take over.

use super::{MigrateRun, Picture};
use crate::commands::shared::answer::Answer;
use crate::commands::shared::eso::{LIMIT, Through, check_values};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::Observations;
use crate::domain::migration::{MigrationPlan, Move, Standing, fields_after};
use crate::error::{Failure, Kind};
use crate::io::eso::ephemeral::Temporaries;
use crate::io::kube::client::WIDTH;
use crate::io::store::Store;
use crate::io::written::Written;
use crate::render::external_secrets::Extract;
use crate::render::migration as rendered;
use crate::render::migration::{Ended, Gift, Passage};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// How often everything is read and planned at most, where others keep writing first.
const ROUNDS: usize = 10;

/// Pods by namespace: their names by uid.
type Pods = BTreeMap<Namespace, BTreeMap<String, String>>;

impl MigrateRun<'_> {
    pub(super) async fn apply(&self) -> Result<Answer, Failure> {
        self.ui.story(&format!(
            "moving the Secrets of {} on {} to {}",
            self.global.namespace, self.cluster.server, self.store
        ));
        let temporaries = Temporaries::new();
        let mut done = Vec::new();
        let mut gifts = Vec::new();
        let work = self.rounds(&temporaries, &mut gifts, &mut done);
        let outcome = self.cluster.with_temporaries(&temporaries, work).await;
        let failure = outcome.err();
        let failed = done
            .iter()
            .filter(|passage: &&Passage| matches!(passage.ended, Ended::Failed(_)));
        let failure = failure.or_else(|| match failed.count() {
            0 => None,
            count => Some(
                Failure::unable(format!("{count} of {} Secrets did not move", done.len()))
                    .hint(format!("{} verify{}", self.reach.program, self.reach.fleet)),
            ),
        });
        self.answer(&gifts, &done, failure, false, None).await
    }

    /// Fills the store, proves, and has the operator take over; all of it again where somebody else
    /// wrote first.
    async fn rounds(
        &self,
        temporaries: &Temporaries,
        gifts: &mut Vec<Gift>,
        done: &mut Vec<Passage>,
    ) -> Result<(), Failure> {
        for round in 0..ROUNDS {
            let seen = match &self.direct {
                Some(_) => None,
                None => {
                    let through = self.through(temporaries);
                    let home = &self.global.namespace;
                    Some(through.entries(home, &self.layout).await?)
                }
            };
            let picture = self.look(seen.as_ref()).await?;
            if round == 0 {
                for warning in &picture.found.warnings {
                    self.ui.warn(warning);
                }
            }
            self.refuse(&picture, gifts.is_empty())?;
            if gifts.is_empty() && picture.plan.written().next().is_some() {
                self.check(&picture.plan).await?;
                // Nothing is written for an operator that could not read it.
                self.try_reading(temporaries, &picture.plan).await?;
            }
            let stale = self.fill(&picture.plan, gifts).await? == Written::Stale;
            if stale || picture.plan.written().next().is_some() {
                // Once more, and this time the store holds everything.
                continue;
            }
            let pods = self.pods(&picture.plan).await?;
            let proof = self.prove(temporaries, &picture.plan).await;
            proof.map_err(|failure| after(failure, gifts))?;
            self.take_over(&picture, done).await;
            return self.say_what_became_of(pods).await;
        }
        Err(
            Failure::unable("others keep changing the store while this runs")
                .hint("see who writes there; then run this again"),
        )
    }

    /// Refuses what a person has to decide first.
    fn refuse(&self, picture: &Picture, first: bool) -> Result<(), Failure> {
        self.refuse_rotation(picture, !first)?;
        self.check_file(picture)?;
        let plan = &picture.plan;
        if let Some(mut failure) = self.refusal(plan) {
            if !first {
                failure = failure.too_late();
            }
            return Err(failure);
        }
        if let (None, Some(entry)) = (&self.direct, plan.written().next()) {
            let keys: Vec<_> = entry.keys.iter().map(|key| key.key.as_str()).collect();
            let (path, options) = (&entry.path, self.layout.options());
            return Err(
                Failure::no(format!("the store lacks {} in {path}", keys.join(", "))).hint(
                    format!(
                        "fill it first: {} populate {options} --from-cluster --via-eso STORE \
                     --apply, with a store that may write",
                        self.reach.program
                    ),
                ),
            );
        }
        Ok(())
    }

    /// Refuses where our own token may not write what the store lacks.
    async fn check(&self, plan: &MigrationPlan) -> Result<(), Failure> {
        match &self.direct {
            Some(store) => store.check(&plan.written().collect::<Vec<_>>()).await,
            None => Ok(()),
        }
    }

    /// Writes what the store lacks.
    async fn fill(&self, plan: &MigrationPlan, gifts: &mut Vec<Gift>) -> Result<Written, Failure> {
        let (Some(store), Some(_)) = (&self.direct, plan.written().next()) else {
            return Ok(Written::Done);
        };
        let written: Vec<_> = plan.written().collect();
        let new = rendered::gifts(plan);
        let mut state = Written::Done;
        for (entry, gift) in written.into_iter().zip(new) {
            match store.write(entry, &fields_after(entry)).await? {
                Written::Done => gifts.push(gift),
                Written::Stale => state = Written::Stale,
            }
        }
        Ok(state)
    }

    /// The store as the operator sees it.
    fn through<'b>(&'b self, temporaries: &'b Temporaries) -> Through<'b> {
        Through {
            cluster: &self.cluster,
            temporaries,
            version: self.version,
            store: &self.store,
        }
    }

    /// Proves that the operator would make each Secret what it is to be.
    async fn prove(&self, temporaries: &Temporaries, plan: &MigrationPlan) -> Result<(), Failure> {
        let proofs =
            plan.moving().map(|moved| async move {
                let namespace = &moved.at.namespace;
                let entry = self
                    .through(temporaries)
                    .read(namespace, moved.bundle, &moved.path)
                    .await?;
                let wanted = moved.after.iter().flatten();
                let same = wanted
                    .clone()
                    .all(|(key, value)| entry.text(key) == Some(value));
                let count = entry.fields.as_ref().map_or(0, |fields| fields.len());
                match same && count == wanted.count() {
                true => Ok(()),
                false => Err(Failure::no(format!(
                    "the operator reads something else at {} than {} is to hold; nothing has been \
                     taken over",
                    moved.path, moved.at
                ))
                .hint(format!(
                    "see whether {} is the store that this run reads ({})",
                    self.store,
                    self.direct.as_ref().map_or("through the operator", Store::address)
                ))),
            }
            });
        let ended: Vec<_> = stream::iter(proofs).buffered(WIDTH).collect().await;
        ended.into_iter().collect()
    }

    /// Sees that the operator may read each entry from where it is to be read, whatever is there.
    async fn try_reading(
        &self,
        temporaries: &Temporaries,
        plan: &MigrationPlan,
    ) -> Result<(), Failure> {
        let tries = plan.moving().map(|moved| async move {
            let namespace = &moved.at.namespace;
            self.through(temporaries)
                .read(namespace, moved.bundle, &moved.path)
                .await
        });
        let tried: Vec<_> = stream::iter(tries).buffered(WIDTH).try_collect().await?;
        drop(tried);
        Ok(())
    }

    /// The pods beside the Secrets that move, by namespace, as far as they may be listed.
    async fn pods(&self, plan: &MigrationPlan) -> Result<Pods, Failure> {
        let places: BTreeSet<_> = plan.moving().map(|moved| &moved.at.namespace).collect();
        let reads = places.into_iter().map(|place| async move {
            let found = self.cluster.pods_of(place).await?;
            Ok::<_, Failure>((place.clone(), found))
        });
        let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
        let seen = found.into_iter();
        Ok(seen
            .filter_map(|(place, pods)| Some((place, pods?)))
            .collect())
    }

    /// Says which pods are gone, so that nobody takes the move for innocent that was not.
    async fn say_what_became_of(&self, before: Pods) -> Result<(), Failure> {
        for (place, before) in before {
            let now = self.cluster.pods_of(&place).await?.unwrap_or_default();
            let gone: Vec<_> = before
                .iter()
                .filter(|(uid, _)| !now.contains_key(*uid))
                .map(|(_, name)| name.as_str())
                .collect();
            match (gone.as_slice(), before.len()) {
                ([], 0) => {}
                ([], count) => self
                    .ui
                    .story(&format!("{count} pods of {place} run on so far")),
                (gone, _) => self.ui.warn(&format!(
                    "pods of {place} were replaced meanwhile: {}",
                    gone.join(", ")
                )),
            }
        }
        Ok(())
    }

    /// Makes the ExternalSecrets and waits until each Secret follows. Each is told as it ends, so that
    /// an interruption leaves a true account.
    async fn take_over(&self, picture: &Picture, done: &mut Vec<Passage>) {
        let moves = picture.plan.moves.iter().map(|moved| async move {
            let mut passage = rendered::planned(moved);
            if matches!(moved.standing, Standing::Plain | Standing::Moved) {
                passage.ended = match self.take_one(picture, moved).await {
                    Ok(ended) => ended,
                    Err(failure) => Ended::Failed(failure.describe()),
                };
            }
            passage
        });
        let mut moves = stream::iter(moves).buffered(WIDTH);
        while let Some(passage) = moves.next().await {
            done.push(passage);
        }
    }

    async fn take_one(&self, picture: &Picture, moved: &Move) -> Result<Ended, Failure> {
        let (namespace, name) = (&moved.at.namespace, moved.bundle.external_secret);
        let deadline = Instant::now().checked_add(LIMIT);
        if moved.standing == Standing::Moved {
            // What the store holds is the operator's to bring; a second run writes nothing.
            let mut externals = picture.externals.iter();
            let external = externals.find(|external| {
                external.namespace == *namespace && external.target == moved.at.name
            });
            let name = external.map_or(name, |external| &external.name);
            self.cluster
                .settled(self.version, namespace, name, "", deadline)
                .await?;
            return Ok(Ended::Unchanged);
        }
        self.begin(picture, moved).await?;
        self.cluster
            .settled(self.version, namespace, name, "", deadline)
            .await?;
        let now = self.cluster.secrets(namespace, &[moved.bundle]).await?;
        let live = now.get(&moved.at).and_then(|found| found.live.as_ref());
        let Some((live, after)) = live.zip(moved.after.as_ref()) else {
            return Err(Failure::unable("the Secret is gone"));
        };
        check_values(live, after)?;
        Ok(Ended::Done)
    }

    /// Makes the ExternalSecret of a Secret that is still what was proven, or brings back one that an
    /// unfinished way back has left.
    async fn begin(&self, picture: &Picture, moved: &Move) -> Result<(), Failure> {
        let (namespace, name) = (&moved.at.namespace, moved.bundle.external_secret);
        let now = self.cluster.secrets(namespace, &[moved.bundle]).await?;
        let version = |found: &Observations| {
            let live = found.get(&moved.at)?.live.as_ref()?;
            Some(live.resource_version.clone())
        };
        if version(&now) != version(&picture.found.secrets) {
            return Err(Failure::unable(
                "it has changed while this ran: run it again",
            ));
        }
        let extract = Extract {
            version: self.version,
            namespace,
            bundle: moved.bundle,
            store: &self.store,
            path: &moved.path,
        };
        let object = extract.object();
        let mut left = picture.externals.iter();
        let left = left.any(|external| external.namespace == *namespace && external.name == name);
        let (cluster, served) = (&self.cluster, self.version);
        match left {
            true => {
                let spec = json!({ "spec": object["spec"] });
                cluster
                    .change_external_secret(served, namespace, name, &spec)
                    .await
            }
            false => {
                cluster
                    .create_external_secret(served, namespace, name, &object)
                    .await
            }
        }
    }
}

/// The failure, as one that is told after the store was written.
fn after(mut failure: Failure, gifts: &[Gift]) -> Failure {
    if !gifts.is_empty() {
        failure.kind = Kind::Unable;
    }
    failure
}
