//! Options that several commands share.

use super::parse::{entry_path, input_name, object_name, printable, store_path};
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreKind;
use crate::domain::plan::Prefer;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

/// The fleet: the namespaces of the agent pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Fleet {
    /// A fleet namespace; it gets agentibrain-router-secrets only (repeatable)
    #[arg(long, value_name = "NS")]
    pub fleet_namespace: Vec<Namespace>,
    /// A label selector for fleet namespaces
    #[arg(long, value_name = "LABELS", value_parser = printable)]
    pub fleet_selector: Option<String>,
}

/// The live values that `--apply` may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Changes {
    /// Inputs that may overwrite a live value
    #[arg(long, value_name = "KEY", value_delimiter = ',', value_parser = input_name)]
    pub update: Vec<&'static str>,
    /// The side to use if the tokens file and the cluster differ
    #[arg(long, value_enum, value_name = "SIDE")]
    pub prefer: Option<PreferSide>,
    /// Take over keys that another field manager owns
    #[arg(long)]
    pub force_conflicts: bool,
    #[command(flatten)]
    pub api_keys: ApiKeys,
}

/// Whether API_KEYS is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct ApiKeys {
    /// Leave out API_KEYS, the list that the embeddings service reads
    #[arg(long, conflicts_with = "with_api_keys")]
    pub without_api_keys: bool,
    // The default; scripts may still pass it.
    #[arg(long, hide = true)]
    with_api_keys: bool,
}

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

/// The paths of the entries in the store.
#[derive(Clone, Debug, Args)]
pub struct StoreLayout {
    /// The path prefix of the entries: PREFIX/router, PREFIX/embeddings, PREFIX/agenticore
    #[arg(long, value_name = "PREFIX", value_parser = store_path)]
    pub prefix: String,
    /// Another path for one entry: embeddings=team/x (repeatable)
    #[arg(long, value_name = "ENTRY=PATH", value_parser = entry_path)]
    pub path: Vec<(&'static str, String)>,
}

/// The store from which External Secrets Operator reads.
#[derive(Clone, Debug, Args)]
pub struct ReadStore {
    /// The store of the ExternalSecrets; its credential should be read-only
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub store: String,
    /// The kind of the store
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "ClusterSecretStore"
    )]
    pub store_kind: StoreKind,
}

impl ValueEnum for StoreKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()).help(match self {
            Self::ClusterSecretStore => "For all namespaces",
            Self::SecretStore => "For its own namespace",
        }))
    }
}
