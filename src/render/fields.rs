//! Parts of JSON documents that several commands have.

use super::report::FileChange;
use crate::domain::plan::ValueSource;
use crate::domain::values::secret_value::SecretValue;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The tokens file.
#[derive(Debug, Serialize)]
pub struct FileBody {
    /// Its path.
    pub path: String,
    /// What happens to it.
    pub action: FileChange,
}

/// What happens to a key of a Secret, or to a field of a store entry.
#[derive(Debug, Serialize)]
pub struct KeyBody<K> {
    pub key: K,
    pub action: &'static str,
    pub source: ValueSource,
}

/// Writes the values themselves: `tokens show` and `--show-values` are made to show them.
pub fn exposed<K: Serialize, S: Serializer>(
    values: &BTreeMap<K, SecretValue>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(name, value)| (name, value.expose())))
}
