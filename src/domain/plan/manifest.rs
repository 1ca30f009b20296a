//! The object that is sent for a Secret.

use super::types::{Action, KeyAction, NewValue, SecretPlan, ValueSource};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::BTreeMap;

/// The annotation that tells when a token was minted, as RFC 3339; the key's name follows.
pub const MINTED_AT: &str = "k8s-bootstrap/minted-at.";
/// What that annotation says where a token was exchanged for one of unknown age.
pub const UNKNOWN: &str = "unknown";

/// A Secret to be created or applied.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where it goes.
    pub at: SecretRef,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its `data`, as base64.
    pub data: BTreeMap<String, SecretValue>,
    /// The `resourceVersion` that it builds on; `None` for one that is created.
    pub resource_version: Option<String>,
}

impl Manifest {
    /// Makes the object for a planned write: what this program applied before, and the new values.
    ///
    /// `now` is the time of minting, as RFC 3339.
    pub fn of(plan: &SecretPlan, tokens: &PerToken<Token>, now: &str) -> Self {
        let base = plan
            .base
            .as_ref()
            .filter(|_| plan.action == Action::Configure);
        let mut data = base.map(|base| base.data.clone()).unwrap_or_default();
        let mut annotations = base
            .map(|base| base.annotations.clone())
            .unwrap_or_default();
        for key in &plan.keys {
            let KeyAction::Set(value) = &key.action else {
                continue;
            };
            data.insert(
                key.key.to_owned(),
                LiveValue::encode(&value.fill(tokens)).base64,
            );
            if let NewValue::Token(_) = value {
                let name = format!("{MINTED_AT}{}", key.key);
                let stale = key.live && base.is_some_and(|base| base.annotated.contains(&name));
                match key.source {
                    ValueSource::Minted => drop(annotations.insert(name, now.to_owned())),
                    // It told the age of another token.
                    _ if stale => drop(annotations.insert(name, UNKNOWN.to_owned())),
                    _ => {}
                }
            }
        }
        Self {
            at: plan.at.clone(),
            annotations,
            data,
            resource_version: base.map(|base| base.resource_version.clone()),
        }
    }
}

impl NewValue {
    /// Gives the value, now that the tokens are known.
    pub fn fill(&self, tokens: &PerToken<Token>) -> SecretValue {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Token(name) => tokens.get(*name).value().clone(),
            Self::List {
                entries: None,
                token,
            } => tokens.get(*token).value().clone(),
            Self::List {
                entries: Some(entries),
                token,
            } => {
                let token = tokens.get(*token);
                if token.is_on(entries) {
                    return entries.clone();
                }
                let list = entries.expose().trim_end_matches([',', ' ']);
                SecretValue::from(format!("{list},{}", token.value().expose()))
            }
        }
    }
}
