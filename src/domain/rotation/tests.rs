//! The edits phase by phase, the text of the state, and who still holds a token.

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
/// Old and new of each token, as they stand in the texts below.
const VALUES: [(&str, TokenName, Side, &str); 4] = [
    ("kb0", KB, Side::Old, "kb-router-token-old"),
    ("kb1", KB, Side::New, "kb-router-token-new"),
    ("em0", KEY, Side::Old, "embeddings-key-old"),
    ("em1", KEY, Side::New, "embeddings-key-new"),
];

/// Short names become values.
fn long(text: &str) -> String {
    let all = VALUES.iter();
    all.fold(text.to_owned(), |text, (short, .., value)| {
        text.replace(short, value)
    })
}

/// Values become short names.
fn short(text: &str) -> String {
    let all = VALUES.iter();
    all.fold(text.to_owned(), |text, (short, .., value)| {
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
    let print = |name, side| {
        let mut all = VALUES.iter();
        let found = all.find(|(_, token, of, _)| (*token, *of) == (name, side));
        fingerprint(&SecretValue::from(found.unwrap().3))
    };
    let changes = PerToken::from_fn(|name| {
        tokens.contains(&name).then(|| Change {
            old: print(name, Side::Old),
            new: print(name, Side::New),
            minted: None,
        })
    });
    Rotation::new("0123abcd".to_owned(), phase, NOW, changes)
}

fn rotation(phase: Phase) -> Rotation {
    rotation_of(phase, &TokenName::ALL)
}

/// A place of home from `KEY=value` words.
fn target(bundle: &'static Bundle, made: bool, texts: &str) -> TokenPlace {
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
        serves: bundle == &ROUTER,
        made,
        written: None,
    }
}

/// An edit in words: what is set, `-KEY` for what goes, `made` for the mark afterwards.
fn words(edit: Result<Option<Edit>, Odd>) -> String {
    let Some(edit) = edit.unwrap() else {
        return "nothing".to_owned();
    };
    let set = edit.set.iter();
    let set = set.map(|(key, value)| short(&format!("{key}={}", value.expose())));
    let gone = edit.remove.iter().map(|key| format!("-{key}"));
    let made = edit.made.then(|| "made".to_owned());
    set.chain(gone).chain(made).collect::<Vec<_>>().join(" ")
}

/// The edit of a place that has been written in this phase already.
fn describe(phase: Phase, target: &TokenPlace) -> String {
    let rotation = rotation(phase);
    let target = &TokenPlace {
        written: Some(rotation.mark()),
        ..target.clone()
    };
    words(edit(
        &rotation,
        &values(),
        target,
        Part::All,
        target.bundle != &ROUTER,
    ))
}

#[test]
fn the_router_secret_of_home_phase_by_phase() {
    let tokens = [
        "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0",
        "KB_ROUTER_TOKEN=kb1 EMBEDDINGS_API_KEY=em1",
    ];
    let with = |sent: usize, more: &str| format!("{} {more}", tokens[sent]);
    use Phase::{Back, Close, Immediate, Open, Switch, Undo};
    // Without lists of keys that hold both values, as here, a key of its own carries the other.
    let opened = "KB_ROUTER_TOKENS=kb0,kb1 EMBEDDINGS_API_KEY_NEXT=em1";
    let switched = "KB_ROUTER_TOKENS=kb0,kb1 EMBEDDINGS_API_KEY_PREVIOUS=em0";
    for (phase, made, before, expected) in [
        (
            Open,
            false,
            with(0, ""),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 made",
        ),
        (
            Open,
            false,
            with(0, "KB_ROUTER_TOKENS="),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 made",
        ),
        (
            Open,
            false,
            with(0, "KB_ROUTER_TOKENS=theirs,kb0,other"),
            "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=theirs,kb0,other,kb1",
        ),
        (Open, true, with(0, opened), "nothing"),
        (
            Switch,
            true,
            with(0, opened),
            "EMBEDDINGS_API_KEY=em1 EMBEDDINGS_API_KEY_PREVIOUS=em0 KB_ROUTER_TOKEN=kb1 \
             -EMBEDDINGS_API_KEY_NEXT made",
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
            with(1, "KB_ROUTER_TOKENS=theirs,kb0,other,kb1"),
            "KB_ROUTER_TOKENS=theirs,other,kb1",
        ),
        // Somebody added an entry to a list that the rotation made: it stays, without the mark.
        (
            Close,
            true,
            with(1, "KB_ROUTER_TOKENS=kb0,kb1,theirs"),
            "KB_ROUTER_TOKENS=kb1,theirs",
        ),
        // Somebody took that list away, or emptied it: the mark goes all the same.
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
             -EMBEDDINGS_API_KEY_PREVIOUS made",
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
            with(0, "KB_ROUTER_TOKENS=kb1,theirs,kb0"),
            "KB_ROUTER_TOKENS=theirs,kb0",
        ),
        (
            Immediate,
            false,
            with(0, "KB_ROUTER_TOKENS=theirs,kb0"),
            "EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKEN=kb1 KB_ROUTER_TOKENS=theirs,kb1",
        ),
    ] {
        let target = target(&ROUTER, made, &before);
        let edit = edit(&rotation(phase), &values(), &target, Part::All, false);
        assert_eq!(words(edit), expected, "{phase}: {before}");
    }
}

