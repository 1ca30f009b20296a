//! The comma lists of accepted keys.

use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::tokens::*;
use serde_json::Value;

#[test]
fn a_key_that_is_only_the_single_entry_of_the_list_is_adopted() {
    for list in [ONE.to_owned(), format!(" {ONE} ,")] {
        for router in [None, Some((ROUTER_TOKEN, TWO))] {
            let space = Space::new();
            let live = [("POSTGRES_URL", INPUTS[0].1), (LIST, &list)];
            space.create_secret(EMBEDDINGS, &live, &Value::Null);
            if let Some(token) = router {
                space.create_secret(ROUTER, &[token], &Value::Null);
            }
            let other = space.other_operator();
            let code = if router.is_some() { 0 } else { 1 };
            other.run(&["tokens", "recover", "--apply"]).exits(code);
            assert_eq!(other.filed()[EMBEDDINGS_KEY], ONE);

            applied(&space, &[]);
            assert_eq!(space.filed()[EMBEDDINGS_KEY], ONE);
            assert_eq!(space.data(ROUTER), space.filed());
            assert_eq!(space.data(EMBEDDINGS)[LIST], list);
            if let Some((key, token)) = router {
                assert_eq!(space.data(ROUTER)[key], token);
            }
        }
    }
}

#[test]
fn an_odd_single_entry_is_not_adopted() {
    let space = Space::new();
    let live = [("POSTGRES_URL", INPUTS[0].1), (LIST, "a-short-one")];
    space.create_secret(EMBEDDINGS, &live, &Value::Null);
    refused(&space, &[], &[LIST, EMBEDDINGS, "shorter than 16"]);
}

#[test]
fn of_several_entries_the_file_has_to_name_ours() {
    let space = Space::new();
    let list = format!("{ONE},{TWO}");
    let live = [("POSTGRES_URL", INPUTS[0].1), (LIST, &list)];
    space.create_secret(EMBEDDINGS, &live, &Value::Null);
    let words = ["several entries", EMBEDDINGS, "tokens file", EMBEDDINGS_KEY];
    refused(&space, &[], &words);
    space
        .run(&["tokens", "recover", "--apply"])
        .exits(1)
        .says(&words);
    assert!(!space.file().exists());

    space.write_file(&[(EMBEDDINGS_KEY, THREE)]);
    refused(&space, &[], &["is not on the list EMBEDDINGS_API_KEYS"]);

    space.write_file(&[(EMBEDDINGS_KEY, TWO)]);
    applied(&space, &[]);
    assert_eq!(space.data(ROUTER)[EMBEDDINGS_KEY], TWO);
    assert_eq!(space.data(EMBEDDINGS)[LIST], list);
    assert_eq!(space.filed(), space.data(ROUTER));
}

#[test]
fn a_token_that_is_not_on_a_list_is_refused_and_appended_with_a_preference() {
    for (secret, list, key, side) in [
        (EMBEDDINGS, LIST, EMBEDDINGS_KEY, "file"),
        (EMBEDDINGS, "API_KEYS", EMBEDDINGS_KEY, "cluster"),
        (ROUTER, "KB_ROUTER_TOKENS", ROUTER_TOKEN, "file"),
    ] {
        let space = Space::new();
        space.bootstrapped();
        let tokens = space.filed();
        space.set_keys(
            secret,
            &[(list, "zoe-of-others, abe-of-others")],
            "kubectl-edit",
        );
        let mut data = [ROUTER, EMBEDDINGS, AGENTICORE].map(|name| space.data(name));

        let words = format!("{key} is not on the list {list} of ");
        refused(&space, &[], &[&words, secret, "--prefer file"]);

        applied(&space, &["--prefer", side]);
        let appended = format!("zoe-of-others,abe-of-others,{}", tokens[key]);
        let of_the_list = usize::from(secret == EMBEDDINGS);
        data[of_the_list].insert(list.to_owned(), appended);
        assert_eq!(
            [ROUTER, EMBEDDINGS, AGENTICORE].map(|name| space.data(name)),
            data
        );
        assert_eq!(space.filed(), tokens);
    }
}

#[test]
fn a_file_and_a_single_entry_that_disagree_wait_for_a_preference() {
    for (side, key, list) in [
        ("cluster", TWO, TWO.to_owned()),
        ("file", ONE, format!("{TWO},{ONE}")),
    ] {
        let space = Space::new();
        let live = [("POSTGRES_URL", INPUTS[0].1), (LIST, TWO)];
        space.create_secret(EMBEDDINGS, &live, &Value::Null);
        space.write_file(&[(EMBEDDINGS_KEY, ONE)]);
        refused(&space, &[], &["is not on the list EMBEDDINGS_API_KEYS"]);

        applied(&space, &["--prefer", side]);
        assert_eq!(space.filed()[EMBEDDINGS_KEY], key);
        assert_eq!(space.data(ROUTER), space.filed());
        assert_eq!(space.data(EMBEDDINGS)[LIST], list);
    }
}

#[test]
fn api_keys_gets_the_list_with_the_entries_of_others() {
    let space = Space::new();
    space.documented();
    let list = format!("one-of-others,{}", space.filed()[EMBEDDINGS_KEY]);
    space.set_keys(EMBEDDINGS, &[(LIST, &list)], "kubectl-edit");
    let ran = applied(&space, &[]);
    // The service reads the list when it starts.
    let restart = "rollout restart statefulset/agentibrain-embeddings";
    assert!(ran.err.contains(restart), "{}", ran.err);
    assert_eq!(space.data(EMBEDDINGS)[LIST], list);
    assert_eq!(space.data(EMBEDDINGS)["API_KEYS"], list);
    let again = space.bootstrapped();
    assert!(!again.err.contains(restart), "{}", again.err);
}

#[test]
fn a_list_with_our_token_among_others_is_right_as_it_is() {
    let space = Space::new();
    space.bootstrapped();
    let tokens = space.filed();
    let list = |key: &str| format!("one-of-others, {} ,two-of-others", tokens[key]);
    let (keys, routers) = (list(EMBEDDINGS_KEY), list(ROUTER_TOKEN));
    space.set_keys(
        EMBEDDINGS,
        &[(LIST, &keys), ("API_KEYS", &keys)],
        "kubectl-edit",
    );
    space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", &routers)], "kubectl-edit");
    let before = state(&space);
    let ran = space.run_with(&INPUTS, &["--apply"]).exits(0);
    assert_eq!(ran.out.matches(": unchanged").count(), 4, "{}", ran.out);
    assert_eq!(state(&space), before);
}

/// The file's key is on the list and home's is not: neither side alone is of one mind.
#[test]
fn a_cluster_that_is_preferred_keeps_its_tokens_and_gets_them_onto_its_list() {
    let space = Space::new();
    space.create_secret(
        ROUTER,
        &[(ROUTER_TOKEN, THREE), (EMBEDDINGS_KEY, TWO)],
        &Value::Null,
    );
    let live = [("POSTGRES_URL", INPUTS[0].1), (LIST, ONE)];
    space.create_secret(EMBEDDINGS, &live, &Value::Null);
    space.write_file(&[(ROUTER_TOKEN, THREE), (EMBEDDINGS_KEY, ONE)]);
    refused(&space, &[], &["EMBEDDINGS_API_KEY differs"]);

    applied(&space, &["--prefer", "cluster"]);
    assert_eq!(space.filed()[EMBEDDINGS_KEY], TWO);
    assert_eq!(space.data(ROUTER)[EMBEDDINGS_KEY], TWO);
    assert_eq!(space.data(EMBEDDINGS)[LIST], format!("{ONE},{TWO}"));
}
