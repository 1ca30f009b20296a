//! The plan for the secret store. The live Secrets can be a further source of values.

use super::place::{EntryPlan, PlaceRef};
use super::planner::{Place, Planner, Values};
use super::resolve::{Evidence, Holder};
use super::types::FiledTokens;
use super::whole::Plan;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::eso::store_entry::{Entries, Entry, Fields, Layout};
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, ROUTER};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};
use std::collections::{BTreeMap, BTreeSet};

/// All keys of the live Secrets that are a source of values, by the name of the Secret.
pub type LiveValues = BTreeMap<&'static str, BTreeMap<String, SecretValue>>;

/// The wanted state of the store.
#[derive(Clone, Debug)]
pub struct StoreWish {
    pub layout: Layout,
    pub inputs: Inputs,
    /// The inputs that may change an existing field.
    pub update: BTreeSet<&'static str>,
    /// Whether `API_KEYS` is written.
    pub api_keys: bool,
    /// The namespace of the live Secrets.
    pub home: Namespace,
    /// The live Secrets, if they are a source of values.
    pub live: Option<LiveValues>,
}

impl StoreWish {
    fn live(&self, bundle: &Bundle) -> Option<&BTreeMap<String, SecretValue>> {
        self.live.as_ref()?.get(bundle.secret)
    }
}

/// The plan for all entries and the tokens file.
pub type StorePlan = Plan<EntryPlan>;

impl StorePlan {
    pub fn for_store(wish: &StoreWish, filed: &FiledTokens, entries: &Entries) -> Self {
        let mut refusals = Vec::new();
        let tokens = PerToken::from_fn(|name| {
            let decision = evidence(name, wish, filed, entries).decide();
            decision.map_err(|why| refusals.push(*why)).ok()
        });
        let mut planner = Planner {
            inputs: &wish.inputs,
            update: &wish.update,
            prefer: None,
            api_keys: wish.api_keys,
            tokens: &tokens,
            home: None,
            refusals,
        };
        let places = BUNDLES.map(|bundle| {
            let path = wish.layout.path(bundle);
            let base = entries.get(&path).cloned().unwrap_or_default();
            let fields = base.fields.clone();
            let place = Place {
                at: PlaceRef::Entry(path.clone()),
                bundle,
                values: fields.as_ref().map(|fields| fields as &dyn Values),
                is_blank: fields.as_ref().is_none_or(Fields::is_empty),
                owner: None,
                is_fleet: false,
                copied: wish.live(bundle),
            };
            planner.plan(path, &place, base)
        });
        let refusals = planner.refusals;
        let name = |entry: &EntryPlan| PlaceRef::Entry(entry.at.clone());
        Self::new(filed, tokens, places.to_vec(), refusals, name)
    }
}

/// The live Secret is believed more than the entry, because the pods run on it.
fn evidence<'a>(
    name: TokenName,
    wish: &StoreWish,
    filed: &'a FiledTokens,
    entries: &Entries,
) -> Evidence<'a> {
    let holders = |bundle: &'static Bundle, key, is_empty: fn(&SecretValue) -> bool| {
        let path = wish.layout.path(bundle);
        let stored = entries.get(&path).and_then(|entry| entry.text(key));
        let live = wish.live(bundle).and_then(|keys| keys.get(key));
        let secret = PlaceRef::Secret(SecretRef::new(&wish.home, bundle.secret));
        [(secret, live), (PlaceRef::Entry(path), stored)].map(|(at, value)| {
            let value = value.filter(|value| !is_empty(value))?.clone();
            Some(Holder { at, key, value })
        })
    };
    let list = |key| holders(&EMBEDDINGS, key, |list| !list.has_entries());
    let tokens = holders(&ROUTER, name.as_str(), SecretValue::is_empty);
    let path = wish.layout.path(&ROUTER);
    let is_deleted = |entry: &&Entry| entry.fields.is_none() && entry.version > 0;
    let deleted = entries.get(&path).filter(is_deleted);
    Evidence {
        token: name,
        filed: filed.tokens.get(name),
        is_retired: false,
        prefer: None,
        owner: None,
        holders: Vec::from_iter(tokens.into_iter().flatten()),
        lists: EMBEDDINGS.lists_of(name).flat_map(list).flatten().collect(),
        deleted: deleted.map(|entry| entry.version),
        router: PlaceRef::Entry(path),
    }
}

impl Values for Fields {
    fn has(&self, key: &str) -> bool {
        self.contains_key(key)
    }

    fn text(&self, key: &str) -> Option<&SecretValue> {
        self.get(key)?.text.as_ref()
    }
}