#[test]
fn the_lists_of_keys_phase_by_phase() {
    use Phase::{Back, Close, Immediate, Open, Switch, Undo};
    for (phase, before, expected) in [
        (
            Open,
            "EMBEDDINGS_API_KEYS=em0",
            "EMBEDDINGS_API_KEYS=em0,em1",
        ),
        (
            Open,
            "EMBEDDINGS_API_KEYS=theirs,em0,other API_KEYS=em0,theirs",
            "API_KEYS=em0,theirs,em1 EMBEDDINGS_API_KEYS=theirs,em0,other,em1",
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
            "EMBEDDINGS_API_KEYS=theirs,em0,other,em1",
            "EMBEDDINGS_API_KEYS=theirs,other,em1",
        ),
        (Close, "EMBEDDINGS_API_KEYS=theirs,em1", "nothing"),
        (Back, "EMBEDDINGS_API_KEYS=em0,em1", "nothing"),
        (
            Undo,
            "EMBEDDINGS_API_KEYS=em1,em0,theirs",
            "EMBEDDINGS_API_KEYS=em0,theirs",
        ),
        (
            Immediate,
            "EMBEDDINGS_API_KEYS=em0,theirs",
            "EMBEDDINGS_API_KEYS=theirs,em1",
        ),
    ] {
        let target = target(&EMBEDDINGS_BUNDLE, false, before);
        assert_eq!(describe(phase, &target), expected, "{phase}: {before}");
    }
}

#[test]
fn a_fleet_namespace_gets_a_list_only_where_a_brain_api_reads_it() {
    let texts = "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0";
    let mut fleet = TokenPlace {
        home: false,
        serves: false,
        ..target(&ROUTER, false, texts)
    };
    assert_eq!(describe(Phase::Open, &fleet), "nothing");
    let switched = "EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKEN=kb1";
    assert_eq!(describe(Phase::Switch, &fleet), switched);
    fleet.serves = true;
    let opened = "KB_ROUTER_TOKENS=kb0,kb1 made";
    assert_eq!(describe(Phase::Open, &fleet), opened);
    // Home has one in any case: the new value has no other place there.
    let home = TokenPlace {
        home: true,
        serves: false,
        ..fleet
    };
    let opened = "EMBEDDINGS_API_KEY_NEXT=em1 KB_ROUTER_TOKENS=kb0,kb1 made";
    assert_eq!(describe(Phase::Open, &home), opened);
}

/// On a way back a place may be right as it is, and an operator who was stopped amid the phase before
/// has it in hand, on top of the version that it has.
#[test]
fn each_place_is_written_once_on_a_way_that_does_not_repeat_what_came_before() {
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
        assert_eq!(describe(phase, &target), "nothing");
        let edited = |target: &TokenPlace| {
            let edit = edit(&rotation(phase), &values(), target, Part::All, true).unwrap();
            if let Some(edit) = &edit {
                assert!(edit.set.is_empty() && edit.remove.is_empty(), "{phase}");
            }
            edit.is_some()
        };
        let before = [None, Some("0123abcd.switch"), Some("76543210.undo")];
        for written in before.map(|it| it.map(str::to_owned)) {
            let target = TokenPlace {
                written,
                ..target.clone()
            };
            assert_eq!(edited(&target), fenced, "{phase} {target:?}");
        }
        let by_hand = TokenPlace {
            at: PlaceRef::Manual("path".to_owned()),
            ..target
        };
        assert!(!edited(&by_hand), "{phase}");
    }
}

#[test]
fn only_the_tokens_that_rotate_are_touched() {
    let home = target(&ROUTER, false, "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0");
    let of = |token, phase| {
        let rotation = rotation_of(phase, &[token]);
        words(edit(&rotation, &values(), &home, Part::All, true))
    };
    assert_eq!(of(KB, Phase::Open), "KB_ROUTER_TOKENS=kb0,kb1 made");
    assert_eq!(of(KEY, Phase::Open), "EMBEDDINGS_API_KEY_NEXT=em1");
    assert_eq!(of(KEY, Phase::Switch), "EMBEDDINGS_API_KEY=em1");
}

#[test]
fn the_lists_alone_leave_what_clients_send() {
    let home = target(&ROUTER, false, "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0");
    let edit = edit(
        &rotation(Phase::Switch),
        &values(),
        &home,
        Part::Lists,
        true,
    );
    assert_eq!(words(edit), "KB_ROUTER_TOKENS=kb0,kb1 made");
}

