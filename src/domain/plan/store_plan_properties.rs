//! Properties of the plan for the store, for any state of the file, the live Secrets, the store and
//! the options.

use super::plan_tests::{A, B, MINTED, filed, token, wish};
use super::{Decision, Filed, PlaceRef};
use super::{FiledTokens, KeyAction};
use super::{LiveValues, StorePlan, StoreWish};
use crate::domain::eso::store_entry::{Entries, Entry, Field, Layout, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{AGENTICORE, BUNDLES, EMBEDDINGS, ROUTER, inputs as table_inputs};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};
use proptest::prelude::*;
use std::collections::BTreeMap;

const LISTS: [(&str, TokenName); 3] = [
    ("EMBEDDINGS_API_KEYS", TokenName::EmbeddingsApiKey),
    ("API_KEYS", TokenName::EmbeddingsApiKey),
    ("KB_ROUTER_TOKENS", TokenName::KbRouterToken),
];

type Values = BTreeMap<String, SecretValue>;

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
    proptest::option::of(proptest::sample::select(values))
}

fn some_token() -> impl Strategy<Value = Option<String>> {
    one_of(&["", A, A, B, "odd one"])
}

fn some_list() -> impl Strategy<Value = Option<String>> {
    let lists = ["", " ,", A, B, "theirs", "theirs, other"].map(str::to_owned);
    let mixed = [
        format!("theirs,{A}"),
        format!("{B},theirs"),
        format!("{A},{B}"),
    ];
    proptest::option::of(proptest::sample::select([&lists[..], &mixed[..]].concat()))
}

fn some_input() -> impl Strategy<Value = Option<String>> {
    one_of(&["", "one", "two"])
}

fn values(pairs: [(&str, Option<String>); 4]) -> Values {
    pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
        .collect()
}

prop_compose! {
    fn some_router()(
        a in some_token(), b in some_token(), list in some_list(), theirs in some_input(),
    ) -> Values {
        values([
            ("KB_ROUTER_TOKEN", a), ("EMBEDDINGS_API_KEY", b), ("KB_ROUTER_TOKENS", list),
            ("THEIRS", theirs),
        ])
    }
}

prop_compose! {
    fn some_embeddings()(
        url in some_input(), key in some_input(), list in some_list(), api in some_list(),
    ) -> Values {
        values([
            ("POSTGRES_URL", url), ("LLM_API_KEY", key), ("EMBEDDINGS_API_KEYS", list),
            ("API_KEYS", api),
        ])
    }
}

prop_compose! {
    fn some_agenticore()(
        key in some_input(), token in some_input(), theirs in some_input(), more in some_input(),
    ) -> Values {
        values([
            ("ANTHROPIC_API_KEY", key), ("GITHUB_TOKEN", token), ("THEIRS", theirs), ("MORE", more),
        ])
    }
}

prop_compose! {
    fn some_bundles()(
        router in proptest::option::of(some_router()),
        embeddings in proptest::option::of(some_embeddings()),
        agenticore in proptest::option::of(some_agenticore()),
    ) -> [Option<Values>; 3] {
        [router, embeddings, agenticore]
    }
}

prop_compose! {
    fn some_store()(bundles in some_bundles(), no_text: bool, deleted: bool) -> Entries {
        let layout = layout();
        let entry = |(bundle, found): (_, Option<Values>)| {
            let texts = found?;
            let mut fields: BTreeMap<_, _> =
                texts.iter().map(|(key, value)| (key.clone(), Field::of_text(value))).collect();
            if no_text {
                fields.insert("NUMBER".to_owned(), Field { json: "1.50".into(), text: None });
            }
            let fields = Some(fields).filter(|_| !(deleted && bundle == &EMBEDDINGS));
            Some((layout.path(bundle), Entry { version: 3, fields }))
        };
        [&ROUTER, &EMBEDDINGS, &AGENTICORE].into_iter().zip(bundles).filter_map(entry).collect()
    }
}

