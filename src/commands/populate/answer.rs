//! The answer of a run that wrote to the store.

use crate::cli::Global;
use crate::commands::shared::answer::{Answer, Verdict};
use crate::commands::shared::store_apply::{Backend, StoreApply};
use crate::domain::plan::Action;
use crate::error::Failure;
use crate::render::json::Body;
use crate::render::store as rendered;
use crate::ui::Ui;

/// What a run has written.
///
/// # Errors
/// What kept it from making a plan.
pub(super) fn of_run<B: Backend>(
    global: &Global,
    filling: &StoreApply<B>,
    outcome: Result<(), Failure>,
    ui: Ui,
) -> Result<Answer, Failure> {
    let Some(report) = filling.report(global.tokens_file.display().to_string()) else {
        return outcome.map(|()| unreachable!("a plan was made"));
    };
    filling.keeper.say_if_git_would_take_it();
    let text = match filling.started() {
        true => rendered::outcome(&report, filling.backend.reach(), ui.palette()),
        false => String::new(),
    };
    let skips = report
        .entries
        .iter()
        .any(|entry| entry.plan.action == Action::Skip);
    let next = "An entry was skipped for want of an input: set it, and run this again.";
    Ok(Answer {
        text,
        next: (skips && outcome.is_ok()).then(|| next.to_owned()),
        body: Body::Store(report.body()),
        verdict: outcome.map_or_else(Verdict::Failed, |()| Verdict::Yes),
    })
}
