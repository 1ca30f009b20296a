//! One result of `verify`: its id, its status, one sentence, and a hint: one command, or a link to
//! the steps in docs/checks.md.

use crate::domain::cluster::owner::Owner;
use crate::domain::word_enum::word_enum;
use serde::Serialize;

word_enum! {
    /// The ids are a contract: scripts and docs/checks.md refer to them.
    pub enum Id {
        /// The API server answers.
        ClusterReachable = "cluster.reachable",
        /// The Kubernetes version.
        ClusterVersion = "cluster.version",
        /// The home namespace exists.
        ClusterNamespace = "cluster.namespace",
        /// The identity may read all that the checks need.
        ClusterAccess = "cluster.access",
        /// The tokens file exists.
        FilePresent = "file.present",
        /// The tokens file is valid.
        FileParsed = "file.parsed",
        /// Other users cannot read the tokens file.
        FileMode = "file.mode",
        /// The tokens file holds both tokens.
        FileComplete = "file.complete",
        /// git ignores the tokens file.
        FileIgnored = "file.ignored",
        /// `lint`: the files can be read, and are YAML.
        ValuesParsed = "values.parsed",
        /// `lint`: no key of the table has a literal value.
        ValuesCredentials = "values.credentials",
        /// `lint`: an ExternalSecret names its store and its path.
        ValuesStore = "values.store",
        /// `lint`: an ExternalSecret creates the Secret that the pods read.
        ValuesTarget = "values.target",
        /// The Secret exists.
        SecretPresent = "secret.present",
        /// The Secret has the keys of the table.
        SecretKeys = "secret.keys",
        /// No value of the Secret is a placeholder or malformed.
        SecretValue = "secret.value",
        /// No annotation holds the values of the Secret.
        SecretExposed = "secret.exposed",
        /// The tokens file and the Secret agree.
        TokensMatch = "tokens.match",
        /// Each token is in the lists that must contain it.
        TokensPair = "tokens.pair",
        /// The fleet namespaces have the tokens of the home namespace.
        TokensFleet = "tokens.fleet",
        /// Copies in other Secrets are up to date.
        TokensCopies = "tokens.copies",
        /// Whether a rotation is open, and for how long.
        RotationOpen = "rotation.open",
        /// The Secrets and keys that pods refer to exist.
        WorkloadWired = "workload.wired",
        /// Pods started after their Secrets last changed.
        WorkloadFresh = "workload.fresh",
        /// No pod waits for a missing Secret or key.
        WorkloadWaiting = "workload.waiting",
        /// Reloader restarts the workloads whose annotation asks for it.
        WorkloadReloader = "workload.reloader",
        /// What owns the Secret.
        OwnerSecret = "owner.secret",
        /// The API server serves ExternalSecret.
        EsoServed = "eso.served",
        /// External Secrets Operator reconciles the ExternalSecrets and stores.
        EsoOperator = "eso.operator",
        /// The stores of the ExternalSecrets are ready.
        EsoStore = "eso.store",
        /// An ExternalSecret creates the Secret.
        EsoPresent = "eso.present",
        /// External Secrets Operator copies the entry to the Secret.
        EsoSynced = "eso.synced",
        /// The Secret has every field of its store entry.
        EsoFields = "eso.fields",
        /// The ExternalSecret owns the Secret.
        EsoTarget = "eso.target",
        /// The policies of the ExternalSecret are safe.
        EsoPolicy = "eso.policy",
        /// The store entry exists.
        StorePath = "store.path",
        /// The store entry has every field.
        StoreFields = "store.fields",
        /// The Secret equals the store entry.
        StoreEqual = "store.equal",
        /// The age of the tokens.
        AgeToken = "age.token",
        /// The embeddings service checks its callers.
        EmbeddingsDoor = "embeddings.door",
        /// brain-api accepts the right token and rejects a wrong one.
        LiveBrainApi = "live.brain-api",
        /// The embeddings service accepts the right key and rejects a wrong one.
        LiveEmbeddings = "live.embeddings",
    }
}

impl Id {
    /// The link to the steps, for a hint. The anchor is the one that GitHub gives the heading.
    pub fn docs_link(self) -> String {
        format!("see docs/checks.md#{}", self.as_str().replace('.', ""))
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

word_enum! {
    /// The result of a check.
    pub enum Status {
        Pass = "pass",
        /// It works, but needs attention.
        Warn = "warn",
        Fail = "fail",
        /// Not applicable, or a permission is missing.
        Skip = "skip",
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
    /// One shell command, or a link to docs/checks.md; empty if there is nothing to fix.
    pub hint: String,
}

impl Check {
    fn new(id: Id, status: Status, message: impl Into<String>) -> Self {
        Self {
            id,
            status,
            namespace: String::new(),
            object: String::new(),
            message: printable(message.into()),
            hint: match status {
                Status::Warn | Status::Fail => id.docs_link(),
                Status::Pass | Status::Skip => String::new(),
            },
        }
    }

    pub fn pass(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Pass, message)
    }

    /// The message says why.
    pub fn skip(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Skip, message)
    }

    /// The hint is the link to the steps, unless [`Check::hint`] sets a command.
    pub fn warn(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Warn, message)
    }

    /// The hint is the link to the steps, unless [`Check::hint`] sets a command.
    pub fn fail(id: Id, message: impl Into<String>) -> Self {
        Self::new(id, Status::Fail, message)
    }

    /// Sets the namespace and the object.
    #[must_use]
    pub fn at(mut self, namespace: impl ToString, kind: &str, name: &str) -> Self {
        self.namespace = namespace.to_string();
        self.object = format!("{kind}/{name}");
        self
    }

    /// Replaces the hint by one command.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = printable(hint.into());
        self
    }

    /// Replaces the hint by the link to the steps of another check.
    #[must_use]
    pub fn see(self, id: Id) -> Self {
        self.hint(id.docs_link())
    }

    /// Replaces the hint if something else owns the Secret: only the owner can change it.
    #[must_use]
    pub fn unless_owned(self, owner: Option<&Owner>) -> Self {
        match owner {
            Some(_) => self.see(Id::OwnerSecret),
            None => self,
        }
    }
}

/// The checks of an id: the failed ones, the passed one, and the skipped ones; `nothing` if there is
/// none of them.
pub(super) fn conclude(
    failed: Vec<Check>,
    passed: Option<Check>,
    skipped: Vec<Check>,
    nothing: Check,
) -> Vec<Check> {
    let mut checks = failed;
    checks.extend(passed);
    checks.extend(skipped);
    if checks.is_empty() {
        checks.push(nothing);
    }
    checks
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
        let check = Check::fail(Id::SecretPresent, "type x\n[ok] \u{1b}[32mfake").hint("a\nb");
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