prop_compose! {
    fn some_wish()(
        url in some_input(), key in some_input(), anthropic in some_input(),
        update in proptest::sample::subsequence(vec!["POSTGRES_URL", "LLM_API_KEY"], 0..=2),
        live in proptest::option::of(some_bundles()), api_keys: bool,
    ) -> StoreWish {
        let given = [("POSTGRES_URL", url), ("LLM_API_KEY", key), ("ANTHROPIC_API_KEY", anthropic)];
        let given: Vec<_> = given.iter()
            .filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
        let live = live.map(|bundles| {
            let secrets = [ROUTER.secret, EMBEDDINGS.secret, AGENTICORE.secret];
            secrets.into_iter().zip(bundles)
                .filter_map(|(name, values)| Some((name, values?))).collect::<LiveValues>()
        });
        StoreWish {
            layout: layout(),
            inputs: wish(&given).inputs,
            update: update.into_iter().collect(),
            api_keys,
            home: "home".parse().unwrap(),
            live,
        }
    }
}

prop_compose! {
    fn some_file()(
        router in prop_oneof![Just(None), Just(Some(A)), Just(Some(B))],
        embeddings in prop_oneof![Just(None), Just(Some(A)), Just(Some(B))],
    ) -> FiledTokens {
        filed(router, embeddings)
    }
}

fn layout() -> Layout {
    Layout::new("p", BTreeMap::new()).unwrap()
}

/// The tokens after the run.
fn tokens(plan: &StorePlan) -> PerToken<Token> {
    PerToken::from_fn(|name| {
        let decided = plan.tokens.get(name).as_ref().and_then(Decision::token);
        decided.cloned().unwrap_or_else(|| token(MINTED))
    })
}

/// The store after the writes of a plan.
fn store_after(plan: &StorePlan, before: &Entries) -> Entries {
    let tokens = tokens(plan);
    let mut after = before.clone();
    for entry in plan.written() {
        let fields = Some(entry.fields(&tokens));
        let version = entry.base.version + 1;
        after.insert(entry.at.clone(), Entry { version, fields });
    }
    after
}

/// The token in the live router Secret, if live Secrets are a source.
fn live(wish: &StoreWish, name: TokenName) -> Option<&SecretValue> {
    wish.live.as_ref()?.get(ROUTER.secret)?.get(name.as_str())
}

