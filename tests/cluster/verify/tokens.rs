//! One token, one value: the tokens file, the home namespace and its lists.

use super::checks::{checks, follow, of, verify};
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const ROUTER_TOKEN: &str = "KB_ROUTER_TOKEN";
pub const EMBEDDINGS_KEY: &str = "EMBEDDINGS_API_KEY";
pub const TOKENS: [&str; 2] = [ROUTER_TOKEN, EMBEDDINGS_KEY];
/// A token of somebody else.
pub const STRANGER: &str = "a-token-of-somebody-else";
/// Entries of lists that are none of ours.
const THIRD: &str = "one-of-a-third-party, two-of-a-third-party";

pub fn fingerprint(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &hex[..12])
}

/// Fails where a value of the spaces' Secrets or of the first one's file shows.
#[track_caller]
pub fn hides(spaces: &[&Space], ran: &Ran) {
    let mut values: Vec<String> = vec![STRANGER.to_owned(), THIRD.to_owned()];
    if spaces[0].file().exists() {
        values.extend(spaces[0].filed().into_values());
    }
    for space in spaces {
        let list = SANDBOX.expect("GET", &space.path(""), &Value::Null);
        for item in list["items"].as_array().unwrap() {
            for value in item["data"].as_object().into_iter().flatten() {
                let value = STANDARD.decode(value.1.as_str().unwrap()).unwrap();
                values.push(String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    for value in values.into_iter().filter(|value| value.len() > 8) {
        for text in [STANDARD.encode(&value), value] {
            let seen = ran.out.contains(&text) || ran.err.contains(&text);
            assert!(!seen, "a value shows:\n{}\n{}", ran.out, ran.err);
        }
    }
}

/// Runs `verify -v` in the first space; no value of any shows.
#[track_caller]
pub fn look(spaces: &[&Space], arguments: &[&str], code: i32) -> Ran {
    let ran = verify(spaces[0], &[arguments, &["-v"]].concat()).exits(code);
    hides(spaces, &ran);
    ran
}

/// The one check with that id, status, namespace and object; its message has these words.
#[track_caller]
pub fn the(ran: &Ran, (id, status): (&str, &str), at: (&str, &str), words: &[&str]) -> Value {
    let all = of(ran, id);
    let mut found = all.iter().filter(|check| {
        let message = check["message"].as_str().unwrap();
        check["status"] == status
            && (check["namespace"].as_str(), check["object"].as_str()) == (Some(at.0), Some(at.1))
            && words.iter().all(|word| message.contains(word))
    });
    let one = found.next();
    let one = one.unwrap_or_else(|| panic!("no {status} of {at:?} with {words:?}: {all:#?}"));
    assert_eq!(found.next(), None, "more than one: {all:#?}");
    let needs_hint = ["warn", "fail"].contains(&status);
    assert!(!needs_hint || !hint(one).is_empty(), "no hint: {one}");
    one.clone()
}

/// The statuses of the checks with that id.
pub fn statuses(ran: &Ran, id: &str) -> Vec<String> {
    let checks = of(ran, id);
    let status = |check: &Value| check["status"].as_str().unwrap().to_owned();
    checks.iter().map(status).collect()
}

pub fn hint(check: &Value) -> String {
    check["hint"].as_str().unwrap().to_owned()
}

/// Runs the hint of a check, which has to succeed and to show no value.
#[track_caller]
pub fn mend(spaces: &[&Space], check: &Value, environment: &[(&str, &str)]) {
    let ran = follow(spaces[0], &hint(check), environment);
    hides(spaces, &ran);
    assert_eq!(ran.code, 0, "{}\n{}\n{}", hint(check), ran.out, ran.err);
}

/// What an object of kind Secret is called in a check.
pub fn secret(name: &str) -> String {
    format!("Secret/{name}")
}

/// What Helm writes on its Secrets.
pub fn marks_of_helm() -> Value {
    json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "agents" },
    } })
}

