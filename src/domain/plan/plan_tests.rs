//! Tests of the plan for the Secrets, one for each row of the decision table. Refusals and owned
//! Secrets are in `refusal_tests`, properties in `plan_properties`.

use super::manifest::Manifest;
use super::{Action, FileAction, FiledTokens, KeyAction, Plan, Prefer, Wish};
use super::{Decision, Filed};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{
    LiveSecret, LiveValue, ManagedFields, OPAQUE, Observations, Observed,
};
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(super) const C: &str = "cccccccccccccccccccccccccccccccc";
pub(super) const MINTED: &str = "dddddddddddddddddddddddddddddddd";

pub(super) fn token(text: &str) -> Token {
    Token::parse(&SecretValue::from(text)).unwrap()
}

fn home() -> Namespace {
    "home".parse().unwrap()
}

pub(super) fn at(namespace: &str, name: &'static str) -> SecretRef {
    SecretRef {
        namespace: namespace.parse().unwrap(),
        name,
    }
}

pub(super) fn wish(pairs: &[(&'static str, &str)]) -> Wish {
    Wish {
        home: home(),
        fleet: BTreeSet::new(),
        inputs: Inputs::unchecked(pairs),
        update: BTreeSet::new(),
        prefer: None,
        force_conflicts: false,
        api_keys: true,
    }
}

pub(super) fn filed(router: Option<&str>, embeddings: Option<&str>) -> FiledTokens {
    let filed = |text: Option<&str>| text.map_or(Filed::Absent, |text| Filed::Found(token(text)));
    FiledTokens {
        exists: router.is_some() || embeddings.is_some(),
        tokens: PerToken {
            kb_router_token: filed(router),
            embeddings_api_key: filed(embeddings),
        },
    }
}

pub(super) fn live(pairs: &[(&str, &str)]) -> LiveSecret {
    LiveSecret {
        resource_version: "1".into(),
        type_: OPAQUE.into(),
        data: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), LiveValue::encode(&SecretValue::from(*v))))
            .collect(),
        ..LiveSecret::default()
    }
}

pub(super) fn found(secrets: &[(SecretRef, LiveSecret)]) -> Observations {
    secrets
        .iter()
        .map(|(at, live)| {
            (
                at.clone(),
                Observed {
                    live: Some(live.clone()),
                    ..Observed::default()
                },
            )
        })
        .collect()
}

pub(super) fn router(pairs: &[(&str, &str)]) -> (SecretRef, LiveSecret) {
    (at("home", ROUTER.secret), live(pairs))
}

pub(super) fn embeddings(pairs: &[(&str, &str)]) -> (SecretRef, LiveSecret) {
    (at("home", EMBEDDINGS.secret), live(pairs))
}

/// The plan as text: the file, then each Secret with its keys, then the refusals.
pub(super) fn describe(plan: &Plan) -> String {
    let mut text = format!("file {:?}\n", plan.file);
    for secret in &plan.places {
        text.push_str(&format!("{} {:?}:", secret.at, secret.action));
        for key in &secret.keys {
            let action = match &key.action {
                KeyAction::Set(_) => "set",
                KeyAction::Kept => "kept",
                KeyAction::Adopted => "adopted",
                KeyAction::Differs => "differs",
            };
            text.push_str(&format!(" {}={action}/{:?}", key.key, key.source));
        }
        text.push('\n');
    }
    for refusal in &plan.refusals {
        text.push_str(&format!("refused: {}\n", refusal.message()));
    }
    text
}

fn one_line(plan: &Plan, name: &str) -> String {
    let text = describe(plan);
    let line = text
        .lines()
        .find(|line| line.contains(name))
        .unwrap_or_default();
    line.to_owned()
}

