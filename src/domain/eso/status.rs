//! The status of Path 2: the ExternalSecrets of the Secrets in the table, their stores, and the store
//! entries that the user's own token can read.

use super::objects::{
    Cause, Condition, EntrySource, Event, ExternalSecret, KvPath, SecretStore, Seen, Served,
    StoreKind, StoreRef,
};
use super::store_entry::Entry;
use crate::domain::cluster::names::Namespace;
use std::collections::{BTreeMap, BTreeSet};

/// How many intervals may pass before a refresh counts as stale.
const INTERVALS: i64 = 3;
/// How far two clocks may be apart, in seconds.
const SKEW: i64 = 5;
/// How long the operator may take to set the first condition of an object, in seconds.
const FIRST_CONDITION: i64 = 15;

/// The facts about Path 2.
#[derive(Clone, Debug)]
pub struct Path2 {
    pub served: Served,
    /// The ExternalSecrets with a target in the table, and those that such a Secret names as owner.
    pub externals: Vec<ExternalSecretStatus>,
    /// The stores of `externals`.
    pub stores: BTreeMap<StoreAt, StoreSeen>,
    pub contents: Contents,
}

/// An ExternalSecret with the cause of its failure.
#[derive(Clone, Debug)]
pub struct ExternalSecretStatus {
    pub object: ExternalSecret,
    /// The cause according to its events and its condition.
    pub cause: Option<Cause>,
    /// The field that the entry lacks, for [`Cause::FieldMissing`].
    pub field: Option<String>,
    /// Whether its events may not be listed.
    pub events_denied: bool,
}

impl ExternalSecretStatus {
    /// `warnings` is `None` if the events may not be listed.
    pub fn new(object: ExternalSecret, warnings: Option<&[Event]>) -> Self {
        let events = warnings.unwrap_or_default();
        let condition = object.condition.as_ref();
        let own = condition.and_then(|condition| Cause::of(&condition.message));
        let mut cause = Cause::of_events(events).or(own);
        // A copy of a whole entry needs no single field: the key with the store's token is missing.
        if cause == Some(Cause::FieldMissing) && object.entry().is_some() {
            cause = Some(Cause::NoCredentials);
        }
        let field = match cause {
            Some(Cause::FieldMissing) => missing_field(&object, events),
            _ => None,
        };
        Self {
            object,
            cause,
            field,
            events_denied: warnings.is_none(),
        }
    }
}

/// The field that the newest event names.
fn missing_field(object: &ExternalSecret, events: &[Event]) -> Option<String> {
    let newest = events.iter().max_by_key(|event| event.last)?;
    object
        .sources
        .iter()
        .filter_map(|source| match source {
            EntrySource::Field { property, .. } => property.as_ref(),
            EntrySource::Entry { .. } | EntrySource::Other => None,
        })
        .find(|property| newest.message.contains(&format!("\"{property}\"")))
        .cloned()
}

/// A store with its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreAt {
    /// `None` for a ClusterSecretStore.
    pub namespace: Option<Namespace>,
    pub at: StoreRef,
}

impl StoreAt {
    /// Returns `None` for an ExternalSecret whose sources name their own stores.
    pub fn of(external: &ExternalSecret) -> Option<Self> {
        let at = external.store.clone()?;
        let namespace = match at.kind {
            StoreKind::ClusterSecretStore => None,
            StoreKind::SecretStore => Some(external.namespace.clone()),
        };
        Some(Self { namespace, at })
    }
}

/// A store object with the cause of its failure.
#[derive(Clone, Debug)]
pub struct StoreSeen {
    pub seen: Seen<SecretStore>,
    /// The cause according to its events.
    pub cause: Option<Cause>,
}

impl StoreSeen {
    pub fn new(seen: Seen<SecretStore>, warnings: &[Event]) -> Self {
        let cause = match Cause::of_events(warnings) {
            // The only key that a store reads is the one with its token.
            Some(Cause::FieldMissing) => Some(Cause::NoCredentials),
            cause => cause,
        };
        Self { seen, cause }
    }

    /// The object, if it was read.
    pub fn there(&self) -> Option<&SecretStore> {
        match &self.seen {
            Seen::There(store) => Some(store),
            Seen::Absent | Seen::Forbidden => None,
        }
    }
}

/// The store entries that the user's own token can read.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The store's URL from the environment; `None` if it is not set.
    pub address: Option<String>,
    /// The result for every path that was read.
    pub entries: BTreeMap<KvPath, Result<Entry, Unread>>,
}

