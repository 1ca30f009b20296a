//! What is written, and that nothing else is.

use super::{Operator, data};
use crate::path2::BAO;
use crate::space::INPUTS;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_empty_store_gets_the_three_entries() {
    let at = Operator::new();
    at.populated();
    let tokens = at.space.filed();
    for token in tokens.values() {
        assert_eq!(token.len(), 64);
    }
    assert_eq!(tokens.len(), 2);
    assert_eq!(at.fields("router"), tokens);
    assert_eq!(
        at.fields("embeddings"),
        data(&[
            ("POSTGRES_URL", INPUTS[0].1),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "text-embedding-3-small"),
            ("EMBEDDINGS_API_KEYS", &tokens["EMBEDDINGS_API_KEY"]),
            ("API_KEYS", &tokens["EMBEDDINGS_API_KEY"]),
            ("LOG_LEVEL", "INFO"),
        ])
    );
    assert_eq!(
        at.fields("agenticore"),
        data(&[("ANTHROPIC_API_KEY", INPUTS[1].1), ("GITHUB_TOKEN", "")])
    );
    assert_eq!(at.versions(), [1, 1, 1]);
    let mode = at.space.file().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_second_run_writes_no_version() {
    let at = Operator::new();
    at.populated();
    at.nothing_is_left_to_do();
    assert_eq!(at.versions(), [1, 1, 1]);
}

#[test]
fn the_preview_writes_nothing() {
    let at = Operator::new();
    at.put(
        "router",
        &[("KB_ROUTER_TOKEN", "a-router-token-that-was-there")],
    );
    let ran = at.run(&[]).exits(0);
    let prefix = &at.space.namespace;
    let shown = format!(
        "tokens file local/.k8s-tokens: would be created\n\
         secret/{prefix}/router: would get a new version\n  \
           = KB_ROUTER_TOKEN (store, adopted into the tokens file)\n  \
           + EMBEDDINGS_API_KEY (minted)\n\
         secret/{prefix}/embeddings: would be created\n"
    );
    assert!(ran.out.starts_with(&shown), "{}", ran.out);
    assert!(ran.err.contains("nothing has been written"), "{}", ran.err);
    assert_eq!(at.versions(), [1, 0, 0]);
    assert!(!at.space.file().exists());
    assert_eq!(at.space.beside_file(), [""; 0]);
}

#[test]
fn an_entry_without_its_input_is_skipped_and_added_later() {
    let at = Operator::new();
    let ran = at.run_with(&INPUTS[..1], &["--apply"]).exits(0);
    ran.says(&[
        "skipped; ANTHROPIC_API_KEY is not set",
        "set it, and run this again",
    ]);
    assert_eq!(at.versions(), [1, 1, 0]);
    at.populated();
    assert_eq!(at.versions(), [1, 1, 1]);
    at.nothing_is_left_to_do();
}

#[test]
fn only_the_named_input_changes_and_all_else_stays() {
    let at = Operator::new();
    at.populated();
    let path = format!("secret/data/{}", at.path("embeddings"));
    let mut fields = json!(at.fields("embeddings"));
    fields["THEIRS"] = json!("kept");
    fields["NUMBER"] = json!(1.5);
    fields["OBJECT"] = json!({ "a": ["b", null] });
    BAO.expect("POST", &path, &json!({ "data": fields }));
    let others = [
        ("POSTGRES_URL", "postgres://other"),
        ("LLM_API_KEY", "other"),
        INPUTS[1],
    ];

    let ran = at.run_with(&others, &["--apply"]).exits(0);
    ran.says(&["kept the stored POSTGRES_URL, LLM_API_KEY although another value is given"]);
    assert_eq!(at.versions(), [1, 2, 1]);
    at.run_with(&others, &["--apply", "--update", "POSTGRES_URL"])
        .exits(0);
    assert_eq!(at.versions(), [1, 3, 1]);
    fields["POSTGRES_URL"] = json!("postgres://other");
    let (_, found) = BAO.request(&at.token, "GET", &path, &Value::Null);
    assert_eq!(found["data"]["data"], fields);
    at.run_with(&others, &["--apply", "--update", "POSTGRES_URL"])
        .exits(0);
    assert_eq!(at.versions(), [1, 3, 1]);
}

