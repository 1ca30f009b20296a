//! The read phase of `verify`: the Secrets of home and fleet, and who reads them.
//!
//! What may not be read, or of the rest cannot, becomes a fact, not a failure. Of many namespaces
//! everything is read by lists across all of them, where that is permitted.

use super::client::{Cluster, WIDTH, get};
use super::observe::{FleetScope, PAGE};
use super::wire::{SecretBody, VersionBody};
use super::workloads::{PodBody, Stays, WorkloadBody};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::{NamespaceState, Observed};
use crate::domain::cluster::snapshot::{
    ClusterSnapshot, CopyRef, Denied, KNOWN_COPIES, NamespaceSnapshot,
};
use crate::domain::cluster::workload::{Pod, Workload};
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::error::Failure;
use crate::io::local::environment;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use kube::core::params::ListParams;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// What makes pods.
const MAKERS: [WorkloadKind; 4] = [
    WorkloadKind::StatefulSet,
    WorkloadKind::Deployment,
    WorkloadKind::DaemonSet,
    WorkloadKind::CronJob,
];
/// How many Secrets a page has: each may be of a mebibyte.
const SECRETS_PAGE: u32 = 20;
/// From how many namespaces on a list across all of them is tried first.
const MANY: usize = 10;

/// What was read, and what could not be.
struct Listed<T> {
    items: Vec<T>,
    denied: Vec<Denied>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            denied: Vec::new(),
        }
    }
}

/// Where something is listed.
struct Scope {
    places: BTreeSet<Namespace>,
    /// Those of them that are named, so that a Role can be made there.
    named: BTreeSet<Namespace>,
    /// Whether to try all namespaces at once first.
    everywhere: bool,
}

/// A list of the API: where it is, what RBAC calls it, how it is asked for.
struct Source {
    api: String,
    resource: &'static str,
    params: ListParams,
}

impl Source {
    /// That of all objects of a kind.
    fn of(kind: WorkloadKind) -> Self {
        Self {
            api: api_of(kind),
            resource: kind.resource(),
            params: ListParams::default().limit(PAGE),
        }
    }
}

/// The API of a kind.
pub(in crate::io) fn api_of(kind: WorkloadKind) -> String {
    match kind.group() {
        "" => "/api/v1".to_owned(),
        group => format!("/apis/{group}/v1"),
    }
}

