//! Why a run stops before its first write, and what a person can do about it.

use super::types::Prefer;
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::owner::Owner;
use crate::domain::hint_context::HintContext;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{OddToken, Token, TokenName, fingerprint};
use std::borrow::Cow;

/// A conflict that a person has to settle. `owner` is `None` where no other program owns the
/// Secret.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The tokens file and the home namespace hold different tokens.
    FileDisagrees {
        at: SecretRef,
        token: TokenName,
        filed: Token,
        live: SecretValue,
        owner: Option<Owner>,
    },
    /// The tokens file holds a token that a rotation has retired.
    Retired {
        /// The router Secret, with another token or without one.
        at: SecretRef,
        token: TokenName,
        filed: Token,
        live: Option<SecretValue>,
    },
    /// A fleet namespace holds another token than the home namespace or the tokens file.
    FleetDisagrees {
        at: SecretRef,
        token: TokenName,
        /// The token that the plan uses, and the place that holds it; `None` if it has to be
        /// minted.
        decided: Option<Box<(Token, String)>>,
        /// The token in the fleet namespace.
        live: SecretValue,
        owner: Option<Owner>,
    },
    /// A list exists and does not contain the token.
    NotOnList {
        at: SecretRef,
        key: &'static str,
        token: TokenName,
        owner: Option<Owner>,
    },
    /// The list has several entries, and none is known to be the token.
    ManyOnList { at: SecretRef, token: TokenName },
    /// A value that would be adopted does not have the form of a token.
    OddToken {
        at: SecretRef,
        key: &'static str,
        why: OddToken,
    },
    /// The home router Secret has an owner and does not hold the token yet. Minting one could
    /// create a second value.
    OwnerBringsToken {
        at: SecretRef,
        owner: Owner,
        token: TokenName,
    },
    /// `--update` names a key of a Secret that has an owner.
    UpdateOfOwned {
        at: SecretRef,
        key: &'static str,
        owner: Owner,
    },
    /// `--prefer` would change a Secret of the home namespace that has an owner.
    PreferOfOwned {
        at: SecretRef,
        key: &'static str,
        owner: Owner,
    },
    /// A controller manages a key that would change.
    FieldConflict {
        at: SecretRef,
        key: Cow<'static, str>,
        managers: Vec<String>,
    },
    /// The Secret is not of type Opaque.
    WrongType { at: SecretRef, found: String },
    /// The Secret would have to change and is immutable.
    Immutable { at: SecretRef },
    /// A value is not base64 of UTF-8.
    Undecodable { at: SecretRef, key: &'static str },
}

impl Refusal {
    /// Whether places disagree about a token, or nothing says which value it has.
    pub fn is_about_a_token(&self) -> bool {
        matches!(
            self,
            Self::FileDisagrees { .. }
                | Self::Retired { .. }
                | Self::FleetDisagrees { .. }
                | Self::NotOnList { .. }
                | Self::ManyOnList { .. }
                | Self::OddToken { .. }
                | Self::OwnerBringsToken { .. }
        )
    }

    pub fn at(&self) -> &SecretRef {
        match self {
            Self::FileDisagrees { at, .. }
            | Self::Retired { at, .. }
            | Self::FleetDisagrees { at, .. }
            | Self::NotOnList { at, .. }
            | Self::ManyOnList { at, .. }
            | Self::OddToken { at, .. }
            | Self::OwnerBringsToken { at, .. }
            | Self::UpdateOfOwned { at, .. }
            | Self::PreferOfOwned { at, .. }
            | Self::FieldConflict { at, .. }
            | Self::WrongType { at, .. }
            | Self::Immutable { at }
            | Self::Undecodable { at, .. } => at,
        }
    }

