//! Asks a person to edit a store that this program cannot write. It must not print a value: the
//! instructions name variables of the tokens file.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::store_access::version_of;
use crate::domain::rotation::Rotation;
use crate::domain::rotation::edits::{Edit, PlaceRef};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause between two snapshots while a person edits the store.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl RotateRun<'_> {
    /// Prints the edits of the entries, and waits until the Secrets match them.
    ///
    /// # Errors
    /// `--timeout` is over, or a request failed (exit code 3).
    pub(super) async fn edit_manually(
        &self,
        rotation: &Rotation,
        held: &Held,
        edits: &[Edit],
    ) -> Result<(), Failure> {
        if edits.is_empty() {
            return Ok(());
        }
        let file = self.global.tokens_file.display();
        self.ui.story(&format!(
            "  edit the store; the values are in {file} under these names:"
        ));
        let snapshot = self.read_snapshot().await?;
        for edit in edits {
            for line in instructions(&snapshot, held, edit) {
                self.ui.story(&format!("  {line}"));
            }
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let snapshot = self.read_snapshot().await?;
            let is_same = snapshot
                .state
                .as_ref()
                .is_some_and(|it| it.is_same_state(rotation));
            if !is_same || edits.iter().all(|edit| is_done(&snapshot, edit)) {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::unable(
                    "timed out: the store was not edited, or the Secrets do not match it",
                )
                .hint(format!(
                    "edit it, then continue the rotation: {}",
                    self.carry_on_command()
                )));
            }
            for (external, _) in snapshot.store.iter().flat_map(|view| &view.externals) {
                let version = version_of(&snapshot.facts)?;
                self.cluster.refresh(version, external).await?;
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// The lines that say how to edit an entry: `in PATH set KEY to NAMES` and `in PATH remove KEY`.
fn instructions(snapshot: &Snapshot, held: &Held, edit: &Edit) -> Vec<String> {
    let target = snapshot.targets.iter().find(|target| target.at == edit.at);
    let PlaceRef::Manual(path) = &edit.at else {
        return Vec::new();
    };
    let path = path.replace(char::is_control, "?");
    let mut lines = Vec::new();
    for (key, value) in &edit.set {
        let present = target.and_then(|target| target.texts.get(*key));
        let names: Vec<_> = value
            .entries()
            .map(|entry| {
                let value = SecretValue::from(entry);
                held.variable_of(&value).unwrap_or_else(|| {
                    let index = present
                        .iter()
                        .flat_map(|list| list.entries())
                        .position(|it| it == entry)
                        .unwrap_or_default();
                    format!("its entry {}", index + 1)
                })
            })
            .collect();
        lines.push(format!("in {path} set {key} to {}", names.join(",")));
    }
    for key in &edit.remove {
        lines.push(format!("in {path} remove {key}"));
    }
    lines
}

/// True if the place has the values of the edit.
fn is_done(snapshot: &Snapshot, edit: &Edit) -> bool {
    let target = snapshot.targets.iter().find(|target| target.at == edit.at);
    target.is_some_and(|target| {
        edit.set
            .iter()
            .all(|(key, value)| target.texts.get(*key) == Some(value))
            && edit
                .remove
                .iter()
                .all(|key| !target.texts.contains_key(*key))
    })
}
