//! What a command did, or would do, in the form that every output format starts from.

use crate::domain::plan::{Action, FileAction, Plan, SecretPlan};

/// The tokens file and every Secret, with what happens to them.
#[derive(Clone, Debug)]
pub struct Report {
    /// The context of the kubeconfig, where one was used.
    pub context: Option<String>,
    /// The server, where one was contacted.
    pub server: Option<String>,
    /// The tokens file's path.
    pub path: String,
    /// What happens to the tokens file.
    pub file: FileChange,
    /// What happens to each Secret.
    pub secrets: Vec<SecretReport>,
}

/// What happens to the tokens file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    /// It is made.
    Created,
    /// It is replaced by one with more or other tokens.
    Updated,
    /// It stays.
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

/// A Secret's plan and, where its write failed, why.
#[derive(Clone, Debug)]
pub struct SecretReport {
    /// What was planned.
    pub plan: SecretPlan,
    /// Why it was not done.
    pub failed: Option<String>,
}

impl SecretReport {
    /// What happened, in one word of the documented ones.
    pub fn action(&self) -> &'static str {
        outcome_word(self.plan.action, self.failed.is_some())
    }

    /// Why it was not done, or what remains to be said.
    pub fn reason(&self) -> Option<&str> {
        self.failed.as_deref().or(self.plan.reason.as_deref())
    }
}

impl Report {
    /// The report of a plan that has not been carried out.
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

/// What became of a Secret or an entry, in one word of the documented ones.
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
