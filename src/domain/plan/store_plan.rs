//! The plan for the secret store: one decision per entry and per field.
//!
//! The invariants are those of the plan for the Secrets: only add, one token one value, what is
//! found is adopted before anything is minted. The store is one more place where a token can be.

use super::store_planner::EntryPlanner;
use super::store_refusal::{StoreRefusal, TokenSource};
use super::store_types::{EntryPlan, StoreWish};
use super::types::{Action, Decision, FileAction, Filed, FiledTokens, file_action};
use crate::domain::eso::store_entry::Entries;
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};

/// The plan for everything.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Which value each token has; `None` where that is refused.
    pub tokens: PerToken<Option<Decision>>,
    /// What happens to the tokens file.
    pub file: FileAction,
    /// What happens to each entry.
    pub entries: Vec<EntryPlan>,
    /// What a person has to decide first. If there is any, nothing is written.
    pub refusals: Vec<StoreRefusal>,
}

impl StorePlan {
    /// Decides on everything.
    pub fn new(wish: &StoreWish, filed: &FiledTokens, entries: &Entries) -> Self {
        let mut refusals = Vec::new();
        let tokens =
            PerToken::from_fn(
                |name| match resolve(name, filed.tokens.get(name), wish, entries) {
                    Ok(decision) => Some(decision),
                    Err(refusal) => {
                        refusals.push(refusal);
                        None
                    }
                },
            );
        let mut planner = EntryPlanner {
            wish,
            entries,
            tokens: &tokens,
            refusals: &mut refusals,
        };
        let mut plans = BUNDLES.map(|bundle| planner.entry(bundle)).to_vec();
        for plan in &mut plans {
            let of_it = |refusal: &&StoreRefusal| refusal.path() == Some(&plan.path);
            if let Some(refusal) = refusals.iter().find(of_it) {
                plan.action = Action::Refuse;
                plan.reason = Some(refusal.message());
            }
        }
        let file = file_action(filed, &tokens);
        Self {
            tokens,
            file,
            entries: plans,
            refusals,
        }
    }

    /// Tells whether carrying it out would write anything anywhere.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.written().next().is_some()
    }

    /// The entries that are written, in the order in which they are shown.
    pub fn written(&self) -> impl Iterator<Item = &EntryPlan> {
        self.entries.iter().filter(|entry| entry.is_written())
    }
}

/// Decides on one token: all places that have it have to agree.
fn resolve(
    name: TokenName,
    filed: &Filed,
    wish: &StoreWish,
    entries: &Entries,
) -> Result<Decision, StoreRefusal> {
    let mut found = places(&ROUTER, name.as_str(), wish, entries);
    if let Filed::Found(token) = filed {
        found.insert(0, (TokenSource::File, token.value().clone()));
    }
    if found.is_empty() && name == TokenName::EmbeddingsApiKey {
        found = listed(wish, entries)?;
    }
    let mut found = found.into_iter();
    let first = found.next();
    if let Some(first) = &first
        && let Some(other) = found.find(|other| other.1 != first.1)
    {
        return Err(StoreRefusal::Disagree {
            token: name,
            one: first.clone(),
            other,
        });
    }
    match (filed, first) {
        (Filed::Found(token), _) => Ok(Decision::File(token.clone())),
        (Filed::MintedNow(token), Some((_, value))) if token.is(&value) => {
            Ok(Decision::File(token.clone()))
        }
        (_, Some((at, value))) => {
            Token::parse(&value)
                .map(Decision::Cluster)
                .map_err(|why| StoreRefusal::OddToken {
                    at,
                    token: name,
                    why,
                })
        }
        (Filed::MintedNow(token), None) => Ok(Decision::Minted(Some(token.clone()))),
        (Filed::Absent, None) => match deleted(wish, entries) {
            Some(deleted) => Err(deleted),
            None => Ok(Decision::Minted(None)),
        },
    }
}

/// The router entry, where its newest version is deleted: the tokens in it can be had back.
fn deleted(wish: &StoreWish, entries: &Entries) -> Option<StoreRefusal> {
    let path = wish.layout.path(&ROUTER);
    let entry = entries.get(&path)?;
    let deleted = entry.fields.is_none() && entry.version > 0;
    deleted.then_some(StoreRefusal::Deleted {
        path,
        version: entry.version,
    })
}

/// What the live Secret and the entry of a bundle have under a key, where that is not empty.
fn places(
    bundle: &'static Bundle,
    key: &'static str,
    wish: &StoreWish,
    entries: &Entries,
) -> Vec<(TokenSource, SecretValue)> {
    let path = wish.layout.path(bundle);
    let stored = entries.get(&path).and_then(|entry| entry.text(key));
    [
        (
            TokenSource::Secret(bundle.secret, key),
            wish.live(bundle, key),
        ),
        (TokenSource::Entry(path, key), stored),
    ]
    .into_iter()
    .filter_map(|(at, value)| Some((at, value.filter(|value| !value.is_empty())?.clone())))
    .collect()
}

/// The only entry of each list `EMBEDDINGS_API_KEYS`, where nobody has the token itself.
fn listed(
    wish: &StoreWish,
    entries: &Entries,
) -> Result<Vec<(TokenSource, SecretValue)>, StoreRefusal> {
    let mut found = Vec::new();
    for (at, list) in places(&EMBEDDINGS, EMBEDDINGS_API_KEYS, wish, entries) {
        let entries: Vec<_> = list.entries().collect();
        match entries.as_slice() {
            [] => {}
            [only] => found.push((at, SecretValue::from(*only))),
            _ => {
                return Err(StoreRefusal::ManyOnList {
                    at,
                    token: TokenName::EmbeddingsApiKey,
                });
            }
        }
    }
    Ok(found)
}
