//! What was read of External Secrets Operator: its objects, their status, store entries.

pub mod comparison;
pub mod objects;
#[cfg(test)]
mod objects_tests;
pub mod status;
#[cfg(test)]
pub(crate) mod status_tests;
pub mod store_entry;
