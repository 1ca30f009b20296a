//! `diff`: compares with the cluster and lists what `--apply` would change, key by key. Writes
//! nothing and prints no value.

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Diff, Global};
use crate::commands::shared::cluster::{connect, home_router, refuse_rotation, usable_fleet};
use crate::commands::shared::options::{fleet, wish};
use crate::commands::shared::tokens_file::filed;
use crate::commands::shared::writer::refusal;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::plan::Plan;
use crate::domain::rotation::stored_state;
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::local::tokens_file;
use crate::render::json::Body;
use crate::render::report::Report;
use crate::render::text;
use crate::ui::Ui;

/// Reads the cluster and the tokens file, and shows the plan.
///
/// # Errors
/// A failed or forbidden read, an open rotation, an unusable fleet namespace.
pub async fn run(global: &Global, diff: &Diff, ui: Ui) -> Result<Answer, Failure> {
    let mut wish = wish(global, &diff.changes)?;
    let fleet = fleet(&diff.fleet);
    let given = HintOptions {
        changes: Some(&diff.changes),
        fleet: Some(&diff.fleet),
        create_namespace: false,
    };
    let reach = reach(global, given);
    let loaded = tokens_file::read(&global.tokens_file)?;
    let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
    let cluster = connect(global, ui, "diff", &reach).await?;
    let found = cluster.observe(&wish.home, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    let home = &global.namespace;
    let open = stored_state::of_cluster(home_router(&found.secrets, home));
    refuse_rotation(open, false, &reach)?;
    match found.home {
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
    wish.fleet = usable_fleet(&found, &fleet, &reach, ui)?;
    let plan = Plan::for_secrets(&wish, &filed, &found.secrets);
    let report = Report::of_plan(&plan, global.tokens_file.display().to_string());
    let verdict = match refusal(&plan, &reach, &StoreReach::default()) {
        Some(failure) => Verdict::Failed(failure),
        None if plan.changes_anything() => Verdict::No,
        None => Verdict::Yes,
    };
    let text = text::difference(&report, ui.palette());
    Ok(Answer {
        text,
        next: None,
        body: Body::of_secrets(&report, cluster.context.as_deref(), Some(&cluster.server)),
        verdict,
    })
}
