//! What a person has to decide before the store is filled, and how it is said.

use super::bundles::EMBEDDINGS_API_KEYS;
use super::reach::Reach;
use super::store::StoreReach;
use super::tokens::{OddToken, TokenName, fingerprint};
use super::value::SecretValue;

/// A place that holds a token, for words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The tokens file.
    File,
    /// A live Secret, by its name.
    Secret(&'static str),
    /// An entry of the store, by its path.
    Entry(String),
}

impl Holder {
    fn told(&self) -> String {
        match self {
            Self::File => "the tokens file".to_owned(),
            Self::Secret(name) => format!("Secret {name}"),
            Self::Entry(path) => format!("{path} in the store"),
        }
    }
}

/// Something that a person has to decide.
#[derive(Clone, Debug)]
pub enum StoreRefusal {
    /// Two places hold different tokens.
    Disagree {
        /// Which token.
        token: TokenName,
        /// The first place and its value.
        one: (Holder, SecretValue),
        /// The other place and its value.
        other: (Holder, SecretValue),
    },
    /// The token is not on a list that is in the store.
    NotOnList {
        /// The entry.
        path: String,
        /// The list.
        key: &'static str,
        /// Which token.
        token: TokenName,
    },
    /// The list has several entries and nothing tells which one is ours.
    ManyOnList {
        /// The entry.
        path: String,
        /// Which token.
        token: TokenName,
    },
    /// What would be adopted is not in the form of a token.
    OddToken {
        /// Where it is.
        at: Holder,
        /// Which token.
        token: TokenName,
        /// What is odd about it.
        why: OddToken,
    },
    /// A field holds something other than text.
    NoText {
        /// The entry.
        path: String,
        /// The field.
        key: String,
    },
}

impl StoreRefusal {
    /// What is the matter, in one sentence without a value.
    pub fn message(&self) -> String {
        match self {
            Self::Disagree { token, one, other } => format!(
                "{token} differs: {} has {}, {} has {}",
                one.0.told(),
                fingerprint(&one.1),
                other.0.told(),
                fingerprint(&other.1)
            ),
            Self::NotOnList { path, key, token } => {
                format!("{token} is not on the list {key} of {path} in the store")
            }
            Self::ManyOnList { path, token } => format!(
                "{EMBEDDINGS_API_KEYS} of {path} in the store has several entries, and {token} is \
                 nowhere else: which entry is it?"
            ),
            Self::OddToken { at, token, why } => {
                format!(
                    "{token} of {} cannot be adopted as a token: it {why}",
                    at.told()
                )
            }
            Self::NoText { path, key } => format!("{key} of {path} in the store is no text"),
        }
    }

    /// What to do about it: a command where there is one.
    pub fn hint(&self, store: &StoreReach, reach: &Reach) -> String {
        match self {
            Self::Disagree { one, other, .. } => match (&one.0, &other.0) {
                (_, Holder::Entry(path)) | (Holder::Entry(path), _) => format!(
                    "put the right one, from stdin, where the wrong one is: `{}`",
                    store.patch(path, self.key())
                ),
                _ => format!("`{} --prefer cluster` keeps the cluster's", reach.apply),
            },
            Self::NotOnList { path, key, .. } => format!(
                "add it to the list, all of which is read from stdin: `{}`",
                store.patch(path, key)
            ),
            Self::ManyOnList { token, .. } => {
                format!("put the line {token}=\"...\" with the right entry into the tokens file")
            }
            Self::OddToken {
                at: Holder::Entry(path),
                ..
            }
            | Self::NoText { path, .. } => format!(
                "put a good one there, from stdin: `{}`",
                store.patch(path, self.key())
            ),
            Self::OddToken { .. } => {
                "put a good token into the tokens file and the Secret".to_owned()
            }
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Disagree { token, .. }
            | Self::OddToken { token, .. }
            | Self::ManyOnList { token, .. } => token.as_str(),
            Self::NotOnList { key, .. } => key,
            Self::NoText { key, .. } => key,
        }
    }
}
