//! `externalsecrets`

use super::shared::{ReadStore, StoreLayout};
use crate::domain::cluster::names::Namespace;
use clap::Args;

#[derive(Debug, Args)]
pub struct ExternalSecrets {
    #[command(flatten)]
    pub layout: StoreLayout,
    #[command(flatten)]
    pub store: ReadStore,
    /// A fleet namespace; it gets agentibrain-router-secrets only (repeatable)
    #[arg(long, value_name = "NS")]
    pub fleet_namespace: Vec<Namespace>,
}
