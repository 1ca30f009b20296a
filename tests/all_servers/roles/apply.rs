//! What `--apply` does with just the Role that `rbac` prints for it where ExternalSecrets are served.

use crate::account::{bind_printed, with_account};
use crate::external_secrets::external_secret;
use crate::space::{EMBEDDINGS, ROUTER};
use serde_json::json;

#[test]
fn the_printed_role_is_enough_beside_the_operator() {
    let space = with_account();
    bind_printed(&space, "apply");
    external_secret(&space, "of-others", &json!({}));
    let first = space.bootstrapped();
    assert!(!first.err.contains("warning"), "{}", first.err);
    assert_eq!(space.data(ROUTER), space.filed());
    let (versions, writes) = (space.versions(), space.writes());
    space.bootstrapped();
    assert_eq!((space.versions(), space.writes()), (versions, writes));
}

#[test]
fn what_the_operator_is_about_to_make_is_left_to_it() {
    let space = with_account();
    bind_printed(&space, "apply");
    external_secret(&space, EMBEDDINGS, &json!({}));
    let ran = space.bootstrapped();
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    assert_eq!(space.object(EMBEDDINGS), None);
}
