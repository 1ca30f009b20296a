//! Tests of the plan: the decision table row by row, then properties over any state.

use super::bundles::{EMBEDDINGS, ROUTER};
use super::inputs::Inputs;
use super::live::{LiveSecret, LiveValue, ManagedFields, OPAQUE, Observations, Observed};
use super::manifest::Manifest;
use super::names::{Namespace, SecretRef};
use super::ownership::Owner;
use super::plan::{Action, FileAction, FiledTokens, KeyAction, Plan, Prefer, Source, Wish};
use super::reach::Reach;
use super::resolve::{Decision, Filed};
use super::tokens::{PerToken, Token, TokenName};
use super::value::SecretValue;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccc";
const MINTED: &str = "dddddddddddddddddddddddddddddddd";

fn token(text: &str) -> Token {
    Token::parse(&SecretValue::from(text)).unwrap()
}

fn home() -> Namespace {
    "home".parse().unwrap()
}

fn at(namespace: &str, name: &'static str) -> SecretRef {
    SecretRef {
        namespace: namespace.parse().unwrap(),
        name,
    }
}

fn inputs(pairs: &[(&str, &str)]) -> Inputs {
    let given = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), SecretValue::from(*v)))
        .collect();
    Inputs::gather(&BTreeMap::new(), &given).unwrap()
}

fn wish(pairs: &[(&str, &str)]) -> Wish {
    Wish {
        home: home(),
        fleet: BTreeSet::new(),
        inputs: inputs(pairs),
        update: BTreeSet::new(),
        prefer: None,
        force_conflicts: false,
        with_api_keys: false,
    }
}

fn filed(router: Option<&str>, embeddings: Option<&str>) -> FiledTokens {
    let of = |text: Option<&str>| text.map_or(Filed::Absent, |text| Filed::Found(token(text)));
    FiledTokens {
        exists: router.is_some() || embeddings.is_some(),
        tokens: PerToken {
            kb_router_token: of(router),
            embeddings_api_key: of(embeddings),
        },
    }
}

fn live(pairs: &[(&str, &str)]) -> LiveSecret {
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

fn found(secrets: &[(SecretRef, LiveSecret)]) -> Observations {
    secrets
        .iter()
        .map(|(at, live)| {
            (
                at.clone(),
                Observed {
                    live: Some(live.clone()),
                    owner: None,
                },
            )
        })
        .collect()
}

fn router(pairs: &[(&str, &str)]) -> (SecretRef, LiveSecret) {
    (at("home", ROUTER.secret), live(pairs))
}

fn embeddings(pairs: &[(&str, &str)]) -> (SecretRef, LiveSecret) {
    (at("home", EMBEDDINGS.secret), live(pairs))
}

/// The plan in a few words: the file, then each Secret with its keys.
fn words(plan: &Plan) -> String {
    let mut text = format!("file {:?}\n", plan.file);
    for secret in &plan.secrets {
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
    let text = words(plan);
    let line = text
        .lines()
        .find(|line| line.contains(name))
        .unwrap_or_default();
    line.to_owned()
}

#[test]
fn a_fresh_namespace_gets_everything_that_has_its_inputs() {
    let plan = Plan::new(
        &wish(&[("POSTGRES_URL", "p"), ("LLM_API_BASE", "b")]),
        &FiledTokens::default(),
        &Observations::new(),
    );
    insta::assert_snapshot!(words(&plan), @r"
    file Create
    Secret home/agentibrain-router-secrets Create: KB_ROUTER_TOKEN=set/Minted EMBEDDINGS_API_KEY=set/Minted
    Secret home/embeddings-secrets Create: POSTGRES_URL=set/Env LLM_API_KEY=set/Default LLM_API_BASE=set/Env LLM_EMBED_MODEL=set/Default EMBEDDINGS_API_KEYS=set/Minted
    Secret home/agenticore-secrets Skip:
    ");
    assert_eq!(
        plan.secrets[2].reason.as_deref(),
        Some("ANTHROPIC_API_KEY is not set")
    );
}

#[test]
fn what_is_right_is_left_alone() {
    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        embeddings(&[
            ("POSTGRES_URL", "p"),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "other"),
            ("EMBEDDINGS_API_KEYS", B),
        ]),
    ]);
    let plan = Plan::new(&wish(&[]), &filed(Some(A), Some(B)), &observed);
    assert!(!plan.changes_anything(), "{}", words(&plan));
    assert!(plan.refusals.is_empty());
}

