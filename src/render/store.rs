//! The output of `populate`: text, JSON, and documents with values.

use super::plain_values::plain_values;
use super::report::StoreReport;
use super::yaml::{shown, skipped_comment, to_yaml};
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::plan::StorePlan;
use crate::domain::values::secret_value::SecretValue;
use crate::ui::Palette;
use serde::Serialize;
use std::collections::BTreeMap;

/// One line for the tokens file and one for each entry, after `--apply`.
pub fn outcome(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    // --via-eso cannot change a value.
    let update = match reach.program {
        "" => "",
        _ => " (--update changes an input)",
    };
    let mut text = report.file.outcome(palette);
    for entry in &report.places {
        let name = reach.shown(&entry.plan.at);
        text.push_str(&entry.outcome(&name, "stored", update, palette));
    }
    text
}

/// The preview: one line for each entry, and one for each field that is not just kept.
pub fn difference(report: &StoreReport, reach: &StoreReach, palette: Palette) -> String {
    let mut text = report.file.difference();
    for entry in &report.places {
        let name = reach.shown(&entry.plan.at);
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
    let shown = |value| shown(plan, value, show_values).unwrap_or_else(SecretValue::from);
    plan.written()
        .map(|entry| EntryDocument {
            path: entry.at.clone(),
            data: entry
                .new_values()
                .map(|(key, value)| (key.key.to_string(), shown(value)))
                .collect(),
        })
        .collect()
}

/// The documents as YAML. A skipped bundle is a comment.
pub fn yaml(plan: &StorePlan, documents: &[EntryDocument]) -> String {
    let skipped = plan.places.iter().filter(|entry| !entry.is_written());
    let skipped = skipped.map(|entry| skipped_comment(&entry.at, entry.reason.as_deref()));
    documents
        .iter()
        .map(to_yaml)
        .chain(skipped)
        .map(|document| format!("---\n{document}"))
        .collect()
}
