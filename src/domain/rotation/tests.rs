//! Tests of the edits in each phase, of the state, of the marks and of the retired tokens.

mod gate;

use super::edits::{Edit, Odd, Part, PlaceRef, TokenPlace, edit};
use super::gate::{OldTokenUser, holders};
use super::next_step::{Step, View, next};
use super::{Change, Phase, Rotation, Side, TokenValues, is_retired};
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue, Observed};
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef, NamespaceSnapshot};
use crate::domain::cluster::workload::{BRAIN_API, Container, Pod, PodSpec, Whole, Workload};
use crate::domain::table::{Bundle, EMBEDDINGS as EMBEDDINGS_BUNDLE, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use std::collections::{BTreeMap, BTreeSet};

const NOW: &str = "2026-01-02T03:04:05Z";
const KB: TokenName = TokenName::KbRouterToken;
const KEY: TokenName = TokenName::EmbeddingsApiKey;
/// The values of each token, with the short names that the texts below use.
const VALUES: [(&str, TokenName, Side, &str); 4] = [
    ("kb0", KB, Side::Old, "kb-router-token-old"),
    ("kb1", KB, Side::New, "kb-router-token-new"),
    ("em0", KEY, Side::Old, "embeddings-key-old"),
    ("em1", KEY, Side::New, "embeddings-key-new"),
];

/// Replaces short names by values.
fn long(text: &str) -> String {
    VALUES
        .iter()
        .fold(text.to_owned(), |text, (short, .., value)| {
            text.replace(short, value)
        })
}

/// Replaces values by short names.
fn short(text: &str) -> String {
    VALUES
        .iter()
        .fold(text.to_owned(), |text, (short, .., value)| {
            text.replace(value, short)
        })
}

fn values() -> TokenValues {
    let mut values = TokenValues::default();
    for (.., token, side, text) in VALUES {
        values.put(token, side, Token::parse(&text.into()).unwrap());
    }
    values
}

fn rotation_of(phase: Phase, tokens: &[TokenName]) -> Rotation {
    let fingerprint_of = |name, side| {
        let row = VALUES
            .iter()
            .find(|(_, token, of, _)| (*token, *of) == (name, side));
        fingerprint(&SecretValue::from(row.unwrap().3))
    };
    let changes = PerToken::from_fn(|name| {
        tokens.contains(&name).then(|| Change {
            old: fingerprint_of(name, Side::Old),
            new: fingerprint_of(name, Side::New),
            minted: None,
        })
    });
    Rotation::new("0123abcd".to_owned(), phase, NOW, changes)
}

fn rotation(phase: Phase) -> Rotation {
    rotation_of(phase, &TokenName::ALL)
}

/// A place of home with the values of `KEY=value` words.
fn target(bundle: &'static Bundle, added_list: bool, texts: &str) -> TokenPlace {
    let texts = texts.split_whitespace().map(|word| {
        let (key, value) = word.split_once('=').unwrap();
        (key.to_owned(), SecretValue::from(long(value)))
    });
    let namespace: Namespace = "home".parse().unwrap();
    TokenPlace {
        at: PlaceRef::Secret(SecretRef {
            namespace: namespace.clone(),
            name: bundle.secret,
        }),
        namespace,
        bundle,
        home: bundle == &ROUTER,
        texts: texts.collect(),
        read_by_server: bundle == &ROUTER,
        added_list,
        last_write: None,
    }
}

/// Describes an edit: `KEY=value` for a set key, `-KEY` for a removed key, `added` for
/// [`Edit::added_list`].
fn describe_edit(edit: Result<Option<Edit>, Odd>) -> String {
    let Some(edit) = edit.unwrap() else {
        return "nothing".to_owned();
    };
    let set = edit
        .set
        .iter()
        .map(|(key, value)| short(&format!("{key}={}", value.expose())));
    let removed = edit.remove.iter().map(|key| format!("-{key}"));
    let added = edit.added_list.then(|| "added".to_owned());
    let words: Vec<_> = set.chain(removed).chain(added).collect();
    words.join(" ")
}

/// Describes the edit of a place that was already written in this phase.
fn describe_edit_after_fence(phase: Phase, target: &TokenPlace) -> String {
    let rotation = rotation(phase);
    let target = &TokenPlace {
        last_write: Some(rotation.mark()),
        ..target.clone()
    };
    describe_edit(edit(
        &rotation,
        &values(),
        target,
        Part::All,
        target.bundle != &ROUTER,
    ))
}

#[test]
fn the_home_router_secret_is_edited_in_each_phase() {
    let tokens = [
        "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0",
        "KB_ROUTER_TOKEN=kb1 EMBEDDINGS_API_KEY=em1",
    ];
    let with = |sent: usize, more: &str| format!("{} {more}", tokens[sent]);
    use Phase::{Back, Close, Immediate, Open, Switch, Undo};
    // No list of keys holds both values here, so a separate key holds the second one.
    let opened = "KB_ROUTER_TOKENS=kb0,kb1 EMBEDDINGS_API_KEY_NEXT=em1";
    let switched = "KB_ROUTER_TOKENS=kb0,kb1 EMBEDDINGS_API_KEY_PREVIOUS=em0";
    for (phase, added_list, before, expected) in [
        (
            Open,
            false,
            with(0, ""),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 added",
        ),
        (
            Open,
            false,
            with(0, "KB_ROUTER_TOKENS="),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 added",
        ),
        (
            Open,
            false,
            with(0, "KB_ROUTER_TOKENS=foreign,kb0,other"),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=foreign,kb0,other,kb1",
        ),
        (Open, true, with(0, opened), "nothing"),
        (
            Switch,
            true,
            with(0, opened),
            "EMBEDDINGS_API_KEY=em1 EMBEDDINGS_API_KEY_PREVIOUS=em0 KB_ROUTER_TOKEN=kb1 \
             -EMBEDDINGS_API_KEY_NEXT added",
        ),
        (Switch, true, with(1, switched), "nothing"),
        (
            Close,
            true,
            with(1, switched),
            "-EMBEDDINGS_API_KEY_PREVIOUS -KB_ROUTER_TOKENS",
        ),
        (
            Close,
            false,
            with(1, "KB_ROUTER_TOKENS=foreign,kb0,other,kb1"),
            "KB_ROUTER_TOKENS=foreign,other,kb1",
        ),
        // A foreign entry in a list that the rotation added: the list stays and is no longer ours.
        (
            Close,
            true,
            with(1, "KB_ROUTER_TOKENS=kb0,kb1,foreign"),
            "KB_ROUTER_TOKENS=kb1,foreign",
        ),
        // The list was removed or emptied by somebody else: it no longer counts as added.
        (Close, true, with(1, ""), ""),
        (
            Undo,
            true,
            with(0, "KB_ROUTER_TOKENS="),
            "-KB_ROUTER_TOKENS",
        ),
        (Close, false, with(1, ""), "nothing"),
        (
            Back,
            true,
            with(1, switched),
            "EMBEDDINGS_API_KEY=em0 EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKEN=kb0 \
             -EMBEDDINGS_API_KEY_PREVIOUS added",
        ),
        (
            Undo,
            true,
            with(0, opened),
            "-EMBEDDINGS_API_KEY_NEXT -KB_ROUTER_TOKENS",
        ),
        (
            Undo,
            false,
            with(0, "KB_ROUTER_TOKENS=kb1,foreign,kb0"),
            "KB_ROUTER_TOKENS=foreign,kb0",
        ),
        (
            Immediate,
            false,
            with(0, "KB_ROUTER_TOKENS=foreign,kb0"),
            "EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKEN=kb1 KB_ROUTER_TOKENS=foreign,kb1",
        ),
    ] {
        let target = target(&ROUTER, added_list, &before);
        let edit = edit(&rotation(phase), &values(), &target, Part::All, false);
        assert_eq!(describe_edit(edit), expected, "{phase}: {before}");
    }
}

#[test]
fn the_lists_of_embeddings_keys_are_edited_in_each_phase() {
    use Phase::{Back, Close, Immediate, Open, Switch, Undo};
    for (phase, before, expected) in [
        (
            Open,
            "EMBEDDINGS_API_KEYS=em0",
            "EMBEDDINGS_API_KEYS=em0,em1",
        ),
        (
            Open,
            "EMBEDDINGS_API_KEYS=foreign,em0,other API_KEYS=em0,foreign",
            "API_KEYS=em0,foreign,em1 EMBEDDINGS_API_KEYS=foreign,em0,other,em1",
        ),
        (Open, "EMBEDDINGS_API_KEYS=em0,em1 API_KEYS=", "nothing"),
        (Open, "EMBEDDINGS_API_KEYS= LOG_LEVEL=INFO", "nothing"),
        (Open, "POSTGRES_URL=em0", "nothing"),
        (
            Switch,
            "EMBEDDINGS_API_KEYS=em0,em1 API_KEYS=em0",
            "API_KEYS=em0,em1",
        ),
        (
            Close,
            "EMBEDDINGS_API_KEYS=foreign,em0,other,em1",
            "EMBEDDINGS_API_KEYS=foreign,other,em1",
        ),
        (Close, "EMBEDDINGS_API_KEYS=foreign,em1", "nothing"),
        (Back, "EMBEDDINGS_API_KEYS=em0,em1", "nothing"),
        (
            Undo,
            "EMBEDDINGS_API_KEYS=em1,em0,foreign",
            "EMBEDDINGS_API_KEYS=em0,foreign",
        ),
        (
            Immediate,
            "EMBEDDINGS_API_KEYS=em0,foreign",
            "EMBEDDINGS_API_KEYS=foreign,em1",
        ),
    ] {
        let target = target(&EMBEDDINGS_BUNDLE, false, before);
        assert_eq!(
            describe_edit_after_fence(phase, &target),
            expected,
            "{phase}: {before}"
        );
    }
}

#[test]
fn a_fleet_namespace_gets_a_list_only_if_its_brain_api_reads_it() {
    let texts = "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0";
    let mut fleet = TokenPlace {
        home: false,
        read_by_server: false,
        ..target(&ROUTER, false, texts)
    };
    assert_eq!(describe_edit_after_fence(Phase::Open, &fleet), "nothing");
    let switched = "EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKEN=kb1";
    assert_eq!(describe_edit_after_fence(Phase::Switch, &fleet), switched);
    fleet.read_by_server = true;
    let opened = "KB_ROUTER_TOKENS=kb0,kb1 added";
    assert_eq!(describe_edit_after_fence(Phase::Open, &fleet), opened);
    // Home always gets a list: the cluster has no other place for the new value.
    let home = TokenPlace {
        home: true,
        read_by_server: false,
        ..fleet
    };
    let opened = "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 added";
    assert_eq!(describe_edit_after_fence(Phase::Open, &home), opened);
}

/// A stalled run of an earlier phase may still hold a write for the version of a place that is
/// already right.
#[test]
fn back_undo_and_immediate_write_each_place_once() {
    use Phase::{Back, Close, Immediate, Open, Switch, Undo};
    let router = |sent: usize, list: &str| {
        let tokens = format!("KB_ROUTER_TOKEN=kb{sent} EMBEDDINGS_API_KEY=em{sent}");
        let fleet = target(&ROUTER, false, &format!("{tokens} {list}"));
        TokenPlace {
            home: false,
            ..fleet
        }
    };
    let keys = |list: &str| {
        let list = format!("EMBEDDINGS_API_KEYS={list}");
        target(&EMBEDDINGS_BUNDLE, false, &list)
    };
    for (phase, target, fenced) in [
        (Open, router(0, "KB_ROUTER_TOKENS=kb0,kb1"), false),
        (Switch, router(1, "KB_ROUTER_TOKENS=kb0,kb1"), false),
        (Close, router(1, "KB_ROUTER_TOKENS=kb1"), false),
        (Back, router(0, "KB_ROUTER_TOKENS=kb0,kb1"), true),
        (Back, keys("em0,em1"), false),
        (Undo, router(0, "KB_ROUTER_TOKENS=kb0"), true),
        (Undo, keys("em0"), true),
        (Immediate, router(1, "KB_ROUTER_TOKENS=kb1"), true),
        (Immediate, keys("em1"), true),
    ] {
        assert_eq!(describe_edit_after_fence(phase, &target), "nothing");
        let has_edit = |target: &TokenPlace| {
            let edit = edit(&rotation(phase), &values(), target, Part::All, true).unwrap();
            if let Some(edit) = &edit {
                assert!(edit.set.is_empty() && edit.remove.is_empty(), "{phase}");
            }
            edit.is_some()
        };
        let before = [None, Some("0123abcd.switch"), Some("76543210.undo")];
        for last_write in before.map(|it| it.map(str::to_owned)) {
            let target = TokenPlace {
                last_write,
                ..target.clone()
            };
            assert_eq!(has_edit(&target), fenced, "{phase} {target:?}");
        }
        let manual = TokenPlace {
            at: PlaceRef::Manual("path".to_owned()),
            ..target
        };
        assert!(!has_edit(&manual), "{phase}");
    }
}

#[test]
fn only_rotating_tokens_are_edited() {
    let home = target(&ROUTER, false, "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0");
    let of = |token, phase| {
        let rotation = rotation_of(phase, &[token]);
        describe_edit(edit(&rotation, &values(), &home, Part::All, true))
    };
    assert_eq!(of(KB, Phase::Open), "KB_ROUTER_TOKENS=kb0,kb1 added");
    assert_eq!(of(KEY, Phase::Open), "EMBEDDINGS_API_KEY_NEXT=em1");
    assert_eq!(of(KEY, Phase::Switch), "EMBEDDINGS_API_KEY=em1");
}

#[test]
fn an_edit_of_the_lists_does_not_change_client_tokens() {
    let home = target(&ROUTER, false, "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0");
    let edit = edit(
        &rotation(Phase::Switch),
        &values(),
        &home,
        Part::Lists,
        true,
    );
    assert_eq!(describe_edit(edit), "KB_ROUTER_TOKENS=kb0,kb1 added");
}

#[test]
fn an_unknown_value_and_a_lost_value_are_errors() {
    let target = target(&ROUTER, false, "KB_ROUTER_TOKEN=another-token-of-somebody");
    let of = |values| edit(&rotation(Phase::Open), values, &target, Part::All, true);
    let at = target.at.clone();
    let key = "KB_ROUTER_TOKEN";
    assert_eq!(of(&values()), Err(Odd::Neither { at, key }));
    let target = TokenPlace {
        texts: BTreeMap::new(),
        ..target.clone()
    };
    let lost = edit(
        &rotation(Phase::Open),
        &TokenValues::default(),
        &target,
        Part::All,
        true,
    );
    let (token, side) = (KB, Side::Old);
    assert_eq!(lost, Err(Odd::Lost { token, side }));
}

#[test]
fn the_state_is_parsed_as_it_was_written() {
    let mut rotation = rotation(Phase::Switch);
    rotation.fleet.insert("agents".to_owned());
    rotation.selector = Some("team in (a, b)".to_owned());
    rotation.added_list = true;
    rotation.rewrites = 2;
    let text = rotation.text();
    // These names are the format in the cluster.
    assert!(text.contains(r#""again":2,"made":true"#), "{text}");
    assert_eq!(Rotation::parse(&text), Ok(rotation));
    for (.., value) in VALUES {
        assert!(!text.contains(value));
    }
}

#[test]
fn an_invalid_state_is_rejected_and_not_quoted() {
    let good = rotation(Phase::Open).text();
    let kb = |side| {
        let rotation = rotation(Phase::Open);
        rotation.change(KB).unwrap().fingerprint(side).to_owned()
    };
    for (from, to) in [
        ("0123abcd", "0123abc"),
        ("0123abcd", "0123abcx"),
        ("\"open\"", "\"opened\""),
        (NOW, "yesterday"),
        ("KB_ROUTER_TOKEN", "KB_ROUTER"),
        ("sha256:", "sha512:"),
        (&kb(Side::Old), "kb-router-token-old"),
        (&kb(Side::Old), &kb(Side::New)),
        ("\"tokens\"", "\"token\""),
        ("{\"id\"", "{\"fleet\":[\"Not A Name\"],\"id\""),
        ("{\"id\"", "{\"selector\":\"a\\nb\",\"id\""),
        ("{", ""),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let refusal = Rotation::parse(&bad).unwrap_err();
        let message = format!("{refusal} {refusal:?}");
        assert!(!message.contains("kb-router-token-old"), "{message}");
    }
    let none = Rotation::new("0123abcd".to_owned(), Phase::Open, NOW, PerToken::default());
    assert!(Rotation::parse(&none.text()).is_err());
}

#[test]
fn a_mark_is_valid_in_its_phase_and_for_servers_while_they_accept_both_tokens() {
    for (phase, mark, clients, servers) in [
        (Phase::Open, "0123abcd.open", true, true),
        (Phase::Switch, "0123abcd.open", false, true),
        (Phase::Switch, "0123abcd.switch", true, true),
        (Phase::Back, "0123abcd.switch", false, true),
        // The token that a client got in `switch` stays valid until the end.
        (Phase::Close, "0123abcd.switch", true, false),
        (Phase::Close, "0123abcd.open", false, false),
        (Phase::Undo, "0123abcd.back", true, false),
        (Phase::Close, "0123abcd.close", true, true),
        (Phase::Undo, "0123abcd.open", false, false),
        (Phase::Switch, "ffffffff.switch", false, false),
        (Phase::Switch, "0123abcd.immediate", false, false),
        (Phase::Immediate, "0123abcd.immediate", true, true),
        (Phase::Switch, "0123abcd", false, false),
    ] {
        let rotation = rotation(phase);
        let marks_client = rotation.marks_client(Some(mark));
        assert_eq!(marks_client, clients, "{phase} {mark}");
        let marks_server = rotation.marks_server(Some(mark));
        assert_eq!(marks_server, servers, "{phase} {mark}");
        assert!(!rotation.marks_client(None) && !rotation.marks_server(None));

        // After a rewrite an earlier restart no longer counts.
        let rewritten = rotation.with_rewrite();
        assert!(!rewritten.marks_client(Some(mark)), "{phase} {mark}");
        assert!(!rewritten.marks_server(Some(mark)), "{phase} {mark}");
        let mark = format!("{mark}.1");
        let marks_client = rewritten.marks_client(Some(&mark));
        assert_eq!(marks_client, clients, "{phase} {mark}");
        let marks_server = rewritten.marks_server(Some(&mark));
        assert_eq!(marks_server, servers, "{phase} {mark}");
        assert!(!rotation.marks_client(Some(&mark)), "{phase} {mark}");
        assert!(!rotation.marks_server(Some(&mark)), "{phase} {mark}");
    }
}

/// A server that is also a client must restart again once clients get their token.
#[test]
fn the_mark_of_a_server_counts_for_a_client_only_in_the_same_phase() {
    for (phase, expected) in [
        (Phase::Open, "0123abcd.open"),
        (Phase::Switch, "0123abcd.open"),
        (Phase::Back, "0123abcd.open"),
        (Phase::Close, "0123abcd.close"),
        (Phase::Undo, "0123abcd.undo"),
    ] {
        let rotation = rotation(phase);
        assert_eq!(rotation.server_mark(), expected);
        assert!(rotation.marks_server(Some(expected)));
        let rewritten = rotation.with_rewrite();
        assert_eq!(rewritten.server_mark(), format!("{expected}.1"));
        assert!(rewritten.marks_server(Some(&rewritten.server_mark())));
        let client = !matches!(phase, Phase::Switch | Phase::Back);
        assert_eq!(rotation.marks_client(Some(expected)), client);
    }
}

#[test]
fn the_removed_token_is_retired_for_good() {
    let retired = |text: &str, annotation: &str| {
        is_retired(Some(annotation), KB, &SecretValue::from(long(text)))
    };
    let closed = rotation(Phase::Close).retire(Some("EMBEDDINGS_API_KEY=sha256:000000000000"));
    assert!(closed.starts_with("EMBEDDINGS_API_KEY=sha256:000000000000 KB_ROUTER_TOKEN=sha256:"));
    assert!(retired("kb0", &closed) && !retired("kb1", &closed));
    // A fingerprint is retired for its own token only.
    assert!(!retired("em0", &closed));
    let repeated = rotation(Phase::Close).retire(Some(&closed));
    assert_eq!(repeated, closed);
    let undone = rotation(Phase::Undo).retire(None);
    assert!(retired("kb1", &undone) && !retired("kb0", &undone));
    assert!(!is_retired(None, KB, &SecretValue::from(long("kb0"))));
}
