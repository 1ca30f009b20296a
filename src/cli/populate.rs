//! `populate`

use super::parse::{input_name, object_name, store_path};
use super::shared::{StoreLayout, StoreScope};
use clap::Args;

/// Options of `populate`.
#[derive(Debug, Args)]
pub struct Populate {
    /// Write what is missing
    #[arg(long)]
    pub apply: bool,
    /// Where the bundles are.
    #[command(flatten)]
    pub layout: StoreLayout,
    /// The mount of the KV engine, version 2
    #[arg(long, value_name = "MOUNT", default_value = "secret", value_parser = store_path)]
    pub mount: String,
    /// Fill any store, through External Secrets Operator; one for writing, not that of the pods
    #[arg(
        long,
        value_name = "STORE",
        conflicts_with = "mount",
        value_parser = object_name
    )]
    pub via_eso: Option<String>,
    /// With --via-eso: whether the store serves one namespace or all
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore",
        requires = "via_eso"
    )]
    pub store_kind: StoreScope,
    /// Take the values from the live Secrets, every key of them
    #[arg(long)]
    pub from_cluster: bool,
    /// Inputs that may change a value that is there
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = input_name)]
    pub update: Vec<&'static str>,
    /// Also write API_KEYS, which the embeddings service reads
    #[arg(long)]
    pub with_api_keys: bool,
    /// With -o yaml or json: show the values
    #[arg(long)]
    pub show_values: bool,
}
