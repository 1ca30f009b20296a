//! Why a run stops before its first write, and what a person can do about it.

use super::types::Prefer;
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::owner::Owner;
use crate::domain::hint_context::HintContext;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{OddToken, Token, TokenName, fingerprint};
use std::borrow::Cow;

/// A conflict about a Secret that a person has to settle.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub at: SecretRef,
    /// The other program that owns the Secret.
    pub owner: Option<Owner>,
    pub conflict: Conflict,
}

#[derive(Clone, Debug)]
pub enum Conflict {
    /// The tokens file and the home namespace hold different tokens.
    FileDisagrees {
        token: TokenName,
        filed: Token,
        live: SecretValue,
    },
    /// The tokens file holds a token that a rotation has retired. The Secret is the router Secret,
    /// with another token or without one.
    Retired {
        token: TokenName,
        filed: Token,
        live: Option<SecretValue>,
    },
    /// A fleet namespace holds another token than the home namespace or the tokens file.
    FleetDisagrees {
        token: TokenName,
        /// The token that the plan uses, and the place that holds it; `None` if it has to be
        /// minted.
        decided: Option<Box<(Token, String)>>,
        live: SecretValue,
    },
    /// A list exists and does not contain the token.
    NotOnList { key: &'static str, token: TokenName },
    /// The list has several entries, and none is known to be the token.
    ManyOnList(TokenName),
    /// A value that would be adopted does not have the form of a token.
    OddToken { key: &'static str, why: OddToken },
    /// The home router Secret has an owner and does not hold the token yet. Minting one could
    /// create a second value.
    OwnerBringsToken(TokenName),
    /// `--update` names a key of a Secret that has an owner.
    UpdateOfOwned(&'static str),
    /// `--prefer` would change a Secret of the home namespace that has an owner.
    PreferOfOwned(&'static str),
    /// A controller manages a key that would change.
    Field {
        key: Cow<'static, str>,
        managers: Vec<String>,
    },
    /// The Secret is not of type Opaque.
    WrongType(String),
    /// The Secret would have to change and is immutable.
    Immutable,
    /// A value is not base64 of UTF-8.
    Undecodable(&'static str),
}

impl Refusal {
    /// Whether places disagree about a token, or nothing says which value it has.
    pub fn is_about_a_token(&self) -> bool {
        matches!(
            self.conflict,
            Conflict::FileDisagrees { .. }
                | Conflict::Retired { .. }
                | Conflict::FleetDisagrees { .. }
                | Conflict::NotOnList { .. }
                | Conflict::ManyOnList(_)
                | Conflict::OddToken { .. }
                | Conflict::OwnerBringsToken(_)
        )
    }

    /// Describes the conflict in one sentence without a value.
    pub fn message(&self) -> String {
        let at = &self.at;
        let owner = || {
            self.owner
                .as_ref()
                .map_or_else(String::new, Owner::to_string)
        };
        match &self.conflict {
            Conflict::FileDisagrees { token, filed, live } => format!(
                "{token} differs: the tokens file has {}, {at} has {}",
                fingerprint(filed.value()),
                fingerprint(live)
            ),
            Conflict::Retired { token, filed, live } => format!(
                "the tokens file has a {token} that a rotation has retired ({}), {at} has {}",
                fingerprint(filed.value()),
                live.as_ref().map_or("none".to_owned(), fingerprint)
            ),
            Conflict::FleetDisagrees {
                token,
                decided: Some(decided),
                live,
            } => format!(
                "{token} differs: {} has {}, {at} has {}",
                decided.1,
                fingerprint(decided.0.value()),
                fingerprint(live)
            ),
            Conflict::FleetDisagrees { token, live, .. } => format!(
                "{token} is in {at} ({}), but neither in the home namespace nor in the tokens file",
                fingerprint(live)
            ),
            Conflict::NotOnList { key, token } => {
                format!("{token} is not on the list {key} of {at}")
            }
            Conflict::ManyOnList(token) => format!(
                "EMBEDDINGS_API_KEYS of {at} has several entries, and {token} is neither in the \
                 tokens file nor in the router Secret: which entry is the token?"
            ),
            Conflict::OddToken { key, why } => {
                format!("{key} of {at} cannot be adopted as a token: it {why}")
            }
            Conflict::OwnerBringsToken(token) => {
                format!("{at} belongs to {} and does not hold {token} yet", owner())
            }
            Conflict::UpdateOfOwned(key) => format!("--update {key}: {at} belongs to {}", owner()),
            Conflict::PreferOfOwned(key) => format!(
                "{key} of {at} would change, and the Secret belongs to {}",
                owner()
            ),
            Conflict::Field { key, managers } => {
                format!("{key} of {at} is managed by {}", managers.join(", "))
            }
            Conflict::WrongType(found) => {
                format!("{at} is of type {found}, and its readers need Opaque")
            }
            Conflict::Immutable => format!("{at} has to change and is immutable"),
            Conflict::Undecodable(key) => format!("{key} of {at} is not text (base64 of UTF-8)"),
        }
    }

    /// What to do about it, if possible as a command.
    pub fn hint(&self, reach: &HintContext) -> String {
        let kubectl = |verb: &str| {
            let (namespace, name) = (&self.at.namespace, self.at.name);
            format!("{} -n {namespace} {verb} secret {name}", reach.kubectl)
        };
        let prefer = |side: Prefer| format!("{} --prefer {side}", reach.apply);
        match (&self.conflict, &self.owner) {
            (Conflict::FileDisagrees { .. }, Some(owner)) => format!(
                "keep the cluster's with `{}`, or {}",
                prefer(Prefer::Cluster),
                owner.instead()
            ),
            (Conflict::FileDisagrees { .. }, None) => format!(
                "keep the cluster's with `{}`, or the file's with `{}`",
                prefer(Prefer::Cluster),
                prefer(Prefer::File)
            ),
            (Conflict::Retired { live, .. }, _) => {
                let what = match live {
                    Some(_) => "keep the cluster's",
                    None => "mint a new one",
                };
                format!("{what} with `{}`", prefer(Prefer::Cluster))
            }
            (Conflict::OwnerBringsToken(_), _) => {
                "wait until it does, or put the token that it will set into the tokens file"
                    .to_owned()
            }
            (_, Some(owner)) => owner.instead().to_owned(),
            (Conflict::FleetDisagrees { decided, token, .. }, None) => {
                let copy = prefer(Prefer::Cluster);
                if decided.is_some() {
                    return format!("`{copy}` copies the token of the home namespace to the fleet");
                }
                format!(
                    "a fleet namespace is never trusted: put the {token} that you trust into the \
                     tokens file, or mint a new one with `{copy}`"
                )
            }
            (Conflict::NotOnList { .. }, None) => {
                format!("`{}` appends it; no entry is removed", prefer(Prefer::File))
            }
            (Conflict::ManyOnList(token), None) => {
                format!("put the line {token}=\"...\" with the right entry into the tokens file")
            }
            (Conflict::OddToken { .. }, None) => format!(
                "put a valid token into the tokens file and run `{}`",
                prefer(Prefer::File)
            ),
            (
                Conflict::UpdateOfOwned(_) | Conflict::PreferOfOwned(_) | Conflict::Field { .. },
                None,
            ) => {
                format!(
                    "change it there, or take it over with `{} --force-conflicts`",
                    reach.apply
                )
            }
            (Conflict::WrongType(_) | Conflict::Immutable, None) => format!(
                "keep a copy of it, remove it with `{}`, and run this again",
                kubectl("delete")
            ),
            (Conflict::Undecodable(_), None) => format!("fix the value with `{}`", kubectl("edit")),
        }
    }
}