/// An entry could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The reason, which quotes no content.
    pub why: String,
    pub hint: String,
}

/// A problem of an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncProblem {
    /// It has no condition yet.
    Unjudged,
    /// It is not ready, for this reason.
    For(Cause),
    /// It is not ready, for an unknown reason.
    Unknown,
    /// It is ready, but the operator deleted its Secret because the store has no data for it.
    Deleted,
    /// It is ready, but the Secret to which it adds keys does not exist.
    NothingToMerge,
    /// It is ready, but the operator has not synced its latest change.
    Pending,
    /// It is ready, but its last refresh is this many seconds old.
    Stale(i64),
}

impl Path2 {
    pub fn store_of(&self, external: &ExternalSecret) -> Option<&StoreSeen> {
        self.stores.get(&StoreAt::of(external)?)
    }

    /// The known paths in a KV engine that an ExternalSecret reads.
    pub fn slots_of(&self, external: &ExternalSecret) -> BTreeSet<KvPath> {
        let store = self.store_of(external).and_then(StoreSeen::there);
        external
            .sources
            .iter()
            .filter_map(|source| match source {
                EntrySource::Entry { path } | EntrySource::Field { path, .. } => {
                    store?.provider.slot(path)
                }
                EntrySource::Other => None,
            })
            .collect()
    }

    /// The problem of an ExternalSecret; `now` is in seconds since 1970.
    pub fn problem(&self, status: &ExternalSecretStatus, now: i64) -> Option<SyncProblem> {
        let external = &status.object;
        let Some(Condition {
            ready,
            reason,
            message,
        }) = &external.condition
        else {
            return Some(SyncProblem::Unjudged);
        };
        if !ready {
            let cause = self.cause(status);
            return Some(cause.map_or(SyncProblem::Unknown, SyncProblem::For));
        }
        match reason.as_str() {
            "SecretDeleted" => return Some(SyncProblem::Deleted),
            "SecretMissing" => return Some(SyncProblem::NothingToMerge),
            _ => {}
        }
        if Cause::of(message) == Some(Cause::PathEmpty) {
            Some(SyncProblem::For(Cause::PathEmpty))
        } else if !external.is_settled() {
            Some(SyncProblem::Pending)
        } else {
            age_if_stale(external, now).map(SyncProblem::Stale)
        }
    }

    /// Why an ExternalSecret is not ready: its own cause, or the cause of its store.
    fn cause(&self, status: &ExternalSecretStatus) -> Option<Cause> {
        let store = self.store_of(&status.object);
        let store_cause = store.and_then(|store| match &store.seen {
            Seen::There(found) if !found.is_ready() => {
                Some(store.cause.unwrap_or(Cause::StoreNotReady))
            }
            Seen::Absent => Some(Cause::StoreAbsent),
            Seen::There(_) | Seen::Forbidden => None,
        });
        match &status.cause {
            Some(Cause::StoreNotReady) | None => store_cause.or(status.cause),
            Some(cause) => Some(*cause),
        }
    }

    /// The problem of a whole store according to its ExternalSecrets: the operator checks the store
    /// itself only every few minutes.
    pub fn store_problem(&self, at: &StoreAt) -> Option<Cause> {
        let is_not_ready = |object: &ExternalSecret| {
            let condition = object.condition.as_ref();
            condition.is_some_and(|condition| !condition.ready)
        };
        let concerns_whole_store = |cause: &Cause| {
            matches!(
                cause,
                Cause::Refused
                    | Cause::NoCredentials
                    | Cause::Sealed
                    | Cause::Unreachable
                    | Cause::Untrusted
            )
        };
        self.externals
            .iter()
            .filter(|status| StoreAt::of(&status.object).as_ref() == Some(at))
            .filter(|status| is_not_ready(&status.object))
            .filter_map(|status| status.cause)
            .find(concerns_whole_store)
    }
}

/// The age of the last refresh in seconds if it is too old. The condition `Ready` can be True then.
pub fn age_if_stale(external: &ExternalSecret, now: i64) -> Option<i64> {
    let is_periodic = external.refresh_policy == "Periodic" && external.interval > 0;
    let age = now - external.refreshed?;
    let limit = external.interval.saturating_mul(INTERVALS);
    (is_periodic && age > limit.saturating_add(SKEW)).then_some(age)
}

/// True if an object has waited too long for its first condition.
pub fn is_left_alone(condition: Option<&Condition>, created: Option<i64>, now: i64) -> bool {
    condition.is_none() && created.is_some_and(|created| now - created > FIRST_CONDITION)
}
