//! Plain data that was read from a cluster: Secrets, owners, workloads, rollouts. It must not read
//! anything itself.

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
