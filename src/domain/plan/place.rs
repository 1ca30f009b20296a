//! The plan for one place, a Secret or a store entry.

use super::types::{KeyAction, KeyPlan, NewValue};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::owner::Owner;
use crate::domain::eso::store_entry::{Entry, Field, Fields};
use crate::domain::table::Bundle;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A place that can hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceRef {
    TokensFile,
    Secret(SecretRef),
    /// The path of a store entry.
    Entry(String),
}

impl fmt::Display for PlaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokensFile => f.write_str("the tokens file"),
            Self::Secret(at) => at.fmt(f),
            Self::Entry(path) => write!(f, "{path} in the store"),
        }
    }
}

/// The plan for one place. `Base` is its state as it was read.
#[derive(Clone, Debug)]
pub struct PlacePlan<At, Base> {
    pub at: At,
    pub bundle: &'static Bundle,
    pub action: Action,
    /// The other program that owns the Secret, if there is one.
    pub owner: Option<Owner>,
    /// Why the place is skipped or refused, or what is still missing.
    pub reason: Option<String>,
    pub keys: Vec<KeyPlan>,
    pub base: Base,
}

/// The plan for a Secret, whose base is `None` if it does not exist.
pub type SecretPlan = PlacePlan<SecretRef, Option<SecretBase>>;
/// The plan for a store entry.
pub type EntryPlan = PlacePlan<String, Entry>;

/// What happens to a Secret or an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    /// Add or change keys.
    Configure,
    /// Nothing to change.
    Keep,
    /// Leave it alone: it has an owner, or a required input is missing.
    Skip,
    /// A person has to decide something first.
    Refuse,
}

/// The state of a Secret that a change is based on.
#[derive(Clone, Debug)]
pub struct SecretBase {
    pub resource_version: String,
    /// The `data` that this program applied before, in base64.
    pub data: BTreeMap<String, SecretValue>,
    /// The annotations that this program applied before.
    pub annotations: BTreeMap<String, String>,
    /// The names of all annotations of the Secret, also those of other programs.
    pub annotated: BTreeSet<String>,
}

impl<At, Base> PlacePlan<At, Base> {
    pub fn is_written(&self) -> bool {
        matches!(self.action, Action::Create | Action::Configure)
    }

    /// The keys that get a value, with that value.
    pub fn new_values(&self) -> impl Iterator<Item = (&KeyPlan, &NewValue)> {
        self.keys.iter().filter_map(|key| match &key.action {
            KeyAction::Set(value) => Some((key, value)),
            _ => None,
        })
    }
}

impl EntryPlan {
    /// All fields of the entry after the write.
    pub fn fields(&self, tokens: &PerToken<Token>) -> Fields {
        let mut fields = self.base.fields.clone().unwrap_or_default();
        for (key, value) in self.new_values() {
            fields.insert(key.key.to_string(), Field::of_text(&value.fill(tokens)));
        }
        fields
    }
}
