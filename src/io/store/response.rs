//! The responses of the store, with the fields that are read.

use crate::domain::eso::store_entry::{Entry, Field};
use crate::domain::values::secret_value::SecretValue;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A response. It may hold values and must not be printed.
pub struct StoreResponse {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl StoreResponse {
    /// Checks whether one of the errors contains this text.
    pub fn has_error(&self, text: &str) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let errors = body["errors"].as_array().into_iter().flatten();
        let mut errors = errors.filter_map(Value::as_str);
        errors.any(|error| error.contains(text))
    }
}

/// The body of a successful response.
#[derive(Deserialize)]
pub struct Payload<T> {
    pub data: T,
}

/// A mount, from `sys/internal/ui/mounts`.
#[derive(Deserialize)]
pub struct Mount {
    /// Ends with a slash.
    #[serde(default)]
    pub path: String,
    /// The type of the engine, such as `kv`.
    pub r#type: String,
    /// The options of the engine, such as `version`.
    pub options: Option<BTreeMap<String, String>>,
}

/// An entry of the KV engine.
#[derive(Deserialize, Default)]
pub struct ReadData {
    // Raw JSON, so that a field that is not text is written back unchanged.
    data: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    version: u64,
}

impl From<ReadData> for Entry {
    fn from(data: ReadData) -> Self {
        let fields = data.data.map(|data| data.into_iter().map(field).collect());
        Self {
            version: data.metadata.version,
            fields,
        }
    }
}

fn field((key, value): (String, Box<RawValue>)) -> (String, Field) {
    let text: Option<String> = serde_json::from_str(value.get()).ok();
    let field = Field {
        json: SecretValue::from(value.get()),
        text: text.map(SecretValue::from),
    };
    (key, field)
}
