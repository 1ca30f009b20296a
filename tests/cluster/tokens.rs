//! Tokens: adopted, repaired, refused, preferred, recovered.

use crate::secret_checks::delete;
use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub const ROUTER_TOKEN: &str = "KB_ROUTER_TOKEN";
pub const EMBEDDINGS_KEY: &str = "EMBEDDINGS_API_KEY";
pub const LIST: &str = "EMBEDDINGS_API_KEYS";

// Tokens as `--apply` would mint them, but of somebody else.
pub const ONE: &str = "1f00000000000000000000000000000000000000000000000000000000000001";
pub const TWO: &str = "2f00000000000000000000000000000000000000000000000000000000000002";
pub const THREE: &str = "3f00000000000000000000000000000000000000000000000000000000000003";

/// Everything that a refusal leaves alone.
#[derive(Debug, PartialEq)]
pub struct State {
    pub versions: Vec<String>,
    pub writes: Vec<String>,
    pub file: Option<Vec<u8>>,
    pub beside: Vec<String>,
}

pub fn state(space: &Space) -> State {
    State {
        versions: space.versions(),
        writes: space.writes(),
        file: fs::read(space.file()).ok(),
        beside: space.beside_file(),
    }
}

/// Runs `--apply`, which has to refuse with these words, to write nothing, to show no value, and to
/// agree with `diff`.
#[track_caller]
pub fn refused(space: &Space, more: &[&str], words: &[&str]) -> Ran {
    let before = state(space);
    let ran = space
        .run_with(&INPUTS, &[&["--apply"], more].concat())
        .exits(1)
        .says(words)
        .says(&["nothing has been written"]);
    assert_eq!(state(space), before);
    let diff = space
        .run_with(&INPUTS, &[&["diff"], more].concat())
        .exits(1)
        .says(words);
    assert_eq!(state(space), before);
    for ran in [&ran, &diff] {
        for value in values(space) {
            assert_hides(ran, &value);
        }
    }
    ran
}

/// Runs `--apply`, which has to succeed and to leave the next run with nothing to do.
#[track_caller]
pub fn applied(space: &Space, more: &[&str]) -> Ran {
    let ran = space
        .run_with(&INPUTS, &[&["--apply"], more].concat())
        .exits(0);
    let after = state(space);
    let again = space.bootstrapped();
    assert_eq!(again.out.matches(": unchanged").count(), 4, "{}", again.out);
    assert_eq!(state(space), after);
    ran
}

/// The token-like values of the file and the cluster.
pub fn values(space: &Space) -> Vec<String> {
    let live = [ROUTER, EMBEDDINGS]
        .into_iter()
        .filter(|name| space.object(name).is_some())
        .flat_map(|name| space.data(name));
    let filed = fs::read(space.file()).ok().map(|_| space.filed());
    live.chain(filed.into_iter().flatten())
        .filter(|(key, value)| key.starts_with(['K', 'E', 'A']) && !value.is_empty())
        .map(|(_, value)| value)
        .collect()
}

#[track_caller]
pub fn assert_hides(ran: &Ran, value: &str) {
    assert!(!ran.out.contains(value), "{value:?} in\n{}", ran.out);
    assert!(!ran.err.contains(value), "{value:?} in\n{}", ran.err);
}

pub fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

pub fn lose_the_file(space: &Space) {
    fs::remove_dir_all(space.folder.path().join("local")).unwrap();
}

