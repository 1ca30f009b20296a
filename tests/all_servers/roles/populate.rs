//! What the Role for `populate` allows.

use crate::account::*;
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, ROUTER, Ran};

#[test]
fn the_printed_role_is_enough_for_populate_and_not_for_more() {
    let mut space = with_account();
    let as_account = std::mem::replace(&mut space.kubeconfig, SANDBOX.kubeconfig.clone());
    space.bootstrapped();
    space.kubeconfig = as_account;
    let populate = || {
        let arguments = [
            "populate",
            "--from-cluster",
            "--apply",
            "--prefix",
            &space.namespace,
        ];
        let mut command = space.command(&[], &arguments);
        command.envs(space.operator(&BAO.root));
        Ran::from(command.output().unwrap())
    };
    populate()
        .exits(3)
        .says(&["may not get", "rbac populate --service-account"]);
    bind_printed(&space, "populate");
    let ran = populate().exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    for (entry, secret) in [("router", ROUTER), ("agenticore", AGENTICORE)] {
        let path = format!("{}/{entry}", space.namespace);
        assert_eq!(BAO.fields(&path), space.data(secret));
    }
    for verb in ["create", "patch", "update", "delete", "list"] {
        assert!(!may(&space, verb, "", "secrets", ROUTER), "{verb}");
    }
    assert!(!may(&space, "get", "", "secrets", "another"));
    assert!(!may(&space, "get", "", "namespaces", &space.namespace));
}
