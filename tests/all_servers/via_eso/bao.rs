//! OpenBao, through stores of both kinds.

use super::{ENTRIES, agenticore, embeddings, of};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Space, few_trials};
use serde_json::{Value, json};
use std::thread;

#[test]
fn an_empty_store_is_filled_and_a_second_run_writes_nothing() {
    let space = Space::new();
    space.writing_store();
    let ran = space.fill(&[]).exits(0);
    let ran = ran.says(&["tokens file", "created", "embeddings: created"]);
    assert!(
        ran.err.contains(&format!("namespace {}", space.namespace)),
        "{}",
        ran.err
    );
    space.has_no_temporaries();

    let tokens = space.filed();
    let stored = space.stored();
    let fields: Vec<_> = stored.iter().flatten().map(|entry| &entry.0).collect();
    assert_eq!(
        fields,
        [&tokens, &embeddings(&tokens), &agenticore()],
        "{}",
        ran.out
    );
    assert_eq!(space.made("pushsecrets"), 3);

    let file = std::fs::read(space.file()).unwrap();
    let ran = space.fill(&[]).exits(0);
    assert!(!ran.out.contains("created"), "{}", ran.out);
    assert_eq!(space.made("pushsecrets"), 3);
    assert_eq!(space.stored(), stored);
    assert_eq!(std::fs::read(space.file()).unwrap(), file);
    space.has_no_temporaries();

    // What the pods' Secrets are made from: a store whose token only reads.
    let reader = space.other_store(&BAO.token(&space.namespace, &["read"]));
    for (name, target, entry) in [("a", ROUTER, "router"), ("b", EMBEDDINGS, "embeddings")] {
        let entry = space.entry(entry);
        space.synchronize_from(&reader, name, target, &entry);
        assert_eq!(space.data(target), BAO.fields(&entry));
    }
}

#[test]
fn a_store_of_one_namespace_serves_too() {
    let space = Space::new();
    let token = BAO.writer(&space.namespace);
    space.store_at("SecretStore", &BAO.address, &token);
    space
        .fill(&[])
        .exits(3)
        .says(&["there is no ClusterSecretStore", "get clustersecretstores"]);
    space.fill(&["--store-kind", "SecretStore"]).exits(0);
    assert_eq!(BAO.fields(&space.entry("router")), space.filed());
    space.has_no_temporaries();
}

#[test]
fn the_preview_makes_and_asks_nothing() {
    let space = Space::new();
    let name = space.namespace.as_str();
    let arguments = ["populate", "--prefix", name, "--via-eso", name];
    let ran = space.run_with(&INPUTS, &arguments).exits(0);
    ran.says(&[
        "not known before --apply",
        "/router: would be created",
        "preview",
    ]);
    assert!(!space.file().exists());
    assert!(space.requests().is_empty());
}

#[test]
fn what_the_store_holds_is_adopted() {
    let space = Space::new();
    space.writing_store();
    space.fill(&[]).exits(0);
    let (tokens, stored) = (space.filed(), space.stored());
    let other = space.other_operator();
    let ran = other.fill(&[]).exits(0);
    ran.says(&["tokens file", "created", "router: unchanged"]);
    assert_eq!(other.filed(), tokens);
    assert_eq!(space.stored(), stored);
    assert_eq!(space.made("pushsecrets"), 3);

    // Another value is given, and the store keeps its own.
    let others = [("POSTGRES_URL", "postgres://another"), INPUTS[1]];
    let ran = other.run_with(&others, &other.filling(&[])).exits(0);
    let ran = ran.says(&["kept the stored POSTGRES_URL although another value is given"]);
    assert!(!ran.out.contains("--update"), "{}", ran.out);
    assert_eq!(space.stored(), stored);
}

#[test]
fn an_entry_that_would_have_to_change_is_refused_by_its_keys() {
    let space = Space::new();
    space.writing_store();
    let entry = space.entry("embeddings");
    BAO.put(
        &entry,
        &[("POSTGRES_URL", "postgres://theirs"), ("MORE", "m")],
    );
    let before = space.stored();
    let ran = space.fill(&[]).exits(1);
    ran.says(&[
        "nothing has been written",
        &format!("{entry} exists"),
        "LLM_API_KEY, LLM_API_BASE, LLM_EMBED_MODEL, EMBEDDINGS_API_KEYS, API_KEYS, LOG_LEVEL",
        "the store's own program",
        "without --via-eso",
    ]);
    assert_eq!(space.stored(), before);
    assert!(!space.file().exists());
    assert_eq!(space.made("pushsecrets"), 0);
    space.has_no_temporaries();

    // An entry without fields is one that is there, too.
    BAO.put(&entry, &[]);
    space
        .fill(&[])
        .exits(1)
        .says(&["POSTGRES_URL, LLM_API_KEY"]);

    let gone = format!("secret/metadata/{entry}");
    BAO.expect("DELETE", &gone, &Value::Null);
    space.fill(&[]).exits(0);
    let before = space.stored();
    let others = [("POSTGRES_URL", "postgres://another"), INPUTS[1]];
    let update = space.filling(&["--update", "POSTGRES_URL"]);
    let ran = space.run_with(&others, &update).exits(1);
    ran.says(&["would need POSTGRES_URL"]);
    assert_eq!(space.stored(), before);
    space.has_no_temporaries();
}