pub fn pairs(pairs: &[(&str, &str)]) -> Data {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// What the document says of a Secret, or of a key of it.
pub fn said(document: &Value, secret: &str, key: Option<&str>) -> Value {
    let named = |list: &Value, field: &str, name: &str| {
        let found = list.as_array().unwrap().iter().find(|x| x[field] == name);
        found
            .unwrap_or_else(|| panic!("no {name} in {list}"))
            .clone()
    };
    let secret = named(&document["secrets"], "name", secret);
    match key {
        Some(key) => named(&secret["keys"], "key", key),
        None => secret,
    }
}

// Lost files.

#[test]
fn apply_rebuilds_a_lost_file_from_the_cluster() {
    let space = Space::new();
    space.bootstrapped();
    let tokens = space.filed();
    lose_the_file(&space);
    let (versions, writes) = (space.versions(), space.writes());

    let document = space
        .run_with(&INPUTS, &["--apply", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(document["tokens_file"]["action"], "created");
    for key in [ROUTER_TOKEN, EMBEDDINGS_KEY] {
        let key = said(&document, ROUTER, Some(key));
        assert_eq!(
            (&key["action"], &key["source"]),
            (&json!("adopted"), &json!("cluster"))
        );
    }
    assert_eq!(space.filed(), tokens);
    assert_eq!(mode(&space.file()), 0o600);
    assert_eq!((space.versions(), space.writes()), (versions, writes));
}

#[test]
fn recover_previews_without_a_trace_and_rebuilds_the_file_with_apply() {
    let space = Space::new();
    space.bootstrapped();
    let tokens = space.filed();
    lose_the_file(&space);
    let (versions, writes) = (space.versions(), space.writes());

    let ran = space.run(&["tokens", "recover"]).exits(0).says(&[
        "local/.k8s-tokens: would be created",
        "tokens recover --apply",
    ]);
    assert!(!space.folder.path().join("local").exists());
    tokens.values().for_each(|value| assert_hides(&ran, value));

    let ran = space
        .run(&["tokens", "recover", "--apply"])
        .exits(0)
        .says(&["local/.k8s-tokens: created"]);
    tokens.values().for_each(|value| assert_hides(&ran, value));
    assert_eq!(space.filed(), tokens);
    assert_eq!(mode(&space.file()), 0o600);
    assert_eq!(mode(space.file().parent().unwrap()), 0o700);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
    assert_eq!((space.versions(), space.writes()), (versions, writes));

    let file = fs::read(space.file()).unwrap();
    space
        .run(&["tokens", "recover", "--apply"])
        .exits(0)
        .says(&["local/.k8s-tokens: unchanged"]);
    assert_eq!(fs::read(space.file()).unwrap(), file);
}

#[test]
fn recover_completes_a_partial_file_and_keeps_its_other_lines() {
    let space = Space::new();
    space.create_secret(
        ROUTER,
        &[(ROUTER_TOKEN, ONE), (EMBEDDINGS_KEY, TWO)],
        &Value::Null,
    );
    space.write_file(&[]);
    let lines = [
        "# mine",
        "OTHER='x y'",
        &format!("{ROUTER_TOKEN}={ONE}"),
        "# the end",
    ];
    let text = lines.join("\n");
    fs::write(space.file(), &text).unwrap();

    space
        .run(&["tokens", "recover"])
        .exits(0)
        .says(&["local/.k8s-tokens: would be updated"]);
    assert_eq!(fs::read_to_string(space.file()).unwrap(), text);

    space
        .run(&["tokens", "recover", "--apply"])
        .exits(0)
        .says(&["local/.k8s-tokens: updated"]);
    let after = fs::read_to_string(space.file()).unwrap();
    let kept: Vec<_> = after.lines().filter(|line| lines.contains(line)).collect();
    assert_eq!(kept, lines);
    assert_eq!(space.filed()[EMBEDDINGS_KEY], TWO);
    assert_eq!(mode(&space.file()), 0o600);
    assert_eq!(space.writes(), [""; 0]);
}

#[test]
fn recover_says_what_is_nowhere_and_writes_only_what_it_found() {
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: [(Pairs, Pairs, &[&str]); 3] = [
        (&[], &[], &[ROUTER_TOKEN, EMBEDDINGS_KEY]),
        (&[(ROUTER_TOKEN, "")], &[], &[ROUTER_TOKEN, EMBEDDINGS_KEY]),
        (
            &[(ROUTER_TOKEN, ONE)],
            &[(ROUTER_TOKEN, ONE)],
            &[EMBEDDINGS_KEY],
        ),
    ];
    for (live, found, missing) in cases {
        let space = Space::new();
        if !live.is_empty() {
            space.create_secret(ROUTER, live, &Value::Null);
        }
        let words = format!("not found: {}", missing.join(", "));
        space.run(&["tokens", "recover"]).exits(1).says(&[&words]);
        assert!(!space.folder.path().join("local").exists());

        let ran = space
            .run(&["tokens", "recover", "--apply", "-o", "json"])
            .exits(1);
        let document = ran.json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["missing"], json!(missing));
        assert_eq!(document["error"]["message"], json!(words));
        assert_eq!(space.file().exists(), !found.is_empty());
        if space.file().exists() {
            assert_eq!(space.filed(), pairs(found));
        }
        assert_eq!(space.writes(), [""; 0]);
    }
}

#[test]
fn recover_touches_no_file_that_disagrees() {
    let space = Space::new();
    space.create_secret(ROUTER, &[(ROUTER_TOKEN, ONE)], &Value::Null);
    space.write_file(&[(ROUTER_TOKEN, TWO)]);
    let before = state(&space);
    for arguments in [
        &["tokens", "recover"][..],
        &["tokens", "recover", "--apply"],
    ] {
        let ran = space
            .run(arguments)
            .exits(1)
            .says(&["tokens file", ROUTER, "sha256:"]);
        assert_hides(&ran, ONE);
        assert_hides(&ran, TWO);
        assert_eq!(state(&space), before);
    }
}

// Repairs.

#[test]
fn a_token_that_is_missing_or_empty_in_the_cluster_is_repaired_from_the_file() {
    let space = Space::new();
    space.documented();
    let (tokens, list) = (space.filed(), space.data(EMBEDDINGS));
    let apply = ["--apply", "--without-api-keys", "-o", "json"];
    for (secret, key) in [
        (ROUTER, ROUTER_TOKEN),
        (ROUTER, EMBEDDINGS_KEY),
        (EMBEDDINGS, LIST),
    ] {
        for empty in [false, true] {
            match empty {
                true => space.set_keys(secret, &[(key, "")], "kubectl-edit"),
                false => space.remove_key(secret, key),
            }
            let before = space.writes().len();
            let ran = space.run_with(&INPUTS, &apply).exits(0);
            let said = said(&ran.json(), secret, Some(key));
            assert_eq!(
                said,
                json!({ "key": key, "action": "set", "source": "file" })
            );
            assert_eq!(space.data(ROUTER), tokens);
            assert_eq!(space.data(EMBEDDINGS), list);
            let path = space.path(secret);
            let sent = space.writes().split_off(before);
            assert!(!sent.is_empty() && sent.iter().all(|write| write.contains(&path)));
        }
    }
    assert_eq!(space.filed(), tokens);
}

#[test]
fn a_deleted_secret_is_made_again_with_the_same_tokens() {
    let space = Space::new();
    space.bootstrapped();
    let data = [ROUTER, EMBEDDINGS, AGENTICORE].map(|name| space.data(name));
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        delete(&space, name);
        applied(&space, &[]).says(&[&format!("{name}: created")]);
        assert_eq!(
            [ROUTER, EMBEDDINGS, AGENTICORE].map(|name| space.data(name)),
            data
        );
    }
}

#[test]
fn an_odd_live_token_is_not_adopted() {
    let long = "x".repeat(513);
    for (key, odd, why) in [
        (ROUTER_TOKEN, "only-15-letters", "shorter than 16"),
        (EMBEDDINGS_KEY, "long enough, and has spaces", "white space"),
        (
            ROUTER_TOKEN,
            " 0123456789abcdef0123456789abcdef",
            "white space",
        ),
        (
            EMBEDDINGS_KEY,
            "long-enough-but-with-a-\u{f6}-in-it",
            "outside A-Z",
        ),
        (
            ROUTER_TOKEN,
            "long-enough-but-with-a-line-break\n",
            "white space",
        ),
        (EMBEDDINGS_KEY, &long, "longer than 512"),
    ] {
        let space = Space::new();
        space.create_secret(ROUTER, &[(key, odd)], &Value::Null);
        refused(&space, &[], &[key, ROUTER, "cannot be adopted", why]);
        refused(&space, &["--prefer", "cluster"], &[why]);
        space
            .run(&["tokens", "recover", "--apply"])
            .exits(1)
            .says(&[why]);
        assert!(!space.file().exists());
    }
}

#[test]
fn an_odd_live_token_yields_to_the_file_when_that_is_preferred() {
    let space = Space::new();
    space.create_secret(ROUTER, &[(ROUTER_TOKEN, "odd")], &Value::Null);
    space.write_file(&[(ROUTER_TOKEN, ONE)]);
    refused(&space, &[], &[ROUTER_TOKEN, "differs", "--prefer file"]);
    applied(&space, &["--prefer", "file"]);
    assert_eq!(space.data(ROUTER)[ROUTER_TOKEN], ONE);
}

// Disagreements.

/// A bootstrapped namespace, and a file with other tokens under these names.
fn disagreeing(keys: &[&str]) -> Space {
    let space = Space::new();
    space.bootstrapped();
    let mut text = fs::read_to_string(space.file()).unwrap();
    for (key, other) in keys.iter().zip([ONE, TWO]) {
        text = text.replace(&space.filed()[*key], other);
    }
    fs::write(space.file(), text + "# mine\n").unwrap();
    space
}

#[test]
fn a_file_and_a_cluster_that_disagree_are_both_named_by_fingerprint_only() {
    for keys in [
        &[ROUTER_TOKEN][..],
        &[EMBEDDINGS_KEY],
        &[ROUTER_TOKEN, EMBEDDINGS_KEY],
    ] {
        let space = disagreeing(keys);
        let ran = refused(
            &space,
            &[],
            &["the tokens file has", ROUTER, &space.namespace],
        )
        .says(&["--prefer cluster", "--prefer file"])
        .says(keys);
        assert_eq!(
            ran.err.matches("sha256:").count(),
            2 * keys.len(),
            "{}",
            ran.err
        );
        assert_eq!(ran.out, "");

        let document = refused(&space, &["-o", "json"], &[]).json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["command"], "apply");
        assert_eq!(document["tokens_file"]["action"], "unchanged");
        let router = said(&document, ROUTER, None);
        assert_eq!(router["action"], "refused");
        assert!(
            router["reason"].as_str().unwrap().contains("sha256:"),
            "{router}"
        );
        for key in keys {
            assert_eq!(said(&document, ROUTER, Some(key))["action"], "differs");
        }
        let error = &document["error"];
        assert!(
            error["message"].as_str().unwrap().contains("refused"),
            "{error}"
        );
        assert_eq!(error["cause"].as_array().unwrap().len(), keys.len());
        assert!(
            error["hint"].as_str().unwrap().contains("--prefer"),
            "{error}"
        );
    }
}