#[test]
fn a_lost_file_is_rebuilt_from_home() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let plan = Plan::new(&wish(&[]), &FiledTokens::default(), &observed);
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
        let plan = Plan::new(
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
fn a_single_list_entry_is_adopted_and_several_are_a_question() {
    let one = found(&[embeddings(&[
        ("POSTGRES_URL", "p"),
        ("EMBEDDINGS_API_KEYS", B),
    ])]);
    let plan = Plan::new(&wish(&[]), &filed(Some(A), None), &one);
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
    let plan = Plan::new(&wish(&[]), &filed(Some(A), None), &two);
    assert_eq!(plan.refusals.len(), 1);
    assert!(
        plan.refusals[0].message().contains("several entries"),
        "{}",
        words(&plan)
    );
    let plan = Plan::new(&wish(&[]), &filed(Some(A), Some(C)), &two);
    assert!(
        plan.refusals.is_empty(),
        "the file tells which entry is ours"
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
        let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
        assert_eq!(plan.refusals.len(), 1, "{key}: {}", words(&plan));
        wish.prefer = Some(Prefer::File);
        let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
        assert!(plan.refusals.is_empty(), "{key}: {}", words(&plan));
        let after = applied(&plan, &observed);
        let list = after[&at("home", bundle)]
            .live
            .as_ref()
            .unwrap()
            .text(key)
            .unwrap();
        assert_eq!(list.expose(), format!("other-one, other-two,{ours}"));
    }
}

#[test]
fn api_keys_is_written_on_request_with_the_value_of_the_documented_list() {
    let list = format!("theirs,{B}");
    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        embeddings(&[("POSTGRES_URL", "p"), ("EMBEDDINGS_API_KEYS", &list)]),
    ]);
    let mut wish = wish(&[]);
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    assert!(!words(&plan).contains(" API_KEYS="));
    wish.with_api_keys = true;
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    let after = applied(&plan, &observed);
    let secret = after[&at("home", EMBEDDINGS.secret)].live.as_ref().unwrap();
    assert_eq!(secret.text("API_KEYS").unwrap().expose(), list);
}

#[test]
fn disagreement_is_refused_and_names_both_places_by_fingerprint() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let plan = Plan::new(&wish(&[]), &filed(Some(C), Some(B)), &observed);
    let message = plan.refusals[0].message();
    insta::assert_snapshot!(message, @"KB_ROUTER_TOKEN differs: the tokens file has sha256:cd93782b7fb9, Secret home/agentibrain-router-secrets has sha256:3ba3f5f43b92");
    assert!(!message.contains(A) && !message.contains(C));
    assert_eq!(plan.secrets[0].action, Action::Refuse);
}

#[test]
fn the_loser_of_a_race_yields_only_what_it_minted_itself() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let mut mine = filed(Some(A), None);
    mine.tokens.embeddings_api_key = Filed::MintedNow(token(C));
    let plan = Plan::new(&wish(&[]), &mine, &observed);
    assert!(plan.refusals.is_empty());
    assert_eq!(
        plan.tokens.embeddings_api_key,
        Some(Decision::Cluster(token(B)))
    );
    assert_eq!(plan.file, FileAction::Update { replaces: false });
}

#[test]
fn a_fleet_namespace_is_compared_and_never_a_source() {
    let fleet = at("agents", ROUTER.secret);
    let planted = (
        fleet.clone(),
        live(&[("KB_ROUTER_TOKEN", C), ("EMBEDDINGS_API_KEY", B)]),
    );
    let mut wish = wish(&[]);
    wish.fleet.insert("agents".parse().unwrap());
    let plan = Plan::new(
        &wish,
        &FiledTokens::default(),
        &found(std::slice::from_ref(&planted)),
    );
    assert_eq!(plan.tokens.kb_router_token, Some(Decision::Minted(None)));
    assert_eq!(plan.refusals.len(), 2, "{}", words(&plan));

    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        planted,
    ]);
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    assert_eq!(plan.refusals.len(), 1);
    assert!(plan.refusals[0].message().contains("Secret agents/"));
    wish.prefer = Some(Prefer::Cluster);
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    let after = applied(&plan, &observed);
    let mended = after[&fleet].live.as_ref().unwrap().text("KB_ROUTER_TOKEN");
    assert_eq!(mended.unwrap().expose(), A);
}