#[test]
fn a_fresh_namespace_gets_everything_that_has_its_inputs() {
    let plan = Plan::for_secrets(
        &wish(&[("POSTGRES_URL", "p"), ("LLM_API_BASE", "b")]),
        &FiledTokens::default(),
        &Observations::new(),
    );
    insta::assert_snapshot!(describe(&plan), @r"
    file Create
    Secret home/agentibrain-router-secrets Create: KB_ROUTER_TOKEN=set/Minted EMBEDDINGS_API_KEY=set/Minted
    Secret home/embeddings-secrets Create: POSTGRES_URL=set/Env LLM_API_KEY=set/Default LLM_API_BASE=set/Env LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/Minted API_KEYS=set/Minted
    Secret home/agenticore-secrets Skip:
    ");
    assert_eq!(
        plan.places[2].reason.as_deref(),
        Some("ANTHROPIC_API_KEY is not set")
    );
}

#[test]
fn a_complete_secret_is_not_changed() {
    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        embeddings(&[
            ("POSTGRES_URL", "p"),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "other"),
            ("EMBEDDINGS_API_KEYS", B),
            ("API_KEYS", B),
        ]),
    ]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(B)), &observed);
    assert!(!plan.changes_anything(), "{}", describe(&plan));
    assert!(plan.refusals.is_empty());
}

#[test]
fn a_lost_file_is_rebuilt_from_home() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let plan = Plan::for_secrets(&wish(&[]), &FiledTokens::default(), &observed);
    assert_eq!(plan.file, FileAction::Create);
    assert_eq!(
        one_line(&plan, ROUTER.secret),
        "Secret home/agentibrain-router-secrets Keep: KB_ROUTER_TOKEN=adopted/Cluster \
         EMBEDDINGS_API_KEY=adopted/Cluster"
    );
}

#[test]
fn a_missing_or_empty_token_is_repaired() {
    for pairs in [
        &[("KB_ROUTER_TOKEN", A)][..],
        &[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", "")],
    ] {
        let plan = Plan::for_secrets(
            &wish(&[]),
            &filed(Some(A), Some(B)),
            &found(&[router(pairs)]),
        );
        assert_eq!(
            one_line(&plan, ROUTER.secret),
            "Secret home/agentibrain-router-secrets Configure: KB_ROUTER_TOKEN=kept/Cluster \
             EMBEDDINGS_API_KEY=set/File"
        );
    }
}

#[test]
fn a_single_list_entry_is_adopted_and_several_are_refused() {
    let one = found(&[embeddings(&[
        ("POSTGRES_URL", "p"),
        ("EMBEDDINGS_API_KEYS", B),
    ])]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), None), &one);
    assert_eq!(
        plan.tokens.embeddings_api_key,
        Some(Decision::Cluster(token(B)))
    );
    assert!(plan.refusals.is_empty());

    let several = format!("{B},{C}");
    let two = found(&[embeddings(&[
        ("POSTGRES_URL", "p"),
        ("EMBEDDINGS_API_KEYS", &several),
    ])]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), None), &two);
    assert_eq!(plan.refusals.len(), 1);
    assert!(
        plan.refusals[0].message().contains("several entries"),
        "{}",
        describe(&plan)
    );
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(C)), &two);
    assert!(
        plan.refusals.is_empty(),
        "the file says which entry is the token"
    );
}

#[test]
fn a_token_that_is_not_on_a_list_is_a_disagreement_and_prefer_file_appends_it() {
    let lists = |key: &'static str, bundle: &'static str| {
        let mut observed = found(&[
            router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
            embeddings(&[("POSTGRES_URL", "p"), ("EMBEDDINGS_API_KEYS", B)]),
        ]);
        let secret = observed
            .get_mut(&at("home", bundle))
            .unwrap()
            .live
            .as_mut()
            .unwrap();
        let others = SecretValue::from("other-one, other-two");
        secret
            .data
            .insert(key.to_owned(), LiveValue::encode(&others));
        observed
    };
    for (key, bundle, ours) in [
        ("EMBEDDINGS_API_KEYS", EMBEDDINGS.secret, B),
        ("API_KEYS", EMBEDDINGS.secret, B),
        ("KB_ROUTER_TOKENS", ROUTER.secret, A),
    ] {
        let observed = lists(key, bundle);
        let mut wish = wish(&[]);
        let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
        assert_eq!(plan.refusals.len(), 1, "{key}: {}", describe(&plan));
        wish.prefer = Some(Prefer::File);
        let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
        assert!(plan.refusals.is_empty(), "{key}: {}", describe(&plan));
        let after = applied(&plan, &observed);
        let list = after[&at("home", bundle)]
            .live
            .as_ref()
            .unwrap()
            .text(key)
            .unwrap();
        assert_eq!(list.expose(), format!("other-one,other-two,{ours}"));
    }
}

