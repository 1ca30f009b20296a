//! The output of `populate`: text, JSON, and documents with values.

use super::plain_values::plain_values;
use super::report::{FileReport, PlaceReport};
use super::yaml::to_yaml;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::plan::{EntryPlan, KeyAction, KeyPlan, NewValue, PlacePlan, StorePlan};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::PerToken;
use crate::ui::Palette;
use serde::Serialize;
use std::collections::BTreeMap;

/// The placeholder for a value.
const MASKED: &str = "<masked: --show-values shows it>";
/// The placeholder for a token that does not exist yet.
const TO_BE_MINTED: &str = "<minted by --apply>";

#[derive(Clone, Debug)]
pub struct StoreReport {
    /// The URL of the store, if it was contacted.
    pub store: Option<String>,
    pub file: FileReport,
    pub entries: Vec<PlaceReport<EntryPlan>>,
}

#[derive(Debug, Serialize)]
pub struct StoreBody {
    store: Option<String>,
    tokens_file: FileReport,
    entries: Vec<EntryBody>,
}

#[derive(Debug, Serialize)]
struct EntryBody {
    path: String,
    action: &'static str,
    reason: Option<String>,
    keys: Vec<KeyPlan>,
}

impl StoreReport {
    /// The report of a preview. `path` is that of the tokens file.
    pub fn of_plan(plan: &StorePlan, store: Option<&str>, path: String) -> Self {
        Self {
            store: store.map(str::to_owned),
            file: FileReport::of_plan(path, plan.file),
            entries: plan.entries.iter().map(PlaceReport::of_plan).collect(),
        }
    }

    /// The JSON body.
    pub fn body(&self) -> StoreBody {
        let entry = |entry: &PlaceReport<EntryPlan>| EntryBody {
            path: entry.plan.path.clone(),
            action: entry.action(),
            reason: entry.reason().map(str::to_owned),
            keys: entry.plan.keys.clone(),
        };
        StoreBody {
            store: self.store.clone(),
            tokens_file: self.file.clone(),
            entries: self.entries.iter().map(entry).collect(),
        }
    }
}

/// One line for the tokens file and one for each entry, after `--apply`.
pub fn outcome(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    // --via-eso cannot change a value.
    let update = match reach.program {
        "" => "",
        _ => " (--update changes an input)",
    };
    let mut text = report.file.outcome(palette);
    for entry in &report.entries {
        let name = reach.shown(&entry.plan.path);
        text.push_str(&entry.outcome(&name, "stored", update, palette));
    }
    text
}

/// The preview: one line for each entry, and one for each field that is not just kept.
pub fn difference(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    let mut text = report.file.difference();
    for entry in &report.entries {
        let name = reach.shown(&entry.plan.path);
        text.push_str(&entry.difference(&name, "would get a new version", palette));
    }
    text
}

/// A store entry with its values.
#[derive(Debug, Serialize)]
pub struct EntryDocument {
    path: String,
    #[serde(serialize_with = "plain_values")]
    data: BTreeMap<String, SecretValue>,
}

/// The entries with all fields. Values are masked without `show_values`.
pub fn documents(plan: &StorePlan, show_values: bool) -> Vec<EntryDocument> {
    let value = |field: &KeyPlan| {
        let KeyAction::Set(value) = &field.action else {
            return None;
        };
        let shown = match known(plan, value) {
            None => SecretValue::from(TO_BE_MINTED),
            Some(value) if show_values => value,
            Some(_) => SecretValue::from(MASKED),
        };
        Some((field.key.to_string(), shown))
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
