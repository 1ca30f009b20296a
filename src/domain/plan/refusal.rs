//! Why a run stops before its first write, and what a person can do about it.

use super::place::PlaceRef;
use super::types::Prefer;
use crate::domain::cluster::owner::Owner;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{OddToken, Token, TokenName, fingerprint};
use std::borrow::Cow;

/// A conflict about a place that a person has to settle.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub at: PlaceRef,
    /// The other program that owns the Secret.
    pub owner: Option<Owner>,
    pub conflict: Conflict,
}

#[derive(Clone, Debug)]
pub enum Conflict {
    /// Another place, which is believed more, holds another token.
    Disagree {
        token: TokenName,
        /// The key of this place: the token, or a list whose only entry it is.
        key: &'static str,
        one: (PlaceRef, SecretValue),
        other: SecretValue,
    },
    /// The tokens file holds a token that a rotation has retired. The place is the router Secret,
    /// with another token or without one.
    Retired {
        token: TokenName,
        filed: Token,
        live: Option<SecretValue>,
    },
    /// A fleet namespace holds a token, and neither the home namespace nor the tokens file does.
    FleetAlone(TokenName, SecretValue),
    /// A list exists and does not contain the token.
    NotOnList { key: &'static str, token: TokenName },
    /// The list has several entries, and none is known to be the token.
    ManyOnList(&'static str, TokenName),
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
    /// The value is not text: not base64 of UTF-8 in a Secret, another JSON type in the store.
    NotText(&'static str),
    /// The newest version of the router entry is deleted, and no other place holds its tokens.
    Deleted(u64),
}

impl Refusal {
    /// Whether places disagree about a token, or nothing says which value it has.
    pub fn is_about_a_token(&self) -> bool {
        matches!(
            self.conflict,
            Conflict::Disagree { .. }
                | Conflict::Retired { .. }
                | Conflict::FleetAlone(..)
                | Conflict::NotOnList { .. }
                | Conflict::ManyOnList(..)
                | Conflict::OddToken { .. }
                | Conflict::OwnerBringsToken(_)
        )
    }

    /// Describes the conflict in one sentence without a value.
    pub fn message(&self) -> String {
        let at = &self.at;
        let owner = self.owner.as_ref().map(Owner::to_string);
        let owner = owner.unwrap_or_default();
        match &self.conflict {
            Conflict::Disagree {
                token, one, other, ..
            } => format!(
                "{token} differs: {} has {}, {at} has {}",
                one.0,
                fingerprint(&one.1),
                fingerprint(other)
            ),
            Conflict::Retired { token, filed, live } => format!(
                "the tokens file has a {token} that a rotation has retired ({}), {at} has {}",
                fingerprint(filed.value()),
                live.as_ref().map_or("none".to_owned(), fingerprint)
            ),
            Conflict::FleetAlone(token, live) => format!(
                "{token} is in {at} ({}), but neither in the home namespace nor in the tokens file",
                fingerprint(live)
            ),
            Conflict::NotOnList { key, token } => {
                format!("{token} is not on the list {key} of {at}")
            }
            Conflict::ManyOnList(key, token) => format!(
                "{key} of {at} has several entries, and no other place holds \
                 {token}: which entry is the token?"
            ),
            Conflict::OddToken { key, why } => {
                format!("{key} of {at} cannot be adopted as a token: it {why}")
            }
            Conflict::OwnerBringsToken(token) => {
                format!("{at} belongs to {owner} and does not hold {token} yet")
            }
            Conflict::UpdateOfOwned(key) => format!("--update {key}: {at} belongs to {owner}"),
            Conflict::PreferOfOwned(key) => {
                format!("{key} of {at} would change, and the Secret belongs to {owner}")
            }
            Conflict::Field { key, managers } => {
                format!("{key} of {at} is managed by {}", managers.join(", "))
            }
            Conflict::WrongType(found) => {
                format!("{at} is of type {found}, and its readers need Opaque")
            }
            Conflict::Immutable => format!("{at} has to change and is immutable"),
            Conflict::NotText(key) => match at {
                PlaceRef::Entry(_) => format!("{key} of {at} is not text"),
                _ => format!("{key} of {at} is not text (base64 of UTF-8)"),
            },
            Conflict::Deleted(version) => {
                format!("version {version} of {at} is deleted, and no other place holds its tokens")
            }
        }
    }

    /// What to do about it, if possible as a command. `store` is how a person reaches the store, for
    /// a conflict about an entry.
    pub fn hint(&self, reach: &HintContext, store: &StoreReach) -> String {
        let prefer = |side: Prefer| format!("{} --prefer {side}", reach.apply);
        match (&self.conflict, &self.owner) {
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
            (Conflict::FleetAlone(token, _), None) => format!(
                "a fleet namespace is never trusted: put the {token} that you trust into the \
                 tokens file, or mint a new one with `{}`",
                prefer(Prefer::Cluster)
            ),
            (Conflict::ManyOnList(_, token), None) => {
                format!("put the line {token}=\"...\" with the right entry into the tokens file")
            }
            _ => match (&self.at, &self.owner) {
                (PlaceRef::Entry(path), _) => self.hint_of_entry(path, reach, store),
                (_, Some(owner)) => self.hint_of_owned(owner, reach),
                (_, None) => self.hint_of_secret(reach),
            },
        }
    }

    fn hint_of_owned(&self, owner: &Owner, reach: &HintContext) -> String {
        let instead = owner.instead();
        match &self.conflict {
            Conflict::Disagree { .. } if self.is_home(reach) => format!(
                "keep the cluster's with `{} --prefer cluster`, or {instead}",
                reach.apply
            ),
            _ => instead.to_owned(),
        }
    }

    fn hint_of_secret(&self, reach: &HintContext) -> String {
        let prefer = |side: Prefer| format!("{} --prefer {side}", reach.apply);
        let kubectl = |verb: &str| match &self.at {
            PlaceRef::Secret(at) => {
                let (kubectl, namespace, name) = (&reach.kubectl, &at.namespace, at.name);
                format!("{kubectl} -n {namespace} {verb} secret {name}")
            }
            _ => String::new(),
        };
        match &self.conflict {
            Conflict::Disagree { .. } if self.is_home(reach) => format!(
                "keep the cluster's with `{}`, or the file's with `{}`",
                prefer(Prefer::Cluster),
                prefer(Prefer::File)
            ),
            Conflict::Disagree { .. } => format!(
                "`{}` copies the token of the home namespace to the fleet",
                prefer(Prefer::Cluster)
            ),
            Conflict::NotOnList { .. } => {
                format!("`{}` appends it; no entry is removed", prefer(Prefer::File))
            }
            Conflict::OddToken { .. } => format!(
                "put a valid token into the tokens file and run `{}`",
                prefer(Prefer::File)
            ),
            Conflict::WrongType(_) | Conflict::Immutable => format!(
                "keep a copy of it, remove it with `{}`, and run this again",
                kubectl("delete")
            ),
            Conflict::NotText(_) => format!("fix the value with `{}`", kubectl("edit")),
            _ => format!(
                "change it there, or take it over with `{} --force-conflicts`",
                reach.apply
            ),
        }
    }

    fn hint_of_entry(&self, path: &str, reach: &HintContext, store: &StoreReach) -> String {
        let key = match &self.conflict {
            Conflict::Disagree { key, .. }
            | Conflict::NotOnList { key, .. }
            | Conflict::OddToken { key, .. }
            | Conflict::NotText(key) => *key,
            Conflict::Deleted(version) => return store.undelete(path, *version),
            _ => return self.hint_of_secret(reach),
        };
        match &self.conflict {
            _ if store.program.is_empty() => format!(
                "write the right value there: {key} of {path}, with the store's own program"
            ),
            // The steps read the value from its place, so that none has to be typed.
            Conflict::Disagree { .. } => "see docs/checks.md#storeequal".to_owned(),
            Conflict::NotOnList { .. } => "see docs/checks.md#tokenspair".to_owned(),
            _ => format!(
                "write a valid value there, from stdin: `{}`",
                store.patch(path, key)
            ),
        }
    }

    /// Whether the place is in the home namespace.
    fn is_home(&self, reach: &HintContext) -> bool {
        matches!(&self.at, PlaceRef::Secret(at) if at.namespace.as_str() == reach.home)
    }
}
