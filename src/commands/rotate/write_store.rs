//! A rotation on Path 2: the store is written, the operator brings it into the Secrets.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::commands::shared::eso::LIMIT;
use crate::domain::cluster::names::SecretRef;
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::eso::store_entry::Field;
use crate::domain::rotation::edits::{Edit, PlaceRef};
use crate::domain::rotation::store_view::StoreView;
use crate::domain::rotation::{Rotation, STORE_STATE};
use crate::domain::table::BUNDLES;
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use crate::io::eso::wait::is_empty;
use crate::io::kube::client::WIDTH;
use crate::io::written::Written;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause before a Secret is looked at again that does not follow yet.
const PAUSE: Duration = Duration::from_millis(200);

impl RotateRun<'_> {
    /// Refuses a store that cannot be written, and one that is not what the operator reads.
    ///
    /// # Errors
    /// The capabilities that are missing; Secrets that differ from the store (exit code 1 or 3).
    pub async fn check_store(&self, look: &Snapshot) -> Result<(), Failure> {
        let Some(view) = &look.store else {
            return Ok(());
        };
        let Some(store) = self.store.get() else {
            return Ok(());
        };
        let written: Vec<_> = view
            .entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry.version))
            .collect();
        store.ensure_writable(&written).await?;
        if look.stale_secrets.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::no("the Secrets are not what the store holds");
        for at in &look.stale_secrets {
            failure = failure.cause(at.to_string());
        }
        Err(failure.hint(self.reach.command("sync")).hint(format!(
            "if that does not help, {} is not the store that the operator reads: see BAO_ADDR",
            store.address()
        )))
    }

    /// Writes an entry on top of the version that was read, unless the rotation has gone on
    /// meanwhile. `state` is what opens one.
    pub(super) async fn write_entry(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let (Some(view), Some(store), PlaceRef::Entry(path)) =
            (&look.store, self.store.get(), &edit.at)
        else {
            return Err(Failure::unable(format!("{} cannot be written", edit.at))
                .hint("set BAO_ADDR and log in to the store"));
        };
        if state.is_none() && !self.is_still(look, rotation).await? {
            return Ok(Written::Stale);
        }
        let Some(entry) = view.entries.get(path) else {
            return Ok(Written::Stale);
        };
        let mut fields = entry.fields.clone().unwrap_or_default();
        for key in &edit.remove {
            fields.remove(*key);
        }
        for (key, value) in &edit.set {
            fields.insert((*key).to_owned(), Field::of_text(value));
        }
        if let Some(state) = state {
            let state = SecretValue::from(state);
            fields.insert(STORE_STATE.to_owned(), Field::of_text(&state));
        }
        store.put(path, entry.version, &fields).await
    }

    /// Has the operator refresh what makes these Secrets, and waits until they carry what the store
    /// holds.
    ///
    /// # Errors
    /// An operator that does not come, or cannot (exit code 3).
    pub(super) async fn follow(
        &self,
        look: &Snapshot,
        secrets: &[SecretRef],
    ) -> Result<(), Failure> {
        let Some(view) = &look.store else {
            return Ok(());
        };
        let lagging = view.externals.iter().filter(|(external, _)| {
            secrets
                .iter()
                .any(|at| at.namespace == external.namespace && at.name == external.target)
        });
        let work = lagging.map(|(external, path)| async move {
            self.follow_one(view, external, path)
                .await
                .map_err(|failure| {
                    Failure::unable(format!(
                        "Secret {}/{} does not follow the store: {}",
                        external.namespace,
                        external.target,
                        failure.describe()
                    ))
                    .hint(self.reach.command("verify"))
                    .hint(format!("then carry it on: {}", self.carry_on()))
                })
        });
        stream::iter(work)
            .buffer_unordered(WIDTH)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn follow_one(
        &self,
        view: &StoreView,
        external: &ExternalSecret,
        path: &str,
    ) -> Result<(), Failure> {
        let end = Instant::now() + LIMIT;
        let (namespace, name) = (&external.namespace, &external.name);
        let now = self
            .cluster
            .external_secret(view.version, namespace, name)
            .await?
            .ok_or_else(|| Failure::unable("its ExternalSecret was deleted meanwhile"))?;
        self.cluster.refresh(view.version, &now).await?;
        let settled = self
            .cluster
            .settled(view.version, namespace, name, &now.synced, Some(end))
            .await?;
        if is_empty(&settled) {
            return Err(Failure::unable(
                "the store has an entry without fields there",
            ));
        }
        // Ready tells of a refresh, the data of its end.
        loop {
            let bundle = BUNDLES.into_iter().find(|it| it.secret == external.target);
            let Some(bundle) = bundle else { return Ok(()) };
            let found = self.cluster.secrets(namespace, &[bundle]).await?;
            let live = found.into_values().next().and_then(|found| found.live);
            if live.is_some_and(|live| view.matches_entry(path, &live)) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Failure::unable("it has other data than the store"));
            }
            sleep(PAUSE).await;
        }
    }
}
