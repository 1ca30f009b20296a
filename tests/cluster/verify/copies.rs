//! Copies of the tokens in Secrets that operators keep.

use crate::checks::{follow, of};
use crate::sandbox::SANDBOX;
use crate::secret_checks::delete;
use crate::space::{ROUTER, Ran, Space};
use crate::steps::steps;
use crate::token_checks::{
    EMBEDDINGS_KEY, ROUTER_TOKEN, STRANGER, TOKENS, fingerprint, hides, hint, look, secret,
    statuses, the,
};
use serde_json::{Value, json};

const ID: &str = "tokens.copies";
/// The names that operators use.
const USUAL: [&str; 2] = ["agentibrain-mcp-secrets", "brain-ops-secrets"];

/// Home with everything.
fn home() -> Space {
    let space = Space::new();
    space.bootstrapped();
    space
}

/// Where a Secret is, as `--copy` has it.
fn copy(space: &Space, name: &str) -> String {
    format!("--copy={}/{name}", space.namespace)
}

/// Copies a token from the first space by the steps of the check's hint. No value shows.
#[track_caller]
fn copied(spaces: &[&Space], check: &Value, token: &str) {
    let text = |field: &str| check[field].as_str().unwrap();
    let name = text("object").strip_prefix("Secret/").unwrap();
    let words = [
        ("OTHER", text("namespace")),
        ("NAME", name),
        ("KEY", token),
        ("TOKEN", token),
    ];
    let ran = steps("go-template", spaces[0], &hint(check), &words, &[]);
    hides(spaces, &ran);
    ran.exits(0);
}

/// Runs a command of the steps.
#[track_caller]
fn create(space: &Space, what: &str) {
    follow(space, &format!("kubectl {what}"), &[]).exits(0);
}

