//! `tokens.fleet` where a namespace goes away.

use crate::fleet_checks::{CheckedFleet as Fleet, ID};
use crate::sandbox::SANDBOX;
use crate::space::Ran;
use crate::token_checks::{hides, hint, mend, statuses};
use serde_json::json;
use std::process::Stdio;

#[test]
fn a_named_namespace_that_is_being_deleted_is_told_and_made_again() {
    let fleet = Fleet::new(2);
    let leaving = &fleet.members[0];
    leaving.terminate();
    let [named, selected] = &fleet.ways();
    let ran = fleet.look(named, 1);
    let check = fleet.the(&ran, "fail", &["namespace is being deleted"]);

    // The hint waits, so it is running when the namespace can go at last.
    let mut shell = fleet.home.shell(&hint(&check));
    let waiting = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let waiting = waiting.unwrap();
    let path = format!("/api/v1/namespaces/{}", leaving.namespace);
    let free = json!({ "metadata": { "finalizers": null } });
    SANDBOX.expect("PATCH", &path, &free);
    let ran = Ran::from(waiting.wait_with_output().unwrap());
    hides(&fleet.spaces(), &ran);
    ran.exits(0);
    // One hint after the other.
    for words in ["namespace does not exist", "Secret not found"] {
        let ran = fleet.look(named, 1);
        let check = fleet.the(&ran, "fail", &[words]);
        mend(&fleet.spaces(), &check, &[]);
    }
    fleet.is_well(named);

    // Of one that was only selected there is nothing to say.
    leaving.terminate();
    fleet.label(leaving);
    let ran = fleet.look(selected, 0);
    assert_eq!(statuses(&ran, ID), ["pass"]);
    assert!(!ran.out.contains(&leaving.namespace), "{}", ran.out);
    SANDBOX.expect("PATCH", &path, &free);
}