impl Cluster {
    /// Reads everything that `verify` looks at.
    ///
    /// # Errors
    /// A server that does not answer, or not as an API server does (exit code 3); a selector that
    /// is none (2).
    pub async fn inspect(
        &self,
        home: &Namespace,
        fleet: &FleetScope,
        copies: &BTreeSet<CopyRef>,
    ) -> Result<ClusterSnapshot, Failure> {
        let (version, states) = tokio::join!(self.version(), self.all_states(home, fleet));
        let ((version, now), states) = (version?, states?);
        let mut facts = ClusterSnapshot {
            server: self.server.clone(),
            version,
            now,
            home: home.clone(),
            places: BTreeMap::new(),
            nothing_selected: states.nothing_selected,
            copies: BTreeMap::new(),
            absent: BTreeSet::new(),
            denied: states.denied,
            probes: Vec::new(),
            path2: None,
        };
        for (name, state) in states.found {
            // Of a namespace that was only selected and goes away there is nothing to say.
            if name == *home || fleet.named.contains(&name) || state == NamespaceState::Active {
                let place = NamespaceSnapshot {
                    state,
                    ..NamespaceSnapshot::default()
                };
                facts.places.insert(name, place);
            }
        }
        let scope = Scope {
            places: facts.places.keys().cloned().collect(),
            named: std::iter::once(home).chain(&fleet.named).cloned().collect(),
            everywhere: fleet.selector.is_some() || facts.places.len() > MANY,
        };
        let (secrets, others, pods, claims, workloads, copied) = tokio::join!(
            self.table_secrets(home, &scope),
            self.other_secrets(&scope),
            self.pods(&scope),
            self.all_claims(&scope),
            join_all(MAKERS.iter().map(|kind| self.workloads(&scope, *kind))),
            self.named(copies.iter().cloned()),
        );
        let (secrets, copied) = (secrets?, copied?);
        for (at, observed) in secrets.items {
            let place: Option<&mut NamespaceSnapshot> = facts.places.get_mut(&at.namespace);
            let bundle = BUNDLES.iter().find(|bundle| bundle.secret == at.name);
            if let (Some(place), Some(bundle)) = (place, bundle) {
                place.secrets.insert(bundle.secret, observed);
            }
        }
        for (at, observed) in others.items {
            let place: Option<&mut NamespaceSnapshot> = facts.places.get_mut(&at.namespace);
            let place = place.filter(|place| !place.secrets.contains_key(at.name.as_str()));
            if let Some(place) = place {
                place.others.insert(at.name, observed);
            }
        }
        for (pod, stays) in pods.items {
            if let Some(place) = facts.places.get_mut(&pod.namespace) {
                match stays {
                    Stays::Yes => place.pods.push(pod),
                    Stays::Leaves => place.leaving.push(pod),
                }
            }
        }
        for listed in workloads {
            facts.denied.extend(listed.denied);
            for workload in listed.items {
                if let Some(place) = facts.places.get_mut(&workload.namespace) {
                    place.workloads.push(workload);
                }
            }
        }
        for claim in claims.items.iter().filter(|claim| claim.makes_secret()) {
            facts.claim(claim);
        }
        facts.absent = self.absent(&copied.items).await?;
        facts.copies.extend(copied.items);
        let denied = [secrets.denied, others.denied, pods.denied, claims.denied];
        facts.denied.extend(denied.into_iter().flatten());
        facts.denied.extend(copied.denied);
        if let Some((path2, denied)) = self.path2(&facts, claims.items).await {
            facts.path2 = Some(path2);
            facts.denied.extend(denied);
        }
        Ok(facts)
    }

    /// The server's version, where it may be asked for, and its time in seconds since 1970.
    async fn version(&self) -> Result<(Option<String>, i64), Failure> {
        let answer = self.send(get("/version".to_owned())).await?;
        let now = answer.date.unwrap_or_else(environment::seconds_since_1970);
        if answer.status == StatusCode::FORBIDDEN {
            return Ok((None, now));
        }
        let body: VersionBody =
            answer.read(&self.attempt("get", "the version".to_owned(), None))?;
        Ok((Some(body.shown()), now))
    }

    /// The state of home and of each fleet namespace.
    async fn all_states(&self, home: &Namespace, fleet: &FleetScope) -> Result<States, Failure> {
        let named: Vec<_> = std::iter::once(home).chain(&fleet.named).collect();
        let matching = async {
            match &fleet.selector {
                Some(selector) => self.matching(selector).await.map(Some),
                None => Ok(None),
            }
        };
        let (named, selected) = tokio::join!(self.states(&named), matching);
        let (named, selected) = (named?, selected?);
        let mut states = States::default();
        match selected {
            None => {}
            Some(None) => drop(states.denied.insert(Denied {
                verb: "list",
                resource: "namespaces".to_owned(),
                namespace: None,
                why: None,
            })),
            Some(Some(found)) => {
                states.nothing_selected = found.is_empty();
                states.found = found;
            }
        }
        // A state of one that is named tells more: it can be absent.
        states.found.extend(named);
        let unseen = states.found.iter();
        let unseen = unseen.filter(|(_, state)| **state == NamespaceState::Forbidden);
        states.denied.extend(unseen.map(|(name, _)| Denied {
            verb: "get",
            resource: format!("namespaces/{name}"),
            namespace: Some(name.clone()),
            why: None,
        }));
        Ok(states)
    }