#[test]
fn prefer_cluster_replaces_the_file_and_keeps_the_old_one() {
    let space = disagreeing(&[ROUTER_TOKEN, EMBEDDINGS_KEY]);
    let old = fs::read(space.file()).unwrap();
    let (versions, writes) = (space.versions(), space.writes());

    applied(&space, &["--prefer", "cluster"]).says(&[".k8s-tokens.bak"]);
    assert_eq!(space.filed(), space.data(ROUTER));
    assert!(
        fs::read_to_string(space.file())
            .unwrap()
            .ends_with("# mine\n")
    );
    assert_eq!(space.beside_file(), [".k8s-tokens", ".k8s-tokens.bak"]);
    let backup = space.file().with_file_name(".k8s-tokens.bak");
    assert_eq!(fs::read(&backup).unwrap(), old);
    assert_eq!((mode(&space.file()), mode(&backup)), (0o600, 0o600));
    assert_eq!((space.versions(), space.writes()), (versions, writes));
}

#[test]
fn prefer_file_changes_the_cluster_and_drops_no_entry() {
    let space = disagreeing(&[ROUTER_TOKEN, EMBEDDINGS_KEY]);
    let (file, list) = (
        fs::read(space.file()).unwrap(),
        space.data(EMBEDDINGS)[LIST].clone(),
    );

    applied(&space, &["--prefer", "file"]);
    assert_eq!(
        space.data(ROUTER),
        pairs(&[(ROUTER_TOKEN, ONE), (EMBEDDINGS_KEY, TWO)])
    );
    assert_eq!(space.data(EMBEDDINGS)[LIST], format!("{list},{TWO}"));
    assert_eq!(fs::read(space.file()).unwrap(), file);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
}

#[test]
fn prefer_changes_nothing_where_all_agree() {
    let space = Space::new();
    space.bootstrapped();
    let before = state(&space);
    for side in ["cluster", "file"] {
        space
            .run_with(&INPUTS, &["--apply", "--prefer", side])
            .exits(0);
        assert_eq!(state(&space), before);
    }
}

#[test]
fn the_file_of_a_killed_run_that_lost_is_a_disagreement() {
    let winner = Space::new();
    winner.bootstrapped();
    let loser = winner.other_operator();
    loser.write_file(&[(ROUTER_TOKEN, ONE), (EMBEDDINGS_KEY, TWO)]);

    refused(
        &loser,
        &[],
        &[ROUTER_TOKEN, EMBEDDINGS_KEY, "--apply --prefer cluster"],
    );
    applied(&loser, &["--prefer", "cluster"]);
    assert_eq!(loser.filed(), winner.filed());
    assert_eq!(loser.data(ROUTER), winner.filed());
}
