//! Plain data of External Secrets Operator: its objects, their status, store entries. It must not
//! read anything itself.

pub mod comparison;
pub mod objects;
#[cfg(test)]
mod objects_tests;
pub mod status;
#[cfg(test)]
pub(crate) mod status_tests;
pub mod store_entry;
