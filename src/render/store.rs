//! The output of `populate`: text, JSON, and documents with values.

use super::fields::{FileBody, KeyBody, exposed};
use super::report::{FileChange, outcome_word};
use super::text::grouped;
use super::yaml::to_yaml;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::plan::{Action, KeyAction, NewValue};
use crate::domain::plan::{EntryPlan, FieldPlan, StorePlan};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::PerToken;
use crate::ui::{Palette, Tone};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The placeholder for a value.
const MASKED: &str = "<masked: --show-values shows it>";
/// The placeholder for a token that does not exist yet.
const TO_BE_MINTED: &str = "<minted by --apply>";

#[derive(Clone, Debug)]
pub struct StoreReport {
    /// The URL of the store, if it was contacted.
    pub store: Option<String>,
    /// The path of the tokens file.
    pub path: String,
    pub file: FileChange,
    pub entries: Vec<EntryReport>,
}

/// The plan for a store entry and the error of its write.
#[derive(Clone, Debug)]
pub struct EntryReport {
    pub plan: EntryPlan,
    /// Why the write failed.
    pub failed: Option<String>,
}

impl EntryReport {
    fn action(&self) -> &'static str {
        outcome_word(self.plan.action, self.failed.is_some())
    }

    fn reason(&self) -> Option<&str> {
        self.failed.as_deref().or(self.plan.reason.as_deref())
    }

    /// One sentence: the result, the fields, and the reason.
    fn describe(&self, reach: &StoreReach) -> String {
        let mut words = vec![self.action().to_owned()];
        let of = |wanted: fn(&KeyAction) -> bool| {
            let fields = self.plan.keys.iter();
            fields.filter(move |field| wanted(&field.action))
        };
        let set = of(|action| matches!(action, KeyAction::Set(_)));
        let set = grouped(set.map(|field| (field.key.as_str(), field.source)));
        if self.failed.is_none() && self.plan.is_written() {
            words.push(format!("set {set}"));
        }
        let named = |wanted| {
            let names: Vec<_> = of(wanted).map(|field| field.key.as_str()).collect();
            names.join(", ")
        };
        let adopted = named(|action| matches!(action, KeyAction::Adopted));
        if self.failed.is_none() && !adopted.is_empty() {
            words.push(format!("{adopted} adopted into the tokens file"));
        }
        let differing = named(|action| matches!(action, KeyAction::Differs));
        if !differing.is_empty() {
            // --via-eso cannot change a value.
            let remedy = match reach.program {
                "" => "",
                _ => " (--update changes an input)",
            };
            words.push(format!(
                "kept the stored {differing} although another value is given{remedy}"
            ));
        }
        words.extend(self.reason().map(str::to_owned));
        words.join("; ")
    }
}

#[derive(Debug, Serialize)]
pub struct StoreBody {
    store: Option<String>,
    tokens_file: FileBody,
    entries: Vec<EntryBody>,
}

#[derive(Debug, Serialize)]
struct EntryBody {
    path: String,
    action: &'static str,
    reason: Option<String>,
    keys: Vec<KeyBody<String>>,
}

impl StoreReport {
    /// The report of a preview.
    pub fn of_plan(plan: &StorePlan, store: Option<&str>, path: String) -> Self {
        let report = |plan: &EntryPlan| EntryReport {
            plan: plan.clone(),
            failed: None,
        };
        Self {
            store: store.map(str::to_owned),
            path,
            file: plan.file.into(),
            entries: plan.entries.iter().map(report).collect(),
        }
    }

    /// The JSON body.
    pub fn body(&self) -> StoreBody {
        let field = |field: &FieldPlan| KeyBody {
            key: field.key.clone(),
            action: field.action.as_str(),
            source: field.source,
        };
        let entry = |entry: &EntryReport| EntryBody {
            path: entry.plan.path.clone(),
            action: entry.action(),
            reason: entry.reason().map(str::to_owned),
            keys: entry.plan.keys.iter().map(field).collect(),
        };
        StoreBody {
            store: self.store.clone(),
            tokens_file: FileBody {
                path: self.path.clone(),
                action: self.file,
            },
            entries: self.entries.iter().map(entry).collect(),
        }
    }
}

