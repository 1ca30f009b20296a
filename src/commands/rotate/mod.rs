//! `rotate`: new tokens, and no request is refused on the way.
//!
//! Each round looks at everything, has `domain::rotation` say what comes next, and does that. What a
//! killed run, another operator or a person did in between is seen at the next look.

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

/// Rotates, or shows what would be done, or where a rotation stands.
///
/// # Errors
/// What a person has to decide, and what could not be done; the rotation can be carried on.
pub async fn run(global: &Global, rotate: &Rotate, ui: Ui) -> Result<Answer, Failure> {
    let given = HintOptions {
        fleet: Some(&rotate.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, given);
    let cluster = connect(global, ui, "rotate", &reach).await?;
    let run = RotateRun {
        global,
        rotate,
        reach,
        cluster,
        ui,
        store: OnceCell::new(),
    };
    match (rotate.status, rotate.apply) {
        (true, _) => run.status().await,
        (false, true) => run.apply().await,
        (false, false) => run.preview().await,
    }
}

impl RotateRun<'_> {
    /// Where a rotation stands.
    async fn status(&self) -> Result<Answer, Failure> {
        let look = self.look().await?;
        let standing = look.state.as_ref().map(|rotation| {
            let side = rotation.phase.removed_side();
            Standing {
                rotation,
                open_for: age(&rotation.since, look.facts.now),
                holders: holders(rotation, side, &look.facts, &look.outside()),
                pending: pending(rotation, &look.facts, Who::of(rotation.phase))
                    .into_iter()
                    .map(WorkloadRef::of)
                    .collect(),
                unseen: Self::unseen(&look),
            }
        });
        Ok(Answer {
            text: rendered::status(standing.as_ref(), &self.reach),
            next: None,
            body: Body::Rotation(document::of_status(standing.as_ref(), &self.reach)),
            verdict: Verdict::Yes,
        })
    }

    /// What would be done.
    async fn preview(&self) -> Result<Answer, Failure> {
        let look = self.look().await?;
        if let Some(rotation) = &look.state {
            let turn = self.turn(rotation)?;
            let mut answer = self.status().await?;
            if let Some(phase) = turn {
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
        self.check(&look, &held)?;
        // The preview mints nothing: what it shows does not depend on values.
        let rotation = self.coming(&look);
        let forecast = Forecast::new(&rotation, &look.facts, Self::unseen(&look), self.command());
        Ok(Answer {
            text: rendered::preview(&forecast),
            next: None,
            body: Body::Rotation(document::of_preview(&forecast)),
            verdict: Verdict::Yes,
        })
    }
}

/// How many seconds ago that was.
fn age(since: &str, now: i64) -> i64 {
    let since: Option<jiff::Timestamp> = since.parse().ok();
    since.map_or(0, |since| (now - since.as_second()).max(0))
}
