//! The table of the Secrets: their names, their keys, and where each value comes from. A new key is
//! added here.
//!
//! The plan, the documents, the help, the preview, `rbac` and the store layout derive from it.

use super::values::token::TokenName;

/// One Secret of type `Opaque`, and one entry of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundle {
    pub secret: &'static str,
    /// The name of the entry in the store, below the prefix.
    pub entry: &'static str,
    /// The name of the ExternalSecret in the charts.
    pub external_secret: &'static str,
    /// In the order of all output.
    pub keys: &'static [Key],
}

/// One key of a Secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The key of the Secret and the environment variable of the pods.
    pub name: &'static str,
    pub origin: Origin,
}

/// Where the value of a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Token(TokenName),
    /// A list, separated by commas, that must contain the token. Other entries stay.
    TokenList(TokenName, Presence),
    Input(InputRule),
}

impl Origin {
    /// The token of the key, alone or in a list.
    pub fn token(self) -> Option<TokenName> {
        match self {
            Self::Token(token) | Self::TokenList(token, _) => Some(token),
            Self::Input(_) => None,
        }
    }

    pub fn is_list_of(self, token: TokenName) -> bool {
        matches!(self, Self::TokenList(of, _) if of == token)
    }
}

/// When a list that does not exist is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Unless the service's own list is there: this one is another name for it.
    Always,
    /// Unless `--without-api-keys` is given.
    UnlessLeftOut,
    /// Never. A list that exists is updated.
    IfFound,
}

/// What happens if the operator provides no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRule {
    /// The Secret is not created.
    Required,
    Default(&'static str),
    /// The key is left out. It is read from `--env-file` only, because shells set such a variable for
    /// other programs.
    EnvFileOnly,
}

impl Key {
    /// Whether a Secret or an entry with other keys lacks this one. One of the two names of the list is
    /// enough.
    pub fn is_missing(&self, has: impl Fn(&str) -> bool) -> bool {
        let has_other_name = self.name == EMBEDDINGS_API_KEYS && has(API_KEYS);
        !has(self.name) && !has_other_name
    }
}

impl Bundle {
    /// Whether a key is a token or a list of tokens.
    pub fn holds_tokens(&self) -> bool {
        self.keys.iter().any(|key| key.origin.token().is_some())
    }

    /// The names of the lists that must contain a token.
    pub fn lists_of(&self, token: TokenName) -> impl Iterator<Item = &'static str> {
        let keys = self.keys.iter();
        keys.filter(move |key| matches!(key.origin, Origin::TokenList(of, _) if of == token))
            .map(|key| key.name)
    }

    /// The inputs without which the Secret is not created.
    pub fn required_inputs(&self) -> Vec<&'static str> {
        let required = |key: &&Key| key.origin == Origin::Input(InputRule::Required);
        self.keys
            .iter()
            .filter(required)
            .map(|key| key.name)
            .collect()
    }
}

const fn token(name: &'static str, token: TokenName) -> Key {
    let origin = Origin::Token(token);
    Key { name, origin }
}

const fn list(name: &'static str, token: TokenName, presence: Presence) -> Key {
    let origin = Origin::TokenList(token, presence);
    Key { name, origin }
}

const fn input(name: &'static str, rule: InputRule) -> Key {
    let origin = Origin::Input(rule);
    Key { name, origin }
}

/// Read by brain-api and by agent pods. In the home namespace it decides which tokens win if several
/// operators bootstrap at once.
pub static ROUTER: Bundle = Bundle {
    secret: "agentibrain-router-secrets",
    entry: "router",
    external_secret: "agentibrain-brain-api-secrets",
    keys: &[
        token("KB_ROUTER_TOKEN", TokenName::KbRouterToken),
        token("EMBEDDINGS_API_KEY", TokenName::EmbeddingsApiKey),
        list(
            "KB_ROUTER_TOKENS",
            TokenName::KbRouterToken,
            Presence::IfFound,
        ),
    ],
};

/// Read by the StatefulSet `agentibrain-embeddings`.
pub static EMBEDDINGS: Bundle = Bundle {
    secret: "embeddings-secrets",
    entry: "embeddings",
    external_secret: "agentibrain-embeddings-secrets",
    keys: &[
        input("POSTGRES_URL", InputRule::Required),
        input("LLM_API_KEY", InputRule::Default("")),
        input("LLM_API_BASE", InputRule::Default("")),
        input(
            "LLM_EMBED_MODEL",
            InputRule::Default("text-embedding-3-small"),
        ),
        list(
            EMBEDDINGS_API_KEYS,
            TokenName::EmbeddingsApiKey,
            Presence::Always,
        ),
        list(
            API_KEYS,
            TokenName::EmbeddingsApiKey,
            Presence::UnlessLeftOut,
        ),
        input("LOG_LEVEL", InputRule::EnvFileOnly),
    ],
};

/// Read by the StatefulSet `brain-keeper`.
pub static AGENTICORE: Bundle = Bundle {
    secret: "agenticore-secrets",
    entry: "agenticore",
    external_secret: "brain-keeper-secrets",
    keys: &[
        input("ANTHROPIC_API_KEY", InputRule::Required),
        input("GITHUB_TOKEN", InputRule::Default("")),
    ],
};

/// In the order in which they are written.
pub static BUNDLES: [&Bundle; 3] = [&ROUTER, &EMBEDDINGS, &AGENTICORE];

/// The list of accepted keys, by the name that the documentation gives.
pub const EMBEDDINGS_API_KEYS: &str = "EMBEDDINGS_API_KEYS";
/// The same list by the name that the embeddings service reads.
pub const API_KEYS: &str = "API_KEYS";

/// All inputs with their rules.
pub fn inputs() -> impl Iterator<Item = (&'static str, InputRule)> {
    BUNDLES
        .iter()
        .flat_map(|bundle| bundle.keys)
        .filter_map(|key| match key.origin {
            Origin::Input(rule) => Some((key.name, rule)),
            _ => None,
        })
}

/// The keys whose values are not credentials.
const CONFIGURATION: [&str; 3] = ["LLM_API_BASE", "LLM_EMBED_MODEL", "LOG_LEVEL"];

/// The keys whose values are credentials, in the order of the table.
pub fn credentials() -> impl Iterator<Item = &'static Key> {
    let keys = BUNDLES.iter().flat_map(|bundle| bundle.keys);
    keys.filter(|key| !CONFIGURATION.contains(&key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_the_table_once() {
        let mut names: Vec<_> = BUNDLES
            .iter()
            .flat_map(|bundle| bundle.keys)
            .map(|key| key.name)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn what_is_no_credential_stands_in_the_table() {
        let all = BUNDLES
            .iter()
            .map(|bundle| bundle.keys.len())
            .sum::<usize>();
        assert_eq!(credentials().count() + CONFIGURATION.len(), all);
    }

    #[test]
    fn a_token_key_is_called_like_its_token() {
        for key in BUNDLES.iter().flat_map(|bundle| bundle.keys) {
            if let Origin::Token(token) = key.origin {
                assert_eq!(key.name, token.as_str());
            }
        }
    }
}
