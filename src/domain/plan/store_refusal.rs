//! Why a run stops before it fills the store, and what a person can do about it.

use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::table::EMBEDDINGS_API_KEYS;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{OddToken, TokenName, fingerprint};

/// A place that holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// The tokens file.
    File,
    /// The name of a live Secret and the key in it.
    Secret(&'static str, &'static str),
    /// The path of a store entry and the field in it.
    Entry(String, &'static str),
}

impl TokenSource {
    fn describe(&self) -> String {
        match self {
            Self::File => "the tokens file".to_owned(),
            Self::Secret(name, _) => format!("Secret {name}"),
            Self::Entry(path, _) => format!("{path} in the store"),
        }
    }
}

/// A conflict that a person has to settle.
#[derive(Clone, Debug)]
pub enum StoreRefusal {
    /// Two places hold different tokens. The first is never the store.
    Disagree {
        token: TokenName,
        one: (TokenSource, SecretValue),
        other: (TokenSource, SecretValue),
    },
    /// A list in the store does not contain the token.
    NotOnList {
        path: String,
        key: &'static str,
        token: TokenName,
        /// Whether the tokens file holds the token.
        filed: bool,
    },
    /// The list has several entries, and none is known to be the token.
    ManyOnList { at: TokenSource, token: TokenName },
    /// A value that would be adopted does not have the form of a token.
    OddToken {
        at: TokenSource,
        token: TokenName,
        why: OddToken,
    },
    /// A field is not text but another JSON type.
    NotText { path: String, key: &'static str },
    /// The newest version of the router entry is deleted, and no other place holds its tokens.
    Deleted { path: String, version: u64 },
}

impl StoreRefusal {
    /// The path of the entry; `None` if the conflict is not about an entry.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::NotOnList { path, .. }
            | Self::NotText { path, .. }
            | Self::Deleted { path, .. }
            | Self::Disagree {
                other: (TokenSource::Entry(path, _), _),
                ..
            }
            | Self::ManyOnList {
                at: TokenSource::Entry(path, _),
                ..
            }
            | Self::OddToken {
                at: TokenSource::Entry(path, _),
                ..
            } => Some(path),
            Self::Disagree { .. } | Self::ManyOnList { .. } | Self::OddToken { .. } => None,
        }
    }

    /// Describes the conflict in one sentence without a value.
    pub fn message(&self) -> String {
        match self {
            Self::Disagree { token, one, other } => format!(
                "{token} differs: {} has {}, {} has {}",
                one.0.describe(),
                fingerprint(&one.1),
                other.0.describe(),
                fingerprint(&other.1)
            ),
            Self::NotOnList {
                path, key, token, ..
            } => {
                format!("{token} is not on the list {key} of {path} in the store")
            }
            Self::ManyOnList { at, token } => format!(
                "{EMBEDDINGS_API_KEYS} of {} has several entries, and no other place holds \
                 {token}: which entry is the token?",
                at.describe()
            ),
            Self::OddToken { at, token, why } => {
                format!(
                    "{token} of {} cannot be adopted as a token: it {why}",
                    at.describe()
                )
            }
            Self::NotText { path, key } => format!("{key} of {path} in the store is not text"),
            Self::Deleted { path, version } => format!(
                "version {version} of {path} in the store is deleted, and no other place holds \
                 its tokens"
            ),
        }
    }

    /// What to do about it, if possible as a command.
    pub fn hint(&self, store: &StoreReach, reach: &HintContext) -> String {
        // Through a variable, because a command that fails on the left of a pipe would write an
        // empty value.
        let read_filed = |token: &TokenName| {
            let file = &reach.tokens_file;
            format!("V=\"$(. {file} && printf %s \"${token}\")\" && : \"${{V:?}}\"")
        };
        if let ("", Some((path, key))) = (store.program, self.entry()) {
            return format!("write the right value there: {}", store.set(path, key));
        }
        match self {
            Self::Disagree { token, one, other } => match (&one.0, &other.0) {
                (TokenSource::Secret(secret, from), TokenSource::Entry(path, key)) => format!(
                    "write the cluster's value there with `V=\"$({} -n {} get secret {secret} \
                     -o 'jsonpath={{.data.{from}}}' | base64 -d)\" && : \"${{V:?}}\" && printf %s \
                     \"$V\" | {}`; or take the store's value: run this without --from-cluster, \
                     and then `{} --prefer file`",
                    reach.kubectl,
                    reach.home,
                    store.patch(path, key),
                    reach.apply
                ),
                (_, TokenSource::Entry(path, key)) => format!(
                    "write the file's value there with `{} && printf %s \"$V\" | {}`; or take the \
                     store's value: remove it from the file with `sed -i.bak '/{token}=/d' {}` \
                     and run this again",
                    read_filed(token),
                    store.patch(path, key),
                    reach.tokens_file
                ),
                _ => format!(
                    "keep the cluster's with `{0} --prefer cluster`, or the file's with \
                     `{0} --prefer file`; then run this again",
                    reach.apply
                ),
            },
            Self::NotOnList {
                path,
                key,
                token,
                filed: true,
            } => format!(
                "add it with `L=\"$({})\" && : \"${{L:?}}\" && {} && printf %s \"$L,$V\" | {}`",
                store.get(path, key),
                read_filed(token),
                store.patch(path, key)
            ),
            Self::NotOnList {
                path, key, token, ..
            } => format!(
                "put the line {token}=\"...\" with your entry into the tokens file, or \
                 write a list with the token, from stdin: `{}`",
                store.patch(path, key)
            ),
            Self::Deleted { path, version } => store.undelete(path, *version),
            Self::ManyOnList { token, .. } => {
                format!("put the line {token}=\"...\" with the right entry into the tokens file")
            }
            Self::OddToken {
                at: TokenSource::Entry(path, key),
                ..
            }
            | Self::NotText { path, key } => format!(
                "write a valid value there, from stdin: `{}`",
                store.patch(path, key)
            ),
            Self::OddToken { .. } => format!(
                "put a valid token into the tokens file and run `{} --prefer file`",
                reach.apply
            ),
        }
    }

    /// The path and the field of the store; `None` if the conflict is not about a field.
    fn entry(&self) -> Option<(&str, &str)> {
        match self {
            Self::Disagree { other, .. } => match &other.0 {
                TokenSource::Entry(path, key) => Some((path, key)),
                _ => None,
            },
            Self::OddToken {
                at: TokenSource::Entry(path, key),
                ..
            }
            | Self::NotText { path, key } => Some((path, key)),
            Self::NotOnList { path, key, .. } => Some((path, key)),
            Self::OddToken { .. } | Self::ManyOnList { .. } | Self::Deleted { .. } => None,
        }
    }
}
