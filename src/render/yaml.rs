//! The planned Secrets as YAML manifests.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::plan::{NewValue, PlacePlan, Plan, SecretPlan};
use crate::domain::values::secret_value::SecretValue;
use serde::Serialize;
use std::collections::BTreeMap;

/// The placeholder for a value. It is not base64, so that `kubectl apply` rejects it.
const MASKED: &str = "<masked: --show-values shows it>";
/// The placeholder for a token that does not exist yet.
const TO_BE_MINTED: &str = "<minted by --apply>";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    r#type: &'static str,
    data: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'static str,
    namespace: &'a str,
}

/// The Secrets that would be created, and the namespace if it is created too. A skipped Secret is a
/// comment.
pub fn manifests(plan: &Plan, namespace: Option<&Namespace>, show_values: bool) -> String {
    let namespace = namespace.map(|name| {
        let metadata = serde_json::json!({ "name": name.as_str() });
        to_yaml(
            &serde_json::json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
        )
    });
    let documents = plan.places.iter().map(|secret| {
        if !secret.is_written() {
            return skipped_comment(secret.at.name, secret.reason.as_deref());
        }
        to_yaml(&Manifest {
            api_version: "v1",
            kind: "Secret",
            metadata: Metadata {
                name: secret.at.name,
                namespace: secret.at.namespace.as_str(),
            },
            r#type: "Opaque",
            data: data(plan, secret, show_values),
        })
    });
    namespace
        .into_iter()
        .chain(documents)
        .map(|document| format!("---\n{document}"))
        .collect()
}

/// One YAML document.
pub fn to_yaml<T: Serialize>(object: &T) -> String {
    let mut text =
        serde_saphyr::to_string(object).expect("a manifest has text keys and no foreign types");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn data<'a>(plan: &Plan, secret: &'a SecretPlan, show_values: bool) -> BTreeMap<&'a str, String> {
    let encode = |value| LiveValue::encode(&value).base64.expose().to_owned();
    let shown = |value| shown(plan, value, show_values).map_or_else(str::to_owned, encode);
    let set = secret.new_values();
    set.map(|(key, value)| (&*key.key, shown(value))).collect()
}

/// The value.
///
/// # Errors
/// A placeholder, for a value that is masked or not minted yet.
pub(super) fn shown<At, Base>(
    plan: &Plan<PlacePlan<At, Base>>,
    value: &NewValue,
    show_values: bool,
) -> Result<SecretValue, &'static str> {
    let value = plan.known(value).ok_or(TO_BE_MINTED)?;
    if show_values { Ok(value) } else { Err(MASKED) }
}

/// The comment in place of a document.
pub(super) fn skipped_comment(name: &str, reason: Option<&str>) -> String {
    let reason = reason.unwrap_or("nothing to do");
    format!("# {name}: skipped, {reason}\n")
}
