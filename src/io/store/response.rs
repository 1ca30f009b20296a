//! The responses of the store, with the fields that are read.

use crate::domain::eso::store_entry::{Entry, Field};
use crate::domain::values::secret_value::SecretValue;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A response. It may hold values and must not be printed.
pub struct StoreResponse {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl StoreResponse {
    /// Checks whether one of the errors contains this text.
    pub fn has_error(&self, text: &str) -> bool {
        let errors: Errors = serde_json::from_slice(&self.body).unwrap_or_default();
        errors.errors.iter().any(|error| error.contains(text))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Errors {
    errors: Vec<String>,
}

/// A mount, from `sys/internal/ui/mounts`.
#[derive(Deserialize)]
pub struct Mount {
    pub data: MountData,
}

#[derive(Deserialize)]
pub struct MountData {
    /// Ends with a slash.
    #[serde(default)]
    pub path: String,
    /// The type of the engine, such as `kv`.
    pub r#type: String,
    /// The options of the engine, such as `version`.
    pub options: Option<BTreeMap<String, String>>,
}

/// The capabilities of a token, from `sys/capabilities-self`.
#[derive(Deserialize)]
pub struct Capabilities {
    /// A list of capabilities for each path, and other keys.
    pub data: Map<String, Value>,
}

/// An entry of the KV engine.
#[derive(Deserialize)]
pub struct Read {
    data: Option<ReadData>,
}

#[derive(Deserialize, Default)]
struct ReadData {
    // Raw JSON, so that a field that is not text is written back unchanged.
    data: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    version: u64,
}

impl From<Read> for Entry {
    fn from(read: Read) -> Self {
        let data = read.data.unwrap_or_default();
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
