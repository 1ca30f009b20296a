//! The words of a plan: what is wanted, what was found, and what happens to each key.

use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::owner::Owner;
use crate::domain::table::{AGENTICORE, Bundle, EMBEDDINGS, ROUTER};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which side wins where the tokens file and the home namespace disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The home namespace.
    Cluster,
    /// The tokens file.
    File,
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::File => "file",
        })
    }
}

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The home namespace, which gets every Secret.
    pub home: Namespace,
    /// The fleet namespaces, which get the router Secret only.
    pub fleet: BTreeSet<Namespace>,
    /// The inputs.
    pub inputs: Inputs,
    /// The inputs that may change a live value.
    pub update: BTreeSet<&'static str>,
    /// Which side wins where tokens disagree.
    pub prefer: Option<Prefer>,
    /// Whether keys that a controller manages may be taken over.
    pub force_conflicts: bool,
    /// Whether `API_KEYS` is written too.
    pub with_api_keys: bool,
}

impl Wish {
    /// A wish about the tokens alone.
    pub fn of_tokens(home: Namespace, fleet: BTreeSet<Namespace>) -> Self {
        Self {
            home,
            fleet,
            inputs: Inputs::default(),
            update: BTreeSet::new(),
            prefer: None,
            force_conflicts: false,
            with_api_keys: false,
        }
    }

    /// The Secrets that it is about, with their bundles, in the order in which they are shown.
    pub fn targets(&self) -> impl Iterator<Item = (SecretRef, &'static Bundle)> {
        let at = |namespace: &Namespace, bundle: &'static Bundle| {
            (
                SecretRef {
                    namespace: namespace.clone(),
                    name: bundle.secret,
                },
                bundle,
            )
        };
        let home = [&ROUTER, &EMBEDDINGS, &AGENTICORE].map(|bundle| at(&self.home, bundle));
        let fleet = self
            .fleet
            .iter()
            .filter(|namespace| **namespace != self.home)
            .map(move |namespace| at(namespace, &ROUTER));
        home.into_iter().chain(fleet)
    }
}

/// What the tokens file holds.
#[derive(Clone, Debug, Default)]
pub struct FiledTokens {
    /// Whether there is a file.
    pub exists: bool,
    /// Its tokens.
    pub tokens: PerToken<Filed>,
}

impl FiledTokens {
    /// What a tokens file holds before this run has minted anything.
    pub fn found(exists: bool, token: impl Fn(TokenName) -> Option<Token>) -> Self {
        Self {
            exists,
            tokens: PerToken::from_fn(|name| token(name).map_or(Filed::Absent, Filed::Found)),
        }
    }
}

/// What the tokens file says of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filed {
    /// Nothing.
    #[default]
    Absent,
    /// It was in the file when this run began.
    Found(Token),
    /// This run minted it and put it there. Nobody else has seen it, so it yields to what is found.
    MintedNow(Token),
}

/// Where the value of a token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The tokens file has it.
    File(Token),
    /// The home namespace has it and the file has not.
    Cluster(Token),
    /// Nobody has it: it is minted by the run that applies; `None` until then.
    Minted(Option<Token>),
}

impl Decision {
    /// The value, where there is one already.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::File(token) | Self::Cluster(token) => Some(token),
            Self::Minted(token) => token.as_ref(),
        }
    }
}

/// What happens to the tokens file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// It is made.
    Create,
    /// A token is added or exchanged.
    Update {
        /// Whether a token that was in the file before this run is exchanged, so that the old
        /// file is worth keeping.
        replaces: bool,
    },
    /// It stays as it is.
    Keep,
}

/// What happens to a Secret.
#[derive(Clone, Debug)]
pub struct SecretPlan {
    /// Where it is.
    pub at: SecretRef,
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// What happens.
    pub action: Action,
    /// Who owns it, where that is not us.
    pub owner: Option<Owner>,
    /// Why it is skipped or refused, or what remains wrong with it.
    pub reason: Option<String>,
    /// What happens to its keys.
    pub keys: Vec<KeyPlan>,
    /// What was found, where a change builds on it.
    pub base: Option<Base>,
}

/// What happens to a Secret, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create,
    /// Keys are added or changed.
    Configure,
    /// It is right as it is.
    Keep,
    /// It is left alone.
    Skip,
    /// A person has to decide.
    Refuse,
}

/// The state that a change builds on.
#[derive(Clone, Debug)]
pub struct Base {
    /// The `resourceVersion` that was read.
    pub resource_version: String,
    /// What this program applied before: `data` as base64.
    pub data: BTreeMap<String, SecretValue>,
    /// What this program applied before: annotations.
    pub annotations: BTreeMap<String, String>,
    /// The names of its annotations that the Secret has, however they came there.
    pub annotated: BTreeSet<String>,
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub struct KeyPlan {
    /// The key.
    pub key: &'static str,
    /// What happens.
    pub action: KeyAction,
    /// Where the value comes from.
    pub source: ValueSource,
    /// Whether the Secret has the key already.
    pub live: bool,
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub enum KeyAction {
    /// It is written.
    Set(NewValue),
    /// It stays.
    Kept,
    /// It stays, and the tokens file takes it over.
    Adopted,
    /// It stays although something else was wanted.
    Differs,
}

impl KeyAction {
    /// The word in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Kept => "kept",
            Self::Adopted => "adopted",
            Self::Differs => "differs",
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueSource {
    /// Minted by this run.
    Minted,
    /// The tokens file.
    File,
    /// The cluster.
    Cluster,
    /// The environment or the env-file.
    Env,
    /// The table's default.
    Default,
    /// The secret store.
    Store,
}

impl ValueSource {
    /// The word in JSON and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minted => "minted",
            Self::File => "file",
            Self::Cluster => "cluster",
            Self::Env => "env",
            Self::Default => "default",
            Self::Store => "store",
        }
    }
}

/// A value to be written; tokens are filled in later.
#[derive(Clone, Debug)]
pub enum NewValue {
    /// The token.
    Token(TokenName),
    /// The entries there are, then the token unless it is one of them.
    List {
        /// The list that there is; `None` where there is none.
        entries: Option<SecretValue>,
        /// The token.
        token: TokenName,
    },
    /// This value.
    Plain(SecretValue),
}

impl SecretPlan {
    /// Tells whether applying it sends a write.
    pub fn is_written(&self) -> bool {
        matches!(self.action, Action::Create | Action::Configure)
    }
}

/// Decides what happens to the tokens file.
pub(super) fn file_action(filed: &FiledTokens, tokens: &PerToken<Option<Decision>>) -> FileAction {
    let mut changes = false;
    let mut replaces = false;
    for (name, decision) in tokens.iter() {
        let Some(decision) = decision else { continue };
        match filed.tokens.get(name) {
            Filed::Absent => changes = true,
            Filed::Found(token) if decision.token() != Some(token) => {
                changes = true;
                replaces = true;
            }
            Filed::MintedNow(token) if decision.token() != Some(token) => changes = true,
            Filed::Found(_) | Filed::MintedNow(_) => {}
        }
    }
    match (changes, filed.exists) {
        (false, _) => FileAction::Keep,
        (true, false) => FileAction::Create,
        (true, true) => FileAction::Update { replaces },
    }
}
