//! The outside: the environment, files, signals, git and the cluster.
//!
//! Foreign errors become a [`Failure`](crate::error::Failure) with a hint here.

pub mod answer;
pub mod cluster;
pub mod connection;
pub mod environment;
pub mod external_secrets;
pub mod forward;
pub mod git;
pub mod inspect;
pub mod kubeconfig;
pub mod observe;
pub mod rollouts;
pub mod rotation;
pub mod signals;
pub mod store;
pub mod tokens_file;
pub mod values_file;
pub mod wire;
mod workloads;
#[cfg(test)]
mod workloads_tests;
