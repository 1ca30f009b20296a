//! The ExternalSecrets of Path 2 as manifests.

use super::yaml::to_yaml;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreRef;
use crate::domain::table::Bundle;
use serde_json::{Value, json};

/// How often the operator refreshes.
const INTERVAL: &str = "30s";

/// An ExternalSecret that makes a bundle's Secret, all of it, from an entry of a store.
#[derive(Clone, Debug)]
pub struct Extract<'a> {
    /// `v1` or `v1beta1`.
    pub version: &'static str,
    /// Where it is.
    pub namespace: &'a Namespace,
    /// Whose Secret it makes.
    pub bundle: &'static Bundle,
    /// The store.
    pub store: &'a StoreRef,
    /// The entry.
    pub path: &'a str,
}

impl Extract<'_> {
    /// As an object of the API.
    ///
    /// The empty metadata of the template keep the operator from copying labels and annotations of
    /// the ExternalSecret onto the Secret.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": format!("external-secrets.io/{}", self.version),
            "kind": "ExternalSecret",
            "metadata": {
                "name": self.bundle.external_secret,
                "namespace": self.namespace.as_str(),
            },
            "spec": {
                "refreshInterval": INTERVAL,
                "secretStoreRef": { "kind": self.store.kind.as_str(), "name": self.store.name },
                "target": {
                    "name": self.bundle.secret,
                    "creationPolicy": "Owner",
                    "deletionPolicy": "Retain",
                    "template": { "metadata": {} },
                },
                "dataFrom": [{ "extract": { "key": self.path } }],
            },
        })
    }
}

/// The objects as YAML documents.
pub fn yaml(objects: &[Value]) -> String {
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    documents.join("---\n")
}
