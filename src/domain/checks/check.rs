//! One result of `verify`: its id, its status, one sentence, and the command that fixes it.

use serde::{Serialize, Serializer};
use std::fmt;

/// The ids are a contract: scripts and docs/checks.md refer to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// The API server answers.
    ClusterReachable,
    /// The Kubernetes version.
    ClusterVersion,
    /// The home namespace exists.
    ClusterNamespace,
    /// The identity may read all that the checks need.
    ClusterAccess,
    /// The tokens file exists.
    FilePresent,
    /// The tokens file is valid.
    FileParsed,
    /// Other users cannot read the tokens file.
    FileMode,
    /// The tokens file holds both tokens.
    FileComplete,
    /// git ignores the tokens file.
    FileIgnored,
    /// `lint`: the files can be read, and are YAML.
    ValuesParsed,
    /// `lint`: no key of the table has a literal value.
    ValuesCredentials,
    /// `lint`: an ExternalSecret names its store and its path.
    ValuesStore,
    /// `lint`: an ExternalSecret creates the Secret that the pods read.
    ValuesTarget,
    /// The Secret exists.
    SecretPresent,
    /// The Secret has the keys of the table.
    SecretKeys,
    /// No value of the Secret is a placeholder or malformed.
    SecretValue,
    /// No annotation holds the values of the Secret.
    SecretExposed,
    /// The tokens file and the Secret agree.
    TokensMatch,
    /// Each token is in the lists that must contain it.
    TokensPair,
    /// The fleet namespaces have the tokens of the home namespace.
    TokensFleet,
    /// Copies in other Secrets are up to date.
    TokensCopies,
    /// Whether a rotation is open, and for how long.
    RotationOpen,
    /// The Secrets and keys that pods refer to exist.
    WorkloadWired,
    /// Pods started after their Secrets last changed.
    WorkloadFresh,
    /// No pod waits for a missing Secret or key.
    WorkloadWaiting,
    /// Reloader restarts the workloads whose annotation asks for it.
    WorkloadReloader,
    /// What owns the Secret.
    OwnerSecret,
    /// The API server serves ExternalSecret.
    EsoServed,
    /// External Secrets Operator reconciles the ExternalSecrets and stores.
    EsoOperator,
    /// The stores of the ExternalSecrets are ready.
    EsoStore,
    /// An ExternalSecret creates the Secret.
    EsoPresent,
    /// The ExternalSecret is synced.
    EsoSynced,
    /// The Secret has every field of its store entry.
    EsoFields,
    /// The ExternalSecret owns the Secret.
    EsoTarget,
    /// The policies of the ExternalSecret are safe.
    EsoPolicy,
    /// The store entry exists.
    StorePath,
    /// The store entry has every field.
    StoreFields,
    /// The Secret equals the store entry.
    StoreEqual,
    /// The age of the tokens.
    AgeToken,
    /// The embeddings service checks its callers.
    EmbeddingsDoor,
    /// brain-api accepts the right token and rejects a wrong one.
    LiveBrainApi,
    /// The embeddings service accepts the right key and rejects a wrong one.
    LiveEmbeddings,
}

impl Id {
    /// In the order of the output.
    pub const ALL: [Self; 42] = [
        Self::ClusterReachable,
        Self::ClusterVersion,
        Self::ClusterNamespace,
        Self::ClusterAccess,
        Self::FilePresent,
        Self::FileParsed,
        Self::FileMode,
        Self::FileComplete,
        Self::FileIgnored,
        Self::ValuesParsed,
        Self::ValuesCredentials,
        Self::ValuesStore,
        Self::ValuesTarget,
        Self::SecretPresent,
        Self::SecretKeys,
        Self::SecretValue,
        Self::SecretExposed,
        Self::TokensMatch,
        Self::TokensPair,
        Self::TokensFleet,
        Self::TokensCopies,
        Self::RotationOpen,
        Self::WorkloadWired,
        Self::WorkloadFresh,
        Self::WorkloadWaiting,
        Self::WorkloadReloader,
        Self::OwnerSecret,
        Self::EsoServed,
        Self::EsoOperator,
        Self::EsoStore,
        Self::EsoPresent,
        Self::EsoSynced,
        Self::EsoFields,
        Self::EsoTarget,
        Self::EsoPolicy,
        Self::StorePath,
        Self::StoreFields,
        Self::StoreEqual,
        Self::AgeToken,
        Self::EmbeddingsDoor,
        Self::LiveBrainApi,
        Self::LiveEmbeddings,
    ];

