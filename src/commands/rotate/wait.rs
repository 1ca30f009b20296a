//! What a step tells the loop, and what the loop waits for.

use crate::commands::shared::wait::Wait;
use crate::domain::rotation::outcome::Outcome;
use std::time::Duration;

/// What the loop does after a step.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Next {
    /// The step changed something.
    Step,
    /// The step waits.
    Pause,
    End(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    Rollouts,
    /// External Secrets Operator copies store entries to Secrets.
    Secrets,
    /// A person edits the store.
    StoreEdits,
    /// Servers answer as their Secrets say.
    Servers,
    /// Pods with the removed token end.
    Pods,
}

/// The wait that the last step began or continued.
#[derive(Default)]
pub struct CurrentWait(Option<(WaitFor, Wait)>);

impl CurrentWait {
    /// Continues the wait, or begins a new one if the last step did not wait for this.
    pub fn enter(&mut self, what: WaitFor, limit: Option<Duration>) -> &mut Wait {
        let last = self.0.take().filter(|(other, _)| *other == what);
        let current = last.unwrap_or_else(|| (what, Wait::new(limit)));
        &mut self.0.insert(current).1
    }

    /// True if the last step waited for a person who edits the store.
    pub fn is_for_edits(&self) -> bool {
        matches!(self.0, Some((WaitFor::StoreEdits, _)))
    }

    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, wait)| wait.is_over())
    }

    pub async fn pause(&self) {
        if let Some((_, wait)) = &self.0 {
            wait.pause().await;
        }
    }
}