#[test]
fn what_the_rotation_does_not_know_and_what_is_lost_is_odd() {
    let target = target(&ROUTER, false, "KB_ROUTER_TOKEN=another-token-of-somebody");
    let of = |values| edit(&rotation(Phase::Open), values, &target, Part::All, true);
    let at = target.at.clone();
    let key = "KB_ROUTER_TOKEN";
    assert_eq!(of(&values()), Err(Odd::Neither { at, key }));
    let target = TokenPlace {
        texts: BTreeMap::new(),
        ..target.clone()
    };
    let nothing = edit(
        &rotation(Phase::Open),
        &TokenValues::default(),
        &target,
        Part::All,
        true,
    );
    let (token, side) = (KB, Side::Old);
    assert_eq!(nothing, Err(Odd::Lost { token, side }));
}

#[test]
fn the_state_is_read_as_it_was_written() {
    let mut rotation = rotation(Phase::Switch);
    rotation.fleet.insert("agents".to_owned());
    rotation.selector = Some("team in (a, b)".to_owned());
    rotation.made = true;
    let text = rotation.text();
    assert_eq!(Rotation::parse(&text), Ok(rotation));
    for (.., value) in VALUES {
        assert!(!text.contains(value));
    }
}

#[test]
fn a_state_that_we_did_not_write_is_refused_and_not_quoted() {
    let good = rotation(Phase::Open).text();
    let kb = |side| {
        let rotation = rotation(Phase::Open);
        rotation.change(KB).unwrap().print(side).to_owned()
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
        let told = format!("{refusal} {refusal:?}");
        assert!(!told.contains("kb-router-token-old"), "{told}");
    }
    let none = Rotation::new("0123abcd".to_owned(), Phase::Open, NOW, PerToken::default());
    assert!(Rotation::parse(&none.text()).is_err());
}

#[test]
fn a_mark_counts_in_its_phase_and_for_a_server_while_both_are_accepted() {
    for (phase, mark, clients, servers) in [
        (Phase::Open, "0123abcd.open", true, true),
        (Phase::Switch, "0123abcd.open", false, true),
        (Phase::Switch, "0123abcd.switch", true, true),
        (Phase::Back, "0123abcd.switch", false, true),
        // What a client got in the switch is right to the end.
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
        let of_clients = rotation.marks_client(Some(mark));
        assert_eq!(of_clients, clients, "{phase} {mark}");
        let of_servers = rotation.marks_server(Some(mark));
        assert_eq!(of_servers, servers, "{phase} {mark}");
        assert!(!rotation.marks_client(None) && !rotation.marks_server(None));

        // A place had to be written again: what was restarted before has to start once more.
        let again = rotation.with_rewrite();
        assert!(!again.marks_client(Some(mark)), "{phase} {mark}");
        assert!(!again.marks_server(Some(mark)), "{phase} {mark}");
        let mark = format!("{mark}.1");
        assert_eq!(again.marks_client(Some(&mark)), clients, "{phase} {mark}");
        assert_eq!(again.marks_server(Some(&mark)), servers, "{phase} {mark}");
        assert!(!rotation.marks_client(Some(&mark)), "{phase} {mark}");
        assert!(!rotation.marks_server(Some(&mark)), "{phase} {mark}");
    }
}

/// Before clients get theirs a server that is a client too does not count as one that has it.
#[test]
fn what_is_restarted_for_what_it_accepts_is_marked_so() {
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
        let again = rotation.with_rewrite();
        assert_eq!(again.server_mark(), format!("{expected}.1"));
        assert!(again.marks_server(Some(&again.server_mark())));
        let client = !matches!(phase, Phase::Switch | Phase::Back);
        assert_eq!(rotation.marks_client(Some(expected)), client);
    }
}

#[test]
fn the_token_that_went_is_retired_and_stays_so() {
    let retired = |text: &str, annotation: &str| {
        is_retired(Some(annotation), KB, &SecretValue::from(long(text)))
    };
    let closed = rotation(Phase::Close).retire(Some("EMBEDDINGS_API_KEY=sha256:000000000000"));
    assert!(closed.starts_with("EMBEDDINGS_API_KEY=sha256:000000000000 KB_ROUTER_TOKEN=sha256:"));
    assert!(retired("kb0", &closed) && !retired("kb1", &closed));
    // Each fingerprint is of its own token.
    assert!(!retired("em0", &closed));
    let again = rotation(Phase::Close).retire(Some(&closed));
    assert_eq!(again, closed);
    let undone = rotation(Phase::Undo).retire(None);
    assert!(retired("kb1", &undone) && !retired("kb0", &undone));
    assert!(!is_retired(None, KB, &SecretValue::from(long("kb0"))));
}
