//! Plans for Secrets and for store entries: from the wanted and the observed state, one decision
//! for each place and each key. Pure: reads and writes nothing itself.
//!
//! A plan covers all places and is made before the first write. It names new tokens but does not
//! hold their values, which are filled in with each manifest. So a run that loses a race can still
//! adopt the tokens of the winner.

pub mod manifest;
mod place;
#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod plan_tests;
mod planner;
pub mod refusal;
#[cfg(test)]
mod refusal_tests;
mod resolve;
mod secrets;
mod settlement;
mod store;
#[cfg(test)]
mod store_plan_properties;
#[cfg(test)]
mod store_plan_tests;
mod types;
mod whole;

pub use place::{Action, EntryPlan, PlacePlan, PlaceRef, SecretBase, SecretPlan};
pub use secrets::resolve;
pub use settlement::Settlement;
pub use store::{LiveValues, StorePlan, StoreWish};
pub use types::{
    Decision, FileAction, Filed, FiledTokens, KeyAction, KeyPlan, NewValue, Prefer, ValueSource,
    Wish,
};
pub use whole::Plan;
