//! The output of `sync`: text and JSON.

use crate::domain::cluster::names::Namespace;
use crate::ui::{Mark, Palette};
use serde::Serialize;
use std::fmt::Write;

/// The refresh of an ExternalSecret.
#[derive(Clone, Debug)]
pub struct Refresh {
    pub namespace: Namespace,
    pub name: String,
    /// The Secret that it creates.
    pub secret: String,
    /// The changed keys of the Secret, or why the refresh failed.
    pub outcome: Result<Vec<String>, String>,
}

#[derive(Debug, Serialize)]
pub struct RefreshBody {
    namespace: String,
    name: String,
    secret: String,
    action: &'static str,
    changed: Vec<String>,
    reason: Option<String>,
}

impl From<&Refresh> for RefreshBody {
    fn from(refresh: &Refresh) -> Self {
        let (changed, reason) = match &refresh.outcome {
            Ok(changed) => (changed.clone(), None),
            Err(reason) => (Vec::new(), Some(reason.clone())),
        };
        Self {
            namespace: refresh.namespace.to_string(),
            name: refresh.name.clone(),
            secret: refresh.secret.clone(),
            action: match (&reason, changed.is_empty()) {
                (Some(_), _) => "failed",
                (None, true) => "unchanged",
                (None, false) => "configured",
            },
            changed,
            reason,
        }
    }
}

pub fn text(refreshes: &[Refresh], palette: Palette) -> String {
    let mut text = String::new();
    for refresh in refreshes {
        let (mark, what) = match &refresh.outcome {
            Ok(changed) if changed.is_empty() => (Mark::Ok, "no changes".to_owned()),
            Ok(changed) => (Mark::Ok, format!("changed {}", changed.join(", "))),
            Err(reason) => (Mark::Fail, reason.clone()),
        };
        let Refresh {
            namespace,
            name,
            secret,
            ..
        } = refresh;
        let mark = palette.mark(mark);
        let _ = writeln!(
            text,
            "{mark} {namespace}/{secret} (ExternalSecret {name}): {what}"
        );
    }
    text
}