fn is_list(key: &str) -> bool {
    LISTS.iter().any(|(list, _)| *list == key)
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..Default::default() })]

    /// Invariant 2: a field changes only if an option names it, or if it is a token or a list
    /// without a value. No field is removed, whatever its JSON type.
    #[test]
    fn the_store_only_gains(wish in some_wish(), file in some_file(), store in some_store()) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        let after = store_after(&plan, &store);
        for (path, before) in &store {
            for (key, old) in before.fields.iter().flatten() {
                let new = &after[path].fields.as_ref().unwrap()[key];
                let may_change = match &old.text {
                    Some(text) if TokenName::parse(key).is_some() => text.is_empty(),
                    Some(text) if is_list(key) => text.entries().next().is_none(),
                    _ => wish.update.contains(key.as_str()),
                };
                prop_assert!(may_change || old == new, "{path} {key}");
            }
        }
    }

    /// Invariant 3: a token has one value in the file and in the store, and is on its lists.
    #[test]
    fn one_token_has_one_value(wish in some_wish(), file in some_file(), store in some_store()) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        let tokens = tokens(&plan);
        let router = plan.places[0].at.clone();
        let after = store_after(&plan, &store);
        for (name, token) in tokens.iter() {
            prop_assert!(after[&router].text(name.as_str()).is_some_and(|value| token.is(value)));
            let live = live(&wish, name).filter(|value| !value.is_empty());
            prop_assert!(live.is_none_or(|value| token.is(value)), "{name}");
        }
        for (list, name) in LISTS {
            let lists = after.values().filter_map(|entry| entry.text(list));
            for list in lists.filter(|list| list.entries().next().is_some()) {
                prop_assert!(tokens.get(name).is_on(list), "{name}");
            }
        }
    }

    /// Every key of a live Secret is in its entry after the run. It has the live value if the entry
    /// had none. Only a required input without a value is left out.
    #[test]
    fn no_key_of_a_live_secret_is_left_out(
        wish in some_wish(), file in some_file(), store in some_store(),
    ) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        let after = store_after(&plan, &store);
        for (entry, bundle) in plan.places.iter().zip(BUNDLES) {
            let live = wish.live.as_ref().and_then(|live| live.get(bundle.secret));
            let fields = after.get(&entry.at).and_then(|entry| entry.fields.as_ref());
            let Some(written) = fields.filter(|fields| !fields.is_empty()) else {
                prop_assert!(entry.reason.is_some(), "{}", entry.at);
                continue;
            };
            for (key, value) in live.into_iter().flatten() {
                let is_empty = value.entries().next().is_none();
                if is_empty && ["POSTGRES_URL", "ANTHROPIC_API_KEY"].contains(&key.as_str()) {
                    continue;
                }
                let field = &written[key];
                let had_value = entry.base.text(key).is_some_and(|text| text.entries().next().is_some());
                let is_token = is_list(key) || TokenName::parse(key).is_some();
                if had_value || entry.base.has(key) && !is_list(key) || is_token && is_empty {
                    continue;
                }
                let is_kept = if is_list(key) {
                    value.entries().all(|one| field.text.as_ref().unwrap().lists(&one.into()))
                } else {
                    field.text.as_ref() == Some(value)
                };
                prop_assert!(is_kept, "{} {key}", entry.at);
            }
        }
    }

    /// If the live Secrets are not a source, only fields of the table are added.
    #[test]
    fn only_fields_of_the_table_are_added(wish in some_wish(), file in some_file(), store in some_store()) {
        let wish = StoreWish { live: None, ..wish };
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        for entry in plan.written() {
            for key in entry.fields(&tokens(&plan)).keys() {
                let is_known = entry.bundle.keys.iter().any(|known| known.name == key);
                prop_assert!(is_known || entry.base.has(key), "{} {key}", entry.at);
            }
        }
    }

    /// Invariant 8: after a plan is carried out, a new plan changes nothing.
    #[test]
    fn the_second_run_writes_nothing(
        wish in some_wish(), file in some_file(), store in some_store(),
    ) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        let tokens = tokens(&plan);
        let file = FiledTokens {
            exists: true,
            tokens: PerToken::from_fn(|name| Filed::Found(tokens.get(name).clone())),
        };
        let second = StorePlan::for_store(&wish, &file, &store_after(&plan, &store));
        let refusals: Vec<_> = second.refusals.iter().map(|refusal| refusal.message()).collect();
        prop_assert!(refusals.is_empty(), "{refusals:?}");
        prop_assert!(!second.changes_anything(), "{:?}", second.places);
    }

    /// The entry of a refusal is not written. Every refusal has a hint, and its texts contain no
    /// value.
    #[test]
    fn a_refusal_has_a_hint_and_contains_no_value(
        wish in some_wish(), file in some_file(), store in some_store(),
    ) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        let store_reach = StoreReach { program: "bao", mount: "secret".to_owned() };
        for refusal in &plan.refusals {
            let hint = refusal.hint(&HintContext::default(), &store_reach);
            prop_assert!(!hint.is_empty());
            let text = format!("{} {hint} {refusal:?}", refusal.message());
            for value in [A, B, "odd one", "theirs,"] {
                prop_assert!(!text.contains(value), "{text}");
            }
            let about = plan.places.iter().filter(|entry| refusal.at == PlaceRef::Entry(entry.at.clone()));
            for entry in about {
                prop_assert!(!entry.is_written(), "{}", entry.at);
            }
        }
    }

    /// A token is minted only if no place has it.
    #[test]
    fn only_missing_tokens_are_minted(
        wish in some_wish(), file in some_file(), store in some_store(),
    ) {
        let plan = StorePlan::for_store(&wish, &file, &store);
        prop_assume!(plan.refusals.is_empty());
        for (name, decision) in plan.tokens.iter() {
            let is_minted = matches!(decision, Some(Decision::Minted(_)));
            let places = [live(&wish, name), store.get("p/router")
                .and_then(|entry| entry.text(name.as_str()))];
            let exists = places.into_iter().flatten().any(|value| !value.is_empty());
            prop_assert!(!(is_minted && exists), "{name}");
        }
        let sets = plan.places.iter().flat_map(|entry| &entry.keys);
        for field in sets.filter(|field| matches!(field.action, KeyAction::Set(_))) {
            let is_input = table_inputs().any(|(name, _)| name == field.key);
            prop_assert!(!is_input || field.source != super::ValueSource::Minted, "{}", field.key);
        }
    }
}
