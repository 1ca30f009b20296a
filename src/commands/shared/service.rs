//! Asks a service whether it accepts a token, through a port-forward. It must not change anything.

use crate::domain::cluster::snapshot::Reply;
use crate::domain::cluster::workload::{Workload, first_pod};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use crate::io::kube::port_forward::{Ask, Forwarder};

/// The first pod of the StatefulSet that checks a token.
pub struct Service<'a> {
    forwarder: &'a Forwarder,
    workload: &'a Workload,
    token: TokenName,
    port: u16,
}

impl<'a> Service<'a> {
    /// Returns `None` if the pods name no port.
    pub fn new(forwarder: &'a Forwarder, workload: &'a Workload, token: TokenName) -> Option<Self> {
        let port = workload.spec.port()?;
        Some(Self {
            forwarder,
            workload,
            token,
            port,
        })
    }

    pub async fn ask(&self, bearer: &SecretValue) -> Reply {
        let (path, json) = match self.token {
            TokenName::KbRouterToken => ("/feed", None),
            // The service checks the key before the body, so an empty body embeds nothing.
            TokenName::EmbeddingsApiKey => ("/embed", Some("{}")),
        };
        let ask = Ask { path, bearer, json };
        let pod = first_pod(&self.workload.name);
        let namespace = &self.workload.namespace;
        self.forwarder.ask(namespace, &pod, self.port, &ask).await
    }
}
