//! The words of the plan for the store: what is wanted there, and what happens to each field.

use super::types::{Action, KeyAction, ValueSource};
use crate::domain::eso::store_entry::{Entry, Field, Fields, Layout};
use crate::domain::table::Bundle;
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};

/// The live Secrets that values are taken from, by name: every key of each.
pub type LiveValues = BTreeMap<&'static str, BTreeMap<String, SecretValue>>;

/// What the operator wants in the store.
#[derive(Clone, Debug)]
pub struct StoreWish {
    /// Where each bundle goes.
    pub layout: Layout,
    /// The inputs.
    pub inputs: Inputs,
    /// The inputs that may change a value that is there.
    pub update: BTreeSet<&'static str>,
    /// Whether `API_KEYS` is written too.
    pub with_api_keys: bool,
    /// The live Secrets, where values are taken from them.
    pub live: Option<LiveValues>,
}

impl StoreWish {
    /// The value of a key in the live Secret of a bundle, where values are taken from there.
    pub fn live(&self, bundle: &Bundle, key: &str) -> Option<&SecretValue> {
        self.live.as_ref()?.get(bundle.secret)?.get(key)
    }
}

/// What happens to an entry.
#[derive(Clone, Debug)]
pub struct EntryPlan {
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// Where it is.
    pub path: String,
    /// What happens.
    pub action: Action,
    /// Why it is skipped, or what remains wrong with it.
    pub reason: Option<String>,
    /// What happens to its fields.
    pub keys: Vec<FieldPlan>,
    /// What was found.
    pub base: Entry,
}

impl EntryPlan {
    /// Tells whether it is written.
    pub fn is_written(&self) -> bool {
        matches!(self.action, Action::Create | Action::Configure)
    }

    /// The whole entry as it is to be: what is there, and what is set.
    pub fn fields(&self, tokens: &PerToken<Token>) -> Fields {
        let mut fields = self.base.fields.clone().unwrap_or_default();
        for key in &self.keys {
            if let KeyAction::Set(value) = &key.action {
                fields.insert(key.key.clone(), Field::of_text(&value.fill(tokens)));
            }
        }
        fields
    }
}

/// What happens to a field.
#[derive(Clone, Debug)]
pub struct FieldPlan {
    /// Its name. With the live Secrets as a source it need not be in the table.
    pub key: String,
    /// What happens.
    pub action: KeyAction,
    /// Where the value comes from.
    pub source: ValueSource,
}
