//! Tests of the built binary against the servers of a whole cluster (`local/sandbox.sh`): controllers,
//! a scheduler, and kwok for a node, on which pods run without containers; helm; External Secrets
//! Operator, an OpenBao server and AWS Secrets Manager.
//!
//! One sandbox serves the whole target, a namespace each test. Where the servers cannot start, the
//! tests fail. What needs etcd and kube-apiserver only is in the target `cluster`.

// A test that unwraps nothing it should not has a clearer failure than any message.
#![allow(clippy::unwrap_used)]

mod external_secrets;
mod migrate;
mod path2;
mod populate;
mod readme;
mod roles;
mod rotate;
mod rotate_seen;
mod secrecy;
mod services;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod verify;
mod via_eso;

use support::{
    account, checks, documents, fleet_checks, marks, readers, recorded, sandbox, searched,
    secret_checks, space, steps, story, stub, token_checks, wait, workloads,
};

/// More servers than etcd and kube-apiserver: all.
fn sandbox_options() -> Vec<String> {
    let groups = ["--with", "controllers,helm,eso,openbao,aws"];
    let forwards = services::forwards();
    groups
        .map(str::to_owned)
        .into_iter()
        .chain(forwards)
        .collect()
}
