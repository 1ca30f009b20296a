//! Writes the edits of a phase to Secrets and store entries, each only if the rotation and the place
//! have not changed since the snapshot, and waits until Secrets follow the store. It must not
//! compute edits.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::wait::{CurrentWait, Next, WaitFor};
use crate::commands::shared::eso::LIMIT;
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::eso::store_entry::Field;
use crate::domain::plan::manifest::{MINTED_AT, Manifest, UNKNOWN};
use crate::domain::rotation::edits::{Edit, PlaceRef};
use crate::domain::rotation::{LAST_WRITE, LIST_ADDED_BY, Rotation, STATE, STORE_STATE, Side};
use crate::domain::table::ROUTER;
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use crate::io::eso::wait::{PATIENCE, is_empty};
use crate::io::kube::client::WIDTH;
use crate::io::written::Written;
use futures_util::stream::{self, StreamExt};

/// Writes all edits.
///
/// # Errors
/// The places that could not be written (exit code 3).
pub(super) async fn write_all(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    edits: &[Edit],
) -> Result<Written, Failure> {
    let writes = edits
        .iter()
        .map(|edit| async move { (edit, write(run, snapshot, rotation, edit, None).await) });
    let progress = run.ui.progress(edits.len(), "places written");
    let results: Vec<_> = stream::iter(writes)
        .buffered(WIDTH)
        .inspect(|_| progress.step())
        .collect()
        .await;
    let mut state = Written::Done;
    let mut whole = Failure::unable(format!(
        "places could not be written, so the rotation stays in {}",
        rotation.phase
    ));
    for (edit, result) in results {
        match result {
            Ok(Written::Done) => run.ui.detail(1, &format!("wrote {}", edit.at)),
            Ok(Written::Stale) => state = Written::Stale,
            Err(failure) => whole = whole.of(&edit.at, &failure),
        }
    }
    whole.if_any().map_err(|whole| {
        whole.hint(format!(
            "fix that, then continue it: {}",
            run.carry_on_command()
        ))
    })?;
    Ok(state)
}

/// Writes an edit to a Secret or a store entry, if neither it nor the rotation has changed since the
/// snapshot. `state` is the text of a new rotation, written with its first edit.
pub(super) async fn write(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    edit: &Edit,
    state: Option<&str>,
) -> Result<Written, Failure> {
    // The Secret with the state needs no check: its resourceVersion covers the state too.
    let has_state = matches!(&edit.at, PlaceRef::Secret(at)
        if at.namespace == snapshot.facts.home && at.name == ROUTER.secret);
    if !has_state && state.is_none() {
        // Another run may have begun the next phase since the snapshot.
        let now = run.cluster.read_state(&snapshot.state_object).await?;
        if !now.is_some_and(|now| now.id == rotation.id && now.phase == rotation.phase) {
            return Ok(Written::Stale);
        }
    }
    match &edit.at {
        PlaceRef::Secret(at) => {
            let Some(manifest) = manifest(snapshot, rotation, at, edit, state) else {
                return Ok(Written::Stale);
            };
            run.cluster.write(&manifest, false).await
        }
        PlaceRef::Entry(path) | PlaceRef::Manual(path) => {
            let (Some(view), Some(store)) = (&snapshot.store, run.store.get()) else {
                return Err(Failure::unable(format!("{} cannot be written", edit.at))
                    .hint("set BAO_ADDR and log in to the store"));
            };
            let Some(entry) = view.entries.get(path) else {
                return Ok(Written::Stale);
            };
            let mut fields = entry.fields.clone().unwrap_or_default();
            edit.apply(&mut fields, Field::of_text);
            if let Some(state) = state {
                let state = Field::of_text(&SecretValue::from(state));
                fields.insert(STORE_STATE.to_owned(), state);
            }
            store.put(path, entry.version, &fields).await
        }
    }
}

/// A Secret with an edit; `None` if the snapshot does not have it.
fn manifest(
    snapshot: &Snapshot,
    rotation: &Rotation,
    at: &SecretRef,
    edit: &Edit,
    state: Option<&str>,
) -> Option<Manifest> {
    let live = snapshot.facts.places.get(&at.namespace)?.live(at.name)?;
    let (mut data, mut annotations) = live.applied_before();
    edit.apply(&mut data, |value| LiveValue::encode(value).base64);
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
    Some(Manifest {
        at: at.clone(),
        annotations,
        data,
        resource_version: Some(live.resource_version.clone()),
    })
}

/// Has External Secrets Operator refresh these Secrets once, and waits.
///
/// # Errors
/// The operator fails or does not refresh in time (exit code 3).
pub(super) async fn follow(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    secrets: &[SecretRef],
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    let (facts, wait) = (&snapshot.facts, wait.enter(WaitFor::Secrets, Some(LIMIT)));
    let mut whole = Failure::unable("Secrets do not match their store entries");
    for status in facts.externals() {
        let external = &status.object;
        let Some(at) = external.secret().filter(|at| secrets.contains(at)) else {
            continue;
        };
        if wait.say(run.ui, format!("  {at}: waits for its store entry"))
            && let Some(view) = &snapshot.store
        {
            run.cluster.refresh(view.version, external).await?;
        }
        let is_ready = external.condition.as_ref().is_none_or(|it| it.ready) && !is_empty(external);
        if wait.is_over() || !is_ready && wait.elapsed() >= PATIENCE {
            whole = whole.cause(match &status.cause {
                _ if is_empty(external) => format!("{at}: its store entry has no fields"),
                Some(cause) if !is_ready => format!("{at}: {}", cause.describe()),
                _ => format!("{at}: timed out, its data still differs"),
            });
        }
    }
    whole.if_any().map_err(|whole| {
        whole
            .hint(run.reach.command("verify"))
            .hint(format!("then continue it: {}", run.carry_on_command()))
    })?;
    Ok(Next::Pause)
}
