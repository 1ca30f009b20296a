//! Tests of the built binary against a real etcd and kube-apiserver (`local/sandbox.sh`).
//!
//! One sandbox serves the whole binary, a namespace each test. Where the servers cannot start, the
//! tests fail.

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
mod migrate;
mod old_script;
mod owners;
mod path2;
mod populate;
mod races;
mod readme;
mod roles;
mod rotate;
mod rotate_seen;
mod sandbox;
mod secrecy;
mod services;
mod space;
mod stage;
mod stub;
mod sync;
mod tokens;
mod verify;
mod via_eso;
mod workloads;
