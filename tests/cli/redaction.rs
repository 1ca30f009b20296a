//! `Debug` of the types that hold a value does not show it.

use crate::folder::{Folder, INPUTS, SENTINEL, TOKENS};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Parser;
use k8s_bootstrap::cli::{Cli, Show, TokensFormat};
use k8s_bootstrap::commands;
use k8s_bootstrap::domain::cluster::names::SecretRef;
use k8s_bootstrap::domain::cluster::observed_secret::{
    LiveSecret, LiveValue, Observations, Observed,
};
use k8s_bootstrap::domain::eso::store_entry::{Entry, Field, Layout, StoreReach};
use k8s_bootstrap::domain::hint_context::HintContext;
use k8s_bootstrap::domain::lint::{self, Source};
use k8s_bootstrap::domain::plan::manifest::Manifest;
use k8s_bootstrap::domain::plan::refusal::{Conflict, Refusal};
use k8s_bootstrap::domain::plan::{Decision, Filed};
use k8s_bootstrap::domain::plan::{FiledTokens, KeyAction, NewValue, Plan, SecretPlan, Wish};
use k8s_bootstrap::domain::plan::{PlaceRef, StorePlan, StoreWish};
use k8s_bootstrap::domain::table::{EMBEDDINGS, ROUTER};
use k8s_bootstrap::domain::values::dotenv::{self, Dialect};
use k8s_bootstrap::domain::values::inputs::Inputs;
use k8s_bootstrap::domain::values::secret_value::SecretValue;
use k8s_bootstrap::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use k8s_bootstrap::domain::values::tokens_file::TokensFile;
use k8s_bootstrap::error::Failure;
use k8s_bootstrap::io::kube::wire::SecretBody;
use k8s_bootstrap::render::report::Report;
use k8s_bootstrap::render::store;
use k8s_bootstrap::ui::{Color, Format, Ui};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Fails where a value, plain or as base64, is in the `Debug` text.
#[track_caller]
fn assert_hidden(what: &impl Debug) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        assert_text_hides(&text);
    }
}

#[track_caller]
fn assert_text_hides(text: &str) {
    assert!(!text.contains(SENTINEL), "{text}");
    for (_, value) in INPUTS.iter().chain(&TOKENS) {
        assert!(!text.contains(&STANDARD.encode(value)), "{text}");
    }
}

fn value(text: &str) -> SecretValue {
    SecretValue::from(text)
}

fn token(index: usize) -> Token {
    Token::parse(&value(TOKENS[index].1)).unwrap()
}

fn tokens() -> PerToken<Token> {
    PerToken {
        kb_router_token: token(0),
        embeddings_api_key: token(1),
    }
}

fn at(name: &'static str) -> SecretRef {
    SecretRef {
        namespace: "brain".parse().unwrap(),
        name,
    }
}

fn wish() -> Wish {
    let environment: BTreeMap<_, _> = INPUTS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), value(text)))
        .collect();
    Wish {
        home: "brain".parse().unwrap(),
        fleet: BTreeSet::from(["fleet".parse().unwrap()]),
        inputs: Inputs::gather(&environment, &BTreeMap::new()).unwrap(),
        update: BTreeSet::from(["POSTGRES_URL"]),
        prefer: None,
        force_conflicts: false,
        api_keys: true,
    }
}

fn filed() -> FiledTokens {
    FiledTokens {
        exists: true,
        tokens: PerToken {
            kb_router_token: Filed::Found(token(0)),
            embeddings_api_key: Filed::MintedNow(token(1)),
        },
    }
}

