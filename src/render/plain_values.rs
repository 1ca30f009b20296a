//! How values are serialized where they are to be shown.

use crate::domain::values::secret_value::SecretValue;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Serializes plain values, for `tokens show` and `--show-values` only.
pub fn plain_values<K: Serialize, S: Serializer>(
    values: &BTreeMap<K, SecretValue>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.iter().map(|(name, value)| (name, value.expose())))
}
