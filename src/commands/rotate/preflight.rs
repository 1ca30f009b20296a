//! Checks whether a rotation can begin or continue with these options. It must not write; the
//! obstacles themselves are found in `domain::rotation::preflight`.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::domain::cluster::snapshot::Denied;
use crate::domain::rotation::preflight::{Obstacle, Preflight, Words};
use crate::domain::rotation::sight::missing_reads;
use crate::domain::rotation::{Rotation, STATE, STORE_STATE, Side};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::render::script::quote;
use std::collections::BTreeSet;

/// Checks that a rotation can begin.
///
/// # Errors
/// All obstacles together (exit code 1), or missing permissions (3).
pub(super) fn check_can_begin(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    held: &Held,
) -> Result<(), Failure> {
    let preflight = preflight(run, snapshot);
    let rotation = preflight.rotation(run.first_phase());
    check_permissions(run, snapshot, &rotation)?;
    let obstacles = preflight.begin(&rotation, held, snapshot.retired.as_deref());
    failure_of(run, &obstacles).if_any()
}

pub(super) fn preflight<'a>(run: &RotateRun<'_>, snapshot: &'a Snapshot) -> Preflight<'a> {
    Preflight {
        facts: &snapshot.facts,
        targets: &snapshot.targets,
        outside: &snapshot.outside,
        home: snapshot.home(),
        chosen: run.chosen_tokens(),
    }
}

fn failure_of(run: &RotateRun<'_>, obstacles: &[Obstacle]) -> Failure {
    let words = Words {
        reach: &run.reach,
        command: &run.command(),
        file: &quote(&run.global.tokens_file.display().to_string()),
    };
    let undecided = Failure::undecided();
    obstacles.iter().fold(undecided, |failure, obstacle| {
        failure
            .cause(obstacle.message(&words))
            .hint(obstacle.hint(&words))
    })
}

/// Without access to workloads and pods the end of a phase is unknown.
///
/// # Errors
/// The missing permissions (exit code 3).
fn check_permissions(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
) -> Result<(), Failure> {
    let wider = run.with_places(rotation);
    unreadable(missing_reads(&wider, &snapshot.facts))
        .if_any()
        .map_err(|failure| failure.hint(run.role_hint()))
}

/// The failure of a rotation that cannot be followed without these reads.
pub(super) fn unreadable<'a>(missing: impl IntoIterator<Item = &'a Denied>) -> Failure {
    let failure = Failure::unable("missing permissions to follow a rotation");
    missing
        .into_iter()
        .fold(failure, |failure, denied| failure.cause(denied.to_string()))
}

/// Checks that the open rotation fits the options, and is the one of the previous snapshot
/// (`before`).
///
/// # Errors
/// An obstacle that a person has to remove (exit code 1), or missing permissions (3).
pub(super) fn check_can_continue(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    before: Option<&Rotation>,
) -> Result<(), Failure> {
    if let Some(before) = before.filter(|it| it.id != rotation.id) {
        return Err(Failure::no(format!(
            "rotation {} is over, and another run has begun a new one",
            before.id
        ))
        .hint(format!(
            "see its status: {} rotate --status",
            run.reach.program
        )));
    }
    check_store_state(run, snapshot, rotation)?;
    check_options(run, rotation)?;
    match before {
        Some(_) => Ok(()),
        None => check_outside(run, snapshot, rotation),
    }
}

/// Checks that the store knows the rotation too.
fn check_store_state(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
) -> Result<(), Failure> {
    let view = snapshot.store.as_ref();
    if !rotation.phase.row().both || view.is_none_or(|view| view.has_state_of(rotation)) {
        return Ok(());
    }
    let what = snapshot.state_object.object();
    Err(Failure::no(format!(
        "the store entry has no state of rotation {}: it was finished from another cluster \
         that reads the same entry, or the entry was replaced",
        rotation.id
    ))
    .hint(format!(
        "if it is finished, remove its state from this cluster: {kubectl} -n {home} \
         annotate {what} {STATE}-; {}; {kubectl} -n {home} rollout restart statefulset,deployment",
        run.reach.command("sync"),
        kubectl = run.reach.kubectl,
        home = run.global.namespace,
    ))
    .hint(format!(
        "if not, restore the field {STORE_STATE} of the entry from the annotation {STATE} \
         of {}",
        snapshot.state_object.what
    )))
}

/// Checks that `--token` and `--abort` fit the rotation.
fn check_options(run: &RotateRun<'_>, rotation: &Rotation) -> Result<(), Failure> {
    let rotating: BTreeSet<_> = rotation.changes().map(|(name, _)| name).collect();
    if !run.rotate.token.is_empty() && run.chosen_tokens() != rotating {
        return Err(Failure::no(format!(
            "the open rotation is of {}, not of {}",
            rotation.names(),
            run.chosen_names()
        ))
        .hint(format!("continue it first: {}", run.carry_on_command())));
    }
    if run.rotate.abort && rotation.phase.abort_phase().is_none() && !rotation.phase.is_back() {
        return Err(Failure::no(format!(
            "the rotation is in {}: some servers no longer accept the old token, so there is \
             no way back",
            rotation.phase
        ))
        .hint(format!("finish it: {}", run.carry_on_command())));
    }
    Ok(())
}

/// Checks what a rotation needs outside of its own places, once a run.
fn check_outside(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
) -> Result<(), Failure> {
    check_permissions(run, snapshot, rotation)?;
    let preflight = preflight(run, snapshot);
    let mut obstacles = Vec::new();
    if run.with_places(rotation) != *rotation {
        // Namespaces that are added later have to meet the same conditions.
        obstacles = preflight.places(rotation);
    }
    // An abort removes the new token; the old one stays valid.
    let sides: &[Side] = if run.rotate.abort {
        &[Side::New]
    } else {
        &[Side::Old, Side::New]
    };
    obstacles.extend(preflight.namespaces_outside(rotation, sides));
    let failure = failure_of(run, &obstacles);
    match failure.if_any() {
        Err(failure) if run.rotate.close_anyway => {
            run.ui
                .warn(&format!("--close-anyway: {}", failure.causes.join("; ")));
            Ok(())
        }
        checked => checked,
    }
}

/// Checks that the tokens file is of this installation: its token is a value of the rotation.
///
/// # Errors
/// The current token in the file is neither the old nor the new one (exit code 1).
pub(super) fn check_tokens_file(
    run: &RotateRun<'_>,
    rotation: &Rotation,
    held: &Held,
) -> Result<(), Failure> {
    for (name, change) in rotation.changes() {
        let current = held.current.get(name).as_ref();
        if current.is_some_and(|token| change.side(token.value()).is_none()) {
            let path = quote(&run.global.tokens_file.display().to_string());
            return Err(Failure::no(format!(
                "{name} in {path} is neither the old nor the new token of the open rotation"
            ))
            .hint(format!(
                "if the file is of another installation, pass the right one with --tokens-file; \
                 otherwise move it away and run this again: the values are in the cluster (mv -- \
                 {path} {path}.stale)"
            )));
        }
    }
    Ok(())
}
