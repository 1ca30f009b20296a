//! What `rbac populate --via-eso` prints is enough, and not for more.

use super::embeddings;
use crate::account::{bind_printed, may, with_account};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, ROUTER, Space};

/// A namespace with a store, and an account without a right there.
fn with_store() -> Space {
    let space = with_account();
    space.writing_store();
    space
}

#[test]
fn the_printed_role_is_enough_and_not_for_more() {
    let space = with_store();
    space
        .fill(&[])
        .exits(3)
        .says(&["rbac populate --via-eso --service-account"]);
    bind_printed(&space, "populate --via-eso");
    space.fill(&[]).exits(0);
    let tokens = space.filed();
    assert_eq!(BAO.fields(&space.entry("router")), tokens);
    let entry = space.entry("embeddings");
    assert_eq!(BAO.fields(&entry), embeddings(&tokens));
    space.fill(&[]).exits(0);
    assert_eq!(space.made("pushsecrets"), 3);
    space.has_no_temporaries();

    for verb in ["create", "patch", "update", "delete"] {
        let allowed = verb == "create";
        assert_eq!(may(&space, verb, "", "secrets", ROUTER), allowed, "{verb}");
    }
    let group = "external-secrets.io";
    for verb in ["get", "patch", "delete", "list"] {
        assert!(!may(&space, verb, "", "secrets", "another"), "{verb}");
        assert!(!may(&space, verb, group, "externalsecrets", "another"));
    }
    assert!(!may(&space, "list", "", "secrets", ""));
    assert!(may(&space, "get", "", "secrets", EMBEDDINGS));
}

#[test]
fn causes_are_told_with_just_that_role() {
    let space = with_account();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    bind_printed(&space, "populate --via-eso");
    let ran = space.fill(&[]).exits(3);
    ran.says(&["cannot write", "denies the operator access there"]);
    space.has_no_temporaries();

    let gone = space.store_path("ClusterSecretStore");
    SANDBOX.expect("DELETE", &gone, &serde_json::Value::Null);
    let ran = space.fill(&[]).exits(3);
    ran.says(&["cannot read", "the store object does not exist"]);
    space.has_no_temporaries();
}
