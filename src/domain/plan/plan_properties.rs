//! Properties of the plan for the Secrets, for any state of the file, the cluster and the options.

use super::Decision;
use super::plan_tests::*;
use super::{FiledTokens, KeyAction, Plan, Prefer, ValueSource, Wish};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::{LiveSecret, Observations, Observed};
use crate::domain::cluster::owner::Owner;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use proptest::prelude::*;

fn some_token() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("")),
        Just(Some(A)),
        Just(Some(B)),
        Just(Some("odd one"))
    ]
}

fn some_list() -> impl Strategy<Value = Option<String>> {
    let lists = ["", A, B, "theirs", "theirs, other"].map(str::to_owned);
    let mixed = [
        format!("theirs,{A}"),
        format!("{B},theirs"),
        format!("{A},{B}"),
    ];
    proptest::option::of(proptest::sample::select([&lists[..], &mixed[..]].concat()))
}

fn some_input() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        Just(None),
        Just(Some("")),
        Just(Some("one")),
        Just(Some("two"))
    ]
}

prop_compose! {
    fn some_router()(a in some_token(), b in some_token(), list in some_list()) -> LiveSecret {
        let mut secret = live(&[("THEIRS", "kept")]);
        put(&mut secret.data, "KB_ROUTER_TOKEN", a);
        put(&mut secret.data, "EMBEDDINGS_API_KEY", b);
        put(&mut secret.data, "KB_ROUTER_TOKENS", list.as_deref());
        secret
    }
}

prop_compose! {
    fn some_embeddings()(
        url in some_input(), key in some_input(), list in some_list(), api in some_list(),
    ) -> LiveSecret {
        let mut secret = live(&[("THEIRS", "kept")]);
        put(&mut secret.data, "POSTGRES_URL", url);
        put(&mut secret.data, "LLM_API_KEY", key);
        put(&mut secret.data, "EMBEDDINGS_API_KEYS", list.as_deref());
        put(&mut secret.data, "API_KEYS", api.as_deref());
        secret
    }
}

prop_compose! {
    fn some_state()(
        router in proptest::option::of(some_router()),
        fleet in proptest::option::of(some_router()),
        embeddings in proptest::option::of(some_embeddings()),
        owned in proptest::option::weighted(0.2, 0..3_usize),
    ) -> Observations {
        let places = [
            (at("home", ROUTER.secret), router),
            (at("home", EMBEDDINGS.secret), embeddings),
            (at("agents", ROUTER.secret), fleet),
        ];
        places.into_iter().enumerate().map(|(index, (place, live))| {
            let owner = (owned == Some(index)).then(|| Owner::external_secret("es"));
            (place, Observed { live, owner, ..Observed::default() })
        }).collect()
    }
}

