//! The name of an ExternalSecret, and its API path.

use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::ExternalSecret;
use std::fmt;

/// The API group of ExternalSecrets and their stores.
pub(super) const GROUP: &str = "/apis/external-secrets.io";

/// An ExternalSecret by its name, in a served API version.
#[derive(Clone, Copy)]
pub struct ExternalRef<'a> {
    pub version: &'a str,
    pub namespace: &'a Namespace,
    pub name: &'a str,
}

impl<'a> ExternalRef<'a> {
    pub fn of(version: &'a str, external: &'a ExternalSecret) -> Self {
        let (namespace, name) = (&external.namespace, &external.name);
        Self {
            version,
            namespace,
            name,
        }
    }

    /// The API path.
    pub fn path(self) -> String {
        format!("{}/{}", collection(self.version, self.namespace), self.name)
    }
}

impl fmt::Display for ExternalRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalSecret {}/{}", self.namespace, self.name)
    }
}

/// The API path of the ExternalSecrets of a namespace.
pub(super) fn collection(version: &str, namespace: &Namespace) -> String {
    format!("{GROUP}/{version}/namespaces/{namespace}/externalsecrets")
}
