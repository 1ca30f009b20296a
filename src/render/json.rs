//! The one JSON document that `-o json` prints.

use super::fields::{FileBody, KeyBody, exposed};
use super::report::{Report, SecretReport};
use super::store::{EntryDocument, StoreBody};
use crate::domain::checks::check::Check;
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the documents' form.
const VERSION: u8 = 1;

/// What a command adds to the document.
#[derive(Debug, Default, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// Nothing.
    #[default]
    Nothing,
    /// The plan, or what became of it.
    Report(ReportBody),
    /// The tokens, of `tokens show`.
    Tokens {
        /// By name.
        #[serde(serialize_with = "exposed")]
        tokens: BTreeMap<&'static str, SecretValue>,
    },
    /// Whether and what `tokens recover` finds.
    Recovery {
        /// The tokens file.
        tokens_file: FileBody,
        /// The tokens that the file has or gets.
        found: Vec<&'static str>,
        /// The tokens that are nowhere.
        missing: Vec<&'static str>,
    },
    /// Kubernetes objects, of `rbac`.
    Objects {
        /// In the order in which they are applied.
        objects: Vec<serde_json::Value>,
    },
    /// The plan for the store, or what became of it.
    Store(StoreBody),
    /// The bundles, of `populate -o json`.
    Documents {
        /// In the order of the table.
        entries: Vec<EntryDocument>,
    },
    /// What becomes of the Secrets, of `migrate`.
    Migration(super::migration::MigrationBody),
    /// What became of the ExternalSecrets, of `sync`.
    Refreshed {
        /// By namespace and name.
        external_secrets: Vec<super::sync::RefreshBody>,
    },
    /// What a rotation would do, where it stands, how it ended.
    Rotation(super::rotation_document::RotationBody),
    /// What `verify` found.
    Checks {
        /// In the order of their ids.
        checks: Vec<Check>,
    },
    /// A text that is the whole answer: a completion script, the manual page.
    Content {
        /// The text.
        content: String,
    },
}

/// The plan, or what became of it.
#[derive(Debug, Serialize)]
pub struct ReportBody {
    context: Option<String>,
    server: Option<String>,
    tokens_file: FileBody,
    secrets: Vec<SecretBody>,
}

#[derive(Debug, Serialize)]
struct SecretBody {
    namespace: String,
    name: &'static str,
    action: &'static str,
    owner: Option<String>,
    reason: Option<String>,
    keys: Vec<KeyBody<&'static str>>,
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

/// Renders the document.
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
            tokens_file: FileBody {
                path: report.path.clone(),
                action: report.file,
            },
            secrets: report.secrets.iter().map(SecretBody::from).collect(),
        })
    }
}

impl From<&SecretReport> for SecretBody {
    fn from(report: &SecretReport) -> Self {
        let keys = report.plan.keys.iter().map(|key| KeyBody {
            key: key.key,
            action: key.action.as_str(),
            source: key.source,
        });
        Self {
            namespace: report.plan.at.namespace.to_string(),
            name: report.plan.at.name,
            action: report.action(),
            owner: report.plan.owner.as_ref().map(ToString::to_string),
            reason: report.reason().map(str::to_owned),
            keys: keys.collect(),
        }
    }
}