    /// The group, a dot, the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterReachable => "cluster.reachable",
            Self::ClusterVersion => "cluster.version",
            Self::ClusterNamespace => "cluster.namespace",
            Self::ClusterAccess => "cluster.access",
            Self::FilePresent => "file.present",
            Self::FileParsed => "file.parsed",
            Self::FileMode => "file.mode",
            Self::FileComplete => "file.complete",
            Self::FileIgnored => "file.ignored",
            Self::ValuesParsed => "values.parsed",
            Self::ValuesCredentials => "values.credentials",
            Self::ValuesStore => "values.store",
            Self::ValuesTarget => "values.target",
            Self::SecretPresent => "secret.present",
            Self::SecretKeys => "secret.keys",
            Self::SecretValue => "secret.value",
            Self::SecretExposed => "secret.exposed",
            Self::TokensMatch => "tokens.match",
            Self::TokensPair => "tokens.pair",
            Self::TokensFleet => "tokens.fleet",
            Self::TokensCopies => "tokens.copies",
            Self::RotationOpen => "rotation.open",
            Self::WorkloadWired => "workload.wired",
            Self::WorkloadFresh => "workload.fresh",
            Self::WorkloadWaiting => "workload.waiting",
            Self::WorkloadReloader => "workload.reloader",
            Self::OwnerSecret => "owner.secret",
            Self::EsoServed => "eso.served",
            Self::EsoOperator => "eso.operator",
            Self::EsoStore => "eso.store",
            Self::EsoPresent => "eso.present",
            Self::EsoSynced => "eso.synced",
            Self::EsoFields => "eso.fields",
            Self::EsoTarget => "eso.target",
            Self::EsoPolicy => "eso.policy",
            Self::StorePath => "store.path",
            Self::StoreFields => "store.fields",
            Self::StoreEqual => "store.equal",
            Self::AgeToken => "age.token",
            Self::EmbeddingsDoor => "embeddings.door",
            Self::LiveBrainApi => "live.brain-api",
            Self::LiveEmbeddings => "live.embeddings",
        }
    }

    /// True if the check exists on Path 2 only.
    pub fn is_of_path2(self) -> bool {
        matches!(self.group(), "eso" | "store")
    }

    /// The part before the dot.
    pub fn group(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    /// It works, but needs attention.
    Warn,
    Fail,
    /// Not applicable, or a permission is missing.
    Skip,
}

impl Status {
    /// The word in the JSON output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// `-o json` prints it in this shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub id: Id,
    pub status: Status,
    /// Empty if the check is not about a single namespace.
    pub namespace: String,
    /// `Kind/name`; empty if the check is not about a single object.
    pub object: String,
    /// One sentence, without a value.
    pub message: String,
    /// One shell command that fixes it; empty if there is nothing to fix.
    pub hint: String,
}

impl Check {
    fn new(id: Id, status: Status, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id,
            status,
            namespace: String::new(),
            object: String::new(),
            message: printable(message.into()),
            hint: printable(hint.into()),
        }
    }

    pub fn pass(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Pass, message, "")
    }

    /// The message says why.
    pub fn skip(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Skip, message, "")
    }

    pub fn warn(id: Id, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(id, Status::Warn, message, hint)
    }

    pub fn fail(id: Id, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(id, Status::Fail, message, hint)
    }

    /// Sets the namespace and the object.
    #[must_use]
    pub fn at(mut self, namespace: impl ToString, kind: &str, name: &str) -> Self {
        self.namespace = namespace.to_string();
        self.object = format!("{kind}/{name}");
        self
    }

    /// Sets the hint of a skipped check.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = printable(hint.into());
        self
    }
}

/// Replaces control characters: names and types in a cluster can hold anything.
fn printable(text: String) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let check = Check::fail(Id::SecretPresent, "type x\n[ok] \u{1b}[32mfake", "a\nb");
        assert_eq!(check.message, "type x?[ok] ?[32mfake");
        assert_eq!(check.hint, "a?b");
    }

    #[test]
    fn ids_are_one_word_each_and_groups_stand_together() {
        let mut groups: Vec<_> = Id::ALL.iter().map(|id| id.group()).collect();
        groups.dedup();
        let runs = groups.len();
        groups.sort_unstable();
        groups.dedup();
        assert_eq!(groups.len(), runs);
        assert!(Id::ALL.is_sorted());
    }
}
