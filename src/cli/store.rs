//! Options of the commands around the secret store (Path 2).

use super::parse::{entry_path, input_name, object_name, store_path, timeout};
use super::{Fleet, Timeout};
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreKind;
use clap::{Args, ValueEnum};

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

/// Where the bundles are in the store.
#[derive(Clone, Debug, Args)]
pub struct StoreLayout {
    /// What stands before the entries: PREFIX/router, PREFIX/embeddings, PREFIX/agenticore
    #[arg(long, value_name = "PREFIX", value_parser = store_path)]
    pub prefix: String,
    /// Another path for one of them: embeddings=team/x (repeatable)
    #[arg(long, value_name = "ENTRY=PATH", value_parser = entry_path)]
    pub path: Vec<(&'static str, String)>,
}

/// The store through which External Secrets Operator reads.
#[derive(Clone, Debug, Args)]
pub struct ReadStore {
    /// The store that the ExternalSecrets name; its credential should only read
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub store: String,
    /// Whether it serves one namespace or all
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore"
    )]
    pub store_kind: StoreScope,
}

/// The kind of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreScope {
    /// It serves all namespaces
    #[value(name = "ClusterSecretStore")]
    ClusterSecretStore,
    /// It serves its own namespace
    #[value(name = "SecretStore")]
    SecretStore,
}

impl From<StoreScope> for StoreKind {
    fn from(scope: StoreScope) -> Self {
        match scope {
            StoreScope::ClusterSecretStore => Self::ClusterSecretStore,
            StoreScope::SecretStore => Self::SecretStore,
        }
    }
}

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

/// Options of `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// How long to wait; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub timeout: Timeout,
    /// Where the agent pods are.
    #[command(flatten)]
    pub fleet: Fleet,
}
