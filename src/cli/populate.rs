//! `populate`

use super::parse::{input_name, object_name, store_path};
use super::shared::{ApiKeys, StoreLayout};
use crate::domain::eso::objects::StoreKind;
use clap::Args;

#[derive(Debug, Args)]
pub struct Populate {
    /// Write missing entries and fields
    #[arg(long)]
    pub apply: bool,
    #[command(flatten)]
    pub layout: StoreLayout,
    /// The mount of the KV engine (version 2)
    #[arg(long, value_name = "MOUNT", default_value = "secret", value_parser = store_path)]
    pub mount: String,
    /// Write through External Secrets Operator to this store; its credential needs write access
    #[arg(
        long,
        value_name = "STORE",
        conflicts_with = "mount",
        value_parser = object_name
    )]
    pub via_eso: Option<String>,
    /// With --via-eso: the kind of the store
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore",
        requires = "via_eso"
    )]
    pub store_kind: StoreKind,
    /// Copy all keys of the live Secrets
    #[arg(long)]
    pub from_cluster: bool,
    /// Inputs that may overwrite an existing value
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = input_name)]
    pub update: Vec<&'static str>,
    #[command(flatten)]
    pub api_keys: ApiKeys,
    /// With -o yaml or json: print the values
    #[arg(long)]
    pub show_values: bool,
}
