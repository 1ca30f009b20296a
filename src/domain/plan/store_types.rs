//! The types of the plan for the store: the wanted state, and what happens to each entry and field.

use super::types::{Action, KeyAction, KeyPlan};
use crate::domain::eso::store_entry::{Entry, Field, Fields, Layout};
use crate::domain::table::Bundle;
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};

/// All keys of the live Secrets that are a source of values, by the name of the Secret.
pub type LiveValues = BTreeMap<&'static str, BTreeMap<String, SecretValue>>;

/// The wanted state of the store.
#[derive(Clone, Debug)]
pub struct StoreWish {
    pub layout: Layout,
    pub inputs: Inputs,
    /// The inputs that may change an existing field.
    pub update: BTreeSet<&'static str>,
    pub with_api_keys: bool,
    /// The live Secrets, if they are a source of values.
    pub live: Option<LiveValues>,
}

impl StoreWish {
    /// The value of a key in the live Secret of a bundle, if live Secrets are a source.
    pub fn live(&self, bundle: &Bundle, key: &str) -> Option<&SecretValue> {
        self.live.as_ref()?.get(bundle.secret)?.get(key)
    }
}

/// The plan for one entry.
#[derive(Clone, Debug)]
pub struct EntryPlan {
    pub bundle: &'static Bundle,
    pub path: String,
    pub action: Action,
    /// Why the entry is skipped, or what is still missing.
    pub reason: Option<String>,
    pub keys: Vec<KeyPlan>,
    /// The entry as it was read.
    pub base: Entry,
}

impl EntryPlan {
    /// All fields of the entry after the write.
    pub fn fields(&self, tokens: &PerToken<Token>) -> Fields {
        let mut fields = self.base.fields.clone().unwrap_or_default();
        for key in &self.keys {
            if let KeyAction::Set(value) = &key.action {
                fields.insert(key.key.to_string(), Field::of_text(&value.fill(tokens)));
            }
        }
        fields
    }
}