#[test]
fn a_field_that_is_missing_is_put_back() {
    let at = Operator::new();
    at.populated();
    let tokens = at.space.filed();
    at.put(
        "router",
        &[
            ("KB_ROUTER_TOKEN", &tokens["KB_ROUTER_TOKEN"]),
            ("EMBEDDINGS_API_KEY", ""),
        ],
    );
    at.put(
        "embeddings",
        &[("POSTGRES_URL", "theirs"), ("EMBEDDINGS_API_KEYS", " ,")],
    );
    at.run(&["--apply"]).exits(0);
    assert_eq!(at.versions(), [3, 3, 1]);
    at.one_set_of_tokens();
    let fields = at.fields("embeddings");
    assert_eq!(fields["POSTGRES_URL"], "theirs");
    assert_eq!(fields["API_KEYS"], tokens["EMBEDDINGS_API_KEY"]);
    assert_eq!(fields["LOG_LEVEL"], "INFO");
    // It need not be said again.
    at.run(&["--apply"]).exits(0);
    assert_eq!(at.versions(), [3, 3, 1]);
}

#[test]
fn log_level_comes_from_the_env_file() {
    let at = Operator::new();
    let file = at.space.folder.path().join("brain.env");
    std::fs::write(file, "LOG_LEVEL=DEBUG\n").unwrap();
    at.run_with(
        &[INPUTS[0], ("LOG_LEVEL", "ERROR")],
        &["--apply", "--env-file", "brain.env"],
    )
    .exits(0);
    assert_eq!(at.fields("embeddings")["LOG_LEVEL"], "DEBUG");
}

#[test]
fn entries_can_have_paths_of_their_own_and_the_mount_another_name() {
    let at = Operator::new();
    let mount = format!("team/kv-{}", at.space.namespace);
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    BAO.expect("POST", &format!("sys/mounts/{mount}"), &engine);
    let renamed = [
        "--mount",
        &mount,
        "--path",
        "embeddings=team/x",
        "--path=agenticore=y",
    ];
    let apply = [&["--apply"], &renamed[..]].concat();
    let ran = at.run(&apply).exits(0);
    assert!(
        ran.out.contains(&format!("{mount}/team/x: created")),
        "{}",
        ran.out
    );
    for path in [&at.path("router"), "team/x", "y"] {
        let path = format!("{mount}/data/{path}");
        let found = BAO.expect("GET", &path, &Value::Null);
        assert_eq!(found["data"]["metadata"]["version"], 1, "{path}");
    }
    assert_eq!(at.versions(), [0, 0, 0]);
    let again = at.run(&apply).exits(0);
    assert_eq!(again.out.matches(": unchanged").count(), 4, "{}", again.out);
}

#[test]
fn a_deleted_version_is_built_on() {
    let at = Operator::new();
    at.populated();
    let tokens = at.space.filed();
    let path = at.path("router");
    BAO.expect("DELETE", &format!("secret/data/{path}"), &Value::Null);
    let path = at.path("embeddings");
    BAO.expect("DELETE", &format!("secret/metadata/{path}"), &Value::Null);
    at.populated();
    assert_eq!(at.one_set_of_tokens(), tokens);
    assert_eq!(at.versions(), [2, 1, 1]);
}

#[test]
fn an_engine_that_demands_check_and_set_gets_it() {
    let at = Operator::new();
    for entry in super::ENTRIES {
        let path = format!("secret/metadata/{}", at.path(entry));
        let demand = json!({ "cas_required": true, "max_versions": 1 });
        BAO.expect("POST", &path, &demand);
    }
    at.populated();
    let update = ["--apply", "--update", "POSTGRES_URL"];
    at.run_with(&[("POSTGRES_URL", "postgres://other")], &update)
        .exits(0);
    assert_eq!(at.versions(), [1, 2, 1]);
    at.one_set_of_tokens();
}

#[test]
fn the_document_tells_what_was_done() {
    let at = Operator::new();
    let ran = at.run(&["--apply", "-o", "json"]).exits(0).json();
    assert_eq!(
        (&ran["command"], &ran["ok"]),
        (&json!("populate"), &json!(true))
    );
    assert_eq!(ran["store"], BAO.address);
    let file = json!({ "path": "local/.k8s-tokens", "action": "created" });
    assert_eq!(ran["tokens_file"], file);
    assert_eq!(ran["entries"][0]["path"], at.path("router"));
    assert_eq!(ran["entries"][0]["action"], "created");
    let keys = json!([
        { "key": "KB_ROUTER_TOKEN", "action": "set", "source": "minted" },
        { "key": "EMBEDDINGS_API_KEY", "action": "set", "source": "minted" },
    ]);
    assert_eq!(ran["entries"][0]["keys"], keys);
}