#[test]
fn an_owned_secret_is_left_alone_and_never_minted_for() {
    let mut observed = found(&[router(&[("KB_ROUTER_TOKEN", A)])]);
    let place = at("home", ROUTER.secret);
    observed.get_mut(&place).unwrap().owner = Some(Owner::external_secret("es"));
    let plan = Plan::new(&wish(&[]), &filed(None, Some(B)), &observed);
    assert!(plan.refusals.is_empty(), "{}", words(&plan));
    assert_eq!(plan.secrets[0].action, Action::Skip);
    assert_eq!(
        plan.tokens.kb_router_token,
        Some(Decision::Cluster(token(A)))
    );

    let plan = Plan::new(&wish(&[]), &FiledTokens::default(), &observed);
    assert!(
        plan.refusals[0]
            .message()
            .contains("does not hold EMBEDDINGS_API_KEY yet")
    );

    let mut wish = wish(&[("POSTGRES_URL", "p")]);
    wish.update.insert("POSTGRES_URL");
    let mut observed = found(&[embeddings(&[
        ("POSTGRES_URL", "q"),
        ("EMBEDDINGS_API_KEYS", B),
    ])]);
    let place = at("home", EMBEDDINGS.secret);
    observed.get_mut(&place).unwrap().owner = Some(Owner::external_secret("es"));
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    assert!(
        plan.refusals[0]
            .message()
            .starts_with("--update POSTGRES_URL"),
        "{}",
        words(&plan)
    );
}

#[test]
fn an_input_changes_a_live_value_only_by_name() {
    let state = [
        ("POSTGRES_URL", "old"),
        ("LLM_API_KEY", ""),
        ("EMBEDDINGS_API_KEYS", B),
    ];
    let observed = found(&[embeddings(&state)]);
    let mut wish = wish(&[("POSTGRES_URL", "new"), ("LLM_API_KEY", "new")]);
    let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
    let line = one_line(&plan, EMBEDDINGS.secret);
    assert!(
        line.contains("POSTGRES_URL=differs/Cluster LLM_API_KEY=differs/Cluster"),
        "{line}"
    );
    wish.update.insert("LLM_API_KEY");
    let line = one_line(
        &Plan::new(&wish, &filed(Some(A), Some(B)), &observed),
        EMBEDDINGS.secret,
    );
    assert!(
        line.contains("POSTGRES_URL=differs/Cluster LLM_API_KEY=set/Env"),
        "{line}"
    );
}

#[test]
fn a_controllers_field_is_a_conflict_and_a_persons_is_not() {
    for (manager, refused) in [
        ("argocd-controller", true),
        ("kubectl-edit", false),
        ("k8s-bootstrap", false),
    ] {
        let mut secret = embeddings(&[("POSTGRES_URL", "old"), ("EMBEDDINGS_API_KEYS", B)]);
        secret.1.managed = vec![ManagedFields {
            manager: manager.into(),
            applied: false,
            data: BTreeSet::from(["POSTGRES_URL".to_owned()]),
            annotations: BTreeSet::new(),
        }];
        let observed = found(&[secret]);
        let mut wish = wish(&[("POSTGRES_URL", "new")]);
        assert!(
            Plan::new(&wish, &filed(Some(A), Some(B)), &observed)
                .refusals
                .is_empty()
        );
        wish.update.insert("POSTGRES_URL");
        let plan = Plan::new(&wish, &filed(Some(A), Some(B)), &observed);
        assert_eq!(!plan.refusals.is_empty(), refused, "{manager}");
        wish.force_conflicts = true;
        assert!(
            Plan::new(&wish, &filed(Some(A), Some(B)), &observed)
                .refusals
                .is_empty()
        );
    }
}

