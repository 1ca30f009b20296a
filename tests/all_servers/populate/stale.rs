//! Somebody else writes between our reading and our writing.

use super::Operator;
use crate::space::{INPUTS, Ran};
use crate::stub::{Reply, Stub, raw, reply};
use serde_json::{Value, json};

const THEIRS: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "a-router-token-of-the-one-who-was-first"),
    (
        "EMBEDDINGS_API_KEY",
        "an-embeddings-key-of-the-one-who-was-first",
    ),
];
const STALE: &str = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;

/// An entry as the store gives it.
fn entry(version: u64, pairs: &[(&str, &str)]) -> Reply {
    let fields: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    reply(
        200,
        &json!({ "data": { "data": fields, "metadata": { "version": version } } }),
    )
}

/// What a store answers whose tokens may do everything and which has nothing.
fn empty(request: &str) -> Reply {
    match request {
        _ if request.contains("/sys/internal/ui/mounts/") => {
            let mount = json!({ "type": "kv", "path": "secret/", "options": { "version": "2" } });
            reply(200, &json!({ "data": mount }))
        }
        _ if request.contains("capabilities-self") => {
            let all = |entry: &str| format!("secret/data/p/{entry}");
            let may: serde_json::Map<String, Value> = super::ENTRIES
                .iter()
                .map(|entry| (all(entry), json!(["root"])))
                .collect();
            reply(200, &json!({ "data": may }))
        }
        _ if request.starts_with("POST ") => reply(200, &json!({ "data": { "version": 1 } })),
        _ => raw(404, r#"{"errors":[]}"#),
    }
}

fn apply(at: &Operator, stub: &Stub) -> Ran {
    let address = format!("http://127.0.0.1:{}", stub.port);
    let lead = [
        INPUTS[0],
        INPUTS[1],
        ("BAO_ADDR", &address),
        ("BAO_TOKEN", "any"),
    ];
    at.space
        .run_with(&lead, &["populate", "--prefix", "p", "--apply"])
}

#[test]
fn the_tokens_of_the_one_who_was_first_are_adopted() {
    let stub = Stub::new(|request, before| match request {
        "GET /v1/secret/data/p/router" if before > 0 => entry(1, &THEIRS),
        "POST /v1/secret/data/p/router" => raw(400, STALE),
        _ => empty(request),
    });
    let at = Operator::new();
    let ran = apply(&at, &stub).exits(0);
    let filed = at.space.filed();
    for (name, value) in THEIRS {
        assert_eq!(filed[name], value);
    }
    assert!(
        ran.out
            .contains("p/router: unchanged; KB_ROUTER_TOKEN, EMBEDDINGS_API_KEY adopted"),
        "{}",
        ran.out
    );
    // Before the router entry was decided no other entry got a token.
    assert_eq!(stub.count("POST /v1/secret/data/p/router"), 1);
    assert_eq!(stub.count("POST /v1/secret/data/p/embeddings"), 1);
    assert_eq!(stub.count("GET /v1/secret/data/p/router"), 2);
}

#[test]
fn tokens_that_were_in_the_file_before_are_not_replaced() {
    let stub = Stub::new(|request, before| match request {
        "GET /v1/secret/data/p/router" if before > 0 => entry(1, &THEIRS),
        "POST /v1/secret/data/p/router" => raw(400, STALE),
        _ => empty(request),
    });
    let at = Operator::new();
    let ours = [("KB_ROUTER_TOKEN", "a-router-token-of-our-own"), THEIRS[1]];
    at.space.write_file(&ours);
    let file = std::fs::read(at.space.file()).unwrap();
    let ran = apply(&at, &stub).exits(3);
    ran.says(&[
        "something else wrote while this ran",
        "KB_ROUTER_TOKEN differs",
    ]);
    assert_eq!(std::fs::read(at.space.file()).unwrap(), file);
    assert_eq!(stub.count("POST /v1/secret/data/p/embeddings"), 0);
}

#[test]
fn who_is_never_first_gives_up() {
    let stub = Stub::new(|request, _| match request {
        "POST /v1/secret/data/p/agenticore" => raw(400, STALE),
        _ => empty(request),
    });
    let at = Operator::new();
    let ran = apply(&at, &stub).exits(3);
    ran.says(&[
        "something else keeps changing the store",
        "secret/p/router",
        "run this again",
    ]);
    assert_eq!(stub.count("POST /v1/secret/data/p/agenticore"), 10);
}

#[test]
fn an_answer_that_is_lost_is_a_failure_of_its_entry() {
    let stub = Stub::new(|request, _| match request {
        "POST /v1/secret/data/p/agenticore" => Reply {
            cut: true,
            ..empty(request)
        },
        _ => empty(request),
    });
    let at = Operator::new();
    let ran = apply(&at, &stub).exits(3);
    let ran = ran.says(&["1 of 3 entries could not be written"]);
    assert!(
        ran.out.contains("[fail] secret/p/agenticore: failed"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("[ok]   secret/p/router: created"),
        "{}",
        ran.out
    );
}