#[test]
fn live_secrets_are_the_source_where_that_is_asked_for() {
    let space = Space::new();
    space.writing_store();
    space.bootstrapped();
    space.set_keys(EMBEDDINGS, &[("OF_THEIR_OWN", "o")], "kubectl");
    space.run(&space.filling(&["--from-cluster"])).exits(0);
    let mut expected = space.data(EMBEDDINGS);
    expected.insert("LOG_LEVEL".to_owned(), "INFO".to_owned());
    assert_eq!(BAO.fields(&space.entry("embeddings")), expected);
    assert_eq!(BAO.fields(&space.entry("router")), space.data(ROUTER));
}

#[test]
fn what_was_deleted_in_the_store_is_written_again() {
    let space = Space::new();
    space.writing_store();
    space.fill(&[]).exits(0);
    let tokens = space.filed();
    // Its newest version only; the next one builds on it.
    let gone = format!("secret/data/{}", space.entry("router"));
    BAO.expect("DELETE", &gone, &Value::Null);
    space.fill(&[]).exits(0).says(&["router: created"]);
    assert_eq!(BAO.fields(&space.entry("router")), tokens);
}

#[test]
fn of_two_runs_at_once_one_wins_and_the_other_adopts() {
    for _ in 0..few_trials() {
        let space = Space::new();
        space.writing_store();
        let other = space.other_operator();
        thread::scope(|scope| {
            let one = scope.spawn(|| space.fill(&[]).exits(0));
            let two = scope.spawn(|| other.fill(&[]).exits(0));
            one.join().unwrap();
            two.join().unwrap();
        });
        assert_eq!(space.filed(), other.filed());
        let stored = space.stored();
        let tokens = space.filed();
        assert_eq!(stored[0], Some((tokens.clone(), 1)));
        assert_eq!(stored[1], Some((embeddings(&tokens), 1)));
        space.has_no_temporaries();
    }
}

impl Space {
    /// Another ClusterSecretStore for OpenBao, with this token.
    pub fn other_store(&self, token: &str) -> String {
        let name = format!("{}-other", self.namespace);
        self.create_secret("other-token", &[("token", token)], &json!({}));
        let object = json!({
            "apiVersion": "external-secrets.io/v1",
            "kind": "ClusterSecretStore",
            "metadata": { "name": name },
            "spec": { "provider": { "vault": {
                "server": BAO.address, "path": "secret", "version": "v2",
                "auth": { "tokenSecretRef": {
                    "name": "other-token", "key": "token", "namespace": self.namespace,
                } },
            } } },
        });
        let place = format!("{}/clustersecretstores", crate::path2::GROUP);
        SANDBOX.expect("POST", &place, &object);
        name
    }
}

#[test]
fn an_entry_that_somebody_else_wrote_first_is_left_as_it_is() {
    // All three at once, by another hand than the program's, while it runs.
    for _ in 0..few_trials() {
        let space = Space::new();
        space.writing_store();
        let token = "another-hands-token-that-is-long-enough";
        let theirs = [("KB_ROUTER_TOKEN", token), ("EMBEDDINGS_API_KEY", token)];
        thread::scope(|scope| {
            let run = scope.spawn(|| space.fill(&[]));
            let entry = space.entry("router");
            let body = json!({ "options": { "cas": 0 }, "data": of(&theirs) });
            let path = format!("secret/data/{entry}");
            let (status, _) = BAO.request(&BAO.root, "POST", &path, &body);
            let ran = run.join().unwrap().exits(0);
            let winner = BAO.fields(&entry);
            assert_eq!(winner == of(&theirs), status == 200, "{}", ran.err);
            assert_eq!(space.filed(), winner);
        });
        assert_eq!(ENTRIES.len(), space.stored().iter().flatten().count());
        space.has_no_temporaries();
    }
}
