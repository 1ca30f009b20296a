//! Renders what `migrate` does as text, as JSON and as values for the charts.

use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreRef;
use crate::domain::eso::store_entry::{LOG_LEVEL_DEFAULT, Layout};
use crate::domain::migration::{LOG_LEVEL, MigrationPlan, Move, MoveState};
use crate::domain::table::BUNDLES;
use crate::ui::{Mark, Palette};
use serde::Serialize;
use std::fmt::Write;

/// How the move or the rollback of one Secret ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveOutcome {
    /// A preview: nothing was done.
    Planned,
    Done,
    /// The Secret had moved before this run.
    Unchanged,
    /// The Secret does not move, for this reason.
    Skipped(String),
    /// A person has to decide something, for this reason.
    Refused(String),
    Failed(String),
}

impl MoveOutcome {
    fn action(&self, done: &'static str) -> &'static str {
        match self {
            Self::Planned | Self::Done => done,
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Planned | Self::Done | Self::Unchanged => None,
            Self::Skipped(reason) | Self::Refused(reason) | Self::Failed(reason) => Some(reason),
        }
    }

    fn mark(&self) -> Mark {
        match self {
            Self::Planned => Mark::Plan,
            Self::Done | Self::Unchanged => Mark::Ok,
            Self::Skipped(_) => Mark::Skip,
            Self::Refused(_) | Self::Failed(_) => Mark::Fail,
        }
    }
}

/// The result for one Secret of a move or a rollback.
#[derive(Clone, Debug)]
pub struct MoveResult {
    pub namespace: Namespace,
    pub secret: String,
    /// The name of the ExternalSecret that creates or created the Secret; empty if it is deleted.
    pub external_secret: String,
    pub outcome: MoveOutcome,
    pub note: Option<String>,
}

/// The document for `-o json`.
#[derive(Debug, Serialize)]
pub struct MigrationBody {
    server: String,
    store: Option<String>,
    entries: Vec<EntryBody>,
    secrets: Vec<ResultBody>,
    values: Option<String>,
}

#[derive(Debug, Serialize)]
struct EntryBody {
    path: String,
    action: &'static str,
    keys: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ResultBody {
    namespace: String,
    name: String,
    external_secret: String,
    action: &'static str,
    reason: Option<String>,
    note: Option<String>,
}

/// The fields that one entry of the store gets.
#[derive(Clone, Debug)]
pub struct Addition {
    pub path: String,
    /// Whether the entry is new.
    pub created: bool,
    /// `KEY (source)` for each field.
    pub keys: Vec<String>,
}

/// The document for a move or a rollback. `done` is the action of a Secret that moved or went back.
pub fn body(
    server: &str,
    store: Option<&StoreRef>,
    additions: &[Addition],
    results: &[MoveResult],
    done: &'static str,
    values: Option<String>,
) -> MigrationBody {
    MigrationBody {
        server: server.to_owned(),
        store: store.map(ToString::to_string),
        entries: additions
            .iter()
            .map(|addition| EntryBody {
                path: addition.path.clone(),
                action: if addition.created {
                    "created"
                } else {
                    "configured"
                },
                keys: addition.keys.clone(),
            })
            .collect(),
        secrets: results
            .iter()
            .map(|result| ResultBody {
                namespace: result.namespace.to_string(),
                name: result.secret.clone(),
                external_secret: result.external_secret.clone(),
                action: result.outcome.action(done),
                reason: result.outcome.reason().map(str::to_owned),
                note: result.note.clone(),
            })
            .collect(),
        values,
    }
}

/// The fields that a plan adds to the store.
pub fn additions(plan: &MigrationPlan) -> Vec<Addition> {
    plan.written()
        .map(|entry| Addition {
            path: entry.at.clone(),
            created: entry.base.fields.is_none(),
            keys: entry
                .keys
                .iter()
                .map(|key| format!("{} ({})", key.key, key.source.as_str()))
                .collect(),
        })
        .collect()
}

/// The result for a Secret before the plan is carried out.
pub fn planned_result(moved: &Move) -> MoveResult {
    let outcome = match &moved.state {
        MoveState::Plain => MoveOutcome::Planned,
        MoveState::Moved => MoveOutcome::Unchanged,
        MoveState::Skipped(reason) => MoveOutcome::Skipped(reason.clone()),
        MoveState::Refused => MoveOutcome::Refused("you have to decide first".to_owned()),
    };
    let note = match (&moved.state, &moved.after) {
        (MoveState::Plain, None) => {
            Some("not yet compared with the store: --apply does that first".to_owned())
        }
        (MoveState::Plain, Some(_)) if moved.adds_log_level => Some(format!(
            "{LOG_LEVEL}={LOG_LEVEL_DEFAULT}, the default of the service, is added; if Reloader runs, it \
             restarts the service once"
        )),
        _ => None,
    };
    MoveResult {
        namespace: moved.at.namespace.clone(),
        secret: moved.at.name.to_owned(),
        external_secret: moved.bundle.external_secret.to_owned(),
        outcome,
        note,
    }
}

/// One line for each entry that gets fields.
pub fn additions_text(additions: &[Addition], mount: &str, preview: bool) -> String {
    let mut text = String::new();
    for addition in additions {
        let verb = match (preview, addition.created) {
            (true, true) => "would be created with",
            (true, false) => "would be updated with",
            (false, true) => "created with",
            (false, false) => "updated with",
        };
        let keys = addition.keys.join(", ").replace(char::is_control, "?");
        let _ = writeln!(text, "{mount}/{}: {verb} {keys}", addition.path);
    }
    text
}

/// One line for each Secret. `templates` are the texts for a Secret that was moved and for one that
/// would be; `{}` is replaced by the name of the ExternalSecret.
pub fn results_text(results: &[MoveResult], templates: (&str, &str), palette: Palette) -> String {
    let mut text = String::new();
    for result in results {
        let mark = palette.mark(result.outcome.mark());
        let message = match &result.outcome {
            MoveOutcome::Planned => fill_template(templates.1, result),
            MoveOutcome::Done => fill_template(templates.0, result),
            MoveOutcome::Unchanged => "unchanged".to_owned(),
            MoveOutcome::Skipped(reason) => format!("skipped: {reason}"),
            MoveOutcome::Refused(reason) | MoveOutcome::Failed(reason) => reason.clone(),
        };
        let note = result.note.as_ref().map(|note| format!("; {note}"));
        let MoveResult {
            namespace, secret, ..
        } = result;
        let note = note.unwrap_or_default();
        let _ = writeln!(text, "{mark} {namespace}/{secret}: {message}{note}");
    }
    text
}

/// Puts the name of the ExternalSecret into a text.
fn fill_template(template: &str, result: &MoveResult) -> String {
    let external = match result.external_secret.as_str() {
        "" => "(already deleted)",
        name => name,
    };
    template.replace("{}", external)
}

/// The chart values to use after the move, as YAML with comments. `emits` is true if the server
/// serves the version of ExternalSecret that the charts emit.
pub fn values(layout: &Layout, store: &StoreRef, emits: bool) -> String {
    if !emits {
        return "# values for the charts: they create ExternalSecrets of v1beta1, which this cluster \
                does not serve, so keep those that migrate created\n\
                externalSecret:\n  enabled: false\n"
            .to_owned();
    }
    let mut text =
        "# values for the charts; helm upgrade --take-ownership adopts the ExternalSecrets \
                    that migrate created\n"
            .to_owned();
    for bundle in BUNDLES {
        let chart = bundle.external_secret.trim_end_matches("-secrets");
        let _ = write!(
            text,
            "---\n# {chart}\nexternalSecret:\n  enabled: true\n  storeName: {}\n  secretPath: {}\n  \
             targetSecretName: {}\n",
            store.name,
            layout.path(bundle),
            bundle.secret
        );
    }
    text
}
