//! `externalsecrets`

use super::shared::{ReadStore, StoreLayout};
use crate::domain::cluster::names::Namespace;
use clap::Args;

/// Options of `externalsecrets`.
#[derive(Debug, Args)]
pub struct ExternalSecrets {
    /// Where the bundles are.
    #[command(flatten)]
    pub layout: StoreLayout,
    /// The store.
    #[command(flatten)]
    pub store: ReadStore,
    /// A namespace with agent pods; it gets agentibrain-router-secrets only (repeatable)
    #[arg(long, value_name = "NS")]
    pub fleet_namespace: Vec<Namespace>,
}
