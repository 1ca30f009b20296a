//! The part of the secret store that a rotation reads on Path 2. It must not write to the store.

use super::edits::{PlaceRef, TokenPlace};
use super::stored_state;
use super::workloads::reads_router_secret;
use super::{BadState, NEXT_KEY, PREVIOUS_KEY, Rotation};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::eso::store_entry::Entry;
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::BTreeMap;

/// The entries of the store that hold tokens, and the ExternalSecrets that read them.
pub struct StoreView {
    /// The served API version of ExternalSecret.
    pub version: &'static str,
    /// The ExternalSecrets of the Secrets with tokens, each with the path that it reads.
    pub externals: Vec<(ExternalSecret, String)>,
    /// The entries by path; empty if the environment names no store.
    pub entries: BTreeMap<String, Entry>,
    /// The path of home's router entry.
    pub home: String,
    /// Whether a person has to edit the entries: this program cannot write to the store.
    pub is_manual: bool,
}

/// The keys that a rotation can change.
fn keys() -> impl Iterator<Item = &'static str> {
    [&ROUTER, &EMBEDDINGS]
        .into_iter()
        .flat_map(|it| it.keys)
        .filter(|key| key.origin.token().is_some())
        .map(|key| key.name)
        .chain([NEXT_KEY, PREVIOUS_KEY])
}

impl StoreView {
    /// The state in home's router entry, written when a rotation opened.
    ///
    /// # Errors
    /// The state is not in the format of this program.
    pub fn state(&self) -> Result<Option<Rotation>, BadState> {
        stored_state::of_entry(self.entries.get(&self.home))
    }

    /// True if home's router entry has the state of this rotation. An entry that a person edits has
    /// no state: then it is always true.
    pub fn has_state_of(&self, rotation: &Rotation) -> bool {
        let state = self.state().ok().flatten();
        self.is_manual || state.is_some_and(|state| state.id == rotation.id)
    }

    /// The places of the store entries.
    pub fn targets(&self, facts: &ClusterSnapshot, state: Option<&Rotation>) -> Vec<TokenPlace> {
        let mut targets: BTreeMap<&str, TokenPlace> = BTreeMap::new();
        for (external, path) in &self.externals {
            let Some(bundle) = external.bundle() else {
                continue;
            };
            let place = &facts.places[&external.namespace];
            let is_router = bundle.secret == ROUTER.secret;
            let target = targets.entry(path).or_insert_with(|| {
                let texts = match self.entries.get(path) {
                    Some(entry) => texts_of(entry),
                    None => place
                        .live(bundle.secret)
                        .map(LiveSecret::texts)
                        .unwrap_or_default(),
                };
                TokenPlace {
                    at: if self.is_manual {
                        PlaceRef::Manual(path.clone())
                    } else {
                        PlaceRef::Entry(path.clone())
                    },
                    namespace: facts.home.clone(),
                    bundle,
                    home: is_router && *path == self.home,
                    added_list: state
                        .is_some_and(|state| is_router && has_added_list(state, &texts)),
                    last_write: None,
                    texts,
                    read_by_server: false,
                }
            });
            target.read_by_server |= is_router && reads_router_secret(place);
        }
        targets.into_values().collect()
    }

    /// The Secrets that do not match their store entry.
    pub fn stale_secrets(&self, facts: &ClusterSnapshot) -> Vec<SecretRef> {
        self.externals
            .iter()
            .filter_map(|(external, path)| {
                let at = external.secret()?;
                let live = facts.places[&at.namespace].live(at.name);
                let entry = self.entries.get(path)?;
                let is_equal =
                    |live: &LiveSecret| keys().all(|key| entry.text(key) == live.text(key));
                (!live.is_some_and(is_equal)).then_some(at)
            })
            .collect()
    }
}

/// True if the rotation added the list of the entry. In a closing phase this holds only until the
/// removed value is gone from the list.
fn has_added_list(state: &Rotation, texts: &BTreeMap<String, SecretValue>) -> bool {
    let row = state.phase.row();
    let list = texts.get("KB_ROUTER_TOKENS");
    let change = state.change(TokenName::KbRouterToken);
    let lists_removed_value = list.zip(change).is_some_and(|(list, change)| {
        list.entries()
            .any(|entry| change.side(&SecretValue::from(entry)) == Some(row.sent.other()))
    });
    state.added_list && (row.both || lists_removed_value)
}

fn texts_of(entry: &Entry) -> BTreeMap<String, SecretValue> {
    entry
        .fields
        .iter()
        .flatten()
        .filter_map(|(key, field)| Some((key.clone(), field.text.clone()?)))
        .collect()
}
