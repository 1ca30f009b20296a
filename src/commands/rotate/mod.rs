//! `rotate`: replaces tokens without a refused request.
//!
//! Each round reads a snapshot, asks `domain::rotation` for the next step and runs it. Changes by a
//! killed run, another operator or a person show up in the next snapshot. This module must not
//! decide which step comes next.

mod context;
mod manual_store;
mod preflight;
mod probe;
mod restart;
mod run;
mod snapshot;
mod start;
mod store_access;
mod tokens_file;
mod write_secrets;
mod write_store;

use self::context::RotateRun;
use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Rotate};
use crate::commands::shared::cluster::connect;
use crate::domain::rotation::gate::holders;
use crate::domain::rotation::workloads::{Who, WorkloadRef, pending};
use crate::error::Failure;
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
    let options = HintOptions {
        fleet: Some(&rotate.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, options);
    let cluster = connect(global, ui, "rotate", &reach).await?;
    let run = RotateRun {
        global,
        rotate,
        reach,
        cluster,
        ui,
        store: OnceCell::new(),
    };
    if rotate.status {
        run.status().await
    } else if rotate.apply {
        run.apply().await
    } else {
        run.preview().await
    }
}

impl RotateRun<'_> {
    async fn status(&self) -> Result<Answer, Failure> {
        let snapshot = self.read_snapshot().await?;
        let standing = snapshot.state.as_ref().map(|rotation| {
            let side = rotation.phase.removed_side();
            Standing {
                rotation,
                open_for: age(&rotation.since, snapshot.facts.now),
                holders: holders(rotation, side, &snapshot.facts, &snapshot.outside()),
                pending: pending(rotation, &snapshot.facts, Who::of(rotation.phase))
                    .into_iter()
                    .map(WorkloadRef::of)
                    .collect(),
                unseen: Self::describe_unseen(&snapshot),
            }
        });
        Ok(Answer {
            text: rendered::status(standing.as_ref(), &self.reach),
            next: None,
            body: Body::Rotation(document::of_status(standing.as_ref(), &self.reach)),
            verdict: Verdict::Yes,
        })
    }

    async fn preview(&self) -> Result<Answer, Failure> {
        let snapshot = self.read_snapshot().await?;
        if let Some(rotation) = &snapshot.state {
            let requested = self.requested_phase(rotation)?;
            let mut answer = self.status().await?;
            if let Some(phase) = requested {
                answer
                    .text
                    .push_str(&rendered::turn_preview(phase, &self.command()));
            }
            return Ok(answer);
        }
        if self.rotate.abort {
            return Err(
                Failure::no("no rotation is open, so there is nothing to abort")
                    .hint(format!("see it: {} rotate --status", self.reach.program)),
            );
        }
        if self.rotate.carry_on {
            return self.status().await;
        }
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check_can_begin(&snapshot, &held)?;
        // The preview mints no tokens: its text does not depend on their values.
        let rotation = self.new_rotation(&snapshot);
        let forecast = Forecast::new(
            &rotation,
            &snapshot.facts,
            Self::describe_unseen(&snapshot),
            self.command(),
        );
        Ok(Answer {
            text: rendered::preview(&forecast),
            next: None,
            body: Body::Rotation(document::of_preview(&forecast)),
            verdict: Verdict::Yes,
        })
    }
}

/// The seconds since an RFC 3339 time; 0 if the text is not one.
fn age(since: &str, now: i64) -> i64 {
    let since: Option<jiff::Timestamp> = since.parse().ok();
    since.map_or(0, |since| (now - since.as_second()).max(0))
}
