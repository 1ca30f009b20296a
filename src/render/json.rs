//! The one JSON document that `-o json` prints.

use super::plain_values::plain_values;
use super::report::{FileReport, SecretsReport, StoreReport};
use super::store::EntryDocument;
use crate::domain::checks::check::Check;
use crate::domain::plan::KeyPlan;
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the document format.
const VERSION: u8 = 1;

/// The fields that a command adds to the document.
#[derive(Debug, Default, Serialize)]
#[serde(untagged)]
pub enum Body {
    #[default]
    Nothing,
    /// Of `--apply`, its preview and `diff`.
    Report(ReportBody),
    /// Of `tokens show`.
    Tokens {
        #[serde(serialize_with = "plain_values")]
        tokens: BTreeMap<&'static str, SecretValue>,
    },
    /// Of `tokens recover`.
    Recovery {
        tokens_file: FileReport,
        /// The tokens that the file has or gets.
        found: Vec<&'static str>,
        /// The tokens that exist nowhere.
        missing: Vec<&'static str>,
    },
    /// Kubernetes objects, of `rbac` and `externalsecrets`.
    Objects { objects: Vec<serde_json::Value> },
    /// Of `populate`.
    Store(StoreBody),
    /// The preview of `populate`.
    Documents {
        /// In the order of the table.
        entries: Vec<EntryDocument>,
    },
    /// Of `migrate`.
    Migration(super::migration::MigrationBody),
    /// Of `sync`.
    Refreshed {
        external_secrets: Vec<super::sync::Refresh>,
    },
    /// Of `rotate`.
    Rotation(super::rotation_document::RotationBody),
    /// Of `verify` and `lint`.
    Checks {
        /// Sorted by id.
        checks: Vec<Check>,
    },
    /// A completion script or the manual page.
    Content { content: String },
}

#[derive(Debug, Serialize)]
pub struct ReportBody {
    context: Option<String>,
    server: Option<String>,
    tokens_file: FileReport,
    secrets: Vec<SecretBody>,
}

#[derive(Debug, Serialize)]
struct SecretBody {
    namespace: String,
    name: &'static str,
    action: &'static str,
    owner: Option<String>,
    reason: Option<String>,
    keys: Vec<KeyPlan>,
}

#[derive(Debug, Serialize)]
pub struct StoreBody {
    store: Option<String>,
    tokens_file: FileReport,
    entries: Vec<EntryBody>,
}

#[derive(Debug, Serialize)]
struct EntryBody {
    path: String,
    action: &'static str,
    reason: Option<String>,
    keys: Vec<KeyPlan>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u8,
    command: &'a str,
    ok: bool,
    #[serde(flatten)]
    body: &'a Body,
    error: Option<ErrorBody<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    cause: &'a [String],
    hint: String,
}

pub fn document(command: &str, ok: bool, body: &Body, failure: Option<&Failure>) -> String {
    let error = failure.map(|failure| ErrorBody {
        message: &failure.message,
        cause: &failure.causes,
        hint: failure.hints.join("; "),
    });
    let document = Document {
        version: VERSION,
        command,
        ok,
        body,
        error,
    };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("the document has text keys and no foreign types");
    text.push('\n');
    text
}

impl Body {
    /// `server` is the URL of the API server, if it was contacted.
    pub fn of_secrets(report: &SecretsReport, context: Option<&str>, server: Option<&str>) -> Self {
        let secrets = report.places.iter().map(|place| SecretBody {
            namespace: place.plan.at.namespace.to_string(),
            name: place.plan.at.name,
            action: place.action(),
            owner: place.plan.owner.as_ref().map(ToString::to_string),
            reason: place.reason().map(str::to_owned),
            keys: place.plan.keys.clone(),
        });
        Self::Report(ReportBody {
            context: context.map(str::to_owned),
            server: server.map(str::to_owned),
            tokens_file: report.file.clone(),
            secrets: secrets.collect(),
        })
    }

    /// `store` is the URL of the store, if it was contacted.
    pub fn of_store(report: &StoreReport, store: Option<&str>) -> Self {
        let entries = report.places.iter().map(|place| EntryBody {
            path: place.plan.at.clone(),
            action: place.action(),
            reason: place.reason().map(str::to_owned),
            keys: place.plan.keys.clone(),
        });
        Self::Store(StoreBody {
            store: store.map(str::to_owned),
            tokens_file: report.file.clone(),
            entries: entries.collect(),
        })
    }
}