#[test]
fn api_keys_gets_the_value_of_the_documented_list_unless_it_is_left_out() {
    let list = format!("theirs,{B}");
    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        embeddings(&[("POSTGRES_URL", "p"), ("EMBEDDINGS_API_KEYS", &list)]),
    ]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(B)), &observed);
    let after = applied(&plan, &observed);
    let secret = after[&at("home", EMBEDDINGS.secret)].live.as_ref().unwrap();
    assert_eq!(secret.text("API_KEYS").unwrap().expose(), list);
    let wish = Wish {
        api_keys: false,
        ..wish(&[])
    };
    let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
    assert!(!describe(&plan).contains(" API_KEYS="));
}

/// The newer script writes `API_KEYS` alone.
#[test]
fn one_of_the_two_lists_is_enough() {
    for list in ["API_KEYS", "EMBEDDINGS_API_KEYS"] {
        let state = [
            ("POSTGRES_URL", "p"),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "m"),
            (list, B),
        ];
        let wish = Wish {
            api_keys: list == "API_KEYS",
            ..wish(&[])
        };
        let observed = found(&[embeddings(&state)]);
        let plan = Plan::for_secrets(&wish, &filed(Some(A), None), &observed);
        assert_eq!(
            plan.tokens.embeddings_api_key,
            Some(Decision::Cluster(token(B))),
            "{}",
            describe(&plan)
        );
        assert_eq!(plan.places[1].action, Action::Keep, "{}", describe(&plan));
    }
}

#[test]
fn after_a_lost_race_only_a_token_minted_by_this_run_is_replaced() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let mut file = filed(Some(A), None);
    file.tokens.embeddings_api_key = Filed::MintedNow(token(C));
    let plan = Plan::for_secrets(&wish(&[]), &file, &observed);
    assert!(plan.refusals.is_empty());
    assert_eq!(
        plan.tokens.embeddings_api_key,
        Some(Decision::Cluster(token(B)))
    );
    assert_eq!(plan.file, FileAction::Update { replaces: false });
}

#[test]
fn an_input_changes_a_live_value_only_if_update_names_it() {
    let state = [
        ("POSTGRES_URL", "old"),
        ("LLM_API_KEY", ""),
        ("EMBEDDINGS_API_KEYS", B),
    ];
    let observed = found(&[embeddings(&state)]);
    let mut wish = wish(&[("POSTGRES_URL", "new"), ("LLM_API_KEY", "new")]);
    let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
    let line = one_line(&plan, EMBEDDINGS.secret);
    assert!(
        line.contains("POSTGRES_URL=differs/Cluster LLM_API_KEY=differs/Cluster"),
        "{line}"
    );
    wish.update.insert("LLM_API_KEY");
    let line = one_line(
        &Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed),
        EMBEDDINGS.secret,
    );
    assert!(
        line.contains("POSTGRES_URL=differs/Cluster LLM_API_KEY=set/Env"),
        "{line}"
    );
}

