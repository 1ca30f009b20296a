//! The scenery of the tests that run against real servers.

// Each target uses a part of it.
#![allow(dead_code)]

pub mod account;
pub mod checks;
pub mod documents;
pub mod fleet_checks;
pub mod marks;
pub mod readers;
pub mod recorded;
pub mod sandbox;
pub mod searched;
pub mod secret_checks;
pub mod space;
pub mod steps;
pub mod story;
pub mod stub;
pub mod token_checks;
pub mod wait;
pub mod workloads;
