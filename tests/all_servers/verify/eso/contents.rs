//! `store.*`: what is in the store, as a person's own token shows it.

use super::{
    EXTERNAL, as_pairs, change, checks_of, entry, mended_in, passes, refilled, refresh, secret,
    store, synced, until_with, verify_with_store,
};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use serde_json::json;

/// Statuses and messages of the three checks of a Secret.
fn told(ran: &Ran, name: &str) -> Vec<(String, String)> {
    ["store.path", "store.fields", "store.equal"]
        .iter()
        .flat_map(|id| checks_of(ran, id, &secret(name)))
        .map(|check| {
            let text = |field: &str| check[field].as_str().unwrap().to_owned();
            (text("status"), text("message"))
        })
        .collect()
}

#[test]
fn a_store_that_has_other_values_is_told_by_key() {
    let space = synced();
    // No refresh brings them before the test has looked.
    change(&space, EXTERNAL, &json!({ "refreshInterval": "1h" }));
    change(
        &space,
        super::EXTERNALS[0].0,
        &json!({ "refreshInterval": "1h" }),
    );
    wait("all is well", || verify_with_store(&space, &[]).code == 0);
    let mut fields = BAO.fields(&entry(&space));
    let values = ["https://another.example", "another-model"];
    fields.insert("LLM_API_BASE".to_owned(), values[0].to_owned());
    fields.insert("LLM_EMBED_MODEL".to_owned(), values[1].to_owned());
    fields.remove("LLM_API_KEY");
    fields.insert("ADDED".to_owned(), "a-value-of-the-store".to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&entry(&space), &fields);
    let operator = space.operator(&BAO.root);
    let operator = as_pairs(&operator);
    let message = "the Secret and the store differ in ADDED (only in the store), \
                   LLM_API_BASE, LLM_API_KEY (only in the Secret), LLM_EMBED_MODEL";
    let object = secret(EMBEDDINGS);
    let check = until_with(&space, &operator, "store.equal", &object, "fail", message);
    let ran = verify_with_store(&space, &[]);
    for value in values.iter().chain([&INPUTS[0].1]) {
        assert!(!ran.out.contains(value), "{}", ran.out);
    }
    mended_in(&space, &check, &operator);
    let data = space.data(EMBEDDINGS);
    assert_eq!(
        (&*data["LLM_API_BASE"], &*data["LLM_EMBED_MODEL"]),
        (values[0], values[1])
    );

    // A token is told by both fingerprints.
    let router = format!("{}/router", space.namespace);
    let mut tokens = BAO.fields(&router);
    tokens.insert(
        "KB_ROUTER_TOKEN".to_owned(),
        "another-token-that-is-long-enough".to_owned(),
    );
    let tokens: Vec<_> = tokens
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&router, &tokens);
    let message = "differ in KB_ROUTER_TOKEN (the store has sha256:";
    until_with(
        &space,
        &operator,
        "store.equal",
        &secret(ROUTER),
        "fail",
        message,
    );
}

#[test]
fn an_entry_that_is_not_there_is_told_before_the_operator_sees_it() {
    for empty in [false, true] {
        let space = synced();
        change(&space, EXTERNAL, &json!({ "refreshInterval": "1h" }));
        wait("all is well", || verify_with_store(&space, &[]).code == 0);
        match empty {
            false => BAO.forget(&entry(&space)),
            true => BAO.put_empty(&entry(&space)),
        }
        let operator = space.operator(&BAO.root);
        let operator = as_pairs(&operator);
        let what = if empty { "has no fields" } else { "not found" };
        let message = format!("entry {} {what} at http://", entry(&space));
        let object = secret(EMBEDDINGS);
        let check = until_with(&space, &operator, "store.path", &object, "fail", &message);
        let skipped = told(&verify_with_store(&space, &[]), EMBEDDINGS);
        let nothing = "not checked: the store entry is missing or empty".to_owned();
        assert_eq!(skipped[1..], vec![("skip".to_owned(), nothing); 2]);
        refilled(&space, &check);
        passes(&space, &check);
        wait("all is well", || verify_with_store(&space, &[]).code == 0);
    }
}

