//! The read phase of `verify` for Path 2: the ExternalSecrets of the table's Secrets, their stores, and
//! the events of those that are not ready.
//!
//! An object that may not be read becomes a fact, not a failure. This module must not write.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::OperatorMarks;
use crate::domain::cluster::snapshot::{ClusterSnapshot, Denied};
use crate::domain::eso::objects::{ExternalSecret, SecretStore, Seen, Served, VERSIONS};
use crate::domain::eso::status::{Contents, ExternalSecretStatus, Path2, StoreAt, StoreSeen};
use crate::domain::table::ROUTER;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::kube::snapshot::or_denied;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// An object, and the permission that was missing to read it or its events.
type Warnings<T> = (T, Option<Denied>);

impl Cluster {
    /// Reads the objects of Path 2; `None` if no ExternalSecret targets a Secret of the facts and no
    /// Secret has a mark of the operator.
    pub async fn path2(
        &self,
        facts: &ClusterSnapshot,
        found: Vec<ExternalSecret>,
    ) -> Option<(Path2, Vec<Denied>)> {
        let externals = relevant(facts, found);
        if externals.is_empty() && !table_marks(facts).any(|(_, marks)| marks.any()) {
            return None;
        }
        let mut denied = Vec::new();
        let served = self.served().await.unwrap_or_else(|failure| {
            let group = Denied::new("get", "external-secrets.io", None);
            denied.push(group.because(Some(failure.message)));
            Served::Forbidden
        });
        let version = match served {
            Served::Version(version) => version,
            Served::Nothing | Served::Forbidden => VERSIONS[0],
        };
        let store_refs: BTreeSet<_> = externals.iter().filter_map(StoreAt::of).collect();
        let reads = store_refs
            .into_iter()
            .map(|at| self.store_seen(version, at));
        let results: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).collect().await;
        let mut stores = BTreeMap::new();
        for ((at, seen), missing) in results {
            denied.extend(missing);
            stores.insert(at, seen);
        }
        let reads = externals
            .into_iter()
            .map(|object| self.external_status(object, &stores));
        let results: Vec<_> = stream::iter(reads).buffered(WIDTH).collect().await;
        let mut externals = Vec::new();
        for (status, missing) in results {
            denied.extend(missing);
            externals.push(status);
        }
        let path2 = Path2 {
            served,
            externals,
            stores,
            contents: Contents::default(),
        };
        Some((path2, denied))
    }

    /// Reads a store and, if it is not ready, its events.
    async fn store_seen(&self, version: &str, at: StoreAt) -> Warnings<(StoreAt, StoreSeen)> {
        // A ClusterSecretStore has no namespace; any namespace will do.
        let (home, namespace) = (Namespace::default(), at.namespace.as_ref());
        let read = self.secret_store(version, namespace.unwrap_or(&home), &at.at);
        let (seen, why) = match read.await {
            Ok(Seen::There(store)) if !store.is_ready() => {
                return self.store_not_ready(at, store).await;
            }
            Ok(Seen::Forbidden) => (Seen::Forbidden, Some(None)),
            Ok(seen) => (seen, None),
            Err(failure) => (Seen::Forbidden, Some(Some(failure.message))),
        };
        let resource = at.at.kind.resource();
        let denied = why.map(|why| Denied::new("get", resource, namespace).because(why));
        ((at, StoreSeen::new(seen, &[])), denied)
    }

    async fn store_not_ready(
        &self,
        at: StoreAt,
        store: SecretStore,
    ) -> Warnings<(StoreAt, StoreSeen)> {
        let warnings = self.warnings(at.namespace.as_ref(), &store.uid).await;
        let (warnings, denied) = split(warnings, at.namespace.as_ref());
        let seen = StoreSeen::new(Seen::There(store), &warnings.unwrap_or_default());
        ((at, seen), denied)
    }

    /// Reads the warning events of an ExternalSecret, if it is not ready and its store does not explain
    /// why.
    async fn external_status(
        &self,
        object: ExternalSecret,
        stores: &BTreeMap<StoreAt, StoreSeen>,
    ) -> Warnings<ExternalSecretStatus> {
        let is_failing = object.condition.as_ref().is_some_and(|it| !it.ready);
        let store = StoreAt::of(&object).and_then(|at| stores.get(&at));
        let is_explained = store.is_some_and(|store| match &store.seen {
            Seen::There(store) => !store.is_ready(),
            Seen::Absent => true,
            Seen::Forbidden => false,
        });
        if !is_failing || is_explained {
            return (ExternalSecretStatus::new(object, Some(&[])), None);
        }
        let place = object.namespace.clone();
        let warnings = self.warnings(Some(&place), &object.uid).await;
        let (warnings, denied) = split(warnings, Some(&place));
        (
            ExternalSecretStatus::new(object, warnings.as_deref()),
            denied,
        )
    }
}

/// Splits the result of a list of events into the events and the missing permission.
fn split<T>(
    read: Result<Option<T>, Failure>,
    namespace: Option<&Namespace>,
) -> (Option<T>, Option<Denied>) {
    // Events about a cluster-scoped object are in the namespace `default`.
    let namespace = namespace.cloned().unwrap_or_default();
    match or_denied(read, "events", Some(&namespace)) {
        Ok(found) => (Some(found), None),
        Err(denied) => (None, Some(denied)),
    }
}

/// The operator's marks on each Secret of the table.
fn table_marks(facts: &ClusterSnapshot) -> impl Iterator<Item = (&Namespace, &OperatorMarks)> {
    facts.places.iter().flat_map(|(namespace, place)| {
        let live = place.secrets.values().filter_map(|it| it.live.as_ref());
        live.map(move |live| (namespace, &live.marks))
    })
}

/// Selects the ExternalSecrets that target a Secret of the table or own one.
fn relevant(facts: &ClusterSnapshot, found: Vec<ExternalSecret>) -> Vec<ExternalSecret> {
    let owners: BTreeSet<_> = table_marks(facts)
        .filter_map(|(namespace, marks)| Some((namespace, marks.owner.as_ref()?.0.as_str())))
        .collect();
    let is_relevant = |external: &ExternalSecret| {
        let has_secret = match external.bundle() {
            Some(bundle) => external.namespace == facts.home || bundle == &ROUTER,
            None => owners.contains(&(&external.namespace, external.name.as_str())),
        };
        has_secret && facts.places.contains_key(&external.namespace)
    };
    let mut selected: Vec<_> = found.into_iter().filter(|it| is_relevant(it)).collect();
    selected
        .sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    selected
}
