//! One token has one value, in the file, the cluster and the store; where two places disagree the
//! run refuses, and the commands of its hints mend it.

use super::{Operator, data};
use crate::space::{EMBEDDINGS, ROUTER, Space};
use serde_json::Value;

/// Two tokens, and two others.
const ONE: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "a-router-token-that-was-there-before"),
    (
        "EMBEDDINGS_API_KEY",
        "an-embeddings-key-that-was-there-before",
    ),
];
const OTHER: [(&str, &str); 2] = [
    (
        "KB_ROUTER_TOKEN",
        "another-router-token-that-was-there-before",
    ),
    ONE[1],
];

/// Runs steps to which a hint leads, for this entry, a token and its list.
#[track_caller]
fn steps(part: &str, at: &Operator, hint: &str, (entry, token, list): (&str, &str, &str)) {
    let (path, file) = (at.path(entry), at.space.file());
    let words = [
        ("MOUNT", "secret"),
        ("PATH", &*path),
        ("FILE", file.to_str().unwrap()),
        ("TOKEN", token),
        ("LIST", list),
    ];
    let operator = at.space.operator(&at.token);
    let operator = operator.each_ref().map(|(name, value)| (*name, &**value));
    crate::steps::steps(part, &at.space, hint, &words, &operator).exits(0);
}

#[test]
fn a_lost_tokens_file_is_made_from_the_store() {
    let at = Operator::new();
    at.populated();
    let tokens = at.space.filed();
    std::fs::remove_file(at.space.file()).unwrap();
    let ran = at.populated();
    assert!(
        ran.out
            .contains("unchanged; KB_ROUTER_TOKEN, EMBEDDINGS_API_KEY adopted"),
        "{}",
        ran.out
    );
    assert_eq!(at.one_set_of_tokens(), tokens);
    assert_eq!(at.versions(), [1, 1, 1]);

    // One of the two.
    at.space
        .write_file(&[("KB_ROUTER_TOKEN", &tokens["KB_ROUTER_TOKEN"])]);
    at.populated();
    assert_eq!(at.one_set_of_tokens(), tokens);
    at.nothing_is_left_to_do();
}

#[test]
fn the_tokens_of_the_file_are_those_that_are_written() {
    let at = Operator::new();
    at.space.write_file(&ONE);
    at.populated();
    assert_eq!(at.one_set_of_tokens(), data(&ONE));
}

#[test]
fn the_file_and_the_store_that_disagree_are_left_to_a_person() {
    let at = Operator::new();
    at.put("router", &OTHER);
    at.space.write_file(&ONE);
    let path = at.path("router");
    let texts = [
        "KB_ROUTER_TOKEN differs: the tokens file has sha256:",
        &path,
    ];
    let hints = at.refused(&[], &texts);
    let router = ("router", "KB_ROUTER_TOKEN", "");
    steps("(. FILE && printf", &at, &hints[0], router);
    at.populated();
    assert_eq!(at.one_set_of_tokens(), data(&ONE));

    // The other way out.
    at.space.write_file(&OTHER);
    at.refused(&[], &texts);
    at.space.write_file(&OTHER[1..]);
    at.populated();
    assert_eq!(at.space.filed(), data(&ONE));
    assert_eq!(at.fields("router"), data(&ONE));
    at.nothing_is_left_to_do();
}

#[test]
fn the_cluster_and_the_store_that_disagree_are_left_to_a_person() {
    let at = Operator::of(Space::new());
    at.space.create_secret(ROUTER, &ONE, &Value::Null);
    at.put("router", &OTHER);
    let path = at.path("router");
    let texts = [
        "KB_ROUTER_TOKEN differs: Secret",
        "/agentibrain-router-secrets has sha256:",
        &path,
    ];
    let from_cluster = ["--from-cluster"];
    let hints = at.refused(&from_cluster, &texts);
    let router = ("router", "KB_ROUTER_TOKEN", "");
    steps("jsonpath={.data.TOKEN}", &at, &hints[0], router);
    at.run(&["--apply", "--from-cluster"]).exits(0);
    assert_eq!(at.one_set_of_tokens(), data(&ONE));

    // The other way out.
    at.put("router", &OTHER);
    std::fs::remove_file(at.space.file()).unwrap();
    at.refused(&from_cluster, &texts);
    at.populated();
    at.space.run(&["--apply", "--prefer", "file"]).exits(0);
    assert_eq!(at.space.data(ROUTER), data(&OTHER));
    at.run(&["--apply", "--from-cluster"]).exits(0);
    assert_eq!(at.one_set_of_tokens(), data(&OTHER));
}

