//! Writes the edits of a phase to the store on Path 2, and waits until External Secrets Operator
//! has copied them to the Secrets. It must not write these Secrets.

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

/// The pause between two reads of a Secret that does not yet match its entry.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

impl RotateRun<'_> {
    /// Checks that the store can be written, and that External Secrets Operator reads the same
    /// store.
    ///
    /// # Errors
    /// Missing capabilities (exit code 3), or Secrets that differ from their entries (1).
    pub async fn check_store(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let Some(view) = &snapshot.store else {
            return Ok(());
        };
        let Some(store) = self.store.get() else {
            return Ok(());
        };
        let versions: Vec<_> = view
            .entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry.version))
            .collect();
        store.ensure_writable(&versions).await?;
        if snapshot.stale_secrets.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::no("Secrets differ from their store entries");
        for at in &snapshot.stale_secrets {
            failure = failure.cause(at.to_string());
        }
        Err(failure.hint(self.reach.command("sync")).hint(format!(
            "if they still differ, External Secrets Operator reads another store than {}: check \
             BAO_ADDR",
            store.address()
        )))
    }

    /// Writes an entry if neither it nor the rotation has changed since the snapshot. `state` is
    /// the text of a new rotation, written with its first edit.
    pub(super) async fn write_entry(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let (Some(view), Some(store), PlaceRef::Entry(path)) =
            (&snapshot.store, self.store.get(), &edit.at)
        else {
            return Err(Failure::unable(format!("{} cannot be written", edit.at))
                .hint("set BAO_ADDR and log in to the store"));
        };
        if state.is_none() && !self.is_current(snapshot, rotation).await? {
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

    /// Refreshes the ExternalSecrets of these Secrets, and waits until the Secrets match their
    /// entries.
    ///
    /// # Errors
    /// External Secrets Operator fails or does not refresh in time (exit code 3).
    pub(super) async fn wait_for_secrets(
        &self,
        snapshot: &Snapshot,
        secrets: &[SecretRef],
    ) -> Result<(), Failure> {
        let Some(view) = &snapshot.store else {
            return Ok(());
        };
        let is_wanted = |external: &ExternalSecret| {
            secrets
                .iter()
                .any(|at| at.namespace == external.namespace && at.name == external.target)
        };
        let stale = view
            .externals
            .iter()
            .filter(|(external, _)| is_wanted(external));
        let work = stale.map(|(external, path)| async move {
            self.wait_for_secret(view, external, path)
                .await
                .map_err(|failure| {
                    Failure::unable(format!(
                        "Secret {}/{} does not match its store entry: {}",
                        external.namespace,
                        external.target,
                        failure.describe()
                    ))
                    .hint(self.reach.command("verify"))
                    .hint(format!("then continue it: {}", self.carry_on_command()))
                })
        });
        stream::iter(work)
            .buffer_unordered(WIDTH)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn wait_for_secret(
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
            .ok_or_else(|| Failure::unable("its ExternalSecret was deleted during the run"))?;
        self.cluster.refresh(view.version, &now).await?;
        let settled = self
            .cluster
            .settled(view.version, namespace, name, &now.synced, Some(end))
            .await?;
        if is_empty(&settled) {
            return Err(Failure::unable("its store entry has no fields"));
        }
        // Ready shows that there was a refresh; only the data shows that it is finished.
        loop {
            let bundle = BUNDLES.into_iter().find(|it| it.secret == external.target);
            let Some(bundle) = bundle else { return Ok(()) };
            let found = self.cluster.secrets(namespace, &[bundle]).await?;
            let live = found.into_values().next().and_then(|found| found.live);
            if live.is_some_and(|live| view.matches_entry(path, &live)) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Failure::unable("timed out, its data still differs"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
