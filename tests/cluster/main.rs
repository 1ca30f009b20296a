//! Tests of the built binary against a real etcd and kube-apiserver (`local/sandbox.sh`).
//!
//! One sandbox serves the whole target, a namespace each test. Where the servers cannot start, the
//! tests fail. What needs controllers, nodes, helm, External Secrets Operator or a store is in the
//! target `all_servers`.

// A test that unwraps nothing it should not has a clearer failure than any message.
#![allow(clippy::unwrap_used)]

mod answers;
mod broken;
mod connections;
mod first_run;
mod fleet;
mod forms;
mod inputs;
mod lists;
mod old_script;
mod owners;
mod races;
mod readme;
mod roles;
mod secrecy;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod verify;

use support::{
    account, checks, documents, fleet_checks, marks, readers, recorded, sandbox, searched,
    secret_checks, space, steps, story, stub, token_checks, wait, workloads,
};

/// More servers than etcd and kube-apiserver: none.
fn sandbox_options() -> Vec<String> {
    Vec::new()
}
