//! The forms of the store's answers, as far as they are read.

use crate::domain::eso::store_entry::{Entry, Field};
use crate::domain::values::secret_value::SecretValue;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An answer. It may hold values, so it is never shown.
pub struct StoreResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Vec<u8>,
}

impl StoreResponse {
    /// Tells whether one of the errors holds this text.
    pub fn says(&self, text: &str) -> bool {
        let errors: Errors = serde_json::from_slice(&self.body).unwrap_or_default();
        errors.errors.iter().any(|error| error.contains(text))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Errors {
    errors: Vec<String>,
}

/// What is mounted somewhere.
#[derive(Deserialize)]
pub struct Mount {
    /// About it.
    pub data: MountData,
}

/// About a mount.
#[derive(Deserialize)]
pub struct MountData {
    /// Where it is, with a slash behind.
    #[serde(default)]
    pub path: String,
    /// The kind of its engine.
    pub r#type: String,
    /// The engine's options; `version` is one of them.
    pub options: Option<BTreeMap<String, String>>,
}

/// What a token may do.
#[derive(Deserialize)]
pub struct Capabilities {
    /// By path, beside other things.
    pub data: Map<String, Value>,
}

/// An entry that was read.
#[derive(Deserialize)]
pub struct Read {
    data: Option<ReadData>,
}

#[derive(Deserialize, Default)]
struct ReadData {
    // A number, say, is sent back as it came, digit by digit.
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