/// A release that makes one Secret. Its hint upgrades it to the chart that is left in `$CHART`,
/// which has the second data.
pub fn install_secret(space: &Space, name: &str, data: [&[(&str, &str)]; 2]) -> String {
    let charts = data.map(|data| {
        let folder = tempfile::tempdir_in(space.folder.path()).unwrap().keep();
        std::fs::create_dir(folder.join("templates")).unwrap();
        let chart = json!({ "apiVersion": "v2", "name": "copies", "version": "1.0.0" });
        std::fs::write(folder.join("Chart.yaml"), chart.to_string()).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": data.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        });
        std::fs::write(folder.join("templates/secret.yaml"), secret.to_string()).unwrap();
        folder.display().to_string()
    });
    let [before, after] = charts;
    let line = format!("helm -n {} install agents {before}", space.namespace);
    let ran = Ran::from(space.shell(&line).output().unwrap());
    ran.exits(0);
    after
}

/// Both tokens are the same in the file and at home, and on the list.
#[track_caller]
pub fn agrees(space: &Space) {
    let filed = space.filed();
    let live = space.data(ROUTER);
    for token in TOKENS {
        assert_eq!(filed[token], live[token]);
    }
    let ran = look(&[space], &[], 0);
    assert_eq!(statuses(&ran, "tokens.match"), ["pass", "pass"]);
    assert!(!statuses(&ran, "tokens.pair").contains(&"fail".to_owned()));
}

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
        skipped(1, token, "the Secret does not exist");
    }
    space.bootstrapped();
    space.write_file(&[(EMBEDDINGS_KEY, STRANGER)]);
    skipped(0, ROUTER_TOKEN, "the tokens file does not hold it");
    std::fs::remove_file(space.file()).unwrap();
    for token in TOKENS {
        skipped(0, token, "there is no tokens file");
    }
    std::fs::write(space.file(), "no line of a tokens file").unwrap();
    skipped(1, ROUTER_TOKEN, "the tokens file cannot be used");

    space.write_file(&TOKENS.map(|token| (token, STRANGER)));
    space.set_keys(ROUTER, &[(ROUTER_TOKEN, "")], "kubectl-edit");
    space.remove_key(ROUTER, EMBEDDINGS_KEY);
    for token in TOKENS {
        skipped(1, token, "the Secret does not hold it");
    }
}

/// Each list, with its Secret and the token that has to be on it.
pub const LISTS: [(&str, &str, &str); 3] = [
    (EMBEDDINGS, "EMBEDDINGS_API_KEYS", EMBEDDINGS_KEY),
    (EMBEDDINGS, "API_KEYS", EMBEDDINGS_KEY),
    (ROUTER, "KB_ROUTER_TOKENS", ROUTER_TOKEN),
];

/// Everything is there, each list holds the token alone.
pub fn with_lists() -> Space {
    let space = Space::new();
    space.bootstrapped();
    let filed = space.filed();
    for (secret, list, token) in LISTS {
        space.set_keys(secret, &[(list, &filed[token])], "kubectl-edit");
    }
    space
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
        assert_eq!(space.data(name)[list], format!("{THIRD},{key}"));
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
        assert!(space.data(name)[list].starts_with(THIRD));
        agrees(&space);
    }
}

#[test]
fn a_list_in_a_secret_that_helm_owns_is_mended_by_its_release() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let key = space.filed()[EMBEDDINGS_KEY].clone();
    let with = |list: &'static str| {
        [
            INPUTS[0],
            ("EMBEDDINGS_API_KEYS", list),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "m"),
        ]
    };
    let mut after = with("");
    after[1].1 = &key;
    let chart = install_secret(&space, EMBEDDINGS, [&with(THIRD), &after]);
    let ran = look(&[&space], &[], 1);
    let at = (space.namespace.as_str(), &*secret(EMBEDDINGS));
    let check = the(&ran, ("tokens.pair", "fail"), at, &[EMBEDDINGS_KEY]);
    assert!(hint(&check).starts_with("helm "), "{check}");
    mend(&[&space], &check, &[("CHART", &chart)]);
    agrees(&space);
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