#[test]
fn keys_applied_before_are_applied_again() {
    let mut secret = embeddings(&[("POSTGRES_URL", "p"), ("API_KEYS", B), ("THEIRS", "t")]);
    secret
        .1
        .annotations
        .insert("k8s-bootstrap/minted-at.X".into(), "then".into());
    let rotation = "k8s-bootstrap/rotation".to_owned();
    secret
        .1
        .annotations
        .insert(rotation.clone(), "state".into());
    let managed = |manager: &str, applied, keys: &[&str]| ManagedFields {
        manager: manager.into(),
        applied,
        data: keys.iter().map(|key| (*key).to_owned()).collect(),
        annotations: BTreeSet::from(["k8s-bootstrap/minted-at.X".to_owned()]),
    };
    secret.1.managed = vec![
        managed("k8s-bootstrap", true, &["API_KEYS", "GONE"]),
        managed("k8s-bootstrap", false, &["POSTGRES_URL"]),
        managed("someone", true, &["THEIRS"]),
        ManagedFields {
            annotations: BTreeSet::from([rotation.clone()]),
            ..managed("k8s-bootstrap-rotation", true, &[])
        },
    ];
    let observed = found(&[secret]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(B)), &observed);
    let secret = plan
        .places
        .iter()
        .find(|secret| secret.at.name == EMBEDDINGS.secret)
        .unwrap();
    let tokens = PerToken {
        kb_router_token: token(A),
        embeddings_api_key: token(B),
    };
    let manifest = Manifest::of(secret, &tokens, "now");
    let keys: Vec<_> = manifest.data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["API_KEYS", "LLM_API_BASE", "LLM_API_KEY", "LLM_EMBED_MODEL"]
    );
    assert_eq!(manifest.annotations["k8s-bootstrap/minted-at.X"], "then");
    assert!(!manifest.annotations.contains_key(&rotation));
    assert_eq!(manifest.resource_version.as_deref(), Some("1"));
}

#[test]
fn a_replaced_token_does_not_keep_the_age_of_the_old_one() {
    let name = "k8s-bootstrap/minted-at.KB_ROUTER_TOKEN";
    let tokens = PerToken {
        kb_router_token: token(C),
        embeddings_api_key: token(B),
    };
    for (live, expected) in [(Some(A), Some("unknown")), (None, None)] {
        let mut secret = router(&[("EMBEDDINGS_API_KEY", B)]);
        put(&mut secret.1.data, "KB_ROUTER_TOKEN", live);
        secret.1.annotations.insert(name.into(), "then".into());
        let mut wish = wish(&[]);
        wish.prefer = Some(Prefer::File);
        let plan = Plan::for_secrets(&wish, &filed(Some(C), Some(B)), &found(&[secret]));
        let manifest = Manifest::of(&plan.places[0], &tokens, "now");
        assert_eq!(manifest.annotations.get(name).map(String::as_str), expected);
    }
}

/// The Secrets after the writes of a plan.
pub(super) fn applied(plan: &Plan, observed: &Observations) -> Observations {
    let tokens = tokens_after(plan);
    let mut after = observed.clone();
    for secret in plan.places.iter().filter(|secret| secret.is_written()) {
        let manifest = Manifest::of(secret, &tokens, "now");
        let place = after.entry(secret.at.clone()).or_default();
        let live = place.live.get_or_insert_with(|| live(&[]));
        for (key, value) in manifest.data {
            live.data
                .insert(key, LiveValue::decode(value.expose().to_owned()));
        }
    }
    after
}

pub(super) fn tokens_after(plan: &Plan) -> PerToken<Token> {
    PerToken::from_fn(|name| {
        let decided = plan.tokens.get(name).as_ref().and_then(Decision::token);
        decided.cloned().unwrap_or_else(|| token(MINTED))
    })
}

pub(super) fn filed_after(plan: &Plan) -> FiledTokens {
    let tokens = tokens_after(plan);
    FiledTokens {
        exists: true,
        tokens: PerToken::from_fn(|name| Filed::Found(tokens.get(name).clone())),
    }
}

pub(super) type Keys = BTreeMap<String, LiveValue>;

pub(super) fn put(keys: &mut Keys, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        keys.insert(key.to_owned(), LiveValue::encode(&SecretValue::from(value)));
    }
}
