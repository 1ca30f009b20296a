//! A store that this program cannot write: somebody edits it, told how without a value.

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

/// The pause between two looks at what somebody edits.
const LOOK: Duration = Duration::from_secs(2);

impl RotateRun<'_> {
    /// Says how entries have to be edited that this program cannot write, and waits until the Secrets
    /// carry that.
    ///
    /// # Errors
    /// Where that takes too long (exit code 3).
    pub(super) async fn by_hand(
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
            "  edit the store; the names are those of the values in {file}:"
        ));
        let look = self.look().await?;
        for edit in edits {
            for line in instructions(&look, held, edit) {
                self.ui.story(&format!("  {line}"));
            }
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let look = self.look().await?;
            let same = look
                .state
                .as_ref()
                .is_some_and(|it| it.is_same_state(rotation));
            if !same || edits.iter().all(|edit| is_done(&look, edit)) {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::unable(
                    "the store has not been edited in time, or the Secrets do not follow it",
                )
                .hint(format!("edit it, then carry it on: {}", self.carry_on())));
            }
            for (external, _) in look.store.iter().flat_map(|view| &view.externals) {
                let version = version_of(&look.facts)?;
                self.cluster.refresh(version, external).await?;
            }
            sleep(LOOK).await;
        }
    }
}

/// How an entry is to be edited, without a value.
fn instructions(look: &Snapshot, held: &Held, edit: &Edit) -> Vec<String> {
    let target = look.targets.iter().find(|target| target.at == edit.at);
    let PlaceRef::Manual(path) = &edit.at else {
        return Vec::new();
    };
    let path = path.replace(char::is_control, "?");
    let mut lines = Vec::new();
    for (key, value) in &edit.set {
        let present = target.and_then(|target| target.texts.get(*key));
        let words = value.entries().map(|entry| {
            let value = SecretValue::from(entry);
            held.variable_of(&value).unwrap_or_else(|| {
                let mut all = present.iter().flat_map(|list| list.entries());
                let index = all.position(|it| it == entry).unwrap_or_default();
                format!("its entry {}", index + 1)
            })
        });
        let words: Vec<_> = words.collect();
        lines.push(format!("in {path} set {key} to {}", words.join(",")));
    }
    for key in &edit.remove {
        lines.push(format!("in {path} remove {key}"));
    }
    lines
}

/// Tells whether a Secret carries what was asked for.
fn is_done(look: &Snapshot, edit: &Edit) -> bool {
    let target = look.targets.iter().find(|target| target.at == edit.at);
    target.is_some_and(|target| {
        let set = edit.set.iter();
        set.clone()
            .all(|(key, value)| target.texts.get(*key) == Some(value))
            && edit
                .remove
                .iter()
                .all(|key| !target.texts.contains_key(*key))
    })
}
