//! No value shows on Path 2: what is in the store, the token of the operator and that of the person,
//! and what the store answers, which the operator writes into events.

use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::searched::{FILED, INPUTS, STRANGERS, Searched};
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER};
use crate::stub::{Stub, raw};
use crate::wait::wait;
use serde_json::{Value, json};

/// How loud the program can be, in each format.
const LOUDNESS: [&[&str]; 4] = [&[], &["-vv"], &["-o", "json", "-vv"], &["-q", "--short"]];
/// The ExternalSecrets, by entry, and their targets.
const EXTERNALS: [(&str, &str); 3] = [
    ("router", ROUTER),
    ("embeddings", EMBEDDINGS),
    ("agenticore", AGENTICORE),
];

/// Runs `verify` in every way, with and without a look into the store; gives the loudest document.
#[track_caller]
fn verify(at: &mut Searched, store: &[(&str, &str)], code: i32) -> Value {
    let mut last = Value::Null;
    for environment in [&[][..], store] {
        for loudness in LOUDNESS {
            at.options = loudness.to_vec();
            let ran = at.run_with(environment, &["verify"], code);
            if loudness.contains(&"json") {
                last = ran.json();
            }
        }
    }
    last
}

fn failed(document: &Value, id: &str) -> bool {
    let checks = document["checks"].as_array().unwrap();
    let mut of_id = checks.iter().filter(|check| check["id"] == id);
    of_id.any(|check| check["status"] == "fail")
}

#[test]
fn no_value_shows_of_what_the_store_has_and_says() {
    let mut at = Searched::new(&[]);
    let prefix = at.space.namespace.clone();
    let bao = &*BAO;
    let token = bao.token(&prefix, &["read"]);
    at.hide(&token);
    at.hide(&bao.root);
    at.space.write_file(&FILED);
    let tokens = format!("{},{}", FILED[1].1, STRANGERS[1].1);
    let fields = |entry: &str| match entry {
        "router" => FILED.to_vec(),
        "agenticore" => INPUTS[4..].to_vec(),
        _ => [
            &INPUTS[..4],
            &[
                ("EMBEDDINGS_API_KEYS", tokens.as_str()),
                ("LOG_LEVEL", "DEBUG"),
            ],
        ]
        .concat(),
    };
    at.hide(&tokens);
    for (entry, _) in EXTERNALS {
        bao.put(&format!("{prefix}/{entry}"), &fields(entry));
    }
    at.space.cluster_store(&token);
    for (entry, target) in EXTERNALS {
        at.space
            .synchronize(entry, target, &format!("{prefix}/{entry}"));
    }
    wait("they are there", || {
        EXTERNALS.iter().all(|it| at.space.object(it.1).is_some())
    });
    let operator = [
        ("BAO_ADDR", bao.address.as_str()),
        ("BAO_TOKEN", bao.root.as_str()),
    ];
    let document = verify(&mut at, &operator, 0);
    assert_eq!(document["ok"], true);

    // The store has other values, and one that is not text.
    let router = format!("{prefix}/router");
    bao.put(&router, &STRANGERS);
    let odd = json!({ "data": {
        "POSTGRES_URL": { "s3ntinel": ["s3ntinel"] }, "s3ntinel-of-a-name": "s3ntinel",
    } });
    bao.expect("POST", &format!("secret/data/{prefix}/odd"), &odd);
    wait("it differs", || {
        let ran = at.space.run_with(&operator, &["verify", "-o", "json"]);
        failed(&ran.json(), "store.equal")
    });
    at.options = vec!["-o", "json", "-vv"];
    at.run_with(&operator, &["verify"], 1);

    // What the store answers stands in the events, with the URL; and the events of others say more.
    bao.revoke(&token);
    at.space.kubectl(&[
        "annotate",
        "--overwrite",
        "externalsecret",
        "--all",
        "force-sync=1",
    ]);
    let event = json!({
        "metadata": { "name": "s3ntinel" },
        "involvedObject": {
            "kind": "ExternalSecret", "name": "router", "namespace": prefix,
            "uid": SANDBOX.expect("GET", &at.space.external_secret_path("router"), &Value::Null)
                ["metadata"]["uid"],
        },
        "reason": "UpdateFailed", "type": "Warning", "message": "Code: 403 s3ntinel denied",
        "firstTimestamp": "2035-01-01T00:00:00Z", "lastTimestamp": "2035-01-01T00:00:00Z",
    });
    let path = format!("/api/v1/namespaces/{prefix}/events");
    SANDBOX.expect("POST", &path, &event);
    wait("it is refused", || {
        let ran = at.space.run(&["verify", "-o", "json"]);
        failed(&ran.json(), "eso.store")
    });
    let document = verify(&mut at, &operator, 1);
    assert!(failed(&document, "eso.synced"), "{document}");
}

/// A store that answers what it should not, to the person.
#[test]
fn no_value_shows_of_an_answer_of_the_store_that_cannot_be_read() {
    let mut at = Searched::new(&[]);
    let prefix = at.space.namespace.clone();
    let bao = &*BAO;
    bao.put(&format!("{prefix}/router"), &FILED);
    at.space.cluster_store(&bao.token(&prefix, &["read"]));
    at.space
        .synchronize("router", ROUTER, &format!("{prefix}/router"));
    let mount = json!({ "data": { "type": "kv", "options": { "version": "2" } } }).to_string();
    for body in [
        "s3ntinel",
        r#"{"data":{"data":"s3ntinel"}}"#,
        r#"{"data":{"data":{"KB_ROUTER_TOKEN":"s3ntinel"},"metadata":"s3ntinel"}}"#,
        r#"{"errors":["s3ntinel"]}"#,
    ] {
        for status in [200, 403, 500, 503] {
            let mount = mount.clone();
            let stub = Stub::new(move |request, _| match request.contains("/mounts/") {
                true => raw(200, &mount),
                false => raw(status, body),
            });
            let address = format!("http://127.0.0.1:{}", stub.port);
            let store = [
                ("VAULT_ADDR", address.as_str()),
                ("VAULT_TOKEN", "s3ntinel-token"),
            ];
            at.options = vec!["-o", "json", "-vv"];
            // A body without data is an entry without a version.
            let fine = status == 200 && body.contains("errors");
            let ran = at.run_with(&store, &["verify"], i32::from(fine));
            let checks = ran.json()["checks"].as_array().unwrap().clone();
            let of_store = |check: &&Value| check["id"] == "store.path";
            let check = checks.iter().find(of_store).unwrap();
            assert_eq!(check["status"] == "skip", !fine, "{body} {status}: {check}");
        }
    }
}
