//! Decides the value of each token. A token that is found is adopted before a new one is minted;
//! places that disagree are a refusal.

use super::place::PlaceRef;
use super::refusal::{Conflict, Refusal};
use super::types::{Decision, Filed, Prefer};
use crate::domain::cluster::owner::Owner;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{Token, TokenName};

/// A place with the value of a token, or with a list that may have the token.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) at: PlaceRef,
    pub(super) key: &'static str,
    pub(super) value: SecretValue,
}

/// What is known of a token. A fleet namespace is never a holder: someone who can write there could
/// plant a token that every service would accept.
pub(super) struct Evidence<'a> {
    pub(super) token: TokenName,
    pub(super) filed: &'a Filed,
    /// Whether a rotation has retired the token of the file.
    pub(super) is_retired: bool,
    pub(super) prefer: Option<Prefer>,
    /// The place that decides which token wins, with its owner.
    pub(super) router: PlaceRef,
    pub(super) owner: Option<&'a Owner>,
    /// The places with a value, in the order in which they are believed.
    pub(super) holders: Vec<Holder>,
    /// The lists of the embeddings Secret with entries. The only entry of a list is the token if there
    /// is no holder.
    pub(super) lists: Vec<Holder>,
    /// The newest version of the router entry, if it is deleted: its tokens can be recovered.
    pub(super) deleted: Option<u64>,
}

impl Evidence<'_> {
    /// # Errors
    /// Two places disagree, or a value that would be adopted is not a token.
    pub(super) fn decide(&self) -> Result<Decision, Box<Refusal>> {
        if let Some(first) = self.holders.first() {
            return self.settle(first, &self.holders);
        }
        let prefers_cluster = self.prefer == Some(Prefer::Cluster);
        let filed = match self.filed {
            Filed::Found(filed) if self.is_retired && !prefers_cluster => {
                return Err(self.retired(filed, None));
            }
            // `--prefer cluster` drops a retired token of the file.
            Filed::Found(_) if self.is_retired => None,
            Filed::Found(filed) => Some(filed),
            Filed::MintedNow(_) | Filed::Absent => None,
        };
        match (filed, self.single_entries()) {
            (Some(filed), Ok(entries)) if prefers_cluster => match entries.first() {
                Some(first) => self.settle(first, &entries),
                None => Ok(Decision::File(filed.clone())),
            },
            (Some(filed), _) => Ok(Decision::File(filed.clone())),
            (None, Err(refusal)) => Err(refusal),
            (None, Ok(entries)) => match entries.first() {
                Some(first) => self.settle(first, &entries),
                None => self.mint(),
            },
        }
    }

    /// Decides between the tokens file and the holders, the first of which is believed most.
    fn settle(&self, first: &Holder, holders: &[Holder]) -> Result<Decision, Box<Refusal>> {
        let disagree = |one: (PlaceRef, SecretValue), other: &Holder| {
            let (key, value) = (other.key, other.value.clone());
            let conflict = Conflict::Disagree {
                token: self.token,
                key,
                one,
                other: value,
            };
            self.refuse(&other.at, conflict)
        };
        if let Filed::Found(filed) = self.filed
            && let Some(other) = holders.iter().find(|holder| !filed.is(&holder.value))
        {
            match self.prefer {
                Some(Prefer::Cluster) => {}
                _ if self.is_retired => return Err(self.retired(filed, Some(&first.value))),
                Some(Prefer::File) => return Ok(Decision::File(filed.clone())),
                None => {
                    let one = (PlaceRef::TokensFile, filed.value().clone());
                    return Err(disagree(one, other));
                }
            }
        }
        if let Some(other) = holders.iter().find(|other| other.value != first.value) {
            return Err(disagree((first.at.clone(), first.value.clone()), other));
        }
        match self.filed {
            Filed::Found(filed) | Filed::MintedNow(filed) if filed.is(&first.value) => {
                return Ok(Decision::File(filed.clone()));
            }
            _ => {}
        }
        let adopted = Token::parse(&first.value).map_err(|why| {
            let key = first.key;
            self.refuse(&first.at, Conflict::OddToken { key, why })
        })?;
        Ok(match first.at {
            PlaceRef::Entry(_) => Decision::Store(adopted),
            _ => Decision::Cluster(adopted),
        })
    }

    /// The only entry of each list that has just one.
    ///
    /// # Errors
    /// There are lists, and all have several entries.
    fn single_entries(&self) -> Result<Vec<Holder>, Box<Refusal>> {
        let single = |list: &Holder| {
            let mut entries = list.value.entries();
            let only = entries.next().filter(|_| entries.next().is_none());
            let value = only?.into();
            Some(Holder {
                value,
                ..list.clone()
            })
        };
        let found: Vec<_> = self.lists.iter().filter_map(single).collect();
        match self.lists.first() {
            Some(list) if found.is_empty() => {
                Err(self.refuse(&list.at, Conflict::ManyOnList(list.key, self.token)))
            }
            _ => Ok(found),
        }
    }

    fn mint(&self) -> Result<Decision, Box<Refusal>> {
        match (self.deleted, self.filed) {
            (_, Filed::MintedNow(token)) => Ok(Decision::Minted(Some(token.clone()))),
            (Some(version), _) => Err(self.refuse(&self.router, Conflict::Deleted(version))),
            (None, _) => Ok(Decision::Minted(None)),
        }
    }

    fn retired(&self, filed: &Token, live: Option<&SecretValue>) -> Box<Refusal> {
        let conflict = Conflict::Retired {
            token: self.token,
            filed: filed.clone(),
            live: live.cloned(),
        };
        self.refuse(&self.router, conflict)
    }

    fn refuse(&self, at: &PlaceRef, conflict: Conflict) -> Box<Refusal> {
        let owner = self.owner.filter(|_| *at == self.router);
        Box::new(Refusal {
            at: at.clone(),
            owner: owner.cloned(),
            conflict,
        })
    }
}
