//! What keeps `migrate` from its first write.

use super::{ALL, Mover};
use crate::external_secrets::external_secret;
use crate::path2::BAO;
use crate::path2::OwnBao;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use serde_json::{Value, json};

/// Nothing was written: neither in the cluster nor in the store.
#[track_caller]
fn is_refused(mover: &Mover, code: i32, says: &[&str]) -> Ran {
    let (values, writes) = (mover.values(), mover.space.writes());
    let entries = ALL.map(|(.., entry)| BAO.entry(&mover.entry(entry)));
    let ran = mover.migrate(&["--apply"]).exits(code).says(says);
    assert_eq!(mover.values(), values);
    assert_eq!(mover.space.writes(), writes);
    let now = ALL.map(|(.., entry)| BAO.entry(&mover.entry(entry)));
    assert_eq!(now, entries);
    let told = SANDBOX.audited(
        &format!("/{}/externalsecrets", mover.space.namespace),
        "k8s-bootstrap/",
    );
    let told: Vec<_> = told
        .iter()
        .filter(|event| event["verb"] != "list")
        .collect();
    assert!(told.is_empty(), "the operator was told: {told:?}");
    ran
}

/// Puts the Secret's values into the store, changed.
fn stored(mover: &Mover, secret: &str, entry: &str, change: impl Fn(&mut crate::space::Data)) {
    let mut data = mover.space.data(secret);
    change(&mut data);
    let fields: Vec<_> = data.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    BAO.put(&mover.entry(entry), &fields);
}

#[test]
fn a_store_that_differs_in_one_value_is_refused_before_the_operator_is_told() {
    let mover = Mover::new();
    stored(&mover, EMBEDDINGS, "embeddings", |data| {
        drop(data.insert("LLM_EMBED_MODEL".to_owned(), "another-model".to_owned()));
    });
    let entry = mover.entry("embeddings");
    let words = format!("{entry} in the store differ in LLM_EMBED_MODEL");
    let hint = format!("kv patch -mount=secret {entry} LLM_EMBED_MODEL=-");
    is_refused(&mover, 1, &["refused", &words, &hint]);
    // The hint mends it.
    let line = format!("printf %s text-embedding-3-small | bao {hint}");
    let token = mover.space.operator(&mover.token);
    let output = mover.space.shell(&line).envs(token).output().unwrap();
    Ran::from(output).exits(0);
    mover.migrate(&["--apply"]).exits(0);
}

#[test]
fn a_key_that_only_the_store_has_would_appear() {
    let mover = Mover::new();
    stored(&mover, ROUTER, "router", |data| {
        drop(data.insert("it's new".to_owned(), "x".to_owned()));
    });
    let entry = mover.entry("router");
    let ran = is_refused(
        &mover,
        1,
        &["has it's new, which", "the Secret would get it"],
    );
    let hint = ran.err.lines().find_map(|line| {
        line.trim()
            .strip_prefix("hint: remove it: `")?
            .strip_suffix('`')
    });
    let token = mover.space.operator(&mover.token);
    let output = mover
        .space
        .shell(hint.unwrap())
        .envs(token)
        .output()
        .unwrap();
    Ran::from(output).exits(0);
    assert_eq!(BAO.fields(&entry), mover.space.data(ROUTER));
    mover.migrate(&["--apply"]).exits(0);
}

#[test]
fn a_sixth_field_that_is_not_the_default_would_change_the_service() {
    let mover = Mover::new();
    stored(&mover, EMBEDDINGS, "embeddings", |data| {
        drop(data.insert("LOG_LEVEL".to_owned(), "DEBUG".to_owned()));
    });
    is_refused(&mover, 1, &["differ in LOG_LEVEL"]);
}

#[test]
fn a_tokens_file_that_differs_is_a_disagreement() {
    let mover = Mover::new();
    let data = mover.space.data(ROUTER);
    let other = "0".repeat(64);
    mover.space.write_file(&[
        ("KB_ROUTER_TOKEN", other.as_str()),
        ("EMBEDDINGS_API_KEY", &data["EMBEDDINGS_API_KEY"]),
    ]);
    is_refused(
        &mover,
        1,
        &[
            "the tokens file and the Secret differ in KB_ROUTER_TOKEN",
            "--prefer cluster",
        ],
    );
}

#[test]
fn a_secret_that_cannot_be_kept_by_the_operator_is_refused() {
    for (more, says) in [
        (json!({ "immutable": true }), "is immutable"),
        (
            json!({ "type": "example.invalid/x" }),
            "is not of type Opaque",
        ),
    ] {
        let mover = Mover::new();
        SANDBOX.expect("DELETE", &mover.space.path(AGENTICORE), &Value::Null);
        mover
            .space
            .create_secret(AGENTICORE, &[("ANTHROPIC_API_KEY", "sk")], &more);
        is_refused(&mover, 1, &[says, "edit secret agenticore-secrets"]);
    }
    let mover = Mover::new();
    let binary = json!({ "data": { "BINARY": "/w==" } });
    SANDBOX.expect("PATCH", &mover.space.path(AGENTICORE), &binary);
    let ran = mover.migrate(&["--apply"]).exits(1);
    ran.says(&["BINARY of Secret", "is not text"]);
    assert_eq!(mover.externals(), [""; 0]);
}

