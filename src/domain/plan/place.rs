//! What the plans for a Secret and for a store entry have in common.

use super::store_types::EntryPlan;
use super::types::{Action, KeyPlan, SecretPlan};
use crate::domain::cluster::names::SecretRef;
use crate::domain::table::Bundle;
use std::fmt::Display;

pub trait PlacePlan: Clone {
    /// What names the place.
    type Name: Ord + Display;
    fn name(&self) -> Self::Name;
    fn bundle(&self) -> &'static Bundle;
    fn action(&self) -> Action;
    /// Why it is skipped or refused, or what is still missing.
    fn reason(&self) -> Option<&str>;
    fn keys(&self) -> &[KeyPlan];

    fn is_written(&self) -> bool {
        matches!(self.action(), Action::Create | Action::Configure)
    }
}

impl PlacePlan for SecretPlan {
    type Name = SecretRef;

    fn name(&self) -> SecretRef {
        self.at.clone()
    }

    fn bundle(&self) -> &'static Bundle {
        self.bundle
    }

    fn action(&self) -> Action {
        self.action
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn keys(&self) -> &[KeyPlan] {
        &self.keys
    }
}

impl PlacePlan for EntryPlan {
    type Name = String;

    fn name(&self) -> String {
        self.path.clone()
    }

    fn bundle(&self) -> &'static Bundle {
        self.bundle
    }

    fn action(&self) -> Action {
        self.action
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn keys(&self) -> &[KeyPlan] {
        &self.keys
    }
}
