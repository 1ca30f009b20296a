//! The planned Secrets as manifests.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::plan::{KeyAction, NewValue, Plan, SecretPlan};
use crate::domain::values::secret_value::SecretValue;
use serde::Serialize;
use std::collections::BTreeMap;

/// What stands for a value. It is not base64, so that nobody can apply it by accident.
const MASKED: &str = "<masked: --show-values shows it>";
/// What stands for a token that does not exist yet.
const TO_BE_MINTED: &str = "<minted by --apply>";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    r#type: &'static str,
    data: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'static str,
    namespace: &'a str,
}

/// The Secrets that would be created, and the namespace where it is too, as YAML documents; a
/// skipped Secret is a comment.
pub fn manifests(plan: &Plan, namespace: Option<&Namespace>, show_values: bool) -> String {
    let namespace = namespace.map(|name| {
        let metadata = serde_json::json!({ "name": name.as_str() });
        to_yaml(
            &serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
        )
    });
    let documents = plan.secrets.iter().map(|secret| match secret.is_written() {
        true => to_yaml(&Manifest {
            api_version: "v1",
            kind: "Secret",
            metadata: Metadata {
                name: secret.at.name,
                namespace: secret.at.namespace.as_str(),
            },
            r#type: "Opaque",
            data: data(plan, secret, show_values),
        }),
        false => {
            let reason = secret.reason.as_deref().unwrap_or("nothing to do");
            format!("# {}: skipped, {reason}\n", secret.at.name)
        }
    });
    namespace
        .into_iter()
        .chain(documents)
        .map(|document| format!("---\n{document}"))
        .collect()
}

/// Writes one YAML document.
pub fn to_yaml<T: Serialize>(object: &T) -> String {
    let mut text =
        serde_saphyr::to_string(object).expect("a manifest has text keys and no foreign types");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn data(plan: &Plan, secret: &SecretPlan, show_values: bool) -> BTreeMap<&'static str, String> {
    let set = secret.keys.iter().filter_map(|key| match &key.action {
        KeyAction::Set(value) => Some((key.key, value)),
        _ => None,
    });
    set.map(|(key, value)| {
        let shown = match known(plan, value) {
            None => TO_BE_MINTED.to_owned(),
            Some(value) if show_values => LiveValue::encode(value).base64.expose().to_owned(),
            Some(_) => MASKED.to_owned(),
        };
        (key, shown)
    })
    .collect()
}

/// The value, where it exists already. Nothing was observed, so a list is just its token.
fn known<'a>(plan: &'a Plan, value: &'a NewValue) -> Option<&'a SecretValue> {
    match value {
        NewValue::Plain(value) => Some(value),
        NewValue::Token(token) | NewValue::List { token, .. } => {
            Some(plan.tokens.get(*token).as_ref()?.token()?.value())
        }
    }
}
