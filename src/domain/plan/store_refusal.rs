//! What a person has to decide before the store is filled, and how it is said.

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
    /// A live Secret, by its name, and the key in it.
    Secret(&'static str, &'static str),
    /// An entry of the store, by its path, and the field in it.
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

/// Something that a person has to decide.
#[derive(Clone, Debug)]
pub enum StoreRefusal {
    /// Two places hold different tokens. The first is never the store.
    Disagree {
        /// Which token.
        token: TokenName,
        /// The first place and its value.
        one: (TokenSource, SecretValue),
        /// The other place and its value.
        other: (TokenSource, SecretValue),
    },
    /// The token is not on a list that is in the store.
    NotOnList {
        /// The entry.
        path: String,
        /// The list.
        key: &'static str,
        /// Which token.
        token: TokenName,
        /// Whether the tokens file has it.
        filed: bool,
    },
    /// The list has several entries and nothing tells which one is ours.
    ManyOnList {
        /// Where it is.
        at: TokenSource,
        /// Which token.
        token: TokenName,
    },
    /// What would be adopted is not in the form of a token.
    OddToken {
        /// Where it is.
        at: TokenSource,
        /// Which token.
        token: TokenName,
        /// What is odd about it.
        why: OddToken,
    },
    /// A field that has to be a text is a number, an object, anything but text.
    NoText {
        /// The entry.
        path: String,
        /// The field.
        key: &'static str,
    },
    /// The newest version of the entry with the tokens is deleted, and nobody else has them.
    Deleted {
        /// The entry.
        path: String,
        /// That version.
        version: u64,
    },
}

impl StoreRefusal {
    /// The entry that it is about, where it is about one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::NotOnList { path, .. }
            | Self::NoText { path, .. }
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

    /// What is the matter, in one sentence without a value.
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
                "{EMBEDDINGS_API_KEYS} of {} has several entries, and {token} is nowhere else: \
                 which entry is it?",
                at.describe()
            ),
            Self::OddToken { at, token, why } => {
                format!(
                    "{token} of {} cannot be adopted as a token: it {why}",
                    at.describe()
                )
            }
            Self::NoText { path, key } => format!("{key} of {path} in the store is not text"),
            Self::Deleted { path, version } => format!(
                "version {version} of {path} in the store is deleted, and the tokens in it are \
                 nowhere else"
            ),
        }
    }

    /// What to do about it: a command where there is one.
    pub fn hint(&self, store: &StoreReach, reach: &HintContext) -> String {
        // A value in a variable: what fails on the left of a pipe would be written as nothing.
        let filed = |token: &TokenName| {
            let file = &reach.tokens_file;
            format!("V=\"$(. {file} && printf %s \"${token}\")\" && : \"${{V:?}}\"")
        };
        if let ("", Some((path, key))) = (store.program, self.entry()) {
            return format!("put the right one there: {}", store.set(path, key));
        }
        match self {
            Self::Disagree { token, one, other } => match (&one.0, &other.0) {
                (TokenSource::Secret(secret, from), TokenSource::Entry(path, key)) => format!(
                    "put the cluster's there with `V=\"$({} -n {} get secret {secret} \
                     -o 'jsonpath={{.data.{from}}}' | base64 -d)\" && : \"${{V:?}}\" && printf %s \
                     \"$V\" | {}`; or run this without \
                     --from-cluster, which takes the store's, and then `{} --prefer file`",
                    reach.kubectl,
                    reach.home,
                    store.patch(path, key),
                    reach.apply
                ),
                (_, TokenSource::Entry(path, key)) => format!(
                    "put the file's there with `{} && printf %s \"$V\" | {}`; or take the store's: remove it from the \
                     file with `sed -i.bak '/{token}=/d' {}` and run this again",
                    filed(token),
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
                filed(token),
                store.patch(path, key)
            ),
            Self::NotOnList {
                path, key, token, ..
            } => format!(
                "put the line {token}=\"...\" with the entry that is yours into the tokens file, or \
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
            | Self::NoText { path, key } => format!(
                "put a good one there, from stdin: `{}`",
                store.patch(path, key)
            ),
            Self::OddToken { .. } => format!(
                "put a good token into the tokens file and run `{} --prefer file`",
                reach.apply
            ),
        }
    }

    /// The field of the store that it is about.
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
            | Self::NoText { path, key } => Some((path, key)),
            Self::NotOnList { path, key, .. } => Some((path, key)),
            Self::OddToken { .. } | Self::ManyOnList { .. } | Self::Deleted { .. } => None,
        }
    }
}
