//! What is known of Path 2: the ExternalSecrets that make the Secrets of the table, their stores,
//! and what is in those, as far as a person's own token shows it.

use super::objects::{
    Cause, Condition, EntrySource, Event, ExternalSecret, KvPath, SecretStore, Seen, Served,
    StoreKind, StoreRef,
};
use super::store_entry::Entry;
use crate::domain::cluster::names::Namespace;
use std::collections::{BTreeMap, BTreeSet};

/// How much older than its interval a refresh may be: so many times.
const INTERVALS: i64 = 3;
/// How far two clocks may be apart, in seconds.
const SKEW: i64 = 5;
/// How long the operator has to look at an object for the first time, in seconds.
const FIRST_LOOK: i64 = 15;

/// Everything that is known of Path 2.
#[derive(Clone, Debug)]
pub struct Path2 {
    /// Which version of ExternalSecret is served.
    pub served: Served,
    /// Those with a target of the table in a namespace that is looked at, and those that such a
    /// Secret names as its owner.
    pub externals: Vec<ExternalSecretStatus>,
    /// Their stores.
    pub stores: BTreeMap<StoreAt, StoreSeen>,
    /// What is in the store.
    pub contents: Contents,
}

/// An ExternalSecret, and what is known of why it does not work.
#[derive(Clone, Debug)]
pub struct ExternalSecretStatus {
    /// The object.
    pub object: ExternalSecret,
    /// What its events and its condition tell.
    pub cause: Option<Cause>,
    /// The field that its entry lacks, where that is the cause.
    pub field: Option<String>,
    /// Whether its events may not be listed.
    pub unseen: bool,
}

impl ExternalSecretStatus {
    /// With what its warnings tell; `None` where they may not be listed.
    pub fn new(object: ExternalSecret, warnings: Option<&[Event]>) -> Self {
        let events = warnings.unwrap_or_default();
        let condition = object.condition.as_ref();
        let own = condition.and_then(|condition| Cause::of(&condition.message));
        let mut cause = Cause::of_events(events).or(own);
        // Of a whole entry no field can be missing: it is the key of the store's token.
        if cause == Some(Cause::FieldMissing) && object.entry().is_some() {
            cause = Some(Cause::NoCredentials);
        }
        let field = match cause {
            Some(Cause::FieldMissing) => field(&object, events),
            _ => None,
        };
        Self {
            object,
            cause,
            field,
            unseen: warnings.is_none(),
        }
    }
}

/// The field of which the newest of these events speaks.
fn field(object: &ExternalSecret, events: &[Event]) -> Option<String> {
    let newest = events.iter().max_by_key(|event| event.last)?;
    let mut properties = object.sources.iter().filter_map(|source| match source {
        EntrySource::Field { property, .. } => property.as_ref(),
        EntrySource::Entry { .. } | EntrySource::Other => None,
    });
    let told = |property: &&String| newest.message.contains(&format!("\"{property}\""));
    properties.find(told).cloned()
}

/// A store, as an ExternalSecret of a namespace names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreAt {
    /// Where it is; `None` for a ClusterSecretStore.
    pub namespace: Option<Namespace>,
    /// Its kind and name.
    pub at: StoreRef,
}

impl StoreAt {
    /// The store of an ExternalSecret, where one serves all of it.
    pub fn of(external: &ExternalSecret) -> Option<Self> {
        let at = external.store.clone()?;
        let namespace = match at.kind {
            StoreKind::ClusterSecretStore => None,
            StoreKind::SecretStore => Some(external.namespace.clone()),
        };
        Some(Self { namespace, at })
    }
}

/// What became of reading a store.
#[derive(Clone, Debug)]
pub struct StoreSeen {
    /// The object.
    pub seen: Seen<SecretStore>,
    /// Why it is not ready, as far as its events tell.
    pub cause: Option<Cause>,
}

impl StoreSeen {
    /// With what its warnings tell.
    pub fn new(seen: Seen<SecretStore>, warnings: &[Event]) -> Self {
        let cause = match Cause::of_events(warnings) {
            // Of a store there is no other key.
            Some(Cause::FieldMissing) => Some(Cause::NoCredentials),
            cause => cause,
        };
        Self { seen, cause }
    }

    /// The object, where it could be read.
    pub fn there(&self) -> Option<&SecretStore> {
        match &self.seen {
            Seen::There(store) => Some(store),
            Seen::Absent | Seen::Forbidden => None,
        }
    }
}

