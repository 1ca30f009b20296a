//! The way over.

use super::{ALL, Mover};
use crate::external_secrets::external_secret;
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};

#[test]
fn all_secrets_move_without_a_change_and_a_second_run_writes_nothing() {
    let mover = Mover::new();
    let before = mover.values();
    let preview = mover.migrate(&[]).exits(0);
    preview.says(&[
        "would be created with KB_ROUTER_TOKEN (cluster), EMB",
        "would follow the store, by ExternalSecret agentibrain-embeddings-secrets",
        "LOG_LEVEL=INFO, the default of the service, is added",
        "enabled: false",
        "preview",
    ]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    assert_eq!(BAO.entry(&mover.entry("router")), None);

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
        assert_eq!(BAO.fields(&mover.entry(entry)), grown[secret]);
        assert_eq!(BAO.entry(&mover.entry(entry)).unwrap().1, 1);
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
    let mut fields = BAO.fields(&mover.entry("embeddings"));
    fields.insert("LLM_API_KEY".to_owned(), "new".to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&mover.entry("embeddings"), &fields);
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

#[test]
fn every_key_moves_also_those_that_nobody_but_the_operator_knows() {
    let mover = Mover::new();
    // With API_KEYS lost the door of the embeddings service would open.
    mover.space.run_with(&INPUTS, &["--apply"]).exits(0);
    mover.space.set_keys(
        EMBEDDINGS,
        &[("OF_A_PERSON", "x"), ("EMPTY", "")],
        "kubectl",
    );
    let before = mover.values();
    // The store has a part of it already, and a version of its own.
    let entry = mover.entry("embeddings");
    BAO.put(&entry, &[INPUTS[0]]);
    mover.migrate(&["--apply"]).exits(0).says(&[
        "updated with",
        "API_KEYS (cluster)",
        "OF_A_PERSON",
    ]);
    let grown = Mover::grown(before);
    assert_eq!(mover.values(), grown);
    assert_eq!(BAO.entry(&entry).unwrap(), (grown[EMBEDDINGS].clone(), 2));
}

#[test]
fn what_is_absent_or_somebody_elses_is_left_alone() {
    let mover = Mover::new();
    SANDBOX.expect("DELETE", &mover.space.path(AGENTICORE), &Value::Null);
    let helm = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "Helm" } } });
    SANDBOX.expect("PATCH", &mover.space.path(EMBEDDINGS), &helm);
    external_secret(
        &mover.space,
        "theirs",
        &json!({ "target": { "name": ROUTER } }),
    );
    let before = mover.values();
    mover.migrate(&["--apply"]).exits(0).says(&[
        "[skip]",
        "it does not exist",
        "it belongs to Helm release: change the values",
        "ExternalSecret theirs makes it, and not from",
    ]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), ["theirs"]);
    for (.., entry) in ALL {
        assert_eq!(BAO.entry(&mover.entry(entry)), None);
    }
}

#[test]
fn without_a_way_of_ones_own_the_operator_proves_it() {
    let mover = Mover::new();
    let here = |more: &[&str]| {
        mover
            .space
            .run(&[&["migrate"], &mover.options()[..], more].concat())
    };
    here(&[])
        .exits(0)
        .says(&["not yet compared with the store"]);
    // What the store lacks cannot be added so.
    let ran = here(&["--apply"]).exits(1);
    ran.says(&[
        "the store lacks KB_ROUTER_TOKEN",
        "populate --prefix",
        "--from-cluster --via-eso",
    ]);
    assert_eq!(mover.externals(), [""; 0]);

    let before = mover.values();
    for (secret, _, entry) in ALL {
        let data = &Mover::grown(before.clone())[secret];
        let fields: Vec<_> = data.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        BAO.put(&mover.entry(entry), &fields);
    }
    let entry = mover.entry("agenticore");
    let (fields, _) = BAO.entry(&entry).unwrap();
    BAO.put(
        &entry,
        &[("ANTHROPIC_API_KEY", "sk-another"), ("GITHUB_TOKEN", "")],
    );
    here(&["--apply"])
        .exits(1)
        .says(&["differ in ANTHROPIC_API_KEY"]);
    assert_eq!(mover.externals(), [""; 0]);

    let fields: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&entry, &fields);
    here(&["--apply"]).exits(0).says(&["follows the store now"]);
    assert_eq!(mover.values(), Mover::grown(before));
    assert_eq!(mover.externals().len(), 3);
}

