//! What the store's token may do, and what is said where it may not.

use super::Operator;
use crate::path2::BAO;
use crate::space::INPUTS;
use serde_json::json;

/// Fails unless nothing has been written anywhere.
#[track_caller]
fn nothing_is_written(at: &Operator) {
    assert_eq!(at.versions(), [0, 0, 0]);
    assert!(!at.space.file().exists());
    assert_eq!(at.space.beside_file(), [""; 0]);
}

#[test]
fn a_token_that_may_not_create_writes_nothing_anywhere() {
    let at = Operator::new().may(&["read", "update"]);
    let path = at.path("agenticore");
    let missing = format!("it lacks the capability create on secret/data/{path}");
    let policy = format!("give its policy: path \"secret/data/{path}\" {{ capabilities");
    let ran = at.run(&["--apply"]).exits(3);
    ran.says(&["nothing has been written", &missing, &policy]);
    nothing_is_written(&at);
    // The preview may be looked at.
    at.run(&[]).exits(0).says(&["would be created"]);
}

#[test]
fn a_token_that_may_not_update_makes_what_is_absent_only() {
    let at = Operator::new();
    at.put("embeddings", &[("POSTGRES_URL", "theirs")]);
    let path = at.path("embeddings");
    let restricted = at.another().may(&["read", "create"]);
    let missing = format!("it lacks the capability update on secret/data/{path}");
    let ran = restricted.run(&["--apply"]).exits(3).says(&[&missing]);
    assert!(!ran.err.contains("agenticore"), "{}", ran.err);
    assert_eq!(at.versions(), [0, 1, 0]);
    assert!(!restricted.space.file().exists());

    let at = Operator::new().may(&["read", "create"]);
    at.populated();
    at.nothing_is_left_to_do();
}

#[test]
fn a_deleted_version_needs_the_right_to_update() {
    let at = Operator::new();
    at.populated();
    let path = format!("secret/data/{}", at.path("router"));
    BAO.expect("DELETE", &path, &json!(null));
    let restricted = at.another().may(&["read", "create"]);
    restricted.space.write_file(&[]);
    std::fs::copy(at.space.file(), restricted.space.file()).unwrap();
    let missing = format!("it lacks the capability update on {path}");
    restricted.run(&["--apply"]).exits(3).says(&[&missing]);
    let right = at.another().may(&["read", "update"]);
    right.space.write_file(&[]);
    std::fs::copy(at.space.file(), right.space.file()).unwrap();
    right.populated();
}

#[test]
fn a_token_that_may_only_read_is_enough_where_nothing_is_to_be_written() {
    let at = Operator::new();
    at.populated();
    let reader = at.another().may(&["read"]);
    // The file is made from the store.
    reader.populated();
    assert_eq!(reader.one_set_of_tokens(), at.space.filed());
    reader.nothing_is_left_to_do();
    assert_eq!(at.versions(), [1, 1, 1]);
}

#[test]
fn a_token_that_may_not_read_is_told_the_command_that_shows_why() {
    let at = Operator::new().may(&["create", "update"]);
    let path = at.path("router");
    let hint = format!("bao token capabilities secret/data/{path}");
    let ran = at.run(&["--apply"]).exits(3);
    ran.says(&[
        &format!("cannot read {path}"),
        "403: the token lacks the permission",
        &hint,
    ]);
    nothing_is_written(&at);
}

#[test]
fn a_token_without_any_right_is_told_so() {
    let at = Operator::new().may(&["read"]);
    let other = ["--prefix", "elsewhere", "--apply"];
    let mut command = at
        .space
        .command(&INPUTS, &[&["populate"], &other[..]].concat());
    let output = command.envs(at.space.operator(&at.token)).output().unwrap();
    crate::space::Ran::from(output).exits(3).says(&[
        "cannot read elsewhere/",
        "403: the token lacks the permission",
    ]);
    nothing_is_written(&at);
}

#[test]
fn a_token_that_is_revoked_or_unknown_is_told_to_log_in() {
    let mut at = Operator::new().may(&["read", "create", "update"]);
    BAO.revoke(&at.token);
    let texts = [
        "403: the token is unknown, revoked or expired",
        "log in again: bao login",
    ];
    at.run(&["--apply"]).exits(3).says(&texts);
    at.token = "never-seen".to_owned();
    let ran = at.run(&["--apply", "-vv"]).exits(3).says(&texts);
    assert!(!ran.err.contains("never-seen"), "{}", ran.err);
    nothing_is_written(&at);
}

/// A token without the policy `default` may not ask what it may do.
fn without_default_policy(at: &Operator, policy: &str) -> String {
    let name = format!("{}-alone", at.space.namespace);
    let path = format!("sys/policies/acl/{name}");
    BAO.expect("PUT", &path, &json!({ "policy": policy }));
    let body = json!({ "policies": [name], "no_default_policy": true });
    let made = BAO.expect("POST", "auth/token/create", &body);
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[test]
fn who_may_not_ask_what_it_may_do_goes_on_with_a_warning() {
    let mut at = Operator::new();
    let prefix = &at.space.namespace;
    let policy = format!(
        "path \"secret/data/{prefix}/*\" {{ capabilities = [\"read\", \"create\"] }}\n\
         path \"secret/data/{prefix}/agenticore\" {{ capabilities = [\"read\"] }}"
    );
    at.token = without_default_policy(&at, &policy);
    let warning = "warning: the permissions of the store's token are unknown";
    let ran = at.run(&["--apply"]).exits(3);
    let ran = ran.says(&[warning, "1 of 3 entries could not be written", "403"]);
    let failed = format!("[fail] secret/{}: failed", at.path("agenticore"));
    assert!(ran.out.contains(&failed), "{}", ran.out);
    assert_eq!(at.versions(), [1, 1, 0]);
    at.one_set_of_tokens();
    let document = at.run(&["--apply", "-o", "json"]).exits(3).json();
    let actions: Vec<_> = document["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["action"])
        .collect();
    assert_eq!(actions, ["unchanged", "unchanged", "failed"]);
    assert_eq!(document["ok"], false);
}

/// The router entry decides whose tokens win: without it no other entry with a token is written.
#[test]
fn where_the_router_entry_fails_no_other_entry_gets_a_token() {
    let mut at = Operator::new();
    let prefix = &at.space.namespace;
    let policy = format!(
        "path \"secret/data/{prefix}/*\" {{ capabilities = [\"read\", \"create\"] }}\n\
         path \"secret/data/{prefix}/router\" {{ capabilities = [\"read\"] }}"
    );
    at.token = without_default_policy(&at, &policy);
    let ran = at.run(&["--apply"]).exits(3);
    ran.says(&[
        "2 of 3 entries could not be written",
        "not written, because",
    ]);
    assert_eq!(at.versions(), [0, 0, 1]);
    // What was minted is kept for the next run.
    let tokens = at.space.filed();
    at.token = BAO.root.clone();
    at.populated();
    assert_eq!(at.one_set_of_tokens(), tokens);
}