/// Nothing of it is a failure: what matters is what the operator sees.
#[test]
fn what_keeps_a_person_from_the_store_is_a_skip_with_its_reason() {
    let space = synced();
    let address = BAO.address.as_str();
    let token = BAO.token(&format!("{}/other", space.namespace), &["read"]);
    let revoked = BAO.token(&space.namespace, &["read", "list"]);
    BAO.revoke(&revoked);
    for (environment, why) in [
        (
            vec![("BAO_ADDR", "http://127.0.0.1:9"), ("BAO_TOKEN", "t")],
            "cannot talk to the secret store http://127.0.0.1:9",
        ),
        (
            vec![("BAO_ADDR", "nowhere"), ("BAO_TOKEN", "t")],
            "the address of the secret store",
        ),
        (
            vec![("BAO_ADDR", address)],
            "there is no token for the secret store",
        ),
        (
            vec![("BAO_ADDR", address), ("BAO_TOKEN", &revoked)],
            "403: the token is unknown, revoked or expired",
        ),
        (
            vec![("BAO_ADDR", address), ("BAO_TOKEN", &token)],
            "403: the token lacks the permission",
        ),
        (
            vec![
                ("BAO_ADDR", address),
                ("BAO_TOKEN", &token),
                ("BAO_NAMESPACE", "team"),
            ],
            "the store's object names another namespace within the store than BAO_NAMESPACE",
        ),
    ] {
        let ran = space
            .run_with(&environment, &["verify", "-o", "json"])
            .exits(0);
        for (status, message) in told(&ran, EMBEDDINGS) {
            assert_eq!(status, "skip", "{message}");
            assert!(message.contains(why), "{why}: {message}");
        }
        assert_eq!(told(&ran, EMBEDDINGS).len(), 3);
        let hint = &checks_of(&ran, "store.path", &secret(EMBEDDINGS))[0]["hint"];
        assert_ne!(hint, "", "{why}");
    }
}

/// What a template makes of an entry is not known.
#[test]
fn a_secret_of_a_template_is_not_compared() {
    let space = synced();
    let template =
        json!({ "data": { "POSTGRES_URL": "{{ .POSTGRES_URL }}" }, "mergePolicy": "Merge" });
    let target = json!({ "name": EMBEDDINGS, "template": template });
    change(&space, EXTERNAL, &json!({ "target": target }));
    wait("all is well", || verify_with_store(&space, &[]).code == 0);
    let told = told(&verify_with_store(&space, &[]), EMBEDDINGS);
    assert_eq!(told[0].0, "pass");
    for (status, message) in &told[1..] {
        assert_eq!(status, "skip");
        assert!(message.contains("a template"), "{message}");
    }
}

/// A number in the store is a text in the Secret.
#[test]
fn a_field_that_is_no_text_is_compared_as_the_operator_writes_it() {
    let space = synced();
    let fields = BAO.fields(&entry(&space));
    let mut fields = json!(fields);
    fields["LLM_EMBED_MODEL"] = json!(20);
    let path = format!("secret/data/{}", entry(&space));
    BAO.expect("POST", &path, &json!({ "data": fields }));
    refresh(&space, EXTERNAL);
    wait("it is brought", || {
        space.data(EMBEDDINGS)["LLM_EMBED_MODEL"] == "20"
    });
    verify_with_store(&space, &[]).exits(0);
}

/// Of a store that may not be read the entries are not known.
#[test]
fn a_store_that_is_gone_leaves_nothing_to_compare() {
    let space: Space = synced();
    SANDBOX.expect(
        "DELETE",
        &space.store_path("ClusterSecretStore"),
        &json!(null),
    );
    let ran = verify_with_store(&space, &[]).exits(1);
    let gone = checks_of(&ran, "eso.store", &store(&space));
    assert_eq!(gone[0]["status"], "fail");
    for (status, message) in told(&ran, EMBEDDINGS) {
        assert_eq!(
            (&*status, &*message),
            ("skip", "not checked: its store object was not read")
        );
    }
}