    /// The Secrets of the table: all of them at home, the router Secret in the fleet.
    async fn table_secrets(
        &self,
        home: &Namespace,
        scope: &Scope,
    ) -> Result<Listed<(CopyRef, Observed)>, Failure> {
        let fleet = || scope.places.iter().filter(|name| *name != home);
        let everywhere = match scope.everywhere {
            true => self.routers_everywhere().await?,
            false => None,
        };
        let at = |namespace: &Namespace, name: &str| CopyRef {
            namespace: namespace.clone(),
            name: name.to_owned(),
        };
        let mut wanted: Vec<_> = BUNDLES.map(|bundle| at(home, bundle.secret)).into();
        let mut there = Vec::new();
        match everywhere {
            None => wanted.extend(fleet().map(|name| at(name, ROUTER.secret))),
            Some(found) => {
                let mut found: BTreeMap<Namespace, Observed> = found
                    .into_iter()
                    .map(|(at, observed)| (at.namespace, observed))
                    .collect();
                there.extend(fleet().map(|name| {
                    let observed = found.remove(name).unwrap_or_default();
                    (at(name, ROUTER.secret), observed)
                }));
            }
        }
        let mut listed = self.named(wanted.into_iter()).await?;
        listed.items.append(&mut there);
        Ok(listed)
    }

    /// Opaque Secrets of any name; where they may not be listed, those that operators are known to
    /// keep copies in.
    async fn other_secrets(&self, scope: &Scope) -> Listed<(CopyRef, Observed)> {
        let source = Source {
            api: "/api/v1".to_owned(),
            resource: "secrets",
            params: ListParams::default()
                .fields("type=Opaque")
                .limit(SECRETS_PAGE),
        };
        let keep = |body: SecretBody| {
            let namespace: Namespace = body.namespace()?.parse().ok()?;
            let name = body.name()?.to_owned();
            let kept = scope.places.contains(&namespace);
            kept.then(|| (CopyRef { namespace, name }, body.into()))
        };
        let mut listed = self.lists(scope, &source, keep).await;
        let denied = |place: &&Namespace| {
            let mut lists = listed.denied.iter();
            lists.any(|list| list.namespace.as_ref().is_none_or(|at| at == *place))
        };
        let places: Vec<_> = scope.named.iter().filter(denied).cloned().collect();
        let known = places.into_iter().flat_map(|namespace| {
            KNOWN_COPIES.map(|name| CopyRef {
                namespace: namespace.clone(),
                name: name.to_owned(),
            })
        });
        match self.named(known).await {
            Ok(known) => {
                let there = known.items.into_iter();
                listed
                    .items
                    .extend(there.filter(|(_, observed)| observed.live.is_some()));
                listed.denied.extend(known.denied);
            }
            Err(failure) => listed.take("secrets", None, Err(failure)),
        }
        listed
    }

    async fn pods(&self, scope: &Scope) -> Listed<(Pod, Stays)> {
        let keep = |body: PodBody| {
            let (pod, stays) = body.pod()?;
            let kept = scope.places.contains(&pod.namespace);
            kept.then_some((pod, stays))
        };
        self.lists(scope, &Source::of(WorkloadKind::Pod), keep)
            .await
    }

    async fn workloads(&self, scope: &Scope, kind: WorkloadKind) -> Listed<Workload> {
        let keep = |body: WorkloadBody| {
            body.workload(kind)
                .filter(|workload| scope.places.contains(&workload.namespace))
        };
        self.lists(scope, &Source::of(kind), keep).await
    }

