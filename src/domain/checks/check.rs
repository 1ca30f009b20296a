//! A check: what was looked at, how it is, and the command that mends it.

use serde::{Serialize, Serializer};
use std::fmt;

/// Which check it is. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// The API server answers.
    ClusterReachable,
    /// Its version.
    ClusterVersion,
    /// The home namespace is there.
    ClusterNamespace,
    /// What this identity may read.
    ClusterAccess,
    /// The tokens file is there.
    FilePresent,
    /// It can be read and understood.
    FileParsed,
    /// Nobody else can read it.
    FileMode,
    /// It holds both tokens.
    FileComplete,
    /// git leaves it alone.
    FileIgnored,
    /// `lint`: the files can be read, and are YAML.
    ValuesParsed,
    /// `lint`: no key of the table has a literal value.
    ValuesCredentials,
    /// `lint`: an ExternalSecret names its store and its path.
    ValuesStore,
    /// `lint`: an ExternalSecret makes the Secret that the pods read.
    ValuesTarget,
    /// The Secret is there.
    SecretPresent,
    /// It has the keys of the table.
    SecretKeys,
    /// Its values can be right.
    SecretValue,
    /// Its values do not stand in an annotation.
    SecretExposed,
    /// The tokens file and the Secret agree.
    TokensMatch,
    /// A token is on the lists that have to hold it.
    TokensPair,
    /// The fleet has the tokens of the home namespace.
    TokensFleet,
    /// Copies in other Secrets are in step.
    TokensCopies,
    /// A rotation is open, and for how long.
    RotationOpen,
    /// What pods refer to exists.
    WorkloadWired,
    /// Pods run on the values of today.
    WorkloadFresh,
    /// No pod waits for a Secret or a key.
    WorkloadWaiting,
    /// Reloader reacts where it is asked to.
    WorkloadReloader,
    /// Who owns the Secret.
    OwnerSecret,
    /// The operator's ExternalSecrets are served.
    EsoServed,
    /// Somebody works on them.
    EsoOperator,
    /// Their stores are ready.
    EsoStore,
    /// One of them makes the Secret.
    EsoPresent,
    /// It is synced, and if not, why.
    EsoSynced,
    /// What it brings is complete.
    EsoFields,
    /// It and the Secret are in the same hands.
    EsoTarget,
    /// Its policies hold no trap.
    EsoPolicy,
    /// The entry is in the store.
    StorePath,
    /// The entry is complete.
    StoreFields,
    /// The Secret has what the entry has.
    StoreEqual,
    /// How old the tokens are.
    AgeToken,
    /// The embeddings service checks its callers.
    EmbeddingsDoor,
    /// brain-api lets the right token in and no other.
    LiveBrainApi,
    /// The embeddings service lets the right key in and no other.
    LiveEmbeddings,
}

impl Id {
    /// All of them, in the order in which they are shown.
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

    /// The id: its group, a dot, its name.
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

    /// Tells whether it is said on Path 2 only.
    pub fn is_of_path2(self) -> bool {
        matches!(self.group(), "eso" | "store")
    }

    /// What stands before the dot.
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
    /// As it should be.
    Pass,
    /// It works, and somebody should look at it.
    Warn,
    /// It is broken.
    Fail,
    /// It does not apply, or could not be seen.
    Skip,
}

impl Status {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One thing that was checked. `-o json` prints it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub id: Id,
    /// How it is.
    pub status: Status,
    /// Where; empty where it is about no single namespace.
    pub namespace: String,
    /// What, as `Kind/name`; empty where it is about no single object.
    pub object: String,
    /// One sentence, without a value.
    pub message: String,
    /// One shell command that mends it; empty where there is nothing to mend.
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

    /// As it should be.
    pub fn pass(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Pass, message, "")
    }

    /// Not looked at, and why.
    pub fn skip(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Skip, message, "")
    }

    /// Somebody should look at it.
    pub fn warn(id: Id, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(id, Status::Warn, message, hint)
    }

    /// Broken.
    pub fn fail(id: Id, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(id, Status::Fail, message, hint)
    }

    /// Says where it is, and what.
    #[must_use]
    pub fn at(mut self, namespace: impl ToString, kind: &str, name: &str) -> Self {
        self.namespace = namespace.to_string();
        self.object = format!("{kind}/{name}");
        self
    }

    /// Says what mends a check that could not be made.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = printable(hint.into());
        self
    }
}

/// A text of one line that moves no cursor: names and types in a cluster can hold anything.
fn printable(text: String) -> String {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, "?"),
        false => text,
    }
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