#[test]
fn a_secret_in_the_wrong_form_is_refused() {
    let change = |change: fn(&mut LiveSecret)| {
        let mut secret = router(&[("KB_ROUTER_TOKEN", A)]);
        change(&mut secret.1);
        let plan = Plan::new(&wish(&[]), &filed(Some(A), Some(B)), &found(&[secret]));
        let refusal = plan.refusals.first().map(|refusal| refusal.message());
        refusal.unwrap_or_default()
    };
    assert!(
        change(|secret| secret.type_ = "kubernetes.io/tls".into()).contains("kubernetes.io/tls")
    );
    assert!(change(|secret| secret.immutable = true).contains("immutable"));
    let undecodable = change(|secret| {
        secret.data.insert(
            "EMBEDDINGS_API_KEY".into(),
            LiveValue::decode("/w==".into()),
        );
    });
    assert!(undecodable.contains("EMBEDDINGS_API_KEY"), "{undecodable}");
    let odd = change(|secret| {
        secret.data.insert(
            "EMBEDDINGS_API_KEY".into(),
            LiveValue::encode(&"odd one".into()),
        );
    });
    assert!(
        odd.contains("differs"),
        "the file has one, so it is a disagreement: {odd}"
    );
}

#[test]
fn what_was_applied_before_is_applied_again() {
    let mut secret = embeddings(&[("POSTGRES_URL", "p"), ("API_KEYS", B), ("THEIRS", "t")]);
    secret
        .1
        .annotations
        .insert("k8s-bootstrap/minted-at.X".into(), "then".into());
    let ours = |manager: &str, applied, keys: &[&str]| ManagedFields {
        manager: manager.into(),
        applied,
        data: keys.iter().map(|key| (*key).to_owned()).collect(),
        annotations: BTreeSet::from(["k8s-bootstrap/minted-at.X".to_owned()]),
    };
    secret.1.managed = vec![
        ours("k8s-bootstrap", true, &["API_KEYS", "GONE"]),
        ours("k8s-bootstrap", false, &["POSTGRES_URL"]),
        ours("someone", true, &["THEIRS"]),
    ];
    let observed = found(&[secret]);
    let plan = Plan::new(&wish(&[]), &filed(Some(A), Some(B)), &observed);
    let secret = plan
        .secrets
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
        [
            "API_KEYS",
            "EMBEDDINGS_API_KEYS",
            "LLM_API_BASE",
            "LLM_API_KEY",
            "LLM_EMBED_MODEL"
        ]
    );
    assert_eq!(manifest.annotations["k8s-bootstrap/minted-at.X"], "then");
    assert_eq!(manifest.resource_version.as_deref(), Some("1"));
}

#[test]
fn an_exchanged_token_does_not_keep_the_age_of_another() {
    let name = "k8s-bootstrap/minted-at.KB_ROUTER_TOKEN";
    let tokens = PerToken {
        kb_router_token: token(C),
        embeddings_api_key: token(B),
    };
    for (live, told) in [(Some(A), Some("unknown")), (None, None)] {
        let mut secret = router(&[("EMBEDDINGS_API_KEY", B)]);
        put(&mut secret.1.data, "KB_ROUTER_TOKEN", live);
        secret.1.annotations.insert(name.into(), "then".into());
        let mut wish = wish(&[]);
        wish.prefer = Some(Prefer::File);
        let plan = Plan::new(&wish, &filed(Some(C), Some(B)), &found(&[secret]));
        let manifest = Manifest::of(&plan.secrets[0], &tokens, "now");
        assert_eq!(manifest.annotations.get(name).map(String::as_str), told);
    }
}

/// What the cluster looks like after the plan's writes.
fn applied(plan: &Plan, observed: &Observations) -> Observations {
    let tokens = tokens_after(plan);
    let mut after = observed.clone();
    for secret in plan.secrets.iter().filter(|secret| secret.is_written()) {
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

fn tokens_after(plan: &Plan) -> PerToken<Token> {
    PerToken::from_fn(|name| {
        let decided = plan.tokens.get(name).as_ref().and_then(Decision::token);
        decided.cloned().unwrap_or_else(|| token(MINTED))
    })
}

fn filed_after(plan: &Plan) -> FiledTokens {
    let tokens = tokens_after(plan);
    FiledTokens {
        exists: true,
        tokens: PerToken::from_fn(|name| Filed::Found(tokens.get(name).clone())),
    }
}

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

type Keys = BTreeMap<String, LiveValue>;

fn put(keys: &mut Keys, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        keys.insert(key.to_owned(), LiveValue::encode(&SecretValue::from(value)));
    }
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
            (place, Observed { live, owner })
        }).collect()
    }
}

