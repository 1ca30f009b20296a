//! `migrate`

use super::parse::{entry_path, object_name, store_path};
use super::shared::Fleet;
use crate::domain::eso::objects::StoreKind;
use clap::Args;

#[derive(Debug, Args)]
pub struct Migrate {
    /// Make the changes
    #[arg(long)]
    pub apply: bool,
    /// Delete the ExternalSecrets and keep the Secrets
    #[arg(long)]
    pub rollback: bool,
    /// The path prefix of the entries: PREFIX/router, PREFIX/embeddings, PREFIX/agenticore
    #[arg(
        long,
        value_name = "PREFIX",
        value_parser = store_path,
        required_unless_present = "rollback",
        conflicts_with = "rollback"
    )]
    pub prefix: Option<String>,
    /// Another path for one entry: embeddings=team/x (repeatable)
    #[arg(long, value_name = "ENTRY=PATH", value_parser = entry_path, conflicts_with = "rollback")]
    pub path: Vec<(&'static str, String)>,
    /// The store of the ExternalSecrets; its credential should be read-only
    #[arg(
        long,
        value_name = "NAME",
        value_parser = object_name,
        required_unless_present = "rollback",
        conflicts_with = "rollback"
    )]
    pub store: Option<String>,
    /// The kind of the store
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore"
    )]
    pub store_kind: StoreKind,
    #[command(flatten)]
    pub fleet: Fleet,
}
