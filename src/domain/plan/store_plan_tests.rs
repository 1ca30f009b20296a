//! Tests of the plan for the store, one for each row of the decision table. Properties are in
//! `store_plan_properties`.

use super::plan_tests::{A, B, filed, wish};
use super::{Action, FiledTokens, KeyAction};
use super::{LiveValues, StorePlan, StoreWish};
use crate::domain::eso::store_entry::{Entries, Entry, Field, Layout, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use std::collections::BTreeMap;

fn store_wish(pairs: &[(&'static str, &str)]) -> StoreWish {
    StoreWish {
        layout: Layout::new("p", BTreeMap::new()).unwrap(),
        inputs: wish(pairs).inputs,
        update: Default::default(),
        api_keys: true,
        home: "home".parse().unwrap(),
        live: None,
    }
}

fn live(secrets: &[(&'static str, &[(&str, &str)])]) -> LiveValues {
    let values = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), SecretValue::from(*value)))
            .collect()
    };
    secrets
        .iter()
        .map(|(name, pairs)| (*name, values(pairs)))
        .collect()
}

fn entry(version: u64, pairs: &[(&str, &str)]) -> Entry {
    let field = |(key, value): &(&str, &str)| {
        let value = SecretValue::from(*value);
        ((*key).to_owned(), Field::of_text(&value))
    };
    Entry {
        version,
        fields: Some(pairs.iter().map(field).collect()),
    }
}

fn entries(pairs: &[(&str, Entry)]) -> Entries {
    pairs
        .iter()
        .map(|(path, entry)| ((*path).to_owned(), entry.clone()))
        .collect()
}

/// The plan as text: the file, then each entry with its fields, then the refusals.
fn describe(plan: &StorePlan) -> String {
    let mut text = format!("file {:?}\n", plan.file);
    for entry in &plan.places {
        text.push_str(&format!("{} {:?}:", entry.at, entry.action));
        for field in &entry.keys {
            let action = match &field.action {
                KeyAction::Set(_) => "set",
                KeyAction::Kept => "kept",
                KeyAction::Adopted => "adopted",
                KeyAction::Differs => "differs",
            };
            text.push_str(&format!(" {}={action}/{:?}", field.key, field.source));
        }
        if let Some(reason) = &entry.reason {
            text.push_str(&format!(" ({reason})"));
        }
        text.push('\n');
    }
    let reach = HintContext {
        home: "home".to_owned(),
        apply: "k8s-bootstrap -n home --apply".to_owned(),
        kubectl: "kubectl".to_owned(),
        tokens_file: "local/.k8s-tokens".to_owned(),
        ..HintContext::default()
    };
    let store = StoreReach {
        program: "bao",
        mount: "secret".to_owned(),
    };
    for refusal in &plan.refusals {
        let hint = refusal.hint(&reach, &store);
        text.push_str(&format!("refused: {}\n  {hint}\n", refusal.message()));
    }
    text
}

#[test]
fn an_empty_store_gets_every_entry_that_has_its_inputs() {
    let wish = store_wish(&[("POSTGRES_URL", "p")]);
    let plan = StorePlan::for_store(&wish, &FiledTokens::default(), &Entries::new());
    insta::assert_snapshot!(describe(&plan), @r"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Minted EMBEDDINGS_API_KEY=set/Minted
    p/embeddings Create: POSTGRES_URL=set/Env LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/Minted API_KEYS=set/Minted LOG_LEVEL=set/Default
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    ");
}

#[test]
fn the_live_secrets_come_before_the_inputs_with_all_their_keys() {
    let mut wish = store_wish(&[("POSTGRES_URL", "given"), ("LLM_API_KEY", "given")]);
    wish.live = Some(live(&[
        (
            ROUTER.secret,
            &[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", "")],
        ),
        (
            EMBEDDINGS.secret,
            &[
                ("POSTGRES_URL", "live"),
                ("LLM_API_BASE", ""),
                ("EMBEDDINGS_API_KEYS", B),
                ("API_KEYS", ""),
                ("ADDED", "by somebody"),
            ],
        ),
    ]));
    let plan = StorePlan::for_store(&wish, &FiledTokens::default(), &Entries::new());
    insta::assert_snapshot!(describe(&plan), @r"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Cluster EMBEDDINGS_API_KEY=set/Cluster
    p/embeddings Create: POSTGRES_URL=set/Cluster LLM_API_KEY=set/Env LLM_API_BASE=set/Cluster LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/Cluster API_KEYS=set/Cluster LOG_LEVEL=set/Default ADDED=set/Cluster
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    ");
}

#[test]
fn a_stored_field_stays_unless_update_names_it() {
    let stored = entries(&[
        (
            "p/router",
            entry(1, &[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", "")]),
        ),
        (
            "p/embeddings",
            entry(
                7,
                &[
                    ("POSTGRES_URL", "old"),
                    ("LLM_API_KEY", "old"),
                    ("THEIRS", "kept"),
                ],
            ),
        ),
        ("p/agenticore", entry(2, &[("GITHUB_TOKEN", "x")])),
    ]);
    let mut wish = store_wish(&[("POSTGRES_URL", "new"), ("LLM_API_KEY", "new")]);
    wish.update.insert("POSTGRES_URL");
    let plan = StorePlan::for_store(&wish, &filed(None, Some(B)), &stored);
    insta::assert_snapshot!(describe(&plan), @r"
    file Update { replaces: false }
    p/router Configure: KB_ROUTER_TOKEN=adopted/Store EMBEDDINGS_API_KEY=set/File
    p/embeddings Configure: POSTGRES_URL=set/Env LLM_API_KEY=differs/Env LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/File API_KEYS=set/File LOG_LEVEL=set/Default
    p/agenticore Keep: GITHUB_TOKEN=kept/Store (missing, and ANTHROPIC_API_KEY is not set)
    ");
}

#[test]
fn places_that_disagree_are_named_with_a_command_that_settles_it() {
    let stored = entries(&[
        (
            "p/router",
            entry(1, &[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", A)]),
        ),
        (
            "p/embeddings",
            entry(1, &[("POSTGRES_URL", "x"), ("API_KEYS", "theirs")]),
        ),
    ]);
    let mut wish = store_wish(&[]);
    wish.live = Some(live(&[(ROUTER.secret, &[("KB_ROUTER_TOKEN", B)])]));
    let by_cluster = StorePlan::for_store(&wish, &filed(None, Some(A)), &stored);
    insta::assert_snapshot!(describe(&by_cluster), @"
    file Keep
    p/router Refuse: KB_ROUTER_TOKEN=differs/Store EMBEDDINGS_API_KEY=kept/Store (KB_ROUTER_TOKEN differs: Secret home/agentibrain-router-secrets has sha256:bdb339768bc5, p/router in the store has sha256:3ba3f5f43b92)
    p/embeddings Refuse: POSTGRES_URL=kept/Store LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default API_KEYS=differs/Store LOG_LEVEL=set/Default (EMBEDDINGS_API_KEY is not on the list API_KEYS of p/embeddings in the store)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: KB_ROUTER_TOKEN differs: Secret home/agentibrain-router-secrets has sha256:bdb339768bc5, p/router in the store has sha256:3ba3f5f43b92
      see docs/checks.md#storeequal
    refused: EMBEDDINGS_API_KEY is not on the list API_KEYS of p/embeddings in the store
      see docs/checks.md#tokenspair
    ");
    wish.live = None;
    let by_file = StorePlan::for_store(&wish, &filed(Some(B), Some(A)), &stored);
    insta::assert_snapshot!(describe(&by_file), @"
    file Keep
    p/router Refuse: KB_ROUTER_TOKEN=differs/Store EMBEDDINGS_API_KEY=kept/Store (KB_ROUTER_TOKEN differs: the tokens file has sha256:bdb339768bc5, p/router in the store has sha256:3ba3f5f43b92)
    p/embeddings Refuse: POSTGRES_URL=kept/Store LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default API_KEYS=differs/Store LOG_LEVEL=set/Default (EMBEDDINGS_API_KEY is not on the list API_KEYS of p/embeddings in the store)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: KB_ROUTER_TOKEN differs: the tokens file has sha256:bdb339768bc5, p/router in the store has sha256:3ba3f5f43b92
      see docs/checks.md#storeequal
    refused: EMBEDDINGS_API_KEY is not on the list API_KEYS of p/embeddings in the store
      see docs/checks.md#tokenspair
    ");
    wish.live = Some(live(&[(ROUTER.secret, &[("KB_ROUTER_TOKEN", A)])]));
    let by_both = StorePlan::for_store(&wish, &filed(Some(B), Some(A)), &Entries::new());
    insta::assert_snapshot!(describe(&by_both), @r"
    file Keep
    p/router Create: EMBEDDINGS_API_KEY=set/File
    p/embeddings Skip: (POSTGRES_URL is not set)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: KB_ROUTER_TOKEN differs: the tokens file has sha256:bdb339768bc5, Secret home/agentibrain-router-secrets has sha256:3ba3f5f43b92
      keep the cluster's with `k8s-bootstrap -n home --apply --prefer cluster`, or the file's with `k8s-bootstrap -n home --apply --prefer file`
    ");
}

#[test]
fn a_single_list_entry_is_the_token_if_no_other_place_has_it() {
    let list = |list: &str| {
        entries(&[(
            "p/embeddings",
            entry(1, &[("POSTGRES_URL", "x"), ("EMBEDDINGS_API_KEYS", list)]),
        )])
    };
    let wish = store_wish(&[]);
    let no_file = FiledTokens::default();
    let one = StorePlan::for_store(&wish, &no_file, &list(A));
    insta::assert_snapshot!(describe(&one), @r"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Minted EMBEDDINGS_API_KEY=set/Store
    p/embeddings Configure: POSTGRES_URL=kept/Store LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=kept/Store API_KEYS=set/Store LOG_LEVEL=set/Default
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    ");
    let many = StorePlan::for_store(&wish, &no_file, &list(&format!("{A},{B}")));
    insta::assert_snapshot!(describe(&many), @r#"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Minted
    p/embeddings Refuse: POSTGRES_URL=kept/Store LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=kept/Store LOG_LEVEL=set/Default (EMBEDDINGS_API_KEYS of p/embeddings in the store has several entries, and no other place holds EMBEDDINGS_API_KEY: which entry is the token?)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: EMBEDDINGS_API_KEYS of p/embeddings in the store has several entries, and no other place holds EMBEDDINGS_API_KEY: which entry is the token?
      put the line EMBEDDINGS_API_KEY="..." with the right entry into the tokens file
    "#);
    let odd = StorePlan::for_store(&wish, &no_file, &list("short"));
    insta::assert_snapshot!(describe(&odd), @r"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Minted
    p/embeddings Refuse: POSTGRES_URL=kept/Store LLM_API_KEY=set/Default LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=kept/Store LOG_LEVEL=set/Default (EMBEDDINGS_API_KEYS of p/embeddings in the store cannot be adopted as a token: it is shorter than 16 characters)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: EMBEDDINGS_API_KEYS of p/embeddings in the store cannot be adopted as a token: it is shorter than 16 characters
      write a valid value there, from stdin: `bao kv patch -mount=secret p/embeddings EMBEDDINGS_API_KEYS=-`
    ");
}

#[test]
fn a_field_of_the_table_that_is_not_text_is_refused() {
    let mut embeddings = entry(1, &[("POSTGRES_URL", "x")]);
    let number = Field {
        json: "1".into(),
        text: None,
    };
    embeddings
        .fields
        .as_mut()
        .unwrap()
        .insert("LLM_API_KEY".to_owned(), number);
    let stored = entries(&[("p/embeddings", embeddings)]);
    let plan = StorePlan::for_store(&store_wish(&[]), &FiledTokens::default(), &stored);
    insta::assert_snapshot!(describe(&plan), @r"
    file Create
    p/router Create: KB_ROUTER_TOKEN=set/Minted EMBEDDINGS_API_KEY=set/Minted
    p/embeddings Refuse: POSTGRES_URL=kept/Store LLM_API_KEY=differs/Store LLM_API_BASE=set/Default LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/Minted API_KEYS=set/Minted LOG_LEVEL=set/Default (LLM_API_KEY of p/embeddings in the store is not text)
    p/agenticore Skip: (ANTHROPIC_API_KEY is not set)
    refused: LLM_API_KEY of p/embeddings in the store is not text
      write a valid value there, from stdin: `bao kv patch -mount=secret p/embeddings LLM_API_KEY=-`
    ");
}

#[test]
fn two_entries_cannot_share_a_path() {
    let layout = |path: &str| Layout::new("p", BTreeMap::from([("embeddings", path.to_owned())]));
    let renamed = layout("team/x").unwrap();
    assert_eq!(renamed.path(&EMBEDDINGS), "team/x");
    assert_eq!(renamed.path(&ROUTER), "p/router");
    assert_eq!(layout("p/router"), None);
}

/// The operator does not change a Secret whose entry has no fields. If the entry had some of them,
/// the operator would remove the other keys.
#[test]
fn an_entry_without_fields_is_not_partly_filled() {
    let stored = entries(&[("p/embeddings", entry(3, &[]))]);
    let plan = StorePlan::for_store(&store_wish(&[]), &filed(Some(A), Some(B)), &stored);
    let embeddings = plan
        .places
        .iter()
        .find(|entry| entry.at == "p/embeddings")
        .unwrap();
    assert_eq!(embeddings.action, Action::Skip);
    assert_eq!(
        embeddings.reason.as_deref(),
        Some("POSTGRES_URL is not set")
    );
}

#[test]
fn tokens_in_a_deleted_version_are_not_minted_again() {
    let deleted = Entry {
        version: 4,
        fields: None,
    };
    let stored = entries(&[("p/router", deleted)]);
    let plan = StorePlan::for_store(&store_wish(&[]), &filed(None, None), &stored);
    let refusal = plan.refusals.first().unwrap();
    let message = refusal.message();
    assert!(
        message.contains("version 4 of p/router in the store is deleted"),
        "{message}"
    );
    let store = StoreReach {
        program: "bao",
        mount: "secret".to_owned(),
    };
    let hint = refusal.hint(&HintContext::default(), &store);
    assert!(
        hint.contains("bao kv undelete -mount=secret -versions=4 p/router"),
        "{hint}"
    );
    // With the tokens in the file the deleted version is not needed.
    let plan = StorePlan::for_store(&store_wish(&[]), &filed(Some(A), Some(B)), &stored);
    assert!(plan.refusals.is_empty());
}
