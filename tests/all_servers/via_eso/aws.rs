//! AWS Secrets Manager, played by a server of the sandbox.

use super::{ENTRIES, agenticore, embeddings, of};
use crate::path2::aws;
use crate::sandbox::exchange;
use crate::space::{Data, ROUTER, Space, few_trials};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::thread;

/// Sends a request as AWS' own program does; gives the status and the body.
pub fn request(action: &str, body: &Value) -> (u16, Value) {
    let request = http::Request::builder()
        .method("POST")
        .uri("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("secretsmanager.{action}"))
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/secretsmanager/aws4_request, \
             SignedHeaders=host, Signature=none",
        );
    exchange(&aws(), request, body)
}

/// The fields of an entry and the id of its version; `None` where there is none.
pub fn entry(name: &str) -> Option<(Data, String)> {
    let (status, answer) = request("GetSecretValue", &json!({ "SecretId": name }));
    if status != 200 {
        assert!(answer.to_string().contains("ResourceNotFound"), "{answer}");
        return None;
    }
    // The operator writes it as binary, and reads both.
    let bytes = match answer["SecretString"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD
            .decode(answer["SecretBinary"].as_str().unwrap())
            .unwrap(),
    };
    let version = answer["VersionId"].as_str().unwrap().to_owned();
    Some((serde_json::from_slice(&bytes).unwrap(), version))
}

fn stored(space: &Space) -> Vec<Option<(Data, String)>> {
    ENTRIES.map(|name| entry(&space.entry(name))).to_vec()
}

/// Makes the store of a namespace.
pub fn store(space: &Space) {
    let keys = [("id", "an-id"), ("secret", "a-secret")];
    space.create_secret("aws-keys", &keys, &json!({}));
    let key = |key| json!({ "name": "aws-keys", "key": key, "namespace": space.namespace });
    let provider = json!({ "aws": {
        "service": "SecretsManager",
        "region": "eu-west-1",
        "auth": { "secretRef": {
            "accessKeyIDSecretRef": key("id"), "secretAccessKeySecretRef": key("secret"),
        } },
    } });
    space.store_of("ClusterSecretStore", &provider);
}

#[test]
fn an_empty_store_is_filled_and_a_second_run_writes_nothing() {
    let space = Space::new();
    store(&space);
    space.fill(&[]).exits(0);
    space.has_no_temporaries();
    let (tokens, before) = (space.filed(), stored(&space));
    let fields: Vec<_> = before.iter().flatten().map(|entry| &entry.0).collect();
    assert_eq!(fields, [&tokens, &embeddings(&tokens), &agenticore()]);

    assert_eq!(space.made("pushsecrets"), 3);
    space.fill(&[]).exits(0);
    assert_eq!(space.made("pushsecrets"), 3);
    assert_eq!(stored(&space), before);
    space.has_no_temporaries();

    let router = space.entry("router");
    space.synchronize("brain", ROUTER, &router);
    assert_eq!(space.data(ROUTER), tokens);
}

#[test]
fn what_is_there_is_adopted_and_never_changed() {
    let space = Space::new();
    store(&space);
    let token = "a-token-of-theirs-that-is-long-enough";
    let fields = [("KB_ROUTER_TOKEN", token), ("EMBEDDINGS_API_KEY", token)];
    let create = |name: &str, fields: &[(&str, &str)]| {
        let text = serde_json::to_string(&of(fields)).unwrap();
        let body = json!({ "Name": space.entry(name), "SecretString": text });
        assert_eq!(request("CreateSecret", &body).0, 200);
    };
    create("router", &fields);
    space.fill(&[]).exits(0).says(&["router: unchanged"]);
    assert_eq!(space.filed(), of(&fields));
    assert_eq!(entry(&space.entry("router")).unwrap().0, of(&fields));
    assert_eq!(space.made("pushsecrets"), 2);

    let other = Space::new();
    store(&other);
    let body = json!({ "Name": other.entry("agenticore"), "SecretString": "{\"OTHER\":\"o\"}" });
    assert_eq!(request("CreateSecret", &body).0, 200);
    let ran = other.fill(&[]).exits(1);
    ran.says(&["agenticore exists and would need ANTHROPIC_API_KEY, GITHUB_TOKEN"]);
    assert_eq!(stored(&other).iter().flatten().count(), 1);
    other.has_no_temporaries();
}

#[test]
fn of_two_runs_at_once_one_wins_and_the_other_adopts() {
    for _ in 0..few_trials() {
        let space = Space::new();
        store(&space);
        let other = space.other_operator();
        thread::scope(|scope| {
            let one = scope.spawn(|| space.fill(&[]).exits(0));
            let two = scope.spawn(|| other.fill(&[]).exits(0));
            one.join().unwrap();
            two.join().unwrap();
        });
        let tokens = space.filed();
        assert_eq!(tokens, other.filed());
        assert_eq!(entry(&space.entry("router")).unwrap().0, tokens);
        space.has_no_temporaries();
    }
}
