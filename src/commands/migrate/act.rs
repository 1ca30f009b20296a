//! `migrate --apply`: fills the store, proves that the operator reads the same values, then hands
//! the Secrets over to the operator. Never changes a value that pods read.

use super::{MigrateRun, Snapshot};
use crate::commands::shared::answer::Answer;
use crate::commands::shared::eso::{LIMIT, check_values};
use crate::commands::shared::store_apply::Backend;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::eso::store_entry::Entry;
use crate::domain::migration::{MigrationPlan, Move, MoveState, fields_after};
use crate::error::{Failure, Kind};
use crate::io::eso::ExternalRef;
use crate::io::eso::ephemeral::Temporaries;
use crate::io::eso::through::Through;
use crate::io::kube::client::WIDTH;
use crate::io::store::Store;
use crate::io::written::Written;
use crate::render::external_secrets::Extract;
use crate::render::migration as rendered;
use crate::render::migration::{Addition, MoveResult};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// How often a run reads and plans before it gives up because of concurrent writes.
const ROUNDS: usize = 10;

/// By namespace, the names of the pods by uid.
type Pods = BTreeMap<Namespace, BTreeMap<String, String>>;

impl MigrateRun<'_> {
    pub(super) async fn apply(&self) -> Result<Answer, Failure> {
        self.ui.story(&format!(
            "moving the Secrets of {} on {} to {}",
            self.global.namespace, self.cluster.server, self.store
        ));
        let temporaries = Temporaries::new();
        let mut results = Vec::new();
        let mut additions = Vec::new();
        let work = self.rounds(&temporaries, &mut additions, &mut results);
        let outcome = self.cluster.with_temporaries(&temporaries, work).await;
        let failure = outcome.err().or_else(|| {
            let failure = rendered::failure_of(&results, "moved")?;
            Some(failure.hint(format!("{} verify{}", self.reach.program, self.reach.fleet)))
        });
        self.answer(additions, results, failure, false, None).await
    }

    /// Fills the store, proves the values and hands the Secrets over. Starts again if another
    /// writer came first.
    async fn rounds(
        &self,
        temporaries: &Temporaries,
        additions: &mut Vec<Addition>,
        results: &mut Vec<MoveResult>,
    ) -> Result<(), Failure> {
        for round in 0..ROUNDS {
            let entries = match &self.direct {
                Some(_) => None,
                None => {
                    let through = self.through(temporaries);
                    let home = &self.global.namespace;
                    Some(through.entries(home, &self.layout).await?)
                }
            };
            let snapshot = self.read(entries.as_ref()).await?;
            if round == 0 {
                for warning in &snapshot.found.warnings {
                    self.ui.warn(warning);
                }
            }
            self.check_refusals(&snapshot, additions.is_empty())?;
            if additions.is_empty() && snapshot.plan.written().next().is_some() {
                if let Some(store) = &self.direct {
                    let entries = snapshot.plan.written();
                    let entries = entries.map(|it| (it.at.as_str(), it.base.version));
                    store.ensure_writable(&entries.collect::<Vec<_>>()).await?;
                }
                // Write nothing that the operator could not read.
                self.check_readable(temporaries, &snapshot.plan).await?;
            }
            let is_stale = self.fill(&snapshot.plan, additions).await? == Written::Stale;
            if is_stale || snapshot.plan.written().next().is_some() {
                // Read again: the next round proves what the store holds now.
                continue;
            }
            let pods = self.pods(&snapshot.plan).await?;
            let proof = self.prove(temporaries, &snapshot.plan).await;
            proof.map_err(|failure| after_additions(failure, additions))?;
            self.hand_over_all(&snapshot, results).await;
            return self.report_pods(pods).await;
        }
        Err(
            Failure::unable("something else keeps changing the store during this run")
                .hint("find out what writes there, then run this again"),
        )
    }

    /// Refuses what a person has to decide. `nothing_written` is true before the first write.
    fn check_refusals(&self, snapshot: &Snapshot, nothing_written: bool) -> Result<(), Failure> {
        self.refuse_rotation(snapshot, !nothing_written)?;
        self.check_file(snapshot)?;
        let plan = &snapshot.plan;
        if let Some(mut failure) = self.refusal(plan) {
            if !nothing_written {
                failure = failure.too_late();
            }
            return Err(failure);
        }
        if let (None, Some(entry)) = (&self.direct, plan.written().next()) {
            let keys: Vec<_> = entry.keys.iter().map(|key| &*key.key).collect();
            let (path, options) = (&entry.at, self.layout.options());
            return Err(
                Failure::no(format!("the store lacks {} in {path}", keys.join(", "))).hint(
                    format!(
                        "fill it first: {} populate {options} --from-cluster --via-eso STORE \
                     --apply, with a store that can be written",
                        self.reach.program
                    ),
                ),
            );
        }
        Ok(())
    }

    /// Writes the fields that the store lacks.
    async fn fill(
        &self,
        plan: &MigrationPlan,
        additions: &mut Vec<Addition>,
    ) -> Result<Written, Failure> {
        let Some(store) = &self.direct else {
            return Ok(Written::Done);
        };
        let mut state = Written::Done;
        for (entry, addition) in plan.written().zip(rendered::additions(plan)) {
            match Backend::write(store, entry, &fields_after(entry)).await? {
                Written::Done => additions.push(addition),
                Written::Stale => state = Written::Stale,
            }
        }
        Ok(state)
    }

    /// The store as External Secrets Operator reads it.
    fn through<'b>(&'b self, temporaries: &'b Temporaries) -> Through<'b> {
        Through {
            cluster: &self.cluster,
            temporaries,
            version: self.version,
            store: &self.store,
        }
    }

    /// Reads the entry of a Secret through the operator, from the namespace of the Secret.
    async fn read_entry(&self, temporaries: &Temporaries, moved: &Move) -> Result<Entry, Failure> {
        let through = self.through(temporaries);
        through
            .read(&moved.at.namespace, moved.bundle, &moved.path)
            .await
    }

    /// Proves that the operator reads, for each Secret, the values that the Secret has to hold.
    async fn prove(&self, temporaries: &Temporaries, plan: &MigrationPlan) -> Result<(), Failure> {
        let proofs = plan.moving().map(|moved| async move {
            let entry = self.read_entry(temporaries, moved).await?;
            let wanted = moved.after.iter().flatten();
            let is_same = wanted
                .clone()
                .all(|(key, value)| entry.text(key) == Some(value));
            let count = entry.fields.as_ref().map_or(0, |fields| fields.len());
            if is_same && count == wanted.count() {
                return Ok(());
            }
            Err(Failure::no(format!(
                "the operator reads other values at {} than {} must have; no Secret was moved",
                moved.path, moved.at
            ))
            .hint(format!(
                "check that {} is the store that this run reads ({})",
                self.store,
                self.direct
                    .as_ref()
                    .map_or("through the operator", Store::address)
            )))
        });
        let results: Vec<_> = stream::iter(proofs).buffered(WIDTH).collect().await;
        results.into_iter().collect()
    }

    /// Checks that the operator may read each entry from its namespace. The values do not matter.
    async fn check_readable(
        &self,
        temporaries: &Temporaries,
        plan: &MigrationPlan,
    ) -> Result<(), Failure> {
        let reads = plan
            .moving()
            .map(|moved| self.read_entry(temporaries, moved));
        let _entries: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
        Ok(())
    }

    /// The pods in the namespaces of the Secrets that move. Namespaces in which pods cannot be
    /// listed are left out.
    async fn pods(&self, plan: &MigrationPlan) -> Result<Pods, Failure> {
        let namespaces: BTreeSet<_> = plan.moving().map(|moved| &moved.at.namespace).collect();
        let reads = namespaces.into_iter().map(|namespace| async move {
            let pods = self.cluster.pods_of(namespace).await?;
            Ok::<_, Failure>((namespace.clone(), pods))
        });
        let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
        Ok(found
            .into_iter()
            .filter_map(|(namespace, pods)| Some((namespace, pods?)))
            .collect())
    }

    /// Warns about pods that were replaced during the move. The move may be the cause.
    async fn report_pods(&self, before: Pods) -> Result<(), Failure> {
        for (namespace, before) in before {
            let now = self.cluster.pods_of(&namespace).await?.unwrap_or_default();
            let gone: Vec<_> = before
                .iter()
                .filter(|(uid, _)| !now.contains_key(*uid))
                .map(|(_, name)| name.as_str())
                .collect();
            if !gone.is_empty() {
                self.ui.warn(&format!(
                    "pods of {namespace} were replaced during the move: {}",
                    gone.join(", ")
                ));
            } else if !before.is_empty() {
                self.ui.story(&format!(
                    "{} pods of {namespace} have not been replaced so far",
                    before.len()
                ));
            }
        }
        Ok(())
    }

    /// Creates the ExternalSecrets and waits for each Secret. Each result is recorded when it is
    /// known, so that the answer is right after an interruption.
    async fn hand_over_all(&self, snapshot: &Snapshot, results: &mut Vec<MoveResult>) {
        let moves = snapshot.plan.moves.iter().map(|moved| async move {
            let result = rendered::planned_result(moved);
            match self.hand_over(snapshot, moved).await {
                Ok(()) => result,
                Err(failure) => result.failed(&failure),
            }
        });
        let mut moves = stream::iter(moves).buffered(WIDTH);
        while let Some(result) = moves.next().await {
            results.push(result);
        }
    }

    async fn hand_over(&self, snapshot: &Snapshot, moved: &Move) -> Result<(), Failure> {
        if !matches!(moved.state, MoveState::Plain | MoveState::Moved) {
            return Ok(());
        }
        let mut at = self.external_of(moved);
        if moved.state == MoveState::Plain {
            self.write_external_secret(snapshot, moved).await?;
        } else {
            // The operator keeps this Secret already. Only wait until it is in sync.
            let mut externals = snapshot.externals.iter();
            let target = &moved.at;
            let found =
                externals.find(|it| it.namespace == target.namespace && it.target == target.name);
            at = found.map_or(at, |found| ExternalRef::of(self.version, found));
        }
        let deadline = Instant::now().checked_add(LIMIT);
        self.cluster.settled(at, "", deadline).await?;
        if moved.state == MoveState::Moved {
            return Ok(());
        }
        let live = self.cluster.secret(&moved.at).await?.live;
        let Some((live, after)) = live.zip(moved.after.as_ref()) else {
            return Err(Failure::unable("the Secret is gone"));
        };
        check_values(&live, after)
    }

    /// Creates the ExternalSecret, or changes the one that an unfinished rollback has left behind.
    /// Refuses if the Secret has changed since its values were proven.
    async fn write_external_secret(
        &self,
        snapshot: &Snapshot,
        moved: &Move,
    ) -> Result<(), Failure> {
        let at = self.external_of(moved);
        let now = self.cluster.secret(&moved.at).await?;
        let before = snapshot.found.secrets.get(&moved.at);
        let version = |found: &Observed| Some(found.live.as_ref()?.resource_version.clone());
        if version(&now) != before.and_then(version) {
            return Err(Failure::unable(
                "the Secret has changed during this run: run it again",
            ));
        }
        let extract = Extract {
            version: self.version,
            namespace: at.namespace,
            bundle: moved.bundle,
            store: &self.store,
            path: &moved.path,
        };
        let object = extract.object();
        let exists = snapshot
            .externals
            .iter()
            .any(|external| external.namespace == *at.namespace && external.name == at.name);
        if exists {
            let spec = json!({ "spec": object["spec"] });
            self.cluster.change_external_secret(at, &spec).await
        } else {
            self.cluster.create_external_secret(at, &object).await
        }
    }

    /// The ExternalSecret that a Secret gets.
    fn external_of<'b>(&self, moved: &'b Move) -> ExternalRef<'b> {
        ExternalRef {
            version: self.version,
            namespace: &moved.at.namespace,
            name: moved.bundle.external_secret,
        }
    }
}

/// Changes the kind of a failure that happens after the store was written, and so its exit code.
fn after_additions(mut failure: Failure, additions: &[Addition]) -> Failure {
    if !additions.is_empty() {
        failure.kind = Kind::Unable;
    }
    failure
}