    /// Describes the conflict in one sentence without a value.
    pub fn message(&self) -> String {
        match self {
            Self::FileDisagrees {
                at,
                token,
                filed,
                live,
                ..
            } => format!(
                "{token} differs: the tokens file has {}, {at} has {}",
                fingerprint(filed.value()),
                fingerprint(live)
            ),
            Self::Retired {
                at,
                token,
                filed,
                live,
            } => format!(
                "the tokens file has a {token} that a rotation has retired ({}), {at} has {}",
                fingerprint(filed.value()),
                live.as_ref().map_or("none".to_owned(), fingerprint)
            ),
            Self::FleetDisagrees {
                at,
                token,
                decided,
                live,
                ..
            } => match decided {
                Some(decided) => format!(
                    "{token} differs: {} has {}, {at} has {}",
                    decided.1,
                    fingerprint(decided.0.value()),
                    fingerprint(live)
                ),
                None => format!(
                    "{token} is in {at} ({}), but neither in the home namespace nor in the tokens \
                     file",
                    fingerprint(live)
                ),
            },
            Self::NotOnList { at, key, token, .. } => {
                format!("{token} is not on the list {key} of {at}")
            }
            Self::ManyOnList { at, token } => format!(
                "EMBEDDINGS_API_KEYS of {at} has several entries, and {token} is neither in the \
                 tokens file nor in the router Secret: which entry is the token?"
            ),
            Self::OddToken { at, key, why } => {
                format!("{key} of {at} cannot be adopted as a token: it {why}")
            }
            Self::OwnerBringsToken { at, owner, token } => {
                format!("{at} belongs to {owner} and does not hold {token} yet")
            }
            Self::UpdateOfOwned { at, key, owner } => {
                format!("--update {key}: {at} belongs to {owner}")
            }
            Self::PreferOfOwned { at, key, owner } => {
                format!("{key} of {at} would change, and the Secret belongs to {owner}")
            }
            Self::FieldConflict { at, key, managers } => {
                format!("{key} of {at} is managed by {}", managers.join(", "))
            }
            Self::WrongType { at, found } => {
                format!("{at} is of type {found}, and its readers need Opaque")
            }
            Self::Immutable { at } => format!("{at} has to change and is immutable"),
            Self::Undecodable { at, key } => format!("{key} of {at} is not text (base64 of UTF-8)"),
        }
    }

    /// What to do about it, if possible as a command.
    pub fn hint(&self, reach: &HintContext) -> String {
        let at = self.at();
        let kubectl = |verb: &str| {
            format!(
                "{} -n {} {verb} secret {}",
                reach.kubectl, at.namespace, at.name
            )
        };
        let prefer = |side: Prefer| format!("{} --prefer {side}", reach.apply);
        match self {
            Self::FileDisagrees {
                owner: Some(owner), ..
            } => format!(
                "keep the cluster's with `{}`, or {}",
                prefer(Prefer::Cluster),
                owner.instead()
            ),
            Self::FileDisagrees { owner: None, .. } => format!(
                "keep the cluster's with `{}`, or the file's with `{}`",
                prefer(Prefer::Cluster),
                prefer(Prefer::File)
            ),
            Self::Retired { live, .. } => format!(
                "{} with `{}`",
                match live {
                    Some(_) => "keep the cluster's",
                    None => "mint a new one",
                },
                prefer(Prefer::Cluster)
            ),
            Self::FleetDisagrees {
                decided: Some(_),
                owner: None,
                ..
            } => {
                format!(
                    "`{}` copies the token of the home namespace to the fleet",
                    prefer(Prefer::Cluster)
                )
            }
            Self::FleetDisagrees {
                decided: None,
                token,
                owner: None,
                ..
            } => format!(
                "a fleet namespace is never trusted: put the {token} that you trust into the \
                 tokens file, or mint a new one with `{}`",
                prefer(Prefer::Cluster)
            ),
            Self::FleetDisagrees {
                owner: Some(owner), ..
            }
            | Self::NotOnList {
                owner: Some(owner), ..
            }
            | Self::UpdateOfOwned { owner, .. }
            | Self::PreferOfOwned { owner, .. } => owner.instead().to_owned(),
            Self::NotOnList { owner: None, .. } => {
                format!("`{}` appends it; no entry is removed", prefer(Prefer::File))
            }
            Self::ManyOnList { token, .. } => {
                format!("put the line {token}=\"...\" with the right entry into the tokens file")
            }
            Self::OddToken { .. } => format!(
                "put a valid token into the tokens file and run `{}`",
                prefer(Prefer::File)
            ),
            Self::OwnerBringsToken { .. } => {
                "wait until it does, or put the token that it will set into the tokens file"
                    .to_owned()
            }
            Self::FieldConflict { .. } => {
                format!(
                    "change it there, or take it over with `{} --force-conflicts`",
                    reach.apply
                )
            }
            Self::WrongType { .. } | Self::Immutable { .. } => format!(
                "keep a copy of it, remove it with `{}`, and run this again",
                kubectl("delete")
            ),
            Self::Undecodable { .. } => format!("fix the value with `{}`", kubectl("edit")),
        }
    }
}
