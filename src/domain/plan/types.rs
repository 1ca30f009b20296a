//! The types of a plan: the wanted Secrets, the tokens file, and what happens to each key.

use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::table::{AGENTICORE, Bundle, EMBEDDINGS, ROUTER};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// Which side wins if the tokens file and the home namespace disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    Cluster,
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

/// The wanted state of the Secrets.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Gets every Secret.
    pub home: Namespace,
    /// Get the router Secret only.
    pub fleet: BTreeSet<Namespace>,
    pub inputs: Inputs,
    /// The inputs that may change a live value.
    pub update: BTreeSet<&'static str>,
    pub prefer: Option<Prefer>,
    /// Whether keys of another field manager may be taken over.
    pub force_conflicts: bool,
    /// Whether `API_KEYS` is written.
    pub api_keys: bool,
}

impl Wish {
    /// Wants the tokens only, without inputs.
    pub fn of_tokens(home: Namespace, fleet: BTreeSet<Namespace>) -> Self {
        Self {
            home,
            fleet,
            inputs: Inputs::default(),
            update: BTreeSet::new(),
            prefer: None,
            force_conflicts: false,
            api_keys: false,
        }
    }

    /// The Secrets with their bundles: those of the home namespace first.
    pub fn targets(&self) -> impl Iterator<Item = (SecretRef, &'static Bundle)> {
        let at = |namespace: &Namespace, bundle: &'static Bundle| {
            (SecretRef::new(namespace, bundle.secret), bundle)
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

/// The content of the tokens file.
#[derive(Clone, Debug, Default)]
pub struct FiledTokens {
    pub exists: bool,
    pub tokens: PerToken<Filed>,
}

impl FiledTokens {
    /// The content of the file before this run has minted a token.
    pub fn found(exists: bool, token: impl Fn(TokenName) -> Option<Token>) -> Self {
        Self {
            exists,
            tokens: PerToken::from_fn(|name| token(name).map_or(Filed::Absent, Filed::Found)),
        }
    }
}

/// A token in the tokens file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filed {
    #[default]
    Absent,
    /// The token was in the file when this run began.
    Found(Token),
    /// This run has minted the token. Nothing uses it yet, so a token found elsewhere replaces it.
    MintedNow(Token),
}

/// The value of a token and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    File(Token),
    /// The home namespace has the token; the file has none or another one.
    Cluster(Token),
    /// The store has the token; the file and the home namespace have none.
    Store(Token),
    /// No place has the token. `None` until `--apply` has minted it.
    Minted(Option<Token>),
}

impl Decision {
    /// The value; `None` if it is not minted yet.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::File(token) | Self::Cluster(token) | Self::Store(token) => Some(token),
            Self::Minted(token) => token.as_ref(),
        }
    }

    pub fn source(&self) -> ValueSource {
        match self {
            Self::File(_) => ValueSource::File,
            Self::Cluster(_) => ValueSource::Cluster,
            Self::Store(_) => ValueSource::Store,
            Self::Minted(_) => ValueSource::Minted,
        }
    }
}

/// What happens to the tokens file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    Create,
    /// A token is added or replaced.
    Update {
        /// Whether a token that was in the file before this run is replaced, so that a backup is
        /// kept.
        replaces: bool,
    },
    Keep,
}

/// The plan for a key of a Secret, or a field of a store entry. `-o json` prints it, without values.
#[derive(Clone, Debug, Serialize)]
pub struct KeyPlan {
    /// In the store it need not be a key of the table, if live Secrets are a source.
    pub key: Cow<'static, str>,
    pub action: KeyAction,
    pub source: ValueSource,
    /// Whether the Secret or the entry has the key.
    #[serde(skip)]
    pub live: bool,
}

impl KeyPlan {
    pub fn is_set(&self) -> bool {
        matches!(self.action, KeyAction::Set(_))
    }
}

impl Serialize for KeyAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub enum KeyAction {
    Set(NewValue),
    Kept,
    /// The live value stays and is copied to the tokens file.
    Adopted,
    /// The live value stays although another one is wanted.
    Differs,
}

impl KeyAction {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Set(_) => "set",
            Self::Kept => "kept",
            Self::Adopted => "adopted",
            Self::Differs => "differs",
        }
    }
}

/// The source of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueSource {
    Minted,
    /// The tokens file.
    File,
    Cluster,
    /// The environment or the env-file.
    Env,
    /// The default of the table.
    Default,
    Store,
}

impl ValueSource {
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

/// A value to be written. Tokens are filled in later.
#[derive(Clone, Debug)]
pub enum NewValue {
    Token(TokenName),
    /// A comma-separated list: the existing entries, then the token unless it is one of them.
    List {
        /// The existing list, if there is one.
        entries: Option<SecretValue>,
        token: TokenName,
    },
    Plain(SecretValue),
}

impl FileAction {
    pub(super) fn of(filed: &FiledTokens, tokens: &PerToken<Option<Decision>>) -> Self {
        let mut action = Self::Keep;
        for (name, decision) in tokens.iter() {
            let Some(decision) = decision else { continue };
            let replaces = match filed.tokens.get(name) {
                Filed::Found(token) | Filed::MintedNow(token)
                    if decision.token() == Some(token) =>
                {
                    continue;
                }
                Filed::Found(_) => true,
                Filed::Absent | Filed::MintedNow(_) => false,
            };
            action = match action {
                Self::Update { replaces: true } => action,
                _ => Self::Update { replaces },
            };
        }
        match action {
            Self::Update { .. } if !filed.exists => Self::Create,
            action => action,
        }
    }
}