/// What a person's own look into the store brought.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The person's program: `bao` or `vault`.
    pub program: &'static str,
    /// The store's URL as the person reaches it; `None` where the environment names none.
    pub address: Option<String>,
    /// Every place that was looked at.
    pub entries: BTreeMap<KvPath, Result<Entry, Unread>>,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            program: "bao",
            address: None,
            entries: BTreeMap::new(),
        }
    }
}

/// Why an entry could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// In words that quote nothing.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

/// What is wrong with an ExternalSecret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncProblem {
    /// The operator has not said anything of it.
    Unjudged,
    /// It is not ready, for this reason.
    For(Cause),
    /// It is not ready, and nothing tells why.
    Unknown,
    /// It is ready, and its Secret is deleted since the store has nothing for it.
    Deleted,
    /// It is ready, and there is no Secret to which it could add.
    NothingToMerge,
    /// It is ready, and the operator has not worked off its latest change.
    Pending,
    /// It is ready, and was last refreshed so many seconds ago.
    Stale(i64),
}

impl Path2 {
    /// What is known of the store of an ExternalSecret.
    pub fn store_of(&self, external: &ExternalSecret) -> Option<&StoreSeen> {
        self.stores.get(&StoreAt::of(external)?)
    }

    /// The places in a KV engine that an ExternalSecret reads, as far as that is known.
    pub fn slots_of(&self, external: &ExternalSecret) -> BTreeSet<KvPath> {
        let store = self.store_of(external).and_then(StoreSeen::there);
        let paths = external.sources.iter().filter_map(|source| match source {
            EntrySource::Entry { path } | EntrySource::Field { path, .. } => Some(path),
            EntrySource::Other => None,
        });
        let slots = paths.filter_map(|path| store?.provider.slot(path));
        slots.collect()
    }

    /// What is wrong with an ExternalSecret at this time.
    pub fn trouble(&self, tended: &ExternalSecretStatus, now: i64) -> Option<SyncProblem> {
        let external = &tended.object;
        let Some(Condition {
            ready,
            reason,
            message,
        }) = &external.condition
        else {
            return Some(SyncProblem::Unjudged);
        };
        if !ready {
            let cause = self.cause(tended);
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

    /// Why an ExternalSecret is not ready: its own cause, or that of its store.
    fn cause(&self, tended: &ExternalSecretStatus) -> Option<Cause> {
        let store = self.store_of(&tended.object);
        let unready = store.and_then(|store| match &store.seen {
            Seen::There(found) if !found.is_ready() => {
                Some(store.cause.clone().unwrap_or(Cause::StoreNotReady))
            }
            Seen::Absent => Some(Cause::StoreAbsent),
            Seen::There(_) | Seen::Forbidden => None,
        });
        match &tended.cause {
            Some(Cause::StoreNotReady) | None => unready.or(tended.cause.clone()),
            Some(cause) => Some(cause.clone()),
        }
    }

    /// What is wrong with a store as a whole, told by an ExternalSecret of it: the operator looks
    /// at a store itself every few minutes only.
    pub fn store_trouble(&self, at: &StoreAt) -> Option<Cause> {
        let of_it = self
            .externals
            .iter()
            .filter(|tended| StoreAt::of(&tended.object).as_ref() == Some(at));
        let unready = |tended: &&ExternalSecretStatus| {
            let condition = tended.object.condition.as_ref();
            condition.is_some_and(|condition| !condition.ready)
        };
        let whole = |cause: &Cause| {
            matches!(
                cause,
                Cause::Refused
                    | Cause::NoCredentials
                    | Cause::Sealed
                    | Cause::Unreachable
                    | Cause::Untrusted
            )
        };
        let mut causes = of_it.filter(unready).filter_map(|it| it.cause.clone());
        causes.find(whole)
    }
}

/// How old the last refresh is, in seconds, where that is too old although Ready says True.
pub fn age_if_stale(external: &ExternalSecret, now: i64) -> Option<i64> {
    let periodic = external.refresh_policy == "Periodic" && external.interval > 0;
    let age = now - external.refreshed?;
    let limit = external.interval.saturating_mul(INTERVALS);
    (periodic && age > limit.saturating_add(SKEW)).then_some(age)
}

/// Tells whether an object has waited too long for the operator's first look.
pub fn is_left_alone(condition: Option<&Condition>, created: Option<i64>, now: i64) -> bool {
    condition.is_none() && created.is_some_and(|created| now - created > FIRST_LOOK)
}
