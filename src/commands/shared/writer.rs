//! Writes the places of a plan, Secrets or store entries, and records the result of each write.
//! Makes no decision about values.
//!
//! The router place is written first, because it decides which tokens win. Places without tokens
//! are written at the same time, all others after it.

use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{PlacePlan, Plan};
use crate::error::Failure;
use crate::io::kube::client::WIDTH;
use crate::io::written::Written;
use crate::render::report::{FileChange, Report};
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::fmt::Display;

/// How often a run reads and plans before it gives up because of concurrent writes.
const ROUNDS: usize = 10;

/// Repeats a round of reading, planning and writing until no write is stale. `None` after the last
/// attempt.
///
/// # Errors
/// The first failure of a round.
pub async fn rounds(
    mut round: impl AsyncFnMut() -> Result<Written, Failure>,
) -> Result<Option<()>, Failure> {
    for _ in 0..ROUNDS {
        if round().await? == Written::Done {
            return Ok(Some(()));
        }
    }
    Ok(None)
}

/// The newest plan of a run, and the writes so far.
pub struct Writer<At, Base> {
    plan: Option<Plan<PlacePlan<At, Base>>>,
    /// Whether the writes of a plan have begun.
    pub started: bool,
    /// Each place with the failure of its write, if there was one.
    done: BTreeMap<At, (PlacePlan<At, Base>, Option<Failure>)>,
}

impl<At: Ord + Clone + Display, Base: Clone> Writer<At, Base> {
    pub fn new() -> Self {
        Self {
            plan: None,
            started: false,
            done: BTreeMap::new(),
        }
    }

    /// Replaces the plan. It repeats the writes that failed, unless they took effect after all.
    ///
    /// # Errors
    /// The refusals of the plan.
    pub fn begin(
        &mut self,
        plan: &Plan<PlacePlan<At, Base>>,
        reach: &HintContext,
        store: &StoreReach,
    ) -> Result<(), Failure> {
        self.done.retain(|_, (_, failure)| failure.is_none());
        self.plan = Some(plan.clone());
        match refusal(plan, reach, store) {
            Some(failure) if self.started => Err(failure.too_late()),
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Writes in two waves. If the write of `router` fails, the second wave is not sent. `name` is
    /// the router place in messages.
    pub async fn write(
        &mut self,
        plan: &Plan<PlacePlan<At, Base>>,
        router: &At,
        name: &str,
        write: impl AsyncFn(&PlacePlan<At, Base>) -> Result<Written, Failure>,
    ) -> Written {
        let (first, second): (Vec<_>, Vec<_>) = plan
            .written()
            .partition(|place| place.at == *router || !place.bundle.holds_tokens());
        if self.wave(&first, &write).await == Written::Stale {
            return Written::Stale;
        }
        if !matches!(self.done.get(router), Some((_, Some(_)))) {
            return self.wave(&second, &write).await;
        }
        for place in second {
            let failure = Failure::unable(format!("not written, because {name} was not"))
                .hint("fix that first, then run this again");
            self.record(place, Some(failure));
        }
        Written::Done
    }

    async fn wave(
        &mut self,
        places: &[&PlacePlan<At, Base>],
        write: &impl AsyncFn(&PlacePlan<At, Base>) -> Result<Written, Failure>,
    ) -> Written {
        let writes = places.iter().map(|place| write(place));
        let results: Vec<_> = stream::iter(writes).buffered(WIDTH).collect().await;
        let mut state = Written::Done;
        for (place, result) in places.iter().zip(results) {
            match result {
                Ok(Written::Stale) => state = Written::Stale,
                Ok(Written::Done) => self.record(place, None),
                Err(failure) => self.record(place, Some(failure)),
            }
        }
        state
    }

    fn record(&mut self, place: &PlacePlan<At, Base>, failure: Option<Failure>) {
        self.done.insert(place.at.clone(), (place.clone(), failure));
    }

    /// The plan with the result of each write; `None` if no plan was made. `path` is that of the
    /// tokens file, `change` what was done to it.
    pub fn report(&self, path: String, change: FileChange) -> Option<Report<At, Base>> {
        let mut report = Report::of_plan(self.plan.as_ref()?, path);
        if !self.started {
            return Some(report);
        }
        report.file.change = change;
        for place in &mut report.places {
            match self.done.get(&place.plan.at) {
                Some((plan, failure)) => {
                    place.plan = plan.clone();
                    place.failed = failure.as_ref().map(Failure::describe);
                }
                None if place.plan.is_written() => place.failed = Some("not written".to_owned()),
                None => {}
            }
        }
        Some(report)
    }

    /// One failure for all places that could not be written. `what` is a plural noun such as
    /// `Secrets`.
    pub fn failures(&self, what: &str) -> Option<Failure> {
        let failed: Vec<_> = self
            .done
            .iter()
            .filter_map(|(at, (_, failure))| Some((at, failure.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return None;
        }
        let all = self.plan.as_ref().map_or(0, |plan| plan.places.len());
        let count = failed.len();
        let whole = Failure::unable(format!("{count} of {all} {what} could not be written"));
        let add = |whole: Failure, (at, failure)| whole.of(at, failure);
        Some(failed.into_iter().fold(whole, add))
    }
}

/// All refusals of a plan as one failure.
pub fn refusal<P>(plan: &Plan<P>, reach: &HintContext, store: &StoreReach) -> Option<Failure> {
    let refusals = plan.refusals.iter();
    refusals.fold(None, |failure, refusal| {
        let failure = failure.unwrap_or_else(Failure::undecided);
        let hint = refusal.hint(reach, store);
        Some(failure.cause(refusal.message()).hint(hint))
    })
}
