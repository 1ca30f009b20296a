//! `embeddings.door` where a pod runs on old values.

use crate::checks::follow;
use crate::readers::*;
use crate::space::{EMBEDDINGS, Space};
use crate::wait::wait;
use crate::workloads::{EMBEDDINGS_SERVICE, name_of_pod, run_since, wait_ready};

const DOOR: &str = "embeddings.door";
const OBJECT: &str = "StatefulSet/agentibrain-embeddings";

#[test]
fn a_pod_from_before_the_key_may_let_everyone_in() {
    let space = Space::new();
    space.bootstrapped();
    make(
        &space,
        "StatefulSet",
        "agentibrain-embeddings",
        pod(env_from(&[EMBEDDINGS])),
    );
    wait_ready(&space, EMBEDDINGS_SERVICE);
    let pod = name_of_pod(&space, EMBEDDINGS_SERVICE);
    run_since(&space, &pod, "2020-01-02T03:04:05Z", true);
    space.run(&["--apply"]).exits(0);
    let (status, message, hint) = finding(&space, &look(&space, &[]), DOOR, OBJECT);
    assert_eq!(status, "warn");
    assert!(
        message.contains("older than embeddings-secrets"),
        "{message}"
    );
    follow(&space, &hint, &[]).exits(0);
    wait("the door is closed", || {
        finding(&space, &look(&space, &[]), DOOR, OBJECT).0 == "pass"
    });
}
