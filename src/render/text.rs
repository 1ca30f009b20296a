//! The text output of `--apply` and `diff`: results, differences and next steps.

use super::report::{PlaceReport, SecretsReport};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::workload::EMBEDDINGS;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::Action;
use crate::domain::table::API_KEYS;
use crate::ui::Palette;
use std::fmt::Write;

/// The charts that read the Secrets, in installation order.
const CHARTS: [&str; 4] = ["brain-api", "embeddings", "brain-ops", "brain-keeper"];

/// One line for the tokens file and one for each Secret, after `--apply`.
pub fn outcome(report: &SecretsReport, palette: Palette) -> String {
    let mut text = report.file.outcome(palette);
    for secret in &report.places {
        let at = &secret.plan.at;
        let name = format!("{}/{}", at.namespace, at.name);
        let update = match secret.plan.action {
            Action::Skip => "",
            _ => " (--update changes it)",
        };
        text.push_str(&secret.outcome(&name, "live", update, palette));
    }
    text
}

/// The output of `diff`: one line for each Secret, and one for each key that is not just kept.
pub fn difference(report: &SecretsReport, palette: Palette) -> String {
    let mut text = report.file.difference();
    for secret in &report.places {
        let name = secret.plan.at.to_string();
        text.push_str(&secret.difference(&name, "would be configured", palette));
    }
    text
}

/// The commands to run after `--apply`.
pub fn next_steps(report: &SecretsReport, namespace: &Namespace, reach: &HintContext) -> String {
    let HintContext {
        program,
        kubectl,
        helm,
        ..
    } = reach;
    let mut text = "\nNext, in a checkout of agentibrain-kernel:\n".to_owned();
    for chart in CHARTS {
        push(
            &mut text,
            format_args!("  helm install {chart} helm/{chart} -n {namespace}{helm}"),
        );
    }
    text.push_str(&format!(
        "Then test it:\n\
         \x20 {kubectl} -n {namespace} port-forward svc/agentibrain-brain-api 8080:8080 &\n\
         \x20 eval \"$({program} tokens)\"\n\
         \x20 curl -fsS -H \"Authorization: Bearer $KB_ROUTER_TOKEN\" http://localhost:8080/feed"
    ));
    let skipped = report
        .places
        .iter()
        .filter(|secret| secret.plan.action == Action::Skip && secret.plan.owner.is_none());
    for secret in skipped {
        let _ = write!(
            text,
            "\n{} was skipped, and workloads that read it will not start: {}",
            secret.plan.at.name,
            secret.reason().unwrap_or_default()
        );
    }
    text
}

/// How to have the embeddings service read `API_KEYS`, if a live Secret got that key.
pub fn restart_step(report: &SecretsReport, reach: &HintContext) -> Option<String> {
    let added = |secret: &&PlaceReport<_, _>| {
        let mut set = secret.plan.new_values();
        secret.plan.action == Action::Configure
            && set.any(|(key, _)| key.key == API_KEYS && !key.live)
    };
    let secret = report.places.iter().find(added)?;
    Some(format!(
        "The embeddings service checks the keys of {} from its next restart on:\n  {} -n {} rollout \
         restart statefulset/{EMBEDDINGS}",
        secret.plan.at.name, reach.kubectl, secret.plan.at.namespace
    ))
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{line}");
}
