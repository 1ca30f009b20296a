//! Hermetic tests of the built binary: an empty environment, a temporary folder and home each, no
//! cluster. Each asserts stdout, stderr and exit code together.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has to fail"
)]

mod architecture;
mod completions;
mod connection;
#[path = "../support/documents.rs"]
mod documents;
mod drop_in;
mod external_secrets;
mod fleet;
mod folder;
mod inputs;
mod kubeconfig;
mod lint;
mod manual;
mod module_graph;
mod populate;
mod preview;
mod readme;
mod redaction;
mod sandbox_script;
mod script;
mod speed;
mod streams;
mod tokens;
mod tokens_file;
mod usage;
mod usage_hints;
mod verify;
mod via_eso;