#[test]
fn the_file_and_the_cluster_that_disagree_are_left_to_a_person() {
    let at = Operator::of(Space::new());
    for (index, winner) in [ONE, OTHER].iter().enumerate() {
        if at.space.object(ROUTER).is_none() {
            at.space.create_secret(ROUTER, &ONE, &Value::Null);
        }
        at.space.write_file(&OTHER);
        let texts = [
            "the tokens file has sha256:",
            "/agentibrain-router-secrets has sha256:",
        ];
        let hints = at.refused(&["--from-cluster"], &texts);
        at.follow(&hints[index]);
        at.run(&["--from-cluster"]).exits(0);
        assert_eq!(at.space.filed(), data(winner));
    }
    at.run(&["--apply", "--from-cluster"]).exits(0);
    assert_eq!(at.fields("router"), data(&OTHER));
}

#[test]
fn a_list_keeps_the_entries_of_others_and_has_to_hold_the_token() {
    let at = Operator::new();
    at.space.write_file(&ONE);
    let with_ours = format!("theirs, {}", ONE[1].1);
    let lists = |api_keys: &str| {
        let fields = [
            ("POSTGRES_URL", "x"),
            ("EMBEDDINGS_API_KEYS", &with_ours),
            ("API_KEYS", api_keys),
        ];
        at.put("embeddings", &fields);
    };
    lists("theirs,other");
    let path = at.path("embeddings");
    let missing = format!("EMBEDDINGS_API_KEY is not on the list API_KEYS of {path}");
    let hints = at.refused(&[], &[&missing]);
    let entry = ("embeddings", "EMBEDDINGS_API_KEY", "API_KEYS");
    steps("$L,$V", &at, &hints[0], entry);
    at.populated();
    let fields = at.fields("embeddings");
    assert_eq!(fields["EMBEDDINGS_API_KEYS"], with_ours);
    assert_eq!(fields["API_KEYS"], format!("theirs,other,{}", ONE[1].1));
    at.nothing_is_left_to_do();
}

#[test]
fn a_token_that_is_only_on_the_list_is_adopted_from_there() {
    let at = Operator::new();
    at.put(
        "embeddings",
        &[("POSTGRES_URL", "x"), ("EMBEDDINGS_API_KEYS", ONE[1].1)],
    );
    at.populated();
    assert_eq!(at.one_set_of_tokens()["EMBEDDINGS_API_KEY"], ONE[1].1);

    let at = Operator::of(Space::new());
    at.space.create_secret(
        EMBEDDINGS,
        &[("EMBEDDINGS_API_KEYS", ONE[1].1)],
        &Value::Null,
    );
    at.run(&["--apply", "--from-cluster"]).exits(0);
    assert_eq!(at.one_set_of_tokens()["EMBEDDINGS_API_KEY"], ONE[1].1);
}

#[test]
fn what_is_no_token_is_not_adopted() {
    let at = Operator::new();
    at.put("router", &[("KB_ROUTER_TOKEN", "short"), ONE[1]]);
    let path = at.path("router");
    let odd = format!("KB_ROUTER_TOKEN of {path} in the store cannot be adopted");
    let hints = at.refused(&[], &[&odd, "shorter than 16"]);
    at.follow(&format!("printf a-good-token-from-a-person | {}", hints[0]));
    at.populated();
    assert_eq!(
        at.one_set_of_tokens()["KB_ROUTER_TOKEN"],
        "a-good-token-from-a-person"
    );
}
