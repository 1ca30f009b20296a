//! `--from-cluster`: the live Secrets are where the values come from.

use super::Operator;
use crate::path2::BAO;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};

#[test]
fn every_key_of_the_live_secrets_is_written() {
    let at = Operator::of(Space::new());
    at.space.run_with(&INPUTS, &["--apply"]).exits(0);
    let added = [
        ("ADDED", "by somebody"),
        ("LLM_API_BASE", "https://live.example"),
    ];
    at.space.set_keys(EMBEDDINGS, &added, "kubectl-edit");
    let router = at.space.data(ROUTER);
    let lists = format!("{},of-another-service", router["KB_ROUTER_TOKEN"]);
    at.space
        .set_keys(ROUTER, &[("KB_ROUTER_TOKENS", &lists)], "kubectl-edit");
    let versions = at.space.versions();

    // The inputs are others, and the Secrets come first.
    let inputs = [
        ("POSTGRES_URL", "postgres://other"),
        ("LLM_API_BASE", "https://other"),
    ];
    at.run_with(&inputs, &["--apply", "--from-cluster"])
        .exits(0);
    assert_eq!(at.fields("router"), at.space.data(ROUTER));
    assert_eq!(at.fields("agenticore"), at.space.data(AGENTICORE));
    let mut expected = at.space.data(EMBEDDINGS);
    assert_eq!(expected["API_KEYS"], router["EMBEDDINGS_API_KEY"]);
    expected.insert("LOG_LEVEL".to_owned(), "INFO".to_owned());
    assert_eq!(at.fields("embeddings"), expected);
    assert_eq!(at.space.versions(), versions, "the cluster is only read");

    let again = at
        .run_with(&inputs, &["--apply", "--from-cluster"])
        .exits(0);
    assert_eq!(again.out.matches(": unchanged").count(), 4, "{}", again.out);
    assert_eq!(at.versions(), [1, 1, 1]);
}

#[test]
fn what_the_store_has_stays_and_update_takes_the_live_value() {
    let at = Operator::of(Space::new());
    at.space.bootstrapped();
    at.space
        .set_keys(EMBEDDINGS, &[("ADDED", "live")], "kubectl-edit");
    let tokens = at.space.filed();
    let list = format!("{},theirs", tokens["EMBEDDINGS_API_KEY"]);
    let live_list = format!("{},live", tokens["EMBEDDINGS_API_KEY"]);
    at.space.set_keys(
        EMBEDDINGS,
        &[("EMBEDDINGS_API_KEYS", &live_list)],
        "kubectl-edit",
    );
    let stored = [
        ("POSTGRES_URL", "postgres://stored"),
        ("LLM_EMBED_MODEL", "stored"),
        ("EMBEDDINGS_API_KEYS", &list),
        ("ADDED", "stored"),
    ];
    at.put("embeddings", &stored);
    let ran = at.run_with(&[], &["--apply", "--from-cluster"]).exits(0);
    ran.says(&["kept the stored POSTGRES_URL, LLM_EMBED_MODEL, EMBEDDINGS_API_KEYS, ADDED"]);
    let fields = at.fields("embeddings");
    for (key, value) in stored {
        assert_eq!(fields[key], value);
    }
    at.run_with(
        &[],
        &["--apply", "--from-cluster", "--update", "POSTGRES_URL"],
    )
    .exits(0);
    assert_eq!(at.fields("embeddings")["POSTGRES_URL"], INPUTS[0].1);
    assert_eq!(at.fields("embeddings")["LLM_EMBED_MODEL"], "stored");
}

#[test]
fn a_live_value_that_is_empty_is_taken_as_it_is() {
    let at = Operator::of(Space::new());
    let live = [
        ("POSTGRES_URL", ""),
        ("LLM_EMBED_MODEL", ""),
        ("API_KEYS", ""),
    ];
    at.space.create_secret(EMBEDDINGS, &live, &Value::Null);
    at.space
        .create_secret(ROUTER, &[("KB_ROUTER_TOKEN", "")], &Value::Null);
    at.run(&["--apply", "--from-cluster"]).exits(0);
    let fields = at.fields("embeddings");
    // One that is required comes from the inputs, a token is minted and listed.
    assert_eq!(fields["POSTGRES_URL"], INPUTS[0].1);
    assert_eq!(fields["LLM_EMBED_MODEL"], "");
    assert_eq!(fields["API_KEYS"], at.space.filed()["EMBEDDINGS_API_KEY"]);
    at.one_set_of_tokens();
}

#[test]
fn a_secret_that_others_own_is_a_source_too() {
    let at = Operator::of(Space::new());
    let theirs = format!("{}-theirs", at.space.namespace);
    let entry = format!("{theirs}/embeddings");
    BAO.put(
        &entry,
        &[("POSTGRES_URL", "postgres://synced"), ("ADDED", "x")],
    );
    at.space.cluster_store(&BAO.token(&theirs, &["read"]));
    at.space
        .synchronize("an-external-secret", EMBEDDINGS, &entry);
    at.run_with(&[], &["--apply", "--from-cluster"]).exits(0);
    let fields = at.fields("embeddings");
    assert_eq!(
        (&*fields["POSTGRES_URL"], &*fields["ADDED"]),
        ("postgres://synced", "x")
    );
}

#[test]
fn a_secret_that_is_absent_is_said() {
    let at = Operator::of(Space::new());
    let ran = at.run(&["--apply", "--from-cluster"]).exits(0);
    ran.says(&["warning: there is no Secret", "so nothing is taken from it"]);
    at.one_set_of_tokens();
}

#[test]
fn a_value_that_is_no_text_is_refused_before_the_store_is_asked() {
    let at = Operator::of(Space::new());
    at.space.create_secret(
        EMBEDDINGS,
        &[],
        &json!({ "data": { "LLM_API_KEY": "//79" } }),
    );
    let ran = at.run(&["--apply", "--from-cluster"]).exits(1);
    ran.says(&[
        "LLM_API_KEY",
        "is not text",
        "kubectl",
        "edit secret embeddings-secrets",
    ]);
    assert_eq!(at.versions(), [0, 0, 0]);
    assert!(!at.space.file().exists());
}

#[test]
fn documents_can_come_from_the_live_secrets() {
    let at = Operator::of(Space::new());
    at.space.bootstrapped();
    std::fs::remove_file(at.space.file()).unwrap();
    let document = at
        .run_with(
            &[("BAO_ADDR", "http://127.0.0.1:1")],
            &["--from-cluster", "-o", "json", "--show-values"],
        )
        .exits(0)
        .json();
    assert_eq!(document["entries"][0]["data"], json!(at.space.data(ROUTER)));
    let agenticore = json!(at.space.data(AGENTICORE));
    assert_eq!(document["entries"][2]["data"], agenticore);
}