#[test]
fn a_store_that_is_not_there_or_not_ready_is_refused_with_its_cause() {
    let mover = Mover::new();
    let absent = ["migrate", "--apply", "--prefix", "p", "--store", "absent"];
    mover.run(&absent).exits(3).says(&[
        "there is no ClusterSecretStore absent",
        "get clustersecretstores",
    ]);

    let space = Space::new();
    space.bootstrapped();
    space.cluster_store("s.unknown");
    let mover = Mover {
        token: BAO.root.clone(),
        space,
    };
    is_refused(
        &mover,
        3,
        &[
            "cannot be used",
            "refuses the operator's credentials",
            "describe",
        ],
    );
}

#[test]
fn a_token_of_ones_own_that_may_not_write_is_refused() {
    let mut mover = Mover::new();
    mover.token = BAO.token(&mover.space.namespace, &["read"]);
    let path = format!(
        "it lacks the capability create on secret/data/{}",
        mover.entry("router")
    );
    is_refused(&mover, 3, &["may not write", &path]);
}

#[test]
fn keys_that_another_external_secret_adds_are_not_lost() {
    let mover = Mover::new();
    let target = json!({ "name": AGENTICORE, "creationPolicy": "Merge" });
    external_secret(&mover.space, "adder", &json!({ "target": target }));
    is_refused(
        &mover,
        1,
        &[
            "ExternalSecret adder adds keys",
            "delete externalsecret adder",
        ],
    );
}

#[test]
fn a_store_that_is_another_for_the_operator_takes_nothing_over() {
    let mover = Mover::new();
    let mine = OwnBao::start();
    let before = mover.values();
    for (.., entry) in ALL {
        let fields = [("KB_ROUTER_TOKEN", "another")];
        BAO.put(&mover.entry(entry), &fields);
    }
    // The person's settings lead to another server than the store object.
    let environment = [
        ("BAO_ADDR", mine.bao.address.as_str()),
        ("BAO_TOKEN", &mine.bao.root),
    ];
    let arguments = [&["migrate"], &mover.options()[..], &["--apply"]].concat();
    let ran = mover.space.run_with(&environment, &arguments).exits(3);
    ran.says(&[
        "the operator reaches ClusterSecretStore",
        &mine.bao.address,
        "the operator reads other values",
        "no Secret was moved",
    ]);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals(), [""; 0]);
    // The operator's token went to nobody else.
    let stranger = mover.space.data("store-token")["token"].clone();
    let (status, _) = mine
        .bao
        .request(&stranger, "GET", "auth/token/lookup-self", &Value::Null);
    assert_eq!(status, 403);
}

#[test]
fn an_external_secret_of_that_name_that_makes_another_secret_is_not_replaced() {
    let mover = Mover::new();
    let entry = mover.entry("mine");
    BAO.put(&entry, &[("K", "v")]);
    let name = ALL[0].1;
    mover.space.synchronize(name, "my-secrets", &entry);
    let ran = mover.migrate(&["--apply"]).exits(1);
    ran.says(&["is needed for", "makes my-secrets", "get externalsecret"]);
    assert_eq!(mover.space.data("my-secrets")["K"], "v");
    assert_eq!(mover.externals(), [name]);
}

#[test]
fn several_external_secrets_for_one_secret_are_for_a_person_to_sort_out() {
    let mover = Mover::new();
    let target = json!({ "target": { "name": ROUTER } });
    for name in ["one", "other"] {
        external_secret(&mover.space, name, &target);
    }
    for arguments in [
        &[&["migrate"], &mover.options()[..], &["--apply"]].concat()[..],
        &["migrate", "--rollback", "--apply"],
    ] {
        let before = mover.values();
        mover
            .run(arguments)
            .exits(1)
            .says(&["one", "other", "keep one: kubectl"]);
        assert_eq!(mover.values(), before);
        assert_eq!(mover.externals(), ["one", "other"]);
    }
}

#[test]
fn a_namespace_that_is_not_there_is_no_empty_one() {
    let mover = Mover::new();
    let nowhere = Space::without_namespace();
    let own = mover.space.operator(&mover.token);
    let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    let to = [&["migrate"], &mover.options()[..]].concat();
    for arguments in [&to[..], &["migrate", "--rollback"]] {
        let ran = nowhere.run_with(&own, arguments).exits(3);
        ran.says(&[&nowhere.namespace, "does not exist"]);
    }
}

#[test]
fn a_fleet_that_may_not_use_the_store_is_found_out_before_the_store_is_filled() {
    let (mover, fleet) = Mover::with_fleet();
    let both = ["--fleet-namespace", &fleet.namespace];
    let home = json!({ "spec": { "conditions": [{ "namespaces": [mover.space.namespace] }] } });
    SANDBOX.expect(
        "PATCH",
        &mover.space.store_path("ClusterSecretStore"),
        &home,
    );
    let ran = mover.migrate(&[&["--apply"], &both[..]].concat()).exits(3);
    ran.says(&["the store may not be used from that namespace"]);
    for (.., entry) in ALL {
        assert_eq!(BAO.entry(&mover.entry(entry)), None);
    }
    assert_eq!(mover.externals(), [""; 0]);
}

#[test]
fn usage_is_told_before_anything_is_asked() {
    let mover = Mover::new();
    for (arguments, says) in [
        (&["migrate"][..], "--prefix"),
        (&["migrate", "--rollback", "--store", "x"], "--rollback"),
        (
            &["migrate", "--prefix", "p", "--store", "Ä"],
            "is not the name of an object",
        ),
        (
            &["migrate", "--prefix", "../p", "--store", "s"],
            "is not a path",
        ),
    ] {
        mover.run(arguments).exits(2).says(&[says]);
    }
}
