//! `rotate`: replaces tokens without a refused request.
//!
//! Each round reads a snapshot, asks `domain::rotation` for the next step and runs it. A step that
//! has to wait only says so: the loop pauses. Changes by a killed run, another operator or a person
//! show up in the next snapshot. This module must not decide which step comes next.

mod context;
mod manual_store;
mod preflight;
mod probe;
mod restart;
mod run;
mod snapshot;
mod start;
mod store_access;
mod wait;
mod write;

use self::context::RotateRun;
use self::preflight::{check_can_begin, preflight};
use self::snapshot::Snapshot;
use super::shared::answer::Answer;
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Rotate};
use crate::commands::shared::cluster::connect;
use crate::domain::rotation::gate::holders;
use crate::domain::rotation::workloads::{Who, WorkloadRef, pending};
use crate::error::Failure;
use crate::io::local::environment::seconds;
use crate::render::json::Body;
use crate::render::rotation as rendered;
use crate::render::rotation::{Forecast, Standing};
use crate::render::rotation_document as document;
use crate::ui::Ui;
use std::cell::OnceCell;

/// Rotates, or shows the preview or the status.
///
/// # Errors
/// An obstacle that a person has to remove (exit code 1), or a request that failed (3). The
/// rotation can be continued.
pub async fn run(global: &Global, rotate: &Rotate, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, HintOptions::of_fleet(&rotate.fleet));
    let cluster = connect(global, ui, "rotate", &reach).await?;
    let run = RotateRun {
        global,
        rotate,
        reach,
        cluster,
        ui,
        store: OnceCell::new(),
    };
    if rotate.apply {
        return run::apply(&run).await;
    }
    let snapshot = snapshot::read(&run, None).await?;
    if rotate.status {
        Ok(status(&run, &snapshot))
    } else {
        preview(&run, &snapshot)
    }
}

fn status(run: &RotateRun<'_>, snapshot: &Snapshot) -> Answer {
    let facts = &snapshot.facts;
    let standing = snapshot.state.as_ref().map(|rotation| Standing {
        rotation,
        open_for: seconds(&rotation.since).map_or(0, |since| (facts.now - since).max(0)),
        holders: holders(
            rotation,
            rotation.phase.removed_side(),
            facts,
            &snapshot.outside,
        ),
        pending: pending(rotation, facts, Who::of(rotation.phase))
            .into_iter()
            .map(WorkloadRef::of)
            .collect(),
        unseen: snapshot.unseen(),
    });
    Answer::new(
        rendered::status(standing.as_ref(), &run.reach),
        Body::Rotation(document::of_status(standing.as_ref(), &run.reach)),
    )
}

fn preview(run: &RotateRun<'_>, snapshot: &Snapshot) -> Result<Answer, Failure> {
    if let Some(rotation) = &snapshot.state {
        let requested = run.requested_phase(rotation)?;
        let mut answer = status(run, snapshot);
        if let Some(phase) = requested {
            answer
                .text
                .push_str(&rendered::turn_preview(phase, &run.command()));
        }
        return Ok(answer);
    }
    if run.rotate.abort {
        return Err(
            Failure::no("no rotation is open, so there is nothing to abort")
                .hint(format!("see it: {} rotate --status", run.reach.program)),
        );
    }
    if run.rotate.carry_on {
        return Ok(status(run, snapshot));
    }
    let held = run.held()?;
    check_can_begin(run, snapshot, &held)?;
    // The preview mints no tokens: its text does not depend on their values.
    let rotation = preflight(run, snapshot).rotation(run.first_phase());
    let forecast = Forecast::new(&rotation, &snapshot.facts, snapshot.unseen(), run.command());
    let body = Body::Rotation(document::of_preview(&forecast));
    Ok(Answer::new(rendered::preview(&forecast), body))
}
