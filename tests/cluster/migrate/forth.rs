//! The way over.

use super::{ALL, Mover};
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER};
use serde_json::json;

#[test]
fn all_secrets_move_without_a_change_and_a_second_run_writes_nothing() {
    let mover = Mover::new();
    let before = mover.values();
    let preview = mover.migrate(&[]).exits(0);
    preview.says(&[
        "would be created with KB_ROUTER_TOKEN (cluster), EMB",
        "would follow the store, by ExternalSecret agentibrain-embeddings-secrets",
        "LOG_LEVEL=INFO is added",
        "enabled: false",
        "preview",
    ]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    assert_eq!(SANDBOX.bao.entry(&mover.entry("router")), None);

    mover.migrate(&["--apply"]).exits(0).says(&[
        "[ok]",
        "created with",
        "follows the store now, by ExternalSecret brain-keeper-secrets; no value has changed",
        "externalSecret:",
    ]);
    let grown = Mover::grown(before);
    assert_eq!(mover.values(), grown);
    for (secret, external, entry) in ALL {
        let owner = Some(("ExternalSecret".to_owned(), external.to_owned()));
        assert_eq!(mover.owner(secret), owner, "{secret}");
        assert_eq!(SANDBOX.bao.fields(&mover.entry(entry)), grown[secret]);
        assert_eq!(SANDBOX.bao.entry(&mover.entry(entry)).unwrap().1, 1);
    }

    let writes = mover.space.writes().len();
    let document = mover.migrate(&["--apply", "-o", "json"]).exits(0).json();
    for told in document["secrets"].as_array().unwrap() {
        assert_eq!(told["action"], "unchanged", "{told}");
    }
    assert_eq!(document["entries"], json!([]));
    assert_eq!(
        mover.space.writes().len(),
        writes,
        "{:?}",
        mover.space.writes()
    );
    assert_eq!(mover.values(), grown);
}

#[test]
fn a_value_changed_in_the_store_is_followed_after_the_move() {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let mut fields = SANDBOX.bao.fields(&mover.entry("embeddings"));
    fields.insert("LLM_API_KEY".to_owned(), "new".to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    SANDBOX.bao.put(&mover.entry("embeddings"), &fields);
    mover.run(&["sync"]).exits(0).says(&["changed LLM_API_KEY"]);
    assert_eq!(mover.space.data(EMBEDDINGS)["LLM_API_KEY"], "new");

    let before = mover.values();
    let back = ["migrate", "--rollback"];
    mover
        .run(&back)
        .exits(0)
        .says(&["would be plain again", "preview"]);
    assert_eq!(mover.externals().len(), 3);
    mover
        .run(&[&back[..], &["--apply"]].concat())
        .exits(0)
        .says(&["is plain again"]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    assert_eq!(mover.owner(ROUTER), None);
    let object = mover.space.object(ROUTER).unwrap();
    let left = object["metadata"].to_string();
    assert!(!left.contains("external-secrets.io"), "{left}");
}
