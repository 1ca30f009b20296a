//! Renders what `migrate` does as text, as JSON and as values for the charts.

use crate::domain::cluster::names::SecretRef;
use crate::domain::eso::objects::StoreRef;
use crate::domain::eso::store_entry::{LOG_LEVEL_DEFAULT, Layout};
use crate::domain::migration::{LOG_LEVEL, MigrationPlan, Move, MoveState};
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::ui::{Mark, Palette};
use serde::Serialize;
use std::fmt::Write;

/// What happened to a Secret or, in a preview, would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveAction {
    /// The operator makes the Secret now.
    Moved,
    /// The Secret is plain again.
    Returned,
    /// The Secret had moved before this run.
    Unchanged,
    /// The Secret does not move.
    Skipped,
    /// A person has to decide something.
    Refused,
    Failed,
}

/// The result for one Secret of a move or a rollback.
#[derive(Clone, Debug, Serialize)]
pub struct MoveResult {
    #[serde(flatten)]
    pub at: SecretRef,
    /// The name of the ExternalSecret that creates or created the Secret; empty if it is deleted.
    pub external_secret: String,
    pub action: MoveAction,
    /// Why the Secret is skipped or refused, or has failed.
    pub reason: Option<String>,
    pub note: Option<String>,
}

/// The document for `-o json`.
#[derive(Debug, Serialize)]
pub struct MigrationBody {
    pub server: String,
    pub store: Option<String>,
    pub entries: Vec<Addition>,
    pub secrets: Vec<MoveResult>,
    /// The values for the charts.
    pub values: Option<String>,
}

/// The fields that one entry of the store gets.
#[derive(Clone, Debug, Serialize)]
pub struct Addition {
    pub path: String,
    action: EntryAction,
    /// `KEY (source)` for each field.
    keys: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum EntryAction {
    Created,
    Configured,
}

/// The fields that a plan adds to the store.
pub fn additions(plan: &MigrationPlan) -> Vec<Addition> {
    plan.written()
        .map(|entry| Addition {
            path: entry.at.clone(),
            action: match entry.base.fields {
                None => EntryAction::Created,
                Some(_) => EntryAction::Configured,
            },
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
    let (action, reason) = match &moved.state {
        MoveState::Plain => (MoveAction::Moved, None),
        MoveState::Moved => (MoveAction::Unchanged, None),
        MoveState::Skipped(reason) => (MoveAction::Skipped, Some(reason.clone())),
        MoveState::Refused => {
            let reason = "you have to decide first".to_owned();
            (MoveAction::Refused, Some(reason))
        }
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
        at: moved.at.clone(),
        external_secret: moved.bundle.external_secret.to_owned(),
        action,
        reason,
        note,
    }
}

impl MoveResult {
    pub fn failed(self, failure: &Failure) -> Self {
        Self {
            action: MoveAction::Failed,
            reason: Some(failure.describe()),
            ..self
        }
    }

    fn line(&self, preview: bool, palette: Palette) -> String {
        let mark = match self.action {
            MoveAction::Moved | MoveAction::Returned if preview => Mark::Plan,
            MoveAction::Moved | MoveAction::Returned | MoveAction::Unchanged => Mark::Ok,
            MoveAction::Skipped => Mark::Skip,
            MoveAction::Refused | MoveAction::Failed => Mark::Fail,
        };
        let external = match self.external_secret.as_str() {
            "" => "(already deleted)",
            name => name,
        };
        let reason = self.reason.as_deref().unwrap_or_default();
        let message = match (self.action, preview) {
            (MoveAction::Moved, true) => {
                format!("would follow the store, by ExternalSecret {external}")
            }
            (MoveAction::Moved, false) => {
                format!("follows the store now, by ExternalSecret {external}; no value has changed")
            }
            (MoveAction::Returned, true) => {
                format!("would be plain again, without ExternalSecret {external}")
            }
            (MoveAction::Returned, false) => {
                format!("is plain again, without ExternalSecret {external}; no value has changed")
            }
            (MoveAction::Unchanged, _) => "unchanged".to_owned(),
            (MoveAction::Skipped, _) => format!("skipped: {reason}"),
            (MoveAction::Refused | MoveAction::Failed, _) => reason.to_owned(),
        };
        let note = self.note.as_ref().map(|note| format!("; {note}"));
        let SecretRef { namespace, name } = &self.at;
        let note = note.unwrap_or_default();
        palette.line(mark, format_args!("{namespace}/{name}: {message}{note}"))
    }
}

/// The failure of a run that went on after the failure of a Secret. `done` is the participle of
/// what the run does.
pub fn failure_of(results: &[MoveResult], done: &str) -> Option<Failure> {
    let failed = results
        .iter()
        .filter(|result| result.action == MoveAction::Failed)
        .count();
    let all = results.len();
    (failed > 0).then(|| Failure::unable(format!("{failed} of {all} Secrets were not {done}")))
}

/// One line for each entry that gets fields.
pub fn additions_text(additions: &[Addition], mount: &str, preview: bool) -> String {
    let would = if preview { "would be " } else { "" };
    let line = |addition: &Addition| {
        let verb = match addition.action {
            EntryAction::Created => "created",
            EntryAction::Configured => "updated",
        };
        let keys = addition.keys.join(", ").replace(char::is_control, "?");
        format!("{mount}/{}: {would}{verb} with {keys}\n", addition.path)
    };
    additions.iter().map(line).collect()
}

/// One line for each Secret.
pub fn results_text(results: &[MoveResult], preview: bool, palette: Palette) -> String {
    results
        .iter()
        .map(|result| result.line(preview, palette))
        .collect()
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
