//! The answer of `populate --apply`, for both ways to the store.

use crate::cli::Global;
use crate::commands::shared::answer::{Answer, Verdict};
use crate::commands::shared::store_apply::{Backend, StoreApply};
use crate::domain::plan::Action;
use crate::error::Failure;
use crate::render::json::Body;
use crate::render::store as rendered;
use crate::ui::Ui;

/// The plan with the result of each write.
///
/// # Errors
/// The failure of a run that made no plan.
pub(super) fn of_run<B: Backend>(
    global: &Global,
    run: &StoreApply<B>,
    outcome: Result<(), Failure>,
    ui: Ui,
) -> Result<Answer, Failure> {
    let path = global.tokens_file.display().to_string();
    let Some(report) = run.writer.report(path, run.session.change) else {
        return outcome.map(|()| unreachable!("a plan was made"));
    };
    run.session.warn_about_git();
    let text = if run.writer.started {
        rendered::outcome(&report, run.backend.reach(), ui.palette())
    } else {
        String::new()
    };
    let has_skipped = report
        .places
        .iter()
        .any(|entry| entry.plan.action == Action::Skip);
    let next = "An entry was skipped because an input is missing: set it, and run this again.";
    Ok(Answer {
        text,
        next: (has_skipped && outcome.is_ok()).then(|| next.to_owned()),
        body: Body::of_store(&report, Some(run.backend.address())),
        verdict: outcome.map_or_else(Verdict::Failed, |()| Verdict::Yes),
    })
}
