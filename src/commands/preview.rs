//! The preview: a script or manifests that a person could paste. Contacts no server, writes
//! nothing.

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Bootstrap, Global};
use crate::commands::shared::options::wish;
use crate::commands::shared::tokens_file::filed;
use crate::domain::cluster::observed_secret::Observations;
use crate::domain::plan::{Plan, Wish};
use crate::error::Failure;
use crate::io::local::tokens_file;
use crate::render::json::Body;
use crate::render::report::Report;
use crate::render::script::{self, Preview};
use crate::render::{text, yaml};
use crate::ui::{Format, Ui};

/// Shows the plan for an empty namespace.
///
/// # Errors
/// Inputs or a tokens file that cannot be used.
pub fn run(global: &Global, bootstrap: &Bootstrap, ui: Ui) -> Result<Answer, Failure> {
    let mut wish = wish(global, &bootstrap.changes)?;
    wish.fleet = bootstrap.fleet.fleet_namespace.iter().cloned().collect();
    let loaded = tokens_file::read(&global.tokens_file)?;
    if loaded.as_ref().is_some_and(|loaded| loaded.loose) {
        ui.warn(&format!(
            "others can read {}; --apply tightens its mode",
            global.tokens_file.display()
        ));
    }
    let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
    let plan = Plan::for_secrets(&wish, &filed, &Observations::new());
    let complete = Wish {
        inputs: wish.inputs.completed(),
        ..wish.clone()
    };
    let complete = Plan::for_secrets(&complete, &filed, &Observations::new());
    let path = global.tokens_file.display().to_string();
    let report = Report::of_plan(&plan, path);
    let given = HintOptions {
        changes: Some(&bootstrap.changes),
        fleet: Some(&bootstrap.fleet),
        create_namespace: bootstrap.create_namespace,
    };
    let reach = reach(global, given);
    let text = match global.output {
        Format::Yaml => yaml::manifests(
            &plan,
            bootstrap.create_namespace.then_some(&global.namespace),
            bootstrap.show_values,
        ),
        Format::Text | Format::Json => script::script(&Preview {
            plan: &plan,
            complete: &complete,
            inputs: &wish.inputs,
            namespace: global.namespace.as_str(),
            fleet_selector: bootstrap.fleet.fleet_selector.as_deref(),
            tokens_file: &global.tokens_file,
            kubectl: &reach.kubectl,
            create_namespace: bootstrap.create_namespace,
            apply: &reach.apply,
            next: &text::next_steps(&report, &global.namespace, &reach),
        }),
    };
    Ok(Answer {
        text,
        next: None,
        body: Body::of_secrets(&report, global.context.as_deref(), None),
        verdict: Verdict::Yes,
    })
}