#[test]
fn the_fleet_moves_with_home_and_a_stray_token_is_refused() {
    let (mover, fleet) = Mover::with_fleet();
    let both = ["--fleet-namespace", &fleet.namespace];
    let stray = "0".repeat(64);
    let token = fleet.data(ROUTER)["KB_ROUTER_TOKEN"].clone();
    fleet.set_keys(ROUTER, &[("KB_ROUTER_TOKEN", &stray)], "kubectl");
    let ran = mover.migrate(&[&["--apply"], &both[..]].concat()).exits(1);
    let words = format!("Secret {}/{ROUTER} and", fleet.namespace);
    ran.says(&[&words, "differ in KB_ROUTER_TOKEN"]);
    assert_eq!(mover.externals(), [""; 0]);

    fleet.set_keys(ROUTER, &[("KB_ROUTER_TOKEN", &token)], "kubectl");
    let (before, away) = (mover.values(), fleet.data(ROUTER));
    mover.migrate(&[&["--apply"], &both[..]].concat()).exits(0);
    assert_eq!(mover.values(), Mover::grown(before));
    assert_eq!(fleet.data(ROUTER), away);
    let path = fleet.external_secret_path(ALL[0].1);
    let made = SANDBOX.expect("GET", &path, &Value::Null);
    assert_eq!(made["spec"]["refreshInterval"], "30s");
    let spec = &made["spec"]["target"];
    assert_eq!(
        (&spec["creationPolicy"], &spec["deletionPolicy"]),
        (&json!("Owner"), &json!("Retain"))
    );

    let back = [&["migrate", "--rollback", "--apply"], &both[..]].concat();
    mover.run(&back).exits(0).says(&[&fleet.namespace]);
    assert_eq!(fleet.data(ROUTER), away);
    let (status, _) = SANDBOX.request("GET", &path, "application/json", &Value::Null);
    assert_eq!(status, 404);
}

#[test]
fn a_store_of_the_namespace_serves_it_alone() {
    let space = Space::new();
    space.bootstrapped();
    let prefix = space.namespace.clone();
    let token = BAO.token(&prefix, &["read"]);
    space.store_at("SecretStore", &BAO.address, &token);
    let token = BAO.token(&prefix, &["create", "read", "update"]);
    let mover = Mover { space, token };
    let before = mover.values();
    mover
        .migrate(&["--apply", "--store-kind", "SecretStore"])
        .exits(0);
    assert_eq!(mover.values(), Mover::grown(before));
    let made = SANDBOX.expect(
        "GET",
        &mover.space.external_secret_path(ALL[1].1),
        &Value::Null,
    );
    assert_eq!(made["spec"]["secretStoreRef"]["kind"], "SecretStore");
}

#[test]
fn a_credential_that_may_do_more_than_read_is_warned_of() {
    let mover = Mover::new();
    let ran = mover.migrate(&[]).exits(0);
    assert!(!ran.err.contains("may do more than read"), "{}", ran.err);
    let token = BAO.token(&mover.space.namespace, &["read", "create", "delete"]);
    mover
        .space
        .set_keys("store-token", &[("token", &token)], "kubectl");
    mover
        .migrate(&[])
        .exits(0)
        .says(&["may do more than read: create, delete"]);
    // Who has no way of one's own is told to look.
    let arguments = [&["migrate"], &mover.options()[..]].concat();
    mover
        .space
        .run(&arguments)
        .exits(0)
        .says(&["can only read: this run cannot tell"]);
}

#[test]
fn a_migration_as_yaml_is_what_externalsecrets_prints() {
    let mover = Mover::new();
    let yaml = mover.migrate(&["-o", "yaml"]).exits(0).out;
    let printed = [&["externalsecrets"], &mover.options()[..]].concat();
    assert_eq!(mover.run(&printed).exits(0).out, yaml);
    // Who keeps them in git fills the store, applies them, and has migrated.
    let before = mover.values();
    let prefix = mover.space.namespace.as_str();
    let fill = ["populate", "--prefix", prefix, "--from-cluster", "--apply"];
    mover.run(&fill).exits(0);
    std::fs::write(mover.space.folder.path().join("es.yaml"), yaml).unwrap();
    mover
        .space
        .kubectl(&["apply", "--server-side", "-f", "es.yaml"]);
    mover.run(&["sync"]).exits(0);
    assert_eq!(mover.values(), Mover::grown(before));
    let document = mover.migrate(&["--apply", "-o", "json"]).exits(0).json();
    for told in document["secrets"].as_array().unwrap() {
        assert_eq!(told["action"], "unchanged", "{told}");
    }
}
