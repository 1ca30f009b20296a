//! Asks a person to edit a store that this program cannot write. It must not print a value: the
//! instructions name variables of the tokens file.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::wait::{CurrentWait, Next, WaitFor};
use crate::commands::shared::rollouts::RolloutTracker;
use crate::commands::shared::wait::Wait;
use crate::domain::rotation::edits::{Edit, Odd, PlaceRef, TokenPlace};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// How often External Secrets Operator is made to read the store.
const REFRESH: Duration = Duration::from_secs(3);

/// Prints the edits of the entries, has External Secrets Operator refresh the Secrets, and waits.
///
/// # Errors
/// `--timeout` is over, or a request failed (exit code 3).
pub(super) async fn ask(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    held: &Held,
    edits: &[Edit],
    tracker: &mut RolloutTracker,
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    let wait = wait.enter(WaitFor::StoreEdits, run.rotate.timeout.0);
    if wait.is_over() {
        return Err(timed_out(run));
    }
    let file = run.global.tokens_file.display();
    wait.say(
        run.ui,
        format!("  edit the store; the values are in {file} under these names:"),
    );
    for edit in edits {
        let target = snapshot.targets.iter().find(|target| target.at == edit.at);
        for line in instructions(target, held, edit) {
            if wait.say(run.ui, format!("  {line}")) {
                tracker.record_write(snapshot.facts.workloads());
            }
        }
    }
    refresh(run, snapshot, wait).await?;
    Ok(Next::Pause)
}

/// Waits until a wrong edit is corrected, or a half-done one is finished.
///
/// # Errors
/// `--timeout` is over, or a request failed (exit code 3).
pub(super) async fn ask_again(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    odd: &[Odd],
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    let wait = wait.enter(WaitFor::StoreEdits, run.rotate.timeout.0);
    if wait.is_over() {
        let causes = odd.iter().map(ToString::to_string);
        return Err(causes.fold(timed_out(run), Failure::cause));
    }
    for odd in odd {
        wait.say(run.ui, format!("  not yet right: {odd}"));
    }
    refresh(run, snapshot, wait).await?;
    Ok(Next::Pause)
}

fn timed_out(run: &RotateRun<'_>) -> Failure {
    Failure::unable("timed out: the store was not edited, or the Secrets do not match it").hint(
        format!(
            "edit it, then continue the rotation: {}",
            run.carry_on_command()
        ),
    )
}

/// Has External Secrets Operator read the store, at most once in [`REFRESH`].
async fn refresh(run: &RotateRun<'_>, snapshot: &Snapshot, wait: &mut Wait) -> Result<(), Failure> {
    let Some(view) = snapshot.store.as_ref() else {
        return Ok(());
    };
    if wait.is_time(REFRESH, Instant::now()) {
        for (external, _) in &view.externals {
            run.cluster.refresh(view.version, external).await?;
        }
    }
    Ok(())
}

/// The lines that say how to edit an entry: `in PATH set KEY to NAMES` and `in PATH remove KEY`.
fn instructions(target: Option<&TokenPlace>, held: &Held, edit: &Edit) -> Vec<String> {
    let PlaceRef::Manual(path) = &edit.at else {
        return Vec::new();
    };
    let path = path.replace(char::is_control, "?");
    let sets = edit.set.iter().map(|(key, value)| {
        let present = target.and_then(|target| target.texts.get(*key));
        let name = |entry: &str| {
            held.variable_of(&SecretValue::from(entry))
                .unwrap_or_else(|| {
                    let mut entries = present.iter().flat_map(|list| list.entries());
                    let index = entries.position(|it| it == entry).unwrap_or_default();
                    format!("its entry {}", index + 1)
                })
        };
        let names: Vec<_> = value.entries().map(name).collect();
        format!("in {path} set {key} to {}", names.join(","))
    });
    let removals = edit.remove.iter();
    sets.chain(removals.map(|key| format!("in {path} remove {key}")))
        .collect()
}
