//! `diff`: what `--apply` would change, live, key by key, without values.

use super::{Answer, Verdict};
use crate::cli::{Changes, Global};
use crate::domain::plan::Plan;
use crate::error::Failure;
use crate::io::cluster::NamespaceState;
use crate::io::tokens_file;
use crate::render::document::Body;
use crate::render::report::Report;
use crate::render::text;
use crate::ui::Ui;

/// Reads everything and shows the plan.
///
/// # Errors
/// What cannot be read.
pub async fn run(global: &Global, changes: &Changes, ui: Ui) -> Result<Answer, Failure> {
    let wish = super::wish(global, changes)?;
    let loaded = tokens_file::read(&global.tokens_file)?;
    let filed = super::filed(loaded.as_ref().map(|loaded| &loaded.file));
    let cluster = super::connect(global, ui, "diff").await?;
    let found = cluster
        .observe(&wish.home, wish.targets().map(|(at, _)| at))
        .await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    let home = &wish.home;
    match found.namespace {
        NamespaceState::Active | NamespaceState::Forbidden => {}
        NamespaceState::Absent => ui.warn(&format!(
            "namespace {home} does not exist: --apply needs --create-namespace"
        )),
        NamespaceState::Terminating => {
            ui.warn(&format!(
                "namespace {home} is being deleted: --apply refuses"
            ));
        }
    }
    let plan = Plan::new(&wish, &filed, &found.secrets);
    let mut report = Report::of_plan(&plan, global.tokens_file.display().to_string());
    report.context = cluster.context.clone();
    report.server = Some(cluster.server.clone());
    let verdict = if !plan.refusals.is_empty() {
        Verdict::Failed(super::refusal(&plan, &super::command_line(global)))
    } else if plan.changes_anything() {
        Verdict::No
    } else {
        Verdict::Yes
    };
    let text = text::difference(&report, ui.palette());
    Ok(Answer {
        text,
        body: Body::from(&report),
        verdict,
    })
}
