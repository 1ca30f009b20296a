//! The result or plan of `--apply`, from which every output format is rendered.

use crate::domain::plan::{Action, FileAction, Plan, SecretPlan};

#[derive(Clone, Debug)]
pub struct Report {
    /// The kubeconfig context, if one was used.
    pub context: Option<String>,
    /// The URL of the API server, if it was contacted.
    pub server: Option<String>,
    /// The path of the tokens file.
    pub path: String,
    pub file: FileChange,
    pub secrets: Vec<SecretReport>,
}

/// What happens to the tokens file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    Created,
    /// Tokens are added or replaced.
    Updated,
    Unchanged,
}

impl From<FileAction> for FileChange {
    fn from(action: FileAction) -> Self {
        match action {
            FileAction::Create => Self::Created,
            FileAction::Update { .. } => Self::Updated,
            FileAction::Keep => Self::Unchanged,
        }
    }
}

/// The plan for a Secret and the error of its write.
#[derive(Clone, Debug)]
pub struct SecretReport {
    pub plan: SecretPlan,
    /// Why the write failed.
    pub failed: Option<String>,
}

impl SecretReport {
    /// The documented word for the result.
    pub fn action(&self) -> &'static str {
        outcome_word(self.plan.action, self.failed.is_some())
    }

    /// Why the write failed, or the reason in the plan.
    pub fn reason(&self) -> Option<&str> {
        self.failed.as_deref().or(self.plan.reason.as_deref())
    }
}

impl Report {
    /// The report of a preview.
    pub fn of_plan(plan: &Plan, path: String) -> Self {
        let secrets = plan
            .secrets
            .iter()
            .map(|plan| SecretReport {
                plan: plan.clone(),
                failed: None,
            })
            .collect();
        Self {
            context: None,
            server: None,
            path,
            file: plan.file.into(),
            secrets,
        }
    }
}

/// The documented word for the result of a Secret or a store entry.
pub fn outcome_word(action: Action, failed: bool) -> &'static str {
    match action {
        _ if failed => "failed",
        Action::Create => "created",
        Action::Configure => "configured",
        Action::Keep => "unchanged",
        Action::Skip => "skipped",
        Action::Refuse => "refused",
    }
}
