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
pub mod refusal;
#[cfg(test)]
mod refusal_tests;
mod resolve;
mod secret_plan;
mod secret_planner;
mod settlement;
mod store_plan;
#[cfg(test)]
mod store_plan_properties;
#[cfg(test)]
mod store_plan_tests;
mod store_planner;
pub mod store_refusal;
mod store_types;
mod types;

pub use place::PlacePlan;
pub use resolve::resolve;
pub use secret_plan::Plan;
pub use settlement::Settlement;
pub use store_plan::StorePlan;
pub use store_types::{EntryPlan, LiveValues, StoreWish};
pub use types::{
    Action, Base, Decision, FileAction, Filed, FiledTokens, KeyAction, KeyPlan, NewValue, Prefer,
    SecretPlan, ValueSource, Wish,
};
