//! What was read of a cluster: Secrets, owners, workloads, rollouts.

pub mod freshness;
pub mod names;
pub mod observed_secret;
pub mod owner;
pub mod rollout;
#[cfg(test)]
mod rollout_tests;
pub mod snapshot;
pub mod stuck;
pub mod workload;
