//! Plans: what is wanted and what was found become one decision per place and per key, for Secrets
//! and for store entries.
//!
//! One plan is made for everything before the first write. It holds no new token: those are named,
//! and their values are filled in when a manifest is made, so that the tokens of a run that lost a
//! race can still be exchanged.

pub mod manifest;
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

pub use resolve::resolve;
pub use secret_plan::Plan;
pub use settlement::Settlement;
pub use store_plan::StorePlan;
pub use store_types::{EntryPlan, FieldPlan, LiveValues, StoreWish};
pub use types::{
    Action, Base, Decision, FileAction, Filed, FiledTokens, KeyAction, KeyPlan, NewValue, Prefer,
    SecretPlan, ValueSource, Wish,
};
