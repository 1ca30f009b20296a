//! What a rotation sees of the secret store on Path 2.

use super::edits::{PlaceRef, TokenPlace};
use super::elsewhere;
use super::targets::texts;
use super::workloads::serves;
use super::{BadState, NEXT_KEY, PREVIOUS_KEY, Rotation};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::eso::store_entry::Entry;
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::BTreeMap;

/// The entries of the store that hold tokens, and the ExternalSecrets that read them.
pub struct StoreView {
    pub version: &'static str,
    /// What makes the Secrets with tokens, each with the path that it reads.
    pub externals: Vec<(ExternalSecret, String)>,
    /// What is there; empty where the environment leads to no store.
    pub entries: BTreeMap<String, Entry>,
    /// The path of home's router entry.
    pub home: String,
    /// Whether somebody has to edit the entries.
    pub by_hand: bool,
}

/// The bundle whose Secret an ExternalSecret makes.
pub fn bundle_of(external: &ExternalSecret) -> Option<&'static Bundle> {
    BUNDLES.into_iter().find(|it| it.secret == external.target)
}

/// The keys that a rotation looks at.
fn keys() -> impl Iterator<Item = &'static str> {
    let keys = [&ROUTER, &EMBEDDINGS].into_iter().flat_map(|it| it.keys);
    keys.filter(|key| !matches!(key.origin, Origin::Input(_)))
        .map(|key| key.name)
        .chain([NEXT_KEY, PREVIOUS_KEY])
}

impl StoreView {
    /// The state that the write left which opened a rotation.
    ///
    /// # Errors
    /// One that this program did not write.
    pub fn state(&self) -> Result<Option<Rotation>, BadState> {
        elsewhere::of_entry(self.entries.get(&self.home))
    }

    /// Tells whether the router entry says that this rotation is open; an entry that somebody edits by
    /// hand says nothing.
    pub fn has_state_of(&self, rotation: &Rotation) -> bool {
        let told = self.state().ok().flatten();
        self.by_hand || told.is_some_and(|told| told.id == rotation.id)
    }

    /// The entries as targets.
    pub fn targets(&self, facts: &ClusterSnapshot, state: Option<&Rotation>) -> Vec<TokenPlace> {
        let mut targets: BTreeMap<&str, TokenPlace> = BTreeMap::new();
        for (external, path) in &self.externals {
            let Some(bundle) = bundle_of(external) else {
                continue;
            };
            let place = &facts.places[&external.namespace];
            let router = bundle.secret == ROUTER.secret;
            let serves = router && serves(place);
            let target = targets.entry(path).or_insert_with(|| {
                let texts = match self.entries.get(path) {
                    Some(entry) => texts_of(entry),
                    None => place.live(bundle.secret).map(texts).unwrap_or_default(),
                };
                TokenPlace {
                    at: match self.by_hand {
                        true => PlaceRef::Manual(path.clone()),
                        false => PlaceRef::Entry(path.clone()),
                    },
                    namespace: facts.home.clone(),
                    bundle,
                    home: router && *path == self.home,
                    made: state.is_some_and(|state| router && made(state, &texts)),
                    written: None,
                    texts,
                    serves: false,
                }
            });
            target.serves |= serves;
        }
        targets.into_values().collect()
    }

    /// The Secrets that do not carry what the store holds.
    pub fn lagging(&self, facts: &ClusterSnapshot) -> Vec<SecretRef> {
        let lagging = self.externals.iter().filter_map(|(external, path)| {
            let bundle = bundle_of(external)?;
            let live = facts.places[&external.namespace].live(bundle.secret);
            let carries = live.is_some_and(|live| self.matches_entry(path, live));
            (!carries && self.entries.contains_key(path)).then(|| SecretRef {
                namespace: external.namespace.clone(),
                name: bundle.secret,
            })
        });
        lagging.collect()
    }

    pub fn matches_entry(&self, path: &str, live: &LiveSecret) -> bool {
        let Some(entry) = self.entries.get(path) else {
            return false;
        };
        keys().all(|key| entry.text(key) == live.text(key))
    }
}

/// Tells whether the rotation made the list that an entry has: as long as its own values are on it.
fn made(state: &Rotation, texts: &BTreeMap<String, SecretValue>) -> bool {
    let row = state.phase.row();
    let list = texts.get("KB_ROUTER_TOKENS");
    let change = state.change(TokenName::KbRouterToken);
    let forgotten = list.zip(change).is_some_and(|(list, change)| {
        list.entries()
            .any(|entry| change.side(&SecretValue::from(entry)) == Some(row.sent.other()))
    });
    state.made && (row.both || forgotten)
}

fn texts_of(entry: &Entry) -> BTreeMap<String, SecretValue> {
    let fields = entry.fields.iter().flatten();
    fields
        .filter_map(|(key, field)| Some((key.clone(), field.text.clone()?)))
        .collect()
}
