//! `migrate`

use super::parse::{entry_path, object_name, store_path};
use super::shared::{Fleet, StoreScope};
use clap::Args;

/// Options of `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Do it
    #[arg(long)]
    pub apply: bool,
    /// Go back: take the ExternalSecrets away and keep the Secrets
    #[arg(long)]
    pub rollback: bool,
    /// What stands before the entries: PREFIX/router, PREFIX/embeddings, PREFIX/agenticore
    #[arg(
        long,
        value_name = "PREFIX",
        value_parser = store_path,
        required_unless_present = "rollback",
        conflicts_with = "rollback"
    )]
    pub prefix: Option<String>,
    /// Another path for one of them: embeddings=team/x (repeatable)
    #[arg(long, value_name = "ENTRY=PATH", value_parser = entry_path, conflicts_with = "rollback")]
    pub path: Vec<(&'static str, String)>,
    /// The store that the ExternalSecrets name; its credential should only read
    #[arg(
        long,
        value_name = "NAME",
        value_parser = object_name,
        required_unless_present = "rollback",
        conflicts_with = "rollback"
    )]
    pub store: Option<String>,
    /// Whether it serves one namespace or all
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore"
    )]
    pub store_kind: StoreScope,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}