/// Secrets that exist, with values in every key and a list of somebody else's entries.
fn observed() -> Observations {
    let live = |pairs: &[(&str, &str)]| {
        let data = pairs
            .iter()
            .map(|(key, text)| ((*key).to_owned(), LiveValue::encode(&value(text))))
            .collect();
        let live = LiveSecret {
            resource_version: "7".into(),
            type_: "Opaque".into(),
            data,
            ..LiveSecret::default()
        };
        Observed {
            live: Some(live),
            ..Observed::default()
        }
    };
    Observations::from([
        (
            at(ROUTER.secret),
            live(&[("KB_ROUTER_TOKEN", "s3ntinel-of-somebody-else")]),
        ),
        (
            at(EMBEDDINGS.secret),
            live(&[
                ("POSTGRES_URL", "postgres://s3ntinel-live"),
                (
                    "EMBEDDINGS_API_KEYS",
                    "s3ntinel-one-0123456789,s3ntinel-two-0123456789",
                ),
            ]),
        ),
    ])
}

#[test]
fn values_and_tokens() {
    assert_hidden(&value(SENTINEL));
    assert_hidden(&LiveValue::encode(&value(INPUTS[0].1)));
    assert_hidden(&LiveValue::decode(STANDARD.encode(INPUTS[0].1)));
    assert_hidden(&token(0));
    assert_hidden(&tokens());
    assert_hidden(&Decision::Minted(Some(token(0))));
    assert_hidden(&Token::parse(&value("s3ntinel")).unwrap_err());
    for text in ["s3ntinel", TOKENS[0].1] {
        assert_text_hides(&fingerprint(&value(text)));
    }
}

#[test]
fn what_is_gathered() {
    assert_hidden(&wish());
    assert_hidden(&wish().inputs);
    assert_hidden(&filed());
    assert_hidden(&observed());
    let text = format!(
        "# s3ntinel\nKB_ROUTER_TOKEN={}\nOTHER='s3ntinel'\n",
        TOKENS[0].1
    );
    assert_hidden(&dotenv::parse(&text, Dialect::Sourced).unwrap());
    assert_hidden(&TokensFile::parse(&text).unwrap());
    assert_hidden(&TokensFile::parse("OTHER='s3ntinel").unwrap_err());
    let odd = BTreeMap::from([("POSTGRES_URL".to_owned(), value(" s3ntinel"))]);
    let bad = Inputs::gather(&odd, &odd).unwrap_err();
    assert_hidden(&bad);
    assert_text_hides(&bad.to_string());
    let folder = Folder::with_tokens();
    let path = folder.path("local/.k8s-tokens");
    assert_hidden(
        &k8s_bootstrap::io::local::tokens_file::read(&path)
            .unwrap()
            .unwrap(),
    );
    for text in [
        "a: s3ntinel",
        "POSTGRES_URL: s3ntinel",
        "s3ntinel: {POSTGRES_URL: s3ntinel}",
        "a: [s3ntinel",
    ] {
        let source = Source {
            name: "v.yaml".to_owned(),
            quoted: None,
            text: Ok(value(text)),
        };
        assert_hidden(&source);
        assert_hidden(&lint::judge(&[source]));
    }
}

#[test]
fn plans_and_what_becomes_of_them() {
    for observed in [Observations::new(), observed()] {
        let plan = Plan::for_secrets(&wish(), &filed(), &observed);
        assert_hidden(&plan);
        assert_hidden(&Report::of_plan(&plan, "local/.k8s-tokens".into()));
        for secret in &plan.places {
            assert_hidden(&Manifest::of(secret, &tokens(), "2020-01-01T00:00:00Z"));
        }
        let set = |secret: &SecretPlan| {
            secret
                .keys
                .iter()
                .any(|key| matches!(key.action, KeyAction::Set(_)))
        };
        assert!(plan.places.iter().any(set));
        for refusal in &plan.refusals {
            assert_refusal(refusal);
        }
    }
    assert_hidden(&NewValue::Plain(value(SENTINEL)));
    let entries = Some(value("s3ntinel-one,s3ntinel-two"));
    assert_hidden(&NewValue::List {
        entries,
        token: TokenName::EmbeddingsApiKey,
    });
}

