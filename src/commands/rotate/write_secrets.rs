//! Writing what a phase needs, place by place.

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
    /// Writes all of them, and says which could not be.
    pub(super) async fn write_all(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        edits: &[Edit],
    ) -> Result<Written, Failure> {
        let writes = edits
            .iter()
            .map(|edit| async move { (edit, self.write(look, rotation, edit, None).await) });
        let progress = self.ui.progress(edits.len(), "places written");
        let ended: Vec<_> = stream::iter(writes)
            .buffered(WIDTH)
            .inspect(|_| progress.step())
            .collect()
            .await;
        let mut state = Written::Done;
        let mut failures = Vec::new();
        for (edit, ended) in ended {
            match ended {
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
        Err(whole.hint(format!("mend that, then: {}", self.carry_on())))
    }

    /// Tells whether the rotation still is in that phase: what was read may be older than the phase
    /// that it was planned for.
    pub(super) async fn is_still(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
    ) -> Result<bool, Failure> {
        let now = self.state_now(&look.keeper).await?;
        Ok(now.is_some_and(|it| it.is_same_state(rotation)))
    }

    /// Writes a place on top of what was read, unless the rotation has gone on meanwhile. `state` is
    /// what opens one.
    pub(super) async fn write(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let PlaceRef::Secret(at) = &edit.at else {
            return self.write_entry(look, rotation, edit, state).await;
        };
        let home = at.namespace == look.facts.home && at.name == ROUTER.secret;
        let live = look.facts.places.get(&at.namespace);
        let Some(live) = live.and_then(|place| place.live(at.name)) else {
            return Ok(Written::Stale);
        };
        if !home && !self.is_still(look, rotation).await? {
            return Ok(Written::Stale);
        }
        let (mut data, mut annotations) = live.applied_before();
        for key in &edit.remove {
            data.remove(*key);
        }
        for (key, value) in &edit.set {
            data.insert((*key).to_owned(), LiveValue::encode(value).base64);
        }
        match edit.added_list {
            true => drop(annotations.insert(LIST_ADDED_BY.to_owned(), rotation.id.clone())),
            false => drop(annotations.remove(LIST_ADDED_BY)),
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
