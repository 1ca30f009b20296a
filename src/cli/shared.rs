//! Options that several commands have.

use super::parse::{entry_path, input_name, object_name, printable, store_path};
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreKind;
use crate::domain::plan::Prefer;
use clap::{Args, ValueEnum};

/// The namespaces of the agent pods, which get agentibrain-router-secrets only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Fleet {
    /// A namespace with agent pods; it gets agentibrain-router-secrets only (repeatable)
    #[arg(long, value_name = "NS")]
    pub fleet_namespace: Vec<Namespace>,
    /// The namespaces with these labels, likewise
    #[arg(long, value_name = "LABELS", value_parser = printable)]
    pub fleet_selector: Option<String>,
}

/// What may change beside what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Changes {
    /// Inputs that may change a live value
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = input_name)]
    pub update: Vec<&'static str>,
    /// Which side wins where the tokens file and the cluster disagree
    #[arg(long, value_enum, value_name = "SIDE")]
    pub prefer: Option<PreferSide>,
    /// Take over keys that another field manager owns
    #[arg(long)]
    pub force_conflicts: bool,
    /// Also write API_KEYS, which the embeddings service reads
    #[arg(long)]
    pub with_api_keys: bool,
}

/// A side of a disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreferSide {
    /// The home namespace
    Cluster,
    /// The tokens file
    File,
}

impl From<PreferSide> for Prefer {
    fn from(side: PreferSide) -> Self {
        match side {
            PreferSide::Cluster => Self::Cluster,
            PreferSide::File => Self::File,
        }
    }
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
