//! The content of a Secret as it is sent to the API server. Decides nothing: the plan does.

use super::place::{Action, SecretPlan};
use super::types::{NewValue, ValueSource};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::BTreeMap;

/// The prefix of the annotation that says when a token was minted, in RFC 3339. The key follows.
pub const MINTED_AT: &str = "k8s-bootstrap/minted-at.";
/// The value of that annotation for a token of unknown age that replaced another one.
pub const UNKNOWN: &str = "unknown";

/// A Secret to be created or applied.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub at: SecretRef,
    pub annotations: BTreeMap<String, String>,
    /// The `data` of the Secret, in base64.
    pub data: BTreeMap<String, SecretValue>,
    /// The `resourceVersion` that the change is based on; `None` for a new Secret.
    pub resource_version: Option<String>,
}

impl Manifest {
    /// The manifest of a planned write: everything that this program applied before, with the new
    /// values. `now` is the time of minting, in RFC 3339.
    pub fn of(plan: &SecretPlan, tokens: &PerToken<Token>, now: &str) -> Self {
        let base = plan
            .base
            .as_ref()
            .filter(|_| plan.action == Action::Configure);
        let mut data = base.map(|base| base.data.clone()).unwrap_or_default();
        let mut annotations = base
            .map(|base| base.annotations.clone())
            .unwrap_or_default();
        for (key, value) in plan.new_values() {
            data.insert(
                key.key.to_string(),
                LiveValue::encode(&value.fill(tokens)).base64,
            );
            if let NewValue::Token(_) = value {
                let name = format!("{MINTED_AT}{}", key.key);
                // The annotation belongs to the token that is being replaced.
                let is_stale = key.live && base.is_some_and(|base| base.annotated.contains(&name));
                if key.source == ValueSource::Minted {
                    annotations.insert(name, now.to_owned());
                } else if is_stale {
                    annotations.insert(name, UNKNOWN.to_owned());
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
    /// The value, with the token filled in.
    pub fn fill(&self, tokens: &PerToken<Token>) -> SecretValue {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Token(name) => tokens.get(*name).value().clone(),
            Self::List { entries, token } => {
                let token = tokens.get(*token).value();
                // Without the white space and the empty entries that a person left.
                let mut list: Vec<_> = entries.iter().flat_map(SecretValue::entries).collect();
                if !list.contains(&token.expose()) {
                    list.push(token.expose());
                }
                SecretValue::from(list.join(","))
            }
        }
    }
}