#[test]
fn plans_for_the_store_and_documents() {
    let stored = |text: &str| Field::of_text(&value(text));
    let entry = Entry {
        version: 1,
        fields: Some(BTreeMap::from([
            ("KB_ROUTER_TOKEN".to_owned(), stored(TOKENS[0].1)),
            ("THEIRS".to_owned(), stored(SENTINEL)),
        ])),
    };
    let live = BTreeMap::from([("KB_ROUTER_TOKEN".to_owned(), value("s3ntinel-of-another"))]);
    for (live, refused) in [(None, false), (Some(live), true)] {
        let wish = StoreWish {
            layout: Layout::new("p", BTreeMap::new()).unwrap(),
            inputs: wish().inputs,
            update: BTreeSet::new(),
            api_keys: true,
            home: "home".parse().unwrap(),
            live: live.map(|live| BTreeMap::from([(ROUTER.secret, live)])),
        };
        assert_hidden(&wish);
        let entries = BTreeMap::from([("p/router".to_owned(), entry.clone())]);
        assert_hidden(&entries);
        let plan = StorePlan::for_store(&wish, &filed(), &entries);
        assert_hidden(&plan);
        assert_eq!(!plan.refusals.is_empty(), refused);
        for refusal in &plan.refusals {
            let hint = refusal.hint(&HintContext::default(), &StoreReach::default());
            assert_text_hides(&format!("{} {hint} {refusal:?}", refusal.message()));
        }
        assert_hidden(&Report::of_plan(&plan, String::new()));
        let documents = store::documents(&plan, true);
        assert_hidden(&documents);
        assert!(store::yaml(&plan, &documents).contains(INPUTS[0].1));
    }
}

#[test]
fn refusals_and_failures() {
    let live = value("s3ntinel-of-somebody-else");
    let token = TokenName::KbRouterToken;
    let at = || at(ROUTER.secret);
    for conflict in [
        Conflict::Disagree {
            token,
            key: token.as_str(),
            one: (PlaceRef::TokensFile, self::token(0).value().clone()),
            other: live.clone(),
        },
        Conflict::Disagree {
            token,
            key: token.as_str(),
            one: (PlaceRef::TokensFile, self::token(0).value().clone()),
            other: value(SENTINEL),
        },
        Conflict::Retired {
            token,
            filed: self::token(0),
            live: Some(live.clone()),
        },
        Conflict::FleetAlone(token, live),
    ] {
        let refusal = Refusal {
            at: PlaceRef::Secret(at()),
            owner: None,
            conflict,
        };
        assert_refusal(&refusal);
    }
}

#[track_caller]
fn assert_refusal(refusal: &Refusal) {
    assert_hidden(refusal);
    let failure = Failure::no(refusal.message())
        .hint(refusal.hint(&HintContext::default(), &StoreReach::default()));
    assert_hidden(&failure);
    assert_text_hides(&format!(
        "{failure} {:?} {:?}",
        failure.causes, failure.hints
    ));
}

/// `kubectl apply` keeps the whole object, values included, in an annotation.
#[test]
fn annotations_of_others() {
    let annotation = "kubectl.kubernetes.io/last-applied-configuration".to_owned();
    let object = format!(
        "{{\"data\":{{\"POSTGRES_URL\":\"{}\"}}}}",
        STANDARD.encode(INPUTS[0].1)
    );
    let body = json!({ "metadata": { "annotations": { annotation: object } } });
    let body: SecretBody = serde_json::from_value(body).unwrap();
    assert_hidden(&Observed::from(body));
}

/// What is made to show the tokens shows them on stdout, and not in `Debug`.
#[test]
fn answers() {
    let folder = Folder::with_tokens();
    let path = folder.path("local/.k8s-tokens");
    let cli = Cli::parse_from(["k8s-bootstrap", "--tokens-file", path.to_str().unwrap()]);
    let ui = Ui::new(Format::Text, true, 0, Color::Never);
    let show = Show {
        format: TokensFormat::Export,
    };
    assert_hidden(&commands::tokens::show(&cli.global, show, ui).unwrap());
}