prop_compose! {
    fn some_wish()(
        url in some_input(), key in some_input(),
        update in proptest::sample::subsequence(vec!["POSTGRES_URL", "LLM_API_KEY"], 0..=2),
        prefer in proptest::sample::select(vec![None, Some(Prefer::Cluster), Some(Prefer::File)]),
        with_api_keys: bool, fleet: bool,
    ) -> Wish {
        let pairs: Vec<_> = [("POSTGRES_URL", url), ("LLM_API_KEY", key)]
            .into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut wish = wish(&pairs);
        wish.update = update.into_iter().filter(|key| wish.inputs.get(key).is_some()).collect();
        wish.prefer = prefer;
        wish.with_api_keys = with_api_keys;
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

/// The keys whose live value the plan would change, with before and after.
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

    /// Invariant 2: a live value changes only by name, and no list loses an entry.
    #[test]
    fn apply_only_adds(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        for (place, key, old, new) in changed(&plan, &state) {
            if wish.update.contains(key.as_str()) || old.is_empty() && TokenName::parse(&key).is_some() {
                continue;
            }
            let list = ["EMBEDDINGS_API_KEYS", "API_KEYS", "KB_ROUTER_TOKENS"].contains(&key.as_str());
            if list {
                let kept = old.entries().all(|entry| new.entries().any(|other| other == entry));
                prop_assert!(kept, "{place} {key} lost an entry");
                let repaired = old.entries().next().is_none();
                prop_assert!(repaired || wish.prefer.is_some(), "{place} {key}");
            } else {
                prop_assert!(TokenName::parse(&key).is_some() && wish.prefer.is_some(), "{place} {key}");
            }
        }
    }

    /// Invariant 3: one token, one value, everywhere that is ours; and it is on its lists.
    #[test]
    fn one_token_one_value_everywhere(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        let tokens = tokens_after(&plan);
        let after = applied(&plan, &state);
        for secret in &plan.secrets {
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

    /// Invariant 3: what only a fleet namespace holds is never adopted.
    #[test]
    fn a_fleet_is_never_a_source(wish in some_wish(), file in some_file(), state in some_state()) {
        let with = Plan::new(&wish, &file, &state);
        let mut without = state.clone();
        without.remove(&at("agents", ROUTER.secret));
        prop_assert_eq!(with.tokens, Plan::new(&wish, &file, &without).tokens);
    }

    /// Invariant 8: after a plan is carried out there is nothing left to do.
    #[test]
    fn the_second_run_writes_nothing(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        prop_assume!(plan.refusals.is_empty());
        let again = Plan::new(&wish, &filed_after(&plan), &applied(&plan, &state));
        prop_assert!(again.refusals.is_empty(), "{}\nthen\n{}", words(&plan), words(&again));
        prop_assert!(!again.changes_anything(), "{}\nthen\n{}", words(&plan), words(&again));
    }

    /// Invariant 7: a Secret that somebody owns is not written.
    #[test]
    fn what_others_own_is_theirs(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        for secret in plan.secrets.iter().filter(|secret| secret.owner.is_some()) {
            prop_assert!(!secret.is_written());
            prop_assert!(secret.keys.iter().all(|key| !matches!(key.action, KeyAction::Set(_))));
        }
    }

    /// Every refusal has a remedy, and no text of it holds a value.
    #[test]
    fn a_refusal_names_a_remedy_and_no_value(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        for refusal in &plan.refusals {
            let text = format!("{} {} {refusal:?}", refusal.message(), refusal.hint(&Reach::default()));
            prop_assert!(!refusal.hint(&Reach::default()).is_empty());
            for value in [A, B, "odd one", "theirs,"] {
                prop_assert!(!text.contains(value), "{text}");
            }
        }
    }

    /// What is minted is said to be minted, and only that.
    #[test]
    fn only_what_nobody_has_is_minted(wish in some_wish(), file in some_file(), state in some_state()) {
        let plan = Plan::new(&wish, &file, &state);
        for key in plan.secrets.iter().flat_map(|secret| &secret.keys) {
            if key.source == Source::Minted {
                prop_assert!(plan.tokens.iter().any(|(_, decision)| *decision == Some(Decision::Minted(None))));
            }
        }
    }
}