prop_compose! {
    fn some_wish()(
        url in some_input(), key in some_input(),
        update in proptest::sample::subsequence(vec!["POSTGRES_URL", "LLM_API_KEY"], 0..=2),
        prefer in proptest::sample::select(vec![None, Some(Prefer::Cluster), Some(Prefer::File)]),
        api_keys: bool, fleet: bool,
    ) -> Wish {
        let pairs: Vec<_> = [("POSTGRES_URL", url), ("LLM_API_KEY", key)]
            .into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut wish = wish(&pairs);
        wish.update = update.into_iter().filter(|key| wish.inputs.get(key).is_some()).collect();
        wish.prefer = prefer;
        wish.api_keys = api_keys;
        if fleet {
            wish.fleet.insert("agents".parse().unwrap());
        }
        wish
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

/// The keys whose live value the plan changes, with the old and the new value.
fn changed(
    plan: &Plan,
    observed: &Observations,
) -> Vec<(SecretRef, String, SecretValue, SecretValue)> {
    let after = applied(plan, observed);
    let mut changes = Vec::new();
    for (place, before) in observed {
        let Some(before) = &before.live else { continue };
        let after = after[place].live.as_ref().unwrap();
        for (key, value) in &before.data {
            let (old, new) = (
                value.text.clone().unwrap(),
                after.text(key).unwrap().clone(),
            );
            if old != new {
                changes.push((place.clone(), key.clone(), old, new));
            }
        }
    }
    changes
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..Default::default() })]

    /// Invariant 2: a live value changes only if an option names it, and no list loses an entry.
    #[test]
    fn apply_only_adds(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        for (place, key, old, new) in changed(&plan, &state) {
            if wish.update.contains(key.as_str()) || old.is_empty() && TokenName::parse(&key).is_some() {
                continue;
            }
            let list = ["EMBEDDINGS_API_KEYS", "API_KEYS", "KB_ROUTER_TOKENS"].contains(&key.as_str());
            if list {
                let kept = old.entries().all(|entry| new.entries().any(|other| other == entry));
                prop_assert!(kept, "{place} {key} lost an entry");
                let was_empty = old.entries().next().is_none();
                prop_assert!(was_empty || wish.prefer.is_some(), "{place} {key}");
            } else {
                prop_assert!(TokenName::parse(&key).is_some() && wish.prefer.is_some(), "{place} {key}");
            }
        }
    }

    /// Invariant 3: a token has one value in all Secrets without an owner, and is on its lists.
    #[test]
    fn one_token_one_value_everywhere(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        let tokens = tokens_after(&plan);
        let after = applied(&plan, &state);
        for secret in &plan.places {
            let Some(live) = after.get(&secret.at).and_then(|found| found.live.as_ref()) else { continue };
            if secret.owner.is_some() {
                continue;
            }
            for (name, token) in tokens.iter() {
                if let Some(value) = live.text(name.as_str()) {
                    prop_assert!(token.is(value), "{} {name}", secret.at);
                }
            }
            for (list, name) in [
                ("EMBEDDINGS_API_KEYS", TokenName::EmbeddingsApiKey),
                ("API_KEYS", TokenName::EmbeddingsApiKey),
                ("KB_ROUTER_TOKENS", TokenName::KbRouterToken),
            ] {
                let Some(list) = live.text(list).filter(|list| list.entries().next().is_some()) else { continue };
                prop_assert!(tokens.get(name).is_on(list), "{} {name}", secret.at);
            }
        }
    }

    /// Invariant 3: a token that only a fleet namespace holds is never adopted.
    #[test]
    fn a_fleet_is_never_a_source(wish in some_wish(), file in some_file(), state in some_state()) {
        let with = Plan::for_secrets(&wish, &file, &state);
        let mut without = state.clone();
        without.remove(&at("agents", ROUTER.secret));
        prop_assert_eq!(with.tokens, Plan::for_secrets(&wish, &file, &without).tokens);
    }

    /// Invariant 8: after a plan is carried out, a new plan changes nothing.
    #[test]
    fn the_second_run_writes_nothing(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        let second = Plan::for_secrets(&wish, &filed_after(&plan), &applied(&plan, &state));
        prop_assert!(second.refusals.is_empty(), "{}\nthen\n{}", describe(&plan), describe(&second));
        prop_assert!(!second.changes_anything(), "{}\nthen\n{}", describe(&plan), describe(&second));
    }

    /// Invariant 7: a Secret with an owner is not written.
    #[test]
    fn an_owned_secret_is_not_written(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        for secret in plan.places.iter().filter(|secret| secret.owner.is_some()) {
            prop_assert!(!secret.is_written());
            prop_assert!(secret.keys.iter().all(|key| !matches!(key.action, KeyAction::Set(_))));
        }
    }

    /// Every refusal has a hint, and its texts contain no value.
    #[test]
    fn a_refusal_has_a_hint_and_contains_no_value(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        for refusal in &plan.refusals {
            let hint = refusal.hint(&HintContext::default(), &StoreReach::default());
            let text = format!("{} {hint} {refusal:?}", refusal.message());
            prop_assert!(!hint.is_empty());
            for value in [A, B, "odd one", "theirs,"] {
                prop_assert!(!text.contains(value), "{text}");
            }
        }
    }

    /// The source of a key is `Minted` only if a token is minted.
    #[test]
    fn only_a_minted_token_has_the_source_minted(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::for_secrets(&wish, &file, &state);
        for key in plan.places.iter().flat_map(|secret| &secret.keys) {
            if key.source == ValueSource::Minted {
                prop_assert!(plan.tokens.iter().any(|(_, decision)| *decision == Some(Decision::Minted(None))));
            }
        }
    }
}
