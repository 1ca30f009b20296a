//! What the program knows and decides, as plain data.
//!
//! Nothing here touches a file, the environment, a clock, a process, the network or the terminal;
//! randomness is an argument. Facts come in, decisions go out.

pub mod assignments;
pub mod bundles;
pub mod external_secrets;
#[cfg(test)]
mod external_secrets_tests;
pub mod facts;
pub mod findings;
pub mod inputs;
pub mod live;
pub mod manifest;
pub mod migration;
pub mod migration_refusal;
pub mod names;
pub mod ownership;
pub mod path2;
#[cfg(test)]
mod path2_tests;
pub mod plan;
#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod plan_refusal_tests;
#[cfg(test)]
mod plan_tests;
mod planner;
pub mod reach;
pub mod refusal;
pub mod resolve;
pub mod rollout;
#[cfg(test)]
mod rollout_tests;
pub mod rotation;
pub mod rotation_open;
pub mod store;
pub mod store_plan;
#[cfg(test)]
mod store_plan_properties;
#[cfg(test)]
mod store_plan_tests;
mod store_planner;
pub mod store_refusal;
pub mod tokens;
pub mod tokens_file;
pub mod value;
pub mod values_file;
#[cfg(test)]
mod values_file_tests;
pub mod workloads;
