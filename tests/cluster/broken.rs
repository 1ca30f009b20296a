//! Servers that are broken, slow, busy, or no API servers at all.

use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER};
use crate::stub::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn a_secret_that_cannot_be_parsed_is_not_quoted() {
    let value = json!({ "metadata": {}, "data": { "KB_ROUTER_TOKEN": { "what": SENTINEL } } });
    let list = json!([SENTINEL]);
    let bodies = [
        format!(r#"{{"metadata":{{"name":"a"}},"data":{{"KB_ROUTER_TOKEN":"{SENTINEL}" oops"#),
        format!("<html>{SENTINEL}</html>"),
        format!(r#"{{"metadata":{{"name":"{SENTINEL}"}},"data":"{SENTINEL}"}}"#),
        format!(r#"{{"metadata":"{SENTINEL}"}}"#),
        format!("\"{SENTINEL}\""),
        value.to_string(),
        list.to_string(),
        String::new(),
    ];
    for body in bodies {
        let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
            true => raw(200, &body),
            false => fresh(request),
        });
        let space = stub.space();
        every_command_hides(&space, 3, &[]);
        assert_eq!(stub.count("POST"), 0);
        assert!(!space.file().exists());
    }
}

#[test]
fn a_secret_that_breaks_off_is_not_quoted() {
    let stub = Stub::new(|request, _| match request.contains(ROUTER) {
        true => Reply {
            cut: true,
            ..raw(200, &format!(r#"{{"data":{{"KB_ROUTER_TOKEN":"{SENTINEL}"#))
        },
        false => fresh(request),
    });
    every_command_hides(&stub.space(), 3, &["--request-timeout", "300ms"]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn the_message_of_an_error_is_not_quoted() {
    for code in [400, 401, 403, 409, 422, 500, 503] {
        let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
            true => status(code, "Whatever", &format!("no: {SENTINEL}")),
            false => fresh(request),
        });
        every_command_hides(&stub.space(), 3, &["--request-timeout", "300ms"]);
        assert_eq!(stub.count("POST"), 0);
    }
}

#[test]
fn the_message_of_a_refused_write_is_not_quoted() {
    for code in [400, 401, 403, 404, 413, 422, 500] {
        let stub = Stub::new(move |request, _| match request.starts_with("POST ") {
            true => status(code, "Whatever", &format!("no: {SENTINEL}")),
            false => fresh(request),
        });
        for format in ["text", "json"] {
            let space = stub.space();
            let arguments = ["--apply", "-vv", "-o", format, "--request-timeout", "300ms"];
            hides(space.run_with(&INPUTS, &arguments).exits(3), SENTINEL);
            // The tokens are on disk, and the next run would carry on with them.
            assert_eq!(space.filed().len(), 2);
        }
    }
}

#[test]
fn a_value_that_is_not_base64_is_a_question_and_not_quoted() {
    let body = json!({
        "metadata": { "name": ROUTER, "resourceVersion": "7" }, "type": "Opaque",
        "data": { "KB_ROUTER_TOKEN": format!("!{SENTINEL}!") },
    });
    let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
        true => reply(200, &body),
        false => fresh(request),
    });
    every_command_hides(&stub.space(), 1, &[]);
    stub.space()
        .run_with(&INPUTS, &["--apply"])
        .exits(1)
        .says(&["KB_ROUTER_TOKEN", ROUTER]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let stub = Stub::new(|request, before| match before {
        0 if request.contains(EMBEDDINGS) => Reply {
            headers: "Retry-After: 1\r\n",
            ..status(429, "TooManyRequests", "later")
        },
        _ => fresh(request),
    });
    let started = Instant::now();
    let ran = stub.space().run_with(&INPUTS, &["--apply"]).exits(0);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(ran.err.contains("trying again"), "{}", ran.err);
    assert_eq!(stub.count(&format!("secrets/{EMBEDDINGS}")), 2);
    assert_eq!(stub.count("POST"), 3);
}

#[test]
fn a_busy_server_that_asks_for_more_time_than_there_is_ends_the_run() {
    let stub = Stub::new(|request, _| match request.contains(EMBEDDINGS) {
        true => Reply {
            headers: "Retry-After: 3600\r\n",
            ..status(429, "TooManyRequests", "later")
        },
        false => fresh(request),
    });
    let started = Instant::now();
    let ran = stub.space().run_with(&INPUTS, &["--apply"]).exits(3);
    assert!(started.elapsed() < Duration::from_secs(20));
    ran.says(&["429", "--request-timeout"]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn a_server_that_always_fails_is_asked_more_than_once_and_not_for_ever() {
    let stub = Stub::new(|_, _| status(500, "InternalError", "no"));
    let space = stub.space();
    let started = Instant::now();
    let arguments = ["--apply", "--request-timeout", "2s"];
    let ran = space.run_with(&INPUTS, &arguments).exits(3);
    assert!(started.elapsed() < Duration::from_secs(6));
    ran.says(&["500", "--request-timeout"]);
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let path = format!("GET /api/v1/namespaces/{}/secrets/{name}", space.namespace);
        assert!(stub.count(&path) > 1, "{name}: {}", stub.count(&path));
    }
    assert!(!space.file().exists());
}

#[test]
fn a_server_that_recovers_is_no_failure() {
    let stub = Stub::new(|request, before| match before {
        0 => status(503, "ServiceUnavailable", "starting"),
        1 => Reply {
            cut: true,
            ..raw(200, "{")
        },
        _ => fresh(request),
    });
    stub.space().run_with(&INPUTS, &["--apply"]).exits(0);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let stub = Stub::new(|request, _| Reply {
        after: Duration::from_secs(20),
        ..fresh(request)
    });
    let started = Instant::now();
    let arguments = ["--apply", "--request-timeout", "1s"];
    let ran = stub.space().run_with(&INPUTS, &arguments).exits(3);
    assert!(started.elapsed() < Duration::from_secs(5));
    ran.says(&["--request-timeout"]);
    assert_eq!(stub.count("POST"), 0);
}

/// Runs every command against a server that answers everything so.
fn not_kubernetes(code: u16) {
    let stub = Stub::new(move |_, _| raw(code, "nope"));
    let space = stub.space();
    let commands: [&[&str]; 4] = [
        &["--apply"],
        &["--apply", "--create-namespace"],
        &["diff"],
        &["tokens", "recover"],
    ];
    for arguments in commands {
        let ran = space.run_with(&INPUTS, arguments).exits(3);
        assert!(ran.err.contains("hint"), "{}", ran.err);
        hides(ran, "nope");
    }
}

#[test]
fn a_server_that_is_not_kubernetes_is_a_failure() {
    not_kubernetes(200);
    not_kubernetes(302);
    not_kubernetes(400);
}

#[test]
fn not_found_by_a_server_that_is_not_kubernetes_does_not_mean_absent() {
    not_kubernetes(404);
}

/// A Secret of the router as somebody else made it.
fn of_another(winner: [&str; 2]) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json!({
        "metadata": { "name": ROUTER, "resourceVersion": "7" }, "type": "Opaque",
        "data": {
            "KB_ROUTER_TOKEN": STANDARD.encode(winner[0]),
            "EMBEDDINGS_API_KEY": STANDARD.encode(winner[1]),
        },
    })
}

/// Another run creates the router's Secret between our read and our write.
fn lost_race(winner: [&'static str; 2]) -> Stub {
    Stub::new(move |request, before| match request.contains(ROUTER) {
        true if before > 0 => reply(200, &of_another(winner)),
        _ if request.starts_with("POST ") && before == 0 => {
            // The router's Secret is the first to be created, beside those without a token.
            status(409, "AlreadyExists", "already exists")
        }
        _ => fresh(request),
    })
}

const WINNER: [&str; 2] = [
    "the-router-token-of-the-winner",
    "the-embeddings-key-of-the-winner",
];

#[test]
fn a_run_that_loses_the_race_takes_the_winners_tokens_for_its_own_minted_ones() {
    let stub = lost_race(WINNER);
    let space = stub.space();
    hides(
        space.run_with(&INPUTS, &["--apply", "-vv"]).exits(0),
        WINNER[0],
    );
    assert_eq!(space.filed()["KB_ROUTER_TOKEN"], WINNER[0]);
    assert_eq!(space.filed()["EMBEDDINGS_API_KEY"], WINNER[1]);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
    assert_eq!(stub.count("PATCH"), 0);
}

#[test]
fn a_run_that_loses_the_race_with_tokens_of_its_file_does_not_replace_them() {
    let stub = lost_race(WINNER);
    let space = stub.space();
    space.write_file(&[("KB_ROUTER_TOKEN", "the-router-token-of-the-file")]);
    let ran = space.run_with(&INPUTS, &["--apply", "-vv"]).exits(3);
    let ran = hides(hides(ran, WINNER[0]), "the-router-token-of-the-file");
    ran.says(&["--prefer cluster"]);
    assert_eq!(
        space.filed()["KB_ROUTER_TOKEN"],
        "the-router-token-of-the-file"
    );
    assert_eq!(stub.count("PATCH"), 0);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
}
