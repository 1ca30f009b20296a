//! `sync`: the Secrets follow the store at once.

use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{Data, EMBEDDINGS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

/// The ExternalSecret's name.
const NAME: &str = "agentibrain-embeddings-secrets";
const URL: (&str, &str) = ("POSTGRES_URL", "postgres://u:p@db/brain");

/// An entry in the store, a store object, an ExternalSecret, and the operator's token.
fn on_path_2(fields: &[(&str, &str)]) -> (Space, String, String) {
    let space = Space::new();
    let entry = format!("{}/embeddings", space.namespace);
    BAO.put(&entry, fields);
    let token = BAO.token(&space.namespace, &["read"]);
    space.cluster_store(&token);
    space.synchronize(NAME, EMBEDDINGS, &entry);
    (space, entry, token)
}

/// What stands in a document about the only ExternalSecret.
fn only(document: &Value) -> &Value {
    let all = document["external_secrets"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{document}");
    &all[0]
}

#[test]
fn a_secret_follows_its_store_at_once() {
    let (space, entry, _) = on_path_2(&[URL, ("LLM_API_KEY", "old"), ("STAYS", "s")]);
    let fields = [URL, ("LLM_API_KEY", "new"), ("STAYS", "s")];
    BAO.put(&entry, &fields);

    let ran = space.run(&["sync"]).exits(0);
    let ran = ran.says(&["[ok]", NAME, "changed LLM_API_KEY"]);
    assert!(!ran.out.contains("POSTGRES_URL"), "{}", ran.out);
    assert_eq!(space.data(EMBEDDINGS), BAO.fields(&entry));

    BAO.put(&entry, &[URL, ("LLM_API_KEY", "newer")]);
    let document = space.run(&["sync", "-o", "json"]).exits(0).json();
    let told = only(&document);
    assert_eq!(told["action"], "configured");
    assert_eq!(told["changed"], json!(["LLM_API_KEY", "STAYS"]));
    assert_eq!(
        (&told["name"], &told["secret"]),
        (&json!(NAME), &json!(EMBEDDINGS))
    );

    let again = space.run(&["sync", "-o", "json"]).exits(0).json();
    assert_eq!(only(&again)["action"], "unchanged");
}

#[test]
fn the_secret_is_compared_with_a_store_that_can_be_read() {
    let (space, entry, _) = on_path_2(&[URL]);
    let own = BAO.token(&space.namespace, &["read"]);
    let own = space.operator(&own);
    let environment = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    BAO.put(&entry, &[URL, ("LLM_API_KEY", "new")]);
    let ran = space.run_with(&environment, &["sync"]).exits(0);
    ran.says(&["changed LLM_API_KEY"]);

    // One that makes more of the entry is not expected to carry it.
    let template = json!({ "spec": { "target": { "template": {
        "engineVersion": "v2", "mergePolicy": "Merge", "data": { "EXTRA": "{{ .POSTGRES_URL }}" },
    } } } });
    SANDBOX.expect("PATCH", &space.external_secret_path(NAME), &template);
    wait("the template is at work", || {
        space.data(EMBEDDINGS).contains_key("EXTRA")
    });
    space.run_with(&environment, &["sync"]).exits(0);
}

#[test]
fn the_fleet_is_refreshed_too_and_a_namespace_that_fails_does_not_hide() {
    let (home, away) = (Space::new(), Space::new());
    let entry = format!("{}/router", home.namespace);
    let fields = [("KB_ROUTER_TOKEN", "a"), ("EMBEDDINGS_API_KEY", "b")];
    BAO.put(&entry, &fields);
    let token = BAO.token(&home.namespace, &["read"]);
    home.cluster_store(&token);
    let other = format!("{}/router", away.namespace);
    BAO.put(&other, &fields);
    away.cluster_store(&BAO.token(&away.namespace, &["read"]));
    home.synchronize("brain", ROUTER, &entry);
    away.synchronize("brain", ROUTER, &other);

    let fields = [("KB_ROUTER_TOKEN", "c"), ("EMBEDDINGS_API_KEY", "b")];
    BAO.put(&entry, &fields);
    BAO.put(&other, &fields);
    let both = ["sync", "--fleet-namespace", &away.namespace];
    home.run(&both).exits(0);
    assert_eq!(home.data(ROUTER)["KB_ROUTER_TOKEN"], "c");
    assert_eq!(away.data(ROUTER)["KB_ROUTER_TOKEN"], "c");

    let gone = format!("secret/metadata/{other}");
    BAO.expect("DELETE", &gone, &Value::Null);
    BAO.put(
        &entry,
        &[("KB_ROUTER_TOKEN", "d"), ("EMBEDDINGS_API_KEY", "b")],
    );
    let ran = home.run(&both).exits(3);
    ran.says(&[
        "1 of 2",
        "no such entry",
        "changed KB_ROUTER_TOKEN",
        " verify",
    ]);
    assert_eq!(home.data(ROUTER)["KB_ROUTER_TOKEN"], "d");
}

#[test]
fn why_a_secret_does_not_follow_is_said() {
    let (space, entry, _) = on_path_2(&[URL]);
    let path = format!("secret/metadata/{entry}");
    BAO.expect("DELETE", &path, &Value::Null);
    space
        .run(&["sync"])
        .exits(3)
        .says(&["[fail]", "there is no such entry in the store"]);

    // The operator calls it a success.
    BAO.put(&entry, &[]);
    let document = space.run(&["sync", "-o", "json"]).exits(3).json();
    let told = only(&document);
    assert_eq!(told["action"], "failed");
    assert_eq!(told["reason"], "the entry in the store has no fields");
    assert_eq!(
        space.data(EMBEDDINGS),
        Data::from([URL].map(|(k, v)| (k.into(), v.into())))
    );
}

#[test]
fn a_store_whose_credentials_were_mended_is_looked_at_again() {
    let (space, entry, token) = on_path_2(&[URL]);
    BAO.revoke(&token);
    BAO.put(&entry, &[URL, ("LLM_API_KEY", "new")]);
    let ran = space.run(&["sync"]).exits(3);
    ran.says(&["the store refuses the operator's credentials"]);
    // The operator has noticed, and would look again in five minutes.
    let store = space.store_path("ClusterSecretStore");
    let nudge = json!({ "metadata": { "annotations": { "test": "now" } } });
    SANDBOX.expect("PATCH", &store, &nudge);
    wait("the store is not ready", || {
        let store = SANDBOX.expect("GET", &store, &Value::Null);
        store["status"]["conditions"][0]["status"] == "False"
    });

    let token = BAO.token(&space.namespace, &["read"]);
    space.set_keys("store-token", &[("token", &token)], "kubectl");
    space.run(&["sync"]).exits(0).says(&["changed LLM_API_KEY"]);
    assert_eq!(space.data(EMBEDDINGS), BAO.fields(&entry));
}

#[test]
fn an_operator_that_does_not_come_is_not_waited_for_without_end() {
    let (space, _, _) = on_path_2(&[URL]);
    // No operator serves that class of stores.
    let nobody = json!({ "spec": { "controller": "nobody" } });
    let store = space.store_path("ClusterSecretStore");
    SANDBOX.expect("PATCH", &store, &nobody);
    let ran = space.run(&["sync", "--timeout", "1s"]).exits(3);
    ran.says(&["timed out: the operator has not processed it"]);
}

#[test]
fn a_secret_that_is_made_once_is_never_refreshed() {
    let (space, _, _) = on_path_2(&[URL]);
    let once = json!({ "spec": { "refreshInterval": "0s" } });
    SANDBOX.expect("PATCH", &space.external_secret_path(NAME), &once);
    space
        .run(&["sync"])
        .exits(3)
        .says(&["created once and never refreshed", "refreshInterval"]);
}

#[test]
fn on_path_1_there_is_nothing_to_refresh() {
    let space = Space::new();
    space.bootstrapped();
    space
        .run(&["sync"])
        .exits(1)
        .says(&["no ExternalSecret makes one of the Secrets", "migrate"]);
}

#[test]
fn a_secret_that_is_not_there_does_not_follow() {
    let space = Space::new();
    let entry = format!("{}/embeddings", space.namespace);
    BAO.put(&entry, &[URL]);
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    // One that only adds makes no Secret, and the operator is content.
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": { "name": NAME },
        "spec": {
            "refreshInterval": "30s",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": space.namespace },
            "target": { "name": EMBEDDINGS, "creationPolicy": "Merge" },
            "dataFrom": [{ "extract": { "key": entry } }],
        },
    });
    let path = space.external_secret_path(NAME);
    SANDBOX.expect("POST", path.rsplit_once('/').unwrap().0, &object);
    let ran = space.run(&["sync"]).exits(3);
    ran.says(&["[fail]", "the operator did not create the Secret"]);
}

