//! The one JSON document that `-o json` prints.

use super::plain_values::plain_values;
use super::report::{FileReport, PlaceReport, Report};
use super::store::{EntryDocument, StoreBody};
use crate::domain::checks::check::Check;
use crate::domain::plan::{KeyPlan, SecretPlan};
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

impl From<&Report> for Body {
    fn from(report: &Report) -> Self {
        Self::Report(ReportBody {
            context: report.context.clone(),
            server: report.server.clone(),
            tokens_file: report.file.clone(),
            secrets: report.secrets.iter().map(SecretBody::from).collect(),
        })
    }
}

impl From<&PlaceReport<SecretPlan>> for SecretBody {
    fn from(report: &PlaceReport<SecretPlan>) -> Self {
        let plan = &report.plan;
        Self {
            namespace: plan.at.namespace.to_string(),
            name: plan.at.name,
            action: report.action(),
            owner: plan.owner.as_ref().map(ToString::to_string),
            reason: report.reason().map(str::to_owned),
            keys: plan.keys.clone(),
        }
    }
}
