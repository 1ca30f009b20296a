//! The text output of `--apply` and `diff`: results, differences and next steps.

use super::report::{FileChange, Report, SecretReport};
use crate::domain::cluster::names::Namespace;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{Action, KeyAction, KeyPlan, SecretPlan, ValueSource};
use crate::domain::table::EMBEDDINGS;
use crate::ui::{Palette, Tone};
use std::fmt::Write;

/// The charts that read the Secrets, in installation order.
const CHARTS: [&str; 4] = ["brain-api", "embeddings", "brain-ops", "brain-keeper"];

/// One line for the tokens file and one for each Secret, after `--apply`.
pub fn outcome(report: &Report, palette: Palette) -> String {
    let mut text = String::new();
    let done = match report.file {
        FileChange::Created => "created",
        FileChange::Updated => "updated",
        FileChange::Unchanged => "unchanged",
    };
    push(
        &mut text,
        format_args!(
            "{} tokens file {}: {done}",
            palette.paint(Tone::Good, "[ok]  "),
            report.path
        ),
    );
    for secret in &report.secrets {
        let (tone, mark) = match (secret.plan.action, &secret.failed) {
            (_, Some(_)) | (Action::Refuse, _) => (Tone::Bad, "[fail]"),
            (Action::Skip, _) => (Tone::Muted, "[skip]"),
            _ => (Tone::Good, "[ok]  "),
        };
        let mark = palette.paint(tone, mark);
        let at = &secret.plan.at;
        push(
            &mut text,
            format_args!("{mark} {}/{}: {}", at.namespace, at.name, describe(secret)),
        );
    }
    text
}

/// One sentence: the result, the keys, and the reason.
fn describe(secret: &SecretReport) -> String {
    let mut words = vec![secret.action().to_owned()];
    let done = secret.failed.is_none();
    let keys = secret.plan.keys.iter();
    let set = grouped(
        keys.filter(|key| matches!(key.action, KeyAction::Set(_)))
            .map(|key| (key.key, key.source)),
    );
    if done && secret.plan.is_written() && !set.is_empty() {
        words.push(format!("set {set}"));
    }
    let adopted = keys_with(&secret.plan, |action| matches!(action, KeyAction::Adopted));
    if done && !adopted.is_empty() {
        words.push(format!("{adopted} adopted into the tokens file"));
    }
    let differing = keys_with(&secret.plan, |action| matches!(action, KeyAction::Differs));
    if secret.plan.action != Action::Refuse && !differing.is_empty() {
        let remedy = match secret.plan.action {
            Action::Skip => "",
            _ => " (--update changes it)",
        };
        words.push(format!(
            "kept the live {differing} although another value is given{remedy}"
        ));
    }
    words.extend(secret.reason().map(str::to_owned));
    words.join("; ")
}

/// Keys grouped by source: `A, B (minted), C (env)`.
pub fn grouped<'a>(keys: impl Iterator<Item = (&'a str, ValueSource)>) -> String {
    let mut groups: Vec<(ValueSource, Vec<&str>)> = Vec::new();
    for (key, source) in keys {
        match groups.last_mut() {
            Some((last, keys)) if *last == source => keys.push(key),
            _ => groups.push((source, vec![key])),
        }
    }
    let groups: Vec<_> = groups
        .iter()
        .map(|(source, keys)| format!("{} ({})", keys.join(", "), source.as_str()))
        .collect();
    groups.join(", ")
}

fn keys_with(plan: &SecretPlan, wanted: impl Fn(&KeyAction) -> bool) -> String {
    let keys: Vec<_> = plan
        .keys
        .iter()
        .filter(|key| wanted(&key.action))
        .map(|key| key.key)
        .collect();
    keys.join(", ")
}

/// The output of `diff`: one line for each Secret, and one for each key that is not just kept.
pub fn difference(report: &Report, palette: Palette) -> String {
    let mut text = String::new();
    match report.file {
        FileChange::Created => push(
            &mut text,
            format_args!("tokens file {}: would be created", report.path),
        ),
        FileChange::Updated => push(
            &mut text,
            format_args!("tokens file {}: would be updated", report.path),
        ),
        FileChange::Unchanged => {}
    }
    for secret in &report.secrets {
        let plan = &secret.plan;
        let what = match plan.action {
            Action::Create => "would be created",
            Action::Configure => "would be configured",
            Action::Keep => "unchanged",
            Action::Skip => "skipped",
            Action::Refuse => "refused",
        };
        let reason = secret
            .reason()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        push(&mut text, format_args!("{}: {what}{reason}", plan.at));
        let is_shown = |key: &&KeyPlan| !matches!(key.action, KeyAction::Kept);
        for key in plan.keys.iter().filter(is_shown) {
            let (tone, mark, note) = match (&key.action, key.live) {
                (KeyAction::Set(_), false) => (Tone::Good, "+", String::new()),
                (KeyAction::Set(_), true) => (Tone::Good, "~", String::new()),
                (KeyAction::Adopted, _) => {
                    (Tone::Good, "=", ", adopted into the tokens file".into())
                }
                (KeyAction::Differs, _) => (
                    Tone::Muted,
                    "!",
                    ", kept although another value is given".into(),
                ),
                (KeyAction::Kept, _) => continue,
            };
            let line = format!("{mark} {} ({}{note})", key.key, key.source.as_str());
            push(&mut text, format_args!("  {}", palette.paint(tone, &line)));
        }
    }
    text
}

/// The commands to run after `--apply`.
pub fn next_steps(report: &Report, namespace: &Namespace, reach: &HintContext) -> String {
    let HintContext {
        program,
        apply,
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
        .secrets
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
    let is_open = report.secrets.iter().any(|secret| {
        let plan = &secret.plan;
        plan.bundle == &EMBEDDINGS
            && matches!(
                plan.action,
                Action::Create | Action::Configure | Action::Keep
            )
            && !plan
                .keys
                .iter()
                .any(|key| key.key == crate::domain::table::API_KEYS)
    });
    if is_open {
        let _ = write!(
            text,
            "\nThe embeddings service checks no key until API_KEYS is set: {apply} --with-api-keys"
        );
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{line}");
}
