//! Writes the places of a plan, Secrets or store entries, and records the result of each write.
//! Makes no decision about values.
//!
//! The router place is written first, because it decides which tokens win. Places without tokens
//! are written at the same time, all others after it.

use crate::domain::plan::PlacePlan;
use crate::error::Failure;
use crate::io::kube::client::WIDTH;
use crate::io::written::Written;
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;

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

/// The writes of a run so far.
pub struct Writer<P: PlacePlan> {
    /// Each place with the failure of its write, if there was one.
    done: BTreeMap<P::Name, (P, Option<Failure>)>,
}

impl<P: PlacePlan> Writer<P> {
    pub fn new() -> Self {
        Self {
            done: BTreeMap::new(),
        }
    }

    /// Forgets failures. The next plan repeats those writes, unless they took effect after all.
    pub fn forget_failures(&mut self) {
        self.done.retain(|_, (_, failure)| failure.is_none());
    }

    /// Writes in two waves. If the write of `router` fails, the second wave is not sent. `name` is
    /// the router place in messages.
    pub async fn write(
        &mut self,
        places: &[P],
        router: &P::Name,
        name: &str,
        write: impl AsyncFn(&P) -> Result<Written, Failure>,
    ) -> Written {
        let (first, second): (Vec<_>, Vec<_>) = places
            .iter()
            .filter(|place| place.is_written())
            .partition(|place| place.name() == *router || !place.bundle().holds_tokens());
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
        places: &[&P],
        write: &impl AsyncFn(&P) -> Result<Written, Failure>,
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

    fn record(&mut self, place: &P, failure: Option<Failure>) {
        self.done.insert(place.name(), (place.clone(), failure));
    }

    /// The plan and the failure of a place; `None` if no write was tried.
    pub fn result(&self, key: &P::Name) -> Option<(&P, Option<&Failure>)> {
        let (place, failure) = self.done.get(key)?;
        Some((place, failure.as_ref()))
    }

    /// One failure for all places that could not be written. `what` is a plural noun such as
    /// `Secrets`.
    pub fn failures(&self, all: usize, what: &str) -> Option<Failure> {
        let failed: Vec<_> = self
            .done
            .iter()
            .filter_map(|(key, (_, failure))| Some((key, failure.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return None;
        }
        let count = failed.len();
        let mut whole = Failure::unable(format!("{count} of {all} {what} could not be written"));
        for (key, failure) in failed {
            whole = whole.of(key, failure);
        }
        Some(whole)
    }
}
