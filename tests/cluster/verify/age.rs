//! How old the tokens are, and how one is minted again.

use crate::checks::{follow, of, verify};
use crate::sandbox::SANDBOX;
use crate::space::{ROUTER, Ran, Space};
use crate::token_checks::{
    EMBEDDINGS_KEY, LISTS, ROUTER_TOKEN, STRANGER, TOKENS, agrees, hint, look, marks_of_helm, mend,
    secret, statuses, the, with_lists,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Lets the annotations of both tokens say that they were minted then.
fn minted(space: &Space, when: Option<&str>) {
    let names = TOKENS.map(|token| (format!("k8s-bootstrap/minted-at.{token}"), when));
    let annotations: BTreeMap<_, _> = names.into_iter().collect();
    let object = json!({ "metadata": { "annotations": annotations } });
    let path = format!("{}?fieldManager=kubectl-annotate", space.path(ROUTER));
    SANDBOX.expect("PATCH", &path, &object);
}

/// That many seconds ago, as the annotation has it.
fn ago(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now - seconds)
        .unwrap()
        .to_string()
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[test]
fn an_old_token_is_rotated_and_the_old_one_is_let_in_no_more() {
    for token in TOKENS {
        let space = with_lists();
        let member = Space::new();
        let fleet = ["--fleet-namespace", member.namespace.as_str()];
        space.run(&[&["--apply"], &fleet[..]].concat()).exits(0);
        let before = space.filed();
        minted(&space, Some(&ago(100 * DAY)));
        for arguments in [&[][..], &fleet] {
            let ran = look(&[&space, &member], arguments, 0);
            let at = (space.namespace.as_str(), &*secret(ROUTER));
            let words = [token, "is 100 days old", "90 days"];
            the(&ran, ("age.token", "warn"), at, &words);
            assert_eq!(statuses(&ran, "age.token"), ["warn", "warn"]);
        }
        let at = (space.namespace.as_str(), &*secret(ROUTER));
        let ran = look(&[&space, &member], &fleet, 0);
        let check = the(&ran, ("age.token", "warn"), at, &[token]);
        mend(&[&space, &member], &check, &[]);

        let ran = look(&[&space, &member], &fleet, 0);
        let check = the(&ran, ("age.token", "pass"), at, &[token, "second"]);
        let message = check["message"].as_str().unwrap();
        assert!(!message.contains("at least"), "its age is known: {message}");
        let other = TOKENS.into_iter().find(|other| *other != token).unwrap();
        the(&ran, ("age.token", "warn"), at, &[other]);
        agrees(&space);
        let filed = space.filed();
        assert_eq!(filed[other], before[other]);
        assert_eq!(filed[token].len(), 64);
        assert_ne!(filed[token], before[token]);
        assert_eq!(member.data(ROUTER)[token], filed[token]);
        for (name, list, _) in LISTS.iter().filter(|list| list.2 == token) {
            assert_eq!(space.data(name)[*list], filed[token]);
        }
        let mode = std::fs::metadata(space.file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(
            !space
                .beside_file()
                .iter()
                .any(|name| name.ends_with(".new"))
        );
    }
}

/// Nobody is asked which of two values is right: the cluster's other token stays.
#[test]
fn an_old_token_is_rotated_also_where_the_file_is_lost_or_wrong() {
    for wrong in [false, true] {
        let space = with_lists();
        let before = space.filed();
        match wrong {
            true => space.write_file(&[(ROUTER_TOKEN, STRANGER)]),
            false => std::fs::remove_file(space.file()).unwrap(),
        }
        minted(&space, Some(&ago(100 * DAY)));
        let ran = look(&[&space], &[], i32::from(wrong));
        let at = (space.namespace.as_str(), &*secret(ROUTER));
        let warns = |ran: &Ran| the(ran, ("age.token", "warn"), at, &[EMBEDDINGS_KEY]);
        mend(&[&space], &warns(&ran), &[]);
        if wrong {
            // First the places agree.
            agrees(&space);
            let ran = look(&[&space], &[], 0);
            mend(&[&space], &warns(&ran), &[]);
        }
        agrees(&space);
        assert_eq!(space.filed()[ROUTER_TOKEN], before[ROUTER_TOKEN]);
        assert_ne!(space.filed()[EMBEDDINGS_KEY], before[EMBEDDINGS_KEY]);
        let ran = look(&[&space], &[], 0);
        the(&ran, ("age.token", "pass"), at, &[EMBEDDINGS_KEY]);
    }
}

#[test]
fn an_old_token_of_another_field_manager_is_left_to_it() {
    let space = with_lists();
    for (name, list, token) in LISTS {
        let value = space.filed()[token].clone();
        space.remove_key(name, list);
        space.set_keys(name, &[(list, &value)], "some-controller");
        space.remove_key(ROUTER, token);
        space.set_keys(ROUTER, &[(token, &value)], "some-controller");
    }
    minted(&space, Some(&ago(100 * DAY)));
    let ran = look(&[&space], &[], 0);
    let tokens = space.filed();
    for check in of(&ran, "age.token") {
        assert_eq!(check["status"], "warn");
        // The rotation names the field manager that has to release the key.
        let ran = follow(&space, &hint(&check), &[]).exits(1);
        ran.says(&["is managed by some-controller", "release"]);
    }
    assert_eq!(space.filed(), tokens);
    agrees(&space);
}

#[test]
fn an_old_token_in_a_secret_that_helm_owns_is_left_to_it() {
    let space = Space::new();
    let live = TOKENS.map(|token| (token, STRANGER));
    space.create_secret(ROUTER, &live, &marks_of_helm());
    space.write_file(&live);
    minted(&space, Some(&ago(100 * DAY)));
    let ran = look(&[&space], &[], 0);
    for check in of(&ran, "age.token") {
        assert_eq!(check["status"], "warn");
        assert_eq!(hint(&check), "see docs/checks.md#ownersecret");
    }
}

#[test]
fn without_an_annotation_a_token_is_at_least_as_old_as_its_secret() {
    for when in [None, Some("unknown")] {
        let space = Space::new();
        space.bootstrapped();
        minted(&space, when);
        let ran = look(&[&space], &[], 0);
        let at = (space.namespace.as_str(), &*secret(ROUTER));
        for token in TOKENS {
            let words = [token, "at least", "second"];
            the(&ran, ("age.token", "pass"), at, &words);
        }
    }
}

#[test]
fn an_age_is_too_great_past_the_limit() {
    let space = Space::new();
    space.bootstrapped();
    let at = (space.namespace.as_str(), &*secret(ROUTER));
    for (old, limit, status, words) in [
        (2 * HOUR, "1h", "warn", ["2 hours old", "1 hour"]),
        (90 * 60, "1h", "warn", ["90 minutes old", "1 hour"]),
        (2 * HOUR, "3h", "pass", ["2 hours old", ""]),
        (2 * HOUR, "1d12h", "pass", ["2 hours old", ""]),
        (2 * DAY, "1d12h", "warn", ["2 days old", "36 hours"]),
        (DAY + HOUR, "90d", "pass", ["25 hours old", ""]),
        (91 * DAY, "90d", "warn", ["91 days old", "90 days"]),
        (89 * DAY, "90d", "pass", ["89 days old", ""]),
        (40 * 60, "30m", "warn", ["40 minutes old", "30 minutes"]),
        (8 * DAY, "1w", "warn", ["8 days old", "7 days"]),
        // A clock that is ahead of ours.
        (-HOUR, "1h", "pass", ["0 seconds old", ""]),
        (2 * HOUR, "0s", "warn", ["2 hours old", "0 seconds"]),
    ] {
        minted(&space, Some(&ago(old)));
        let ran = look(&[&space], &["--max-age", limit], 0);
        for token in TOKENS {
            let words = [&[token], &words[..]].concat();
            the(&ran, ("age.token", status), at, &words);
        }
    }
}

#[test]
fn an_age_that_is_none_is_a_matter_of_usage() {
    let space = Space::without_namespace();
    for bad in ["", "soon", "90", "-1d", "1y", "1mo", "d"] {
        let argument = format!("--max-age={bad}");
        let ran = verify(&space, &[&argument]).exits(2);
        ran.says(&["--max-age"]);
    }
}

#[test]
fn without_a_token_there_is_no_age() {
    let space = Space::new();
    let at = (space.namespace.as_str(), &*secret(ROUTER));
    let ran = look(&[&space], &[], 1);
    assert_eq!(statuses(&ran, "age.token"), ["skip", "skip"]);
    space.bootstrapped();
    space.remove_key(ROUTER, ROUTER_TOKEN);
    space.set_keys(ROUTER, &[(EMBEDDINGS_KEY, "")], "kubectl-edit");
    let ran = look(&[&space], &[], 1);
    for token in TOKENS {
        the(
            &ran,
            ("age.token", "skip"),
            at,
            &[token, "not in the Secret"],
        );
    }
}