    /// Secrets of these names.
    async fn named(
        &self,
        secrets: impl Iterator<Item = CopyRef>,
    ) -> Result<Listed<(CopyRef, Observed)>, Failure> {
        let reads = secrets.map(|at| async move {
            let found = self.peek(&at.namespace, &at.name).await?;
            Ok::<_, Failure>((at, found))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await?;
        let mut listed = Listed::default();
        for (at, found) in found {
            match found {
                Some(observed) => listed.items.push((at, observed)),
                None => listed.denied.push(Denied::secret(&at.namespace, &at.name)),
            }
        }
        Ok(listed)
    }

    /// Those namespaces of Secrets that were not found which do not exist themselves.
    async fn absent(&self, copies: &[(CopyRef, Observed)]) -> Result<BTreeSet<Namespace>, Failure> {
        let missing = copies
            .iter()
            .filter(|(_, observed)| observed.live.is_none());
        let namespaces: BTreeSet<_> = missing.map(|(at, _)| &at.namespace).collect();
        let states = self
            .states(&namespaces.into_iter().collect::<Vec<_>>())
            .await?;
        let absent = states
            .into_iter()
            .filter(|(_, state)| *state == NamespaceState::Absent);
        Ok(absent.map(|(name, _)| name).collect())
    }

    /// A Secret of any name; `None` where it may not be read.
    pub(in crate::io) async fn peek(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<Observed>, Failure> {
        let uri = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let answer = self.send(get(uri)).await?;
        match answer.status {
            _ if answer.is_absent() => Ok(Some(Observed::default())),
            StatusCode::FORBIDDEN => Ok(None),
            _ => {
                let what = format!("Secret {namespace}/{name}");
                let body: SecretBody = answer.read(&self.attempt("get", what, Some(namespace)))?;
                Ok(Some(body.into()))
            }
        }
    }

    /// The ExternalSecrets of these namespaces.
    async fn all_claims(&self, scope: &Scope) -> Listed<ExternalSecret> {
        let mut listed = Listed::default();
        if scope.everywhere
            && let Ok(Some(claims)) = self.external_secrets(None).await
        {
            listed.items = claims;
            return listed;
        }
        let reads = scope
            .places
            .iter()
            .map(|name| async move { (name, self.external_secrets(Some(name)).await) });
        let found: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).collect().await;
        for (name, claims) in found {
            listed.take("externalsecrets", Some(name), claims);
        }
        listed
    }

    /// What is to be kept of a list in these namespaces.
    async fn lists<T: DeserializeOwned, U>(
        &self,
        scope: &Scope,
        source: &Source,
        keep: impl Fn(T) -> Option<U>,
    ) -> Listed<U> {
        let Source {
            api,
            resource,
            params,
        } = source;
        let mut listed = Listed::default();
        if scope.everywhere {
            let path = format!("{api}/{resource}");
            let found = self.kept(&path, params.clone(), resource, &keep).await;
            // Who may list in none of many namespaces is not asked about each.
            if matches!(found, Ok(Some(_))) || scope.places.len() > MANY && *resource == "secrets" {
                listed.take(resource, None, found);
                return listed;
            }
        }
        let keep = &keep;
        let reads = scope.places.iter().map(|namespace| async move {
            let path = format!("{api}/namespaces/{namespace}/{resource}");
            let found = self.kept(&path, params.clone(), resource, keep).await;
            (namespace, found)
        });
        let found: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).collect().await;
        for (namespace, found) in found {
            listed.take(resource, Some(namespace), found);
        }
        listed
    }
}

/// The states of namespaces, as far as they were seen.
#[derive(Default)]
struct States {
    found: BTreeMap<Namespace, NamespaceState>,
    nothing_selected: bool,
    denied: BTreeSet<Denied>,
}

impl<T> Listed<T> {
    /// Adds what a list brought, or that it could not be had.
    fn take(
        &mut self,
        resource: &str,
        namespace: Option<&Namespace>,
        found: Result<Option<Vec<T>>, Failure>,
    ) {
        let why = match found {
            Ok(Some(items)) => {
                self.items.extend(items);
                return;
            }
            Ok(None) => None,
            Err(failure) => Some(failure.message),
        };
        self.denied.push(Denied {
            verb: "list",
            resource: resource.to_owned(),
            namespace: namespace.cloned(),
            why,
        });
    }
}

impl ClusterSnapshot {
    /// Notes that an ExternalSecret makes one of the Secrets.
    fn claim(&mut self, claim: &ExternalSecret) {
        let place = self.places.get_mut(&claim.namespace);
        let observed = place.and_then(|place| {
            let bundle = BUNDLES.iter().find(|bundle| bundle.secret == claim.target);
            place.secrets.get_mut(bundle?.secret)
        });
        if let Some(observed) = observed {
            observed.claim(claim);
        }
    }
}
