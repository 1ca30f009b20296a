//! The output of `sync`: text and JSON.

use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::ExternalSecret;
use crate::ui::{Mark, Palette};
use serde::Serialize;

/// The refresh of an ExternalSecret.
#[derive(Clone, Debug, Serialize)]
pub struct Refresh {
    pub namespace: Namespace,
    pub name: String,
    /// The Secret that it creates.
    secret: String,
    pub action: RefreshAction,
    /// The changed keys of the Secret.
    changed: Vec<String>,
    /// Why the refresh failed.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshAction {
    Configured,
    Unchanged,
    Failed,
}

impl Refresh {
    /// `outcome` is the changed keys of the Secret, or why the refresh failed.
    pub fn new(external: &ExternalSecret, outcome: Result<Vec<String>, String>) -> Self {
        let action = match &outcome {
            Ok(changed) if changed.is_empty() => RefreshAction::Unchanged,
            Ok(_) => RefreshAction::Configured,
            Err(_) => RefreshAction::Failed,
        };
        Self {
            namespace: external.namespace.clone(),
            name: external.name.clone(),
            secret: external.target.clone(),
            action,
            reason: outcome.as_ref().err().cloned(),
            changed: outcome.unwrap_or_default(),
        }
    }

    fn line(&self, palette: Palette) -> String {
        let (mark, what) = match self.action {
            RefreshAction::Unchanged => (Mark::Ok, "no changes".to_owned()),
            RefreshAction::Configured => (Mark::Ok, format!("changed {}", self.changed.join(", "))),
            RefreshAction::Failed => (Mark::Fail, self.reason.clone().unwrap_or_default()),
        };
        let (namespace, name, secret) = (&self.namespace, &self.name, &self.secret);
        palette.line(
            mark,
            format_args!("{namespace}/{secret} (ExternalSecret {name}): {what}"),
        )
    }
}

pub fn text(refreshes: &[Refresh], palette: Palette) -> String {
    refreshes
        .iter()
        .map(|refresh| refresh.line(palette))
        .collect()
}
