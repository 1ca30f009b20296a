//! The plan for the secret store: one decision for each entry and each field.
//!
//! The rules are those of the plan for the Secrets: only add, one value for each token, and adopt a
//! found token before minting a new one. The store is one more place that can hold a token.

use super::place::PlacePlan;
use super::store_planner::EntryPlanner;
use super::store_refusal::{StoreRefusal, TokenSource};
use super::store_types::{EntryPlan, StoreWish};
use super::types::{Action, Decision, FileAction, Filed, FiledTokens, file_action};
use crate::domain::eso::store_entry::Entries;
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};

/// The plan for all entries and the tokens file.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// The value of each token; `None` if it was refused.
    pub tokens: PerToken<Option<Decision>>,
    pub file: FileAction,
    pub entries: Vec<EntryPlan>,
    /// What a person has to decide. Nothing is written if there is any.
    pub refusals: Vec<StoreRefusal>,
}

impl StorePlan {
    pub fn new(wish: &StoreWish, filed: &FiledTokens, entries: &Entries) -> Self {
        let mut refusals = Vec::new();
        let tokens = PerToken::from_fn(|name| {
            resolve(name, filed.tokens.get(name), wish, entries)
                .map_err(|refusal| refusals.push(refusal))
                .ok()
        });
        let mut planner = EntryPlanner {
            wish,
            entries,
            tokens: &tokens,
            refusals: &mut refusals,
        };
        let mut plans = BUNDLES.map(|bundle| planner.entry(bundle)).to_vec();
        for plan in &mut plans {
            let is_about_entry = |refusal: &&StoreRefusal| refusal.path() == Some(&plan.path);
            if let Some(refusal) = refusals.iter().find(is_about_entry) {
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

    /// True if the plan changes the store or the tokens file.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.written().next().is_some()
    }

    /// The entries that are written, in the order of the table.
    pub fn written(&self) -> impl Iterator<Item = &EntryPlan> {
        self.entries.iter().filter(|entry| entry.is_written())
    }
}

/// Decides the value of one token. All places that hold the token have to agree.
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
        found = list_entries(wish, entries)?;
    }
    let mut candidates = found.into_iter();
    let first = candidates.next();
    if let Some(first) = &first
        && let Some(other) = candidates.find(|other| other.1 != first.1)
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
        (Filed::Absent, None) => match check_deleted(wish, entries) {
            Some(refusal) => Err(refusal),
            None => Ok(Decision::Minted(None)),
        },
    }
}

/// Refuses to mint if the newest version of the router entry is deleted: its tokens can be
/// recovered.
fn check_deleted(wish: &StoreWish, entries: &Entries) -> Option<StoreRefusal> {
    let path = wish.layout.path(&ROUTER);
    let entry = entries.get(&path)?;
    let is_deleted = entry.fields.is_none() && entry.version > 0;
    is_deleted.then_some(StoreRefusal::Deleted {
        path,
        version: entry.version,
    })
}

/// The non-empty values of a key in the live Secret and in the entry of a bundle.
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

/// The only entry of each `EMBEDDINGS_API_KEYS`, which is the token if no other place holds it.
///
/// # Errors
/// A list with several entries.
fn list_entries(
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