#[test]
fn a_key_that_no_secret_can_have_is_what_the_operator_makes_of_it() {
    let (space, entry, _) = on_path_2(&[URL]);
    let own = BAO.token(&space.namespace, &["read"]);
    let own = space.operator(&own);
    let environment = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    BAO.put(&entry, &[URL, ("od\u{1b}[31md key", "x")]);
    let ran = space.run_with(&environment, &["sync"]).exits(0);
    let ran = ran.says(&["changed od__31md_key"]);
    assert!(!ran.out.contains('\u{1b}'), "{:?}", ran.out);
}

#[test]
fn a_store_that_cannot_be_read_is_no_reason_not_to_refresh() {
    for (address, token, says) in [
        ("http://127.0.0.1:1", "t", "cannot talk to the secret store"),
        (BAO.address.as_str(), "", "there is no token"),
    ] {
        let (space, entry, _) = on_path_2(&[URL]);
        BAO.put(&entry, &[URL, ("LLM_API_KEY", "new")]);
        let environment = [("BAO_ADDR", address), ("BAO_TOKEN", token)];
        let ran = space.run_with(&environment, &["sync"]).exits(0);
        ran.says(&["not compared with the store", says, "changed LLM_API_KEY"]);
    }
}

#[test]
fn a_mount_that_is_no_path_is_in_no_hint() {
    let space = Space::new();
    let entry = format!("{}/embeddings", space.namespace);
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    space.extract(NAME, EMBEDDINGS, &entry);
    let path = json!({ "spec": { "provider": { "vault": { "path": "x;touch${IFS}pwned" } } } });
    SANDBOX.expect("PATCH", &space.store_path("ClusterSecretStore"), &path);
    let own = space.operator(&BAO.root);
    let environment = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    for command in ["sync", "verify"] {
        let ran = space.run_with(&environment, &[command]);
        let hints = ran.err.lines().chain(ran.out.lines());
        let mut hints = hints.filter(|line| line.contains("hint:"));
        let quoted = |hint: &str| hint.contains("'x;touch$") || !hint.contains("touch$");
        assert!(hints.all(quoted), "{}", ran.out);
    }
}
