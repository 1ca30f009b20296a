//! Parts of JSON documents that several commands share.

use super::report::FileChange;
use crate::domain::plan::ValueSource;
use crate::domain::values::secret_value::SecretValue;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct FileBody {
    pub path: String,
    pub action: FileChange,
}

/// A key of a Secret or a field of a store entry.
#[derive(Debug, Serialize)]
pub struct KeyBody<K> {
    pub key: K,
    pub action: &'static str,
    pub source: ValueSource,
}

/// Serializes plain values, for `tokens show` and `--show-values` only.
pub fn exposed<K: Serialize, S: Serializer>(
    values: &BTreeMap<K, SecretValue>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(name, value)| (name, value.expose())))
}