#[track_caller]
fn passes(ran: &Ran) -> String {
    let checks = of(ran, ID);
    assert_eq!(statuses(ran, ID), ["pass"], "{checks:#?}");
    checks[0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn copies_in_step_are_found_under_any_name_and_key_at_home_and_in_the_fleet() {
    let (space, member) = (home(), Space::new());
    let stranger = Space::new();
    let fleet = format!("--fleet-namespace={}", member.namespace);
    space.run(&["--apply", &fleet]).exits(0);
    let message = passes(&look(&[&space, &member], &[&fleet], 0));
    assert_eq!(message, "no other Secret in these namespaces holds a copy");

    let filed = space.filed();
    let (router, key) = (&*filed[ROUTER_TOKEN], &*filed[EMBEDDINGS_KEY]);
    space.create_secret(USUAL[0], &[(ROUTER_TOKEN, router)], &Value::Null);
    let list = format!("another-key, {key}");
    let own = [("BEARER", router), ("KEYS", &list), ("OTHER", "x")];
    member.create_secret("of-a-team", &own, &Value::Null);
    stranger.create_secret(USUAL[1], &[(ROUTER_TOKEN, STRANGER)], &Value::Null);
    let message = passes(&look(&[&space, &member], &[&fleet], 0));
    for words in [
        format!("{}/{} ({ROUTER_TOKEN})", space.namespace, USUAL[0]),
        format!("{}/of-a-team (BEARER, KEYS)", member.namespace),
    ] {
        assert!(message.contains(&words), "{message}");
    }
    // Without the fleet, home alone.
    let message = passes(&look(&[&space], &[], 0));
    assert!(!message.contains("of-a-team"), "{message}");
}

#[test]
fn a_copy_that_has_gone_stale_is_told_and_brought_up_to_date() {
    let member = Space::new();
    for (at_home, token) in [
        (true, ROUTER_TOKEN),
        (true, EMBEDDINGS_KEY),
        (false, ROUTER_TOKEN),
    ] {
        let space = home();
        let fleet = format!("--fleet-namespace={}", member.namespace);
        space.run(&["--apply", "--prefer=cluster", &fleet]).exits(0);
        let place = if at_home { &space } else { &member };
        let own = ("OF_THE_TEAM", "stays");
        place.create_secret(USUAL[1], &[(token, STRANGER), own], &Value::Null);
        let ran = look(&[&space, &member], &[&fleet], 0);
        let at = (place.namespace.as_str(), &*secret(USUAL[1]));
        let live = space.filed()[token].clone();
        let (theirs, ours) = (
            format!("it has {}", fingerprint(STRANGER)),
            format!("the home namespace has {}", fingerprint(&live)),
        );
        let check = the(&ran, (ID, "warn"), at, &[token, "stale", &theirs, &ours]);
        assert_eq!(statuses(&ran, ID), ["warn"]);
        copied(&[&space, &member], &check, token);
        let message = passes(&look(&[&space, &member], &[&fleet], 0));
        assert!(message.contains(USUAL[1]), "{message}");
        let data = place.data(USUAL[1]);
        assert_eq!((&*data[token], &*data[own.0]), (&*live, own.1));
        assert_eq!(data.len(), 2);
    }
}

#[test]
fn each_of_several_stale_keys_is_told() {
    let space = home();
    let stale = TOKENS.map(|token| (token, STRANGER));
    space.create_secret("a", &stale, &Value::Null);
    space.create_secret("b", &[(ROUTER_TOKEN, "")], &Value::Null);
    space.create_secret("c", &[], &Value::Null);
    let data = json!({ "data": { ROUTER_TOKEN: "//79" } });
    SANDBOX.expect("PATCH", &space.path("c"), &data);
    let ran = look(&[&space], &[], 0);
    for (name, token, word) in [
        ("a", ROUTER_TOKEN, "sha256:"),
        ("a", EMBEDDINGS_KEY, "sha256:"),
        ("b", ROUTER_TOKEN, "empty"),
        ("c", ROUTER_TOKEN, "not text"),
    ] {
        let at = (space.namespace.as_str(), &*secret(name));
        let check = the(&ran, (ID, "warn"), at, &[token, word]);
        copied(&[&space], &check, token);
        let ran = look(&[&space], &[], 0);
        let left = of(&ran, ID);
        let same = |left: &&Value| left["message"] == check["message"];
        let same = |left: &&Value| same(left) && left["object"] == check["object"];
        assert_eq!(left.iter().find(same), None);
    }
    passes(&look(&[&space], &[], 0));
}

#[test]
fn a_copy_in_a_third_namespace_is_read_where_it_is_named() {
    let (space, third) = (home(), Space::new());
    let filed = space.filed();
    let token = [(ROUTER_TOKEN, &*filed[ROUTER_TOKEN])];
    // Its type does not matter where it is named.
    let type_ = json!({ "type": "example.org/tokens" });
    third.create_secret(USUAL[0], &token, &type_);
    let named = copy(&third, USUAL[0]);
    let message = passes(&look(&[&space, &third], &[&named], 0));
    let place = format!("{}/{} ({ROUTER_TOKEN})", third.namespace, USUAL[0]);
    assert!(message.contains(&place), "{message}");
    let message = passes(&look(&[&space, &third], &[], 0));
    assert!(!message.contains(USUAL[0]), "{message}");

    third.set_keys(USUAL[0], &[(ROUTER_TOKEN, STRANGER)], "kubectl-edit");
    let at = (third.namespace.as_str(), &*secret(USUAL[0]));
    let ran = look(&[&space, &third], &[&named], 0);
    let check = the(&ran, (ID, "warn"), at, &[ROUTER_TOKEN, "stale"]);
    copied(&[&space, &third], &check, ROUTER_TOKEN);
    passes(&look(&[&space, &third], &[&named], 0));
}

/// Creates the usual copy without a token.
fn generic(space: &Space) -> String {
    format!("-n {} create secret generic {}", space.namespace, USUAL[1])
}

#[test]
fn a_named_copy_that_is_absent_is_told_and_made() {
    let (space, third) = (home(), Space::new());
    let at = (third.namespace.as_str(), &*secret(USUAL[1]));
    let named = copy(&third, USUAL[1]);
    let ran = look(&[&space, &third], &[&named], 0);
    let check = the(&ran, (ID, "warn"), at, &[USUAL[1], "Secret not found"]);
    create(&space, &generic(&third));
    for token in TOKENS {
        copied(&[&space, &third], &check, token);
    }
    assert_eq!(third.data(USUAL[1]), space.data(ROUTER));
    passes(&look(&[&space, &third], &[&named], 0));

    // Only what home has.
    delete(&third, USUAL[1]);
    space.remove_key(ROUTER, EMBEDDINGS_KEY);
    let ran = look(&[&space, &third], &[&named], 1);
    let check = the(&ran, (ID, "warn"), at, &["Secret not found"]);
    create(&space, &generic(&third));
    copied(&[&space, &third], &check, ROUTER_TOKEN);
    assert_eq!(third.data(USUAL[1]), space.data(ROUTER));
}

#[test]
fn a_named_copy_in_a_namespace_that_is_absent_is_made_with_it() {
    let (space, third) = (home(), Space::without_namespace());
    let at = (third.namespace.as_str(), &*secret(USUAL[1]));
    let named = copy(&third, USUAL[1]);
    let ran = look(&[&space], &[&named], 0);
    let check = the(&ran, (ID, "warn"), at, &["namespace not found"]);
    create(&space, &format!("create namespace {}", third.namespace));
    create(&space, &generic(&third));
    copied(&[&space, &third], &check, ROUTER_TOKEN);
    passes(&look(&[&space, &third], &[&named], 0));
}

#[test]
fn without_a_token_there_is_nothing_to_look_for() {
    let space = Space::new();
    space.create_secret(USUAL[0], &[(ROUTER_TOKEN, STRANGER)], &Value::Null);
    let ran = look(&[&space], &[], 1);
    assert_eq!(statuses(&ran, ID), ["skip"]);
}