/// One line for the tokens file and one for each entry, after `--apply`.
pub fn outcome(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    let mut text = String::new();
    let file = match report.file {
        FileChange::Created => "created",
        FileChange::Updated => "updated",
        FileChange::Unchanged => "unchanged",
    };
    let good = palette.paint(Tone::Good, "[ok]  ");
    let _ = writeln!(text, "{good} tokens file {}: {file}", report.path);
    for entry in &report.entries {
        let (tone, mark) = match (entry.plan.action, &entry.failed) {
            (_, Some(_)) | (Action::Refuse, _) => (Tone::Bad, "[fail]"),
            (Action::Skip, _) => (Tone::Muted, "[skip]"),
            _ => (Tone::Good, "[ok]  "),
        };
        let mark = palette.paint(tone, mark);
        let place = reach.shown(&entry.plan.path);
        let _ = writeln!(text, "{mark} {place}: {}", entry.describe(reach));
    }
    text
}

/// The preview: one line for each entry, and one for each field that is not just kept.
pub fn difference(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    let mut text = String::new();
    match report.file {
        FileChange::Unchanged => {}
        FileChange::Created => {
            let _ = writeln!(text, "tokens file {}: would be created", report.path);
        }
        FileChange::Updated => {
            let _ = writeln!(text, "tokens file {}: would be updated", report.path);
        }
    }
    for entry in &report.entries {
        let what = match entry.plan.action {
            Action::Create => "would be created",
            Action::Configure => "would get a new version",
            Action::Keep => "unchanged",
            Action::Skip => "skipped",
            Action::Refuse => "refused",
        };
        let reason = entry.reason().map(|reason| format!(": {reason}"));
        let place = reach.shown(&entry.plan.path);
        let _ = writeln!(text, "{place}: {what}{}", reason.unwrap_or_default());
        for field in &entry.plan.keys {
            let (tone, mark, note) = match field.action {
                KeyAction::Set(_) if entry.plan.base.has(&field.key) => (Tone::Good, "~", ""),
                KeyAction::Set(_) => (Tone::Good, "+", ""),
                KeyAction::Adopted => (Tone::Good, "=", ", adopted into the tokens file"),
                KeyAction::Differs => (Tone::Muted, "!", ", kept although another value is given"),
                KeyAction::Kept => continue,
            };
            let source = field.source.as_str();
            let line = format!("{mark} {} ({source}{note})", field.key);
            let _ = writeln!(text, "  {}", palette.paint(tone, &line));
        }
    }
    text
}

/// A store entry with its values.
#[derive(Debug, Serialize)]
pub struct EntryDocument {
    path: String,
    #[serde(serialize_with = "exposed")]
    data: BTreeMap<String, SecretValue>,
}

/// The entries with all fields. Values are masked without `show_values`.
pub fn documents(plan: &StorePlan, show_values: bool) -> Vec<EntryDocument> {
    let value = |field: &FieldPlan| {
        let KeyAction::Set(value) = &field.action else {
            return None;
        };
        let shown = match known(plan, value) {
            None => SecretValue::from(TO_BE_MINTED),
            Some(value) if show_values => value,
            Some(_) => SecretValue::from(MASKED),
        };
        Some((field.key.clone(), shown))
    };
    plan.written()
        .map(|entry| EntryDocument {
            path: entry.path.clone(),
            data: entry.keys.iter().filter_map(value).collect(),
        })
        .collect()
}

/// The documents as YAML. A skipped bundle is a comment.
pub fn yaml(plan: &StorePlan, documents: &[EntryDocument]) -> String {
    let skipped = plan
        .entries
        .iter()
        .filter(|entry| !entry.is_written())
        .map(|entry| {
            let reason = entry.reason.as_deref().unwrap_or("nothing to do");
            format!("# {}: skipped, {reason}\n", entry.path)
        });
    documents
        .iter()
        .map(to_yaml)
        .chain(skipped)
        .map(|document| format!("---\n{document}"))
        .collect()
}

/// The value; `None` if the token is not minted yet.
fn known(plan: &StorePlan, value: &NewValue) -> Option<SecretValue> {
    match value {
        NewValue::Plain(value) => Some(value.clone()),
        NewValue::Token(name) | NewValue::List { token: name, .. } => {
            let token = plan.tokens.get(*name).as_ref()?.token()?;
            // fill uses the token with that name only.
            Some(value.fill(&PerToken::from_fn(|_| token.clone())))
        }
    }
}
