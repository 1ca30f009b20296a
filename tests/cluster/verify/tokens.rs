//! One token, one value: the tokens file, the home namespace and its lists.

use crate::checks::{checks, of};
use crate::space::{ROUTER, Space};
use crate::token_checks::{
    EMBEDDINGS_KEY, LISTS, ROUTER_TOKEN, STRANGER, THIRD, TOKENS, agrees, fingerprint, look,
    marks_of_helm, mend, secret, statuses, the, with_lists,
};

#[test]
fn a_token_that_differs_from_the_file_is_told_and_the_clusters_kept() {
    for token in TOKENS {
        let space = Space::new();
        space.bootstrapped();
        let live = space.filed();
        let mut filed = live.clone();
        filed.insert(token.to_owned(), STRANGER.to_owned());
        let pairs: Vec<_> = filed
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        space.write_file(&pairs);

        let ran = look(&[&space], &[], 1);
        let at = (space.namespace.as_str(), &*secret(ROUTER));
        let (ours, theirs) = (
            format!("the tokens file has {}", fingerprint(STRANGER)),
            format!("the Secret has {}", fingerprint(&live[token])),
        );
        let check = the(&ran, ("tokens.match", "fail"), at, &[token, &ours, &theirs]);
        let mut both = statuses(&ran, "tokens.match");
        both.sort();
        assert_eq!(both, ["fail", "pass"]);
        mend(&[&space], &check, &[]);
        assert_eq!(space.filed(), live);
        agrees(&space);
    }
}

#[test]
fn one_hint_mends_both_tokens() {
    let space = Space::new();
    space.bootstrapped();
    let live = space.filed();
    space.write_file(&TOKENS.map(|token| (token, STRANGER)));
    let ran = look(&[&space], &[], 1);
    assert_eq!(statuses(&ran, "tokens.match"), ["fail", "fail"]);
    mend(&[&space], &of(&ran, "tokens.match")[0], &[]);
    assert_eq!(space.filed(), live);
    agrees(&space);
}

/// `--prefer cluster` could not adopt it.
#[test]
fn the_file_is_preferred_to_what_is_no_token() {
    let space = Space::new();
    space.bootstrapped();
    let filed = space.filed();
    space.set_keys(ROUTER, &[(ROUTER_TOKEN, "short")], "kubectl-edit");
    let ran = look(&[&space], &[], 1);
    let at = (space.namespace.as_str(), &*secret(ROUTER));
    let words = [ROUTER_TOKEN, "too short"];
    let check = the(&ran, ("tokens.match", "fail"), at, &words);
    mend(&[&space], &check, &[]);
    assert_eq!(space.filed(), filed);
    agrees(&space);
}

#[test]
fn a_token_of_a_secret_that_helm_owns_is_taken_over_by_the_file() {
    let space = Space::new();
    let live = TOKENS.map(|token| (token, STRANGER));
    space.create_secret(ROUTER, &live, &marks_of_helm());
    space.write_file(&TOKENS.map(|token| (token, "a-token-of-the-file")));
    let ran = look(&[&space], &[], 1);
    mend(&[&space], &of(&ran, "tokens.match")[0], &[]);
    assert_eq!(space.filed()[ROUTER_TOKEN], STRANGER);
    agrees(&space);
}

#[test]
fn what_cannot_be_compared_is_skipped() {
    let space = Space::new();
    let at = (space.namespace.as_str(), &*secret(ROUTER));
    let skipped = |code, token: &str, why: &str| {
        let ran = look(&[&space], &[], code);
        the(&ran, ("tokens.match", "skip"), at, &[token, why]);
    };
    space.write_file(&TOKENS.map(|token| (token, STRANGER)));
    for token in TOKENS {
        skipped(1, token, "Secret not found");
    }
    space.bootstrapped();
    space.write_file(&[(EMBEDDINGS_KEY, STRANGER)]);
    skipped(0, ROUTER_TOKEN, "the tokens file does not hold it");
    std::fs::remove_file(space.file()).unwrap();
    for token in TOKENS {
        skipped(0, token, "tokens file not found");
    }
    std::fs::write(space.file(), "no line of a tokens file").unwrap();
    skipped(1, ROUTER_TOKEN, "the tokens file is not valid");

    space.write_file(&TOKENS.map(|token| (token, STRANGER)));
    space.set_keys(ROUTER, &[(ROUTER_TOKEN, "")], "kubectl-edit");
    space.remove_key(ROUTER, EMBEDDINGS_KEY);
    for token in TOKENS {
        skipped(1, token, "the Secret does not hold it");
    }
}

#[test]
fn a_token_that_is_not_on_its_list_is_appended_and_the_entries_of_others_stay() {
    for (name, list, token) in LISTS {
        let space = with_lists();
        agrees(&space);
        let key = &space.filed()[token];
        space.set_keys(name, &[(list, THIRD)], "kubectl-edit");
        let ran = look(&[&space], &[], 1);
        let at = (space.namespace.as_str(), &*secret(name));
        let entries = THIRD.split(", ").map(fingerprint).collect::<Vec<_>>();
        let (ours, theirs) = (fingerprint(key), entries.join(", "));
        let words = [token, &ours, list, &theirs];
        let check = the(&ran, ("tokens.pair", "fail"), at, &words);
        let failed = statuses(&ran, "tokens.pair");
        assert_eq!(failed.iter().filter(|status| *status == "fail").count(), 1);
        mend(&[&space], &check, &[]);
        assert_eq!(
            space.data(name)[list],
            format!("{},{key}", THIRD.replace(' ', ""))
        );
        agrees(&space);
    }
}

#[test]
fn an_empty_list_gets_the_token_as_well() {
    for (name, list, token) in &LISTS[..2] {
        let space = with_lists();
        space.set_keys(name, &[(list, " ,")], "kubectl-edit");
        let ran = look(&[&space], &[], 1);
        let at = (space.namespace.as_str(), &*secret(name));
        let check = the(&ran, ("tokens.pair", "fail"), at, &[token, list, "empty"]);
        mend(&[&space], &check, &[]);
        agrees(&space);
    }
}

/// brain-api reads it as absent.
#[test]
fn an_empty_list_beside_its_token_is_none() {
    let space = with_lists();
    let (name, list, _) = LISTS[2];
    space.set_keys(name, &[(list, " ,")], "kubectl-edit");
    let ran = look(&[&space], &[], 1);
    let at = (space.namespace.as_str(), &*secret(name));
    the(&ran, ("tokens.pair", "skip"), at, &[list, "empty"]);
}

#[test]
fn a_list_of_another_field_manager_is_taken_over() {
    for (name, list, token) in LISTS {
        let space = with_lists();
        space.set_keys(name, &[(list, THIRD)], "some-controller");
        let ran = look(&[&space], &[], 1);
        let at = (space.namespace.as_str(), &*secret(name));
        let words = [token, list, "some-controller"];
        let check = the(&ran, ("tokens.pair", "fail"), at, &words);
        mend(&[&space], &check, &[]);
        assert!(space.data(name)[list].starts_with(&THIRD.replace(' ', "")));
        agrees(&space);
    }
}

#[test]
fn without_a_list_or_a_token_there_is_nothing_to_pair() {
    let space = Space::new();
    look(&[&space], &[], 1);
    for skip in checks(&space, "tokens.pair", &[]) {
        assert_eq!(skip["status"], "skip");
    }
    space.run(&["--apply"]).exits(0);
    let ran = look(&[&space], &[], 0);
    assert_eq!(statuses(&ran, "tokens.pair"), ["skip"]);
}
