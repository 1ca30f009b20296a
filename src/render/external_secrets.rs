//! Manifests of the ExternalSecrets of Path 2.

use super::yaml::to_yaml;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreRef;
use crate::domain::table::Bundle;
use serde_json::{Value, json};

/// The refresh interval.
const INTERVAL: &str = "30s";

/// An ExternalSecret that creates the Secret of a bundle from one store entry.
#[derive(Clone, Debug)]
pub struct Extract<'a> {
    /// `v1` or `v1beta1`.
    pub version: &'static str,
    pub namespace: &'a Namespace,
    pub bundle: &'static Bundle,
    pub store: &'a StoreRef,
    /// The path of the store entry.
    pub path: &'a str,
}

impl Extract<'_> {
    /// The API object. With empty template metadata the operator does not copy the labels and
    /// annotations of the ExternalSecret to the Secret.
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

pub fn yaml(objects: &[Value]) -> String {
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    documents.join("---\n")
}
