//! The Kubernetes API server: connections, requests, reads and writes.

pub mod client;
pub mod connection;
pub mod kubeconfig;
pub mod observe;
pub mod port_forward;
pub mod response;
pub mod rollouts;
pub mod snapshot;
pub mod state_object;
pub mod wire;
pub(crate) mod workloads;
#[cfg(test)]
mod workloads_tests;
