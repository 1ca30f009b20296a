//! Writes the edits of a phase to Secrets, each only if the rotation and the Secret have not
//! changed since the snapshot. It must not compute edits.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::plan::manifest::{MINTED_AT, Manifest, UNKNOWN};
use crate::domain::rotation::edits::{Edit, PlaceRef};
use crate::domain::rotation::{LAST_WRITE, LIST_ADDED_BY, Rotation, STATE, Side};
use crate::domain::table::ROUTER;
use crate::error::Failure;
use crate::io::kube::client::WIDTH;
use crate::io::written::Written;
use futures_util::stream::{self, StreamExt};

impl RotateRun<'_> {
    /// Writes all edits.
    ///
    /// # Errors
    /// The places that could not be written (exit code 3).
    pub(super) async fn write_places(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
        edits: &[Edit],
    ) -> Result<Written, Failure> {
        let writes = edits.iter().map(|edit| async move {
            (edit, self.write_place(snapshot, rotation, edit, None).await)
        });
        let progress = self.ui.progress(edits.len(), "places written");
        let results: Vec<_> = stream::iter(writes)
            .buffered(WIDTH)
            .inspect(|_| progress.step())
            .collect()
            .await;
        let mut state = Written::Done;
        let mut failures = Vec::new();
        for (edit, result) in results {
            match result {
                Ok(Written::Done) => {
                    self.ui.detail(1, &format!("wrote {}", edit.at));
                }
                Ok(Written::Stale) => state = Written::Stale,
                Err(failure) => failures.push((&edit.at, failure)),
            }
        }
        if failures.is_empty() {
            return Ok(state);
        }
        let mut whole = Failure::unable(format!(
            "{} of {} places could not be written, so the rotation stays in {}",
            failures.len(),
            edits.len(),
            rotation.phase
        ));
        for (at, failure) in failures {
            whole = whole.of(at, &failure);
        }
        Err(whole.hint(format!(
            "fix that, then continue it: {}",
            self.carry_on_command()
        )))
    }

    /// True if the cluster still has this state of the rotation. Another run may have begun the
    /// next phase since the snapshot.
    pub(super) async fn is_current(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
    ) -> Result<bool, Failure> {
        let now = self.read_state(&snapshot.state_object).await?;
        Ok(now.is_some_and(|it| it.is_same_state(rotation)))
    }

    /// Writes a place if neither it nor the rotation has changed since the snapshot. `state` is the
    /// text of a new rotation, written with its first edit.
    pub(super) async fn write_place(
        &self,
        snapshot: &Snapshot,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let PlaceRef::Secret(at) = &edit.at else {
            return self.write_entry(snapshot, rotation, edit, state).await;
        };
        let has_state = at.namespace == snapshot.facts.home && at.name == ROUTER.secret;
        let live = snapshot.facts.places.get(&at.namespace);
        let Some(live) = live.and_then(|place| place.live(at.name)) else {
            return Ok(Written::Stale);
        };
        // The object with the state needs no check: its resourceVersion covers the state too.
        if !has_state && !self.is_current(snapshot, rotation).await? {
            return Ok(Written::Stale);
        }
        let (mut data, mut annotations) = live.applied_before();
        for key in &edit.remove {
            data.remove(*key);
        }
        for (key, value) in &edit.set {
            data.insert((*key).to_owned(), LiveValue::encode(value).base64);
        }
        if edit.added_list {
            annotations.insert(LIST_ADDED_BY.to_owned(), rotation.id.clone());
        } else {
            annotations.remove(LIST_ADDED_BY);
        }
        annotations.insert(LAST_WRITE.to_owned(), rotation.mark());
        for (name, change) in rotation.changes() {
            if !edit.set.contains_key(name.as_str()) {
                continue;
            }
            let minted = match rotation.phase.row().sent {
                Side::New => rotation.since.clone(),
                Side::Old => change.minted.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            };
            annotations.insert(format!("{MINTED_AT}{name}"), minted);
        }
        if let Some(state) = state {
            annotations.insert(STATE.to_owned(), state.to_owned());
        }
        let manifest = Manifest {
            at: at.clone(),
            annotations,
            data,
            resource_version: Some(live.resource_version.clone()),
        };
        self.cluster.write(&manifest, false).await
    }
}
