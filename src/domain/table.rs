//! THE TABLE: which Secrets there are, which keys they hold, and where each value comes from.
//!
//! The plan, the documents, the help, the preview, `rbac` and the store layout derive from it.

use super::values::token::TokenName;

/// One Secret of type `Opaque`, and one entry of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The Secret's name.
    pub secret: &'static str,
    /// The name of its entry in the store, below the prefix.
    pub entry: &'static str,
    /// The ExternalSecret that makes it on Path 2, as the charts call it.
    pub external_secret: &'static str,
    /// Its keys, in the order in which they are shown.
    pub keys: &'static [Key],
}

/// One key of a Secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name: a key of the Secret and an environment variable of the pods.
    pub name: &'static str,
    /// Where its value comes from.
    pub origin: Origin,
}

/// Where the value of a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is a token.
    Token(TokenName),
    /// It is a comma list that has to hold the token; entries of others stay.
    TokenList(TokenName, Presence),
    /// The operator gives it.
    Input(InputRule),
}

/// When a list is made that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Always,
    /// With `--with-api-keys`.
    OnRequest,
    /// Never: it is only kept in step where it exists.
    IfFound,
}

/// What happens where the operator gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRule {
    /// The Secret is not created.
    Required,
    /// This value is used.
    Default(&'static str),
    /// The key is left out. It is read from an env-file only, since shells set such a variable for
    /// other programs.
    EnvFileOnly,
}

impl Bundle {
    /// Tells whether a token is in it, as a key or on a list.
    pub fn holds_tokens(&self) -> bool {
        self.keys
            .iter()
            .any(|key| !matches!(key.origin, Origin::Input(_)))
    }

    /// The inputs without which its Secret is not made.
    pub fn required_inputs(&self) -> Vec<&'static str> {
        let required = |key: &&Key| key.origin == Origin::Input(InputRule::Required);
        self.keys
            .iter()
            .filter(required)
            .map(|key| key.name)
            .collect()
    }
}

/// Read by brain-api and by every agent pod that calls it. In the home namespace it decides who
/// wins when several operators bootstrap at once.
pub static ROUTER: Bundle = Bundle {
    secret: "agentibrain-router-secrets",
    entry: "router",
    external_secret: "agentibrain-brain-api-secrets",
    keys: &[
        Key {
            name: "KB_ROUTER_TOKEN",
            origin: Origin::Token(TokenName::KbRouterToken),
        },
        Key {
            name: "EMBEDDINGS_API_KEY",
            origin: Origin::Token(TokenName::EmbeddingsApiKey),
        },
        Key {
            name: "KB_ROUTER_TOKENS",
            origin: Origin::TokenList(TokenName::KbRouterToken, Presence::IfFound),
        },
    ],
};

/// Read by the StatefulSet `agentibrain-embeddings`.
pub static EMBEDDINGS: Bundle = Bundle {
    secret: "embeddings-secrets",
    entry: "embeddings",
    external_secret: "agentibrain-embeddings-secrets",
    keys: &[
        Key {
            name: "POSTGRES_URL",
            origin: Origin::Input(InputRule::Required),
        },
        Key {
            name: "LLM_API_KEY",
            origin: Origin::Input(InputRule::Default("")),
        },
        Key {
            name: "LLM_API_BASE",
            origin: Origin::Input(InputRule::Default("")),
        },
        Key {
            name: "LLM_EMBED_MODEL",
            origin: Origin::Input(InputRule::Default("text-embedding-3-small")),
        },
        Key {
            name: EMBEDDINGS_API_KEYS,
            origin: Origin::TokenList(TokenName::EmbeddingsApiKey, Presence::Always),
        },
        Key {
            name: API_KEYS,
            origin: Origin::TokenList(TokenName::EmbeddingsApiKey, Presence::OnRequest),
        },
        Key {
            name: "LOG_LEVEL",
            origin: Origin::Input(InputRule::EnvFileOnly),
        },
    ],
};

/// Read by the StatefulSet `brain-keeper`.
pub static AGENTICORE: Bundle = Bundle {
    secret: "agenticore-secrets",
    entry: "agenticore",
    external_secret: "brain-keeper-secrets",
    keys: &[
        Key {
            name: "ANTHROPIC_API_KEY",
            origin: Origin::Input(InputRule::Required),
        },
        Key {
            name: "GITHUB_TOKEN",
            origin: Origin::Input(InputRule::Default("")),
        },
    ],
};

/// All of them, in the order in which they are written.
pub static BUNDLES: [&Bundle; 3] = [&ROUTER, &EMBEDDINGS, &AGENTICORE];

/// The documented list of keys that the embeddings service accepts.
pub const EMBEDDINGS_API_KEYS: &str = "EMBEDDINGS_API_KEYS";
/// The variable that the embeddings service really reads; it gets the same value.
pub const API_KEYS: &str = "API_KEYS";

/// All inputs of the table with their rules, in its order.
pub fn inputs() -> impl Iterator<Item = (&'static str, InputRule)> {
    BUNDLES
        .iter()
        .flat_map(|bundle| bundle.keys)
        .filter_map(|key| match key.origin {
            Origin::Input(rule) => Some((key.name, rule)),
            _ => None,
        })
}

/// The keys whose values are no credentials.
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
