//! The read phase of `verify`: the Secrets of home and fleet, and the workloads that use them.
//!
//! An object that may not be read becomes a fact, not a failure. With many namespaces, lists across
//! all namespaces are used if they are permitted. This module must not write.

use super::client::{Cluster, WIDTH, get};
use super::observe::{FleetScope, PAGE};
use super::wire::SecretBody;
use super::workloads::{PodBody, Stays, WorkloadBody};
use crate::domain::cluster::names::{Namespace, SecretRef, WorkloadKind};
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
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::core::params::ListParams;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// The kinds of objects that create pods.
const WORKLOAD_KINDS: [WorkloadKind; 4] = [
    WorkloadKind::StatefulSet,
    WorkloadKind::Deployment,
    WorkloadKind::DaemonSet,
    WorkloadKind::CronJob,
];
/// The number of Secrets in a page. A Secret can be as large as 1 MiB.
const SECRETS_PAGE: u32 = 20;
/// With more namespaces than this, a list across all namespaces is tried first.
const MANY: usize = 10;

/// The objects of a list, and the permissions that were missing.
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

/// The namespaces of a list.
struct Scope {
    places: BTreeSet<Namespace>,
    /// Home and the namespaces of `--fleet-namespace`, in which `rbac` creates Roles.
    named: BTreeSet<Namespace>,
    /// Whether to try a list across all namespaces first.
    everywhere: bool,
}

/// The API prefix, resource and parameters of a list.
struct Source {
    api: String,
    resource: &'static str,
    params: ListParams,
}

impl Source {
    /// The list of all objects of a kind.
    fn of(kind: WorkloadKind) -> Self {
        Self {
            api: api_of(kind),
            resource: kind.resource(),
            params: ListParams::default().limit(PAGE),
        }
    }
}

/// The API prefix of a kind.
pub(in crate::io) fn api_of(kind: WorkloadKind) -> String {
    match kind.group() {
        "" => "/api/v1".to_owned(),
        group => format!("/apis/{group}/v1"),
    }
}

impl Cluster {
    /// Reads everything that `verify` checks.
    ///
    /// # Errors
    /// A server that does not answer or is not an API server (exit code 3), or an invalid selector
    /// (2).
    pub async fn inspect(
        &self,
        home: &Namespace,
        fleet: &FleetScope,
        copies: &BTreeSet<CopyRef>,
    ) -> Result<ClusterSnapshot, Failure> {
        let (version, facts) = tokio::join!(self.version(), self.all_namespaces(home, fleet));
        let ((version, now), mut facts) = (version?, facts?);
        facts.version = version;
        facts.now = now;
        let scope = Scope {
            places: facts.places.keys().cloned().collect(),
            named: std::iter::once(home).chain(&fleet.named).cloned().collect(),
            everywhere: fleet.selector.is_some() || facts.places.len() > MANY,
        };
        let (secrets, others, pods, externals, workloads, copied) = tokio::join!(
            self.table_secrets(home, &scope),
            self.other_secrets(&scope),
            self.pods(&scope),
            self.externals_of(&scope),
            join_all(
                WORKLOAD_KINDS
                    .iter()
                    .map(|kind| self.workloads(&scope, *kind))
            ),
            self.secrets_by_name(copies.iter().cloned()),
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
            if let Some(place) = place
                && !place.secrets.contains_key(at.name.as_str())
            {
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
        for external in &externals.items {
            let observed = external.secret().and_then(|at| {
                let place: &mut NamespaceSnapshot = facts.places.get_mut(&at.namespace)?;
                place.secrets.get_mut(at.name)
            });
            if let Some(observed) = observed {
                observed.claim(external);
            }
        }
        facts.absent = self.absent_namespaces(&copied.items).await?;
        facts.copies.extend(copied.items);
        let denied = [secrets.denied, others.denied, pods.denied, externals.denied];
        facts.denied.extend(denied.into_iter().flatten());
        facts.denied.extend(copied.denied);
        if let Some((path2, denied)) = self.path2(&facts, externals.items).await {
            facts.path2 = Some(path2);
            facts.denied.extend(denied);
        }
        Ok(facts)
    }

    /// Reads the server's version, if that is allowed, and its time in seconds since 1970.
    async fn version(&self) -> Result<(Option<String>, i64), Failure> {
        let answer = self.send(get("/version".to_owned())).await?;
        let now = answer.date.unwrap_or_else(environment::seconds_since_1970);
        if answer.status == StatusCode::FORBIDDEN {
            return Ok((None, now));
        }
        let body: Info = answer.read(&self.attempt("get", "the version".to_owned(), None))?;
        // Only the characters of a version are printed.
        let is_allowed = |c: &char| c.is_ascii_alphanumeric() || ".-+_".contains(*c);
        let version = body.git_version.chars().filter(is_allowed);
        let version = version.take(60).collect();
        Ok((Some(version), now))
    }

    /// Reads the state of home and of each fleet namespace. The result has no other facts yet.
    async fn all_namespaces(
        &self,
        home: &Namespace,
        fleet: &FleetScope,
    ) -> Result<ClusterSnapshot, Failure> {
        let named: Vec<_> = std::iter::once(home).chain(&fleet.named).collect();
        let selected = async {
            match &fleet.selector {
                Some(selector) => self.matching_namespaces(selector).await.map(Some),
                None => Ok(None),
            }
        };
        let (named, selected) = tokio::join!(self.namespaces(&named), selected);
        let (named, selected) = (named?, selected?);
        let mut facts = ClusterSnapshot {
            server: self.server.clone(),
            home: home.clone(),
            ..ClusterSnapshot::default()
        };
        let mut found = match selected {
            None => BTreeMap::new(),
            Some(None) => {
                let denied = Denied::new("list", "namespaces", None);
                facts.denied.insert(denied);
                BTreeMap::new()
            }
            Some(Some(found)) => {
                facts.nothing_selected = found.is_empty();
                found
            }
        };
        // Named namespaces replace selected ones: their state can also be absent.
        found.extend(named);
        for (name, state) in found {
            if state == NamespaceState::Forbidden {
                let resource = format!("namespaces/{name}");
                facts
                    .denied
                    .insert(Denied::new("get", resource, Some(&name)));
            }
            // A selected namespace that is being deleted is not checked.
            if name == *home || fleet.named.contains(&name) || state == NamespaceState::Active {
                let place = NamespaceSnapshot {
                    state,
                    ..NamespaceSnapshot::default()
                };
                facts.places.insert(name, place);
            }
        }
        Ok(facts)
    }

    /// Reads the Secrets of the table: all of them at home, only the router Secret in the fleet.
    async fn table_secrets(
        &self,
        home: &Namespace,
        scope: &Scope,
    ) -> Result<Listed<(CopyRef, Observed)>, Failure> {
        let fleet = || scope.places.iter().filter(|name| *name != home);
        let everywhere = if scope.everywhere {
            self.routers_everywhere().await?
        } else {
            None
        };
        let router = |namespace: &Namespace| CopyRef::new(namespace, ROUTER.secret);
        let mut wanted: Vec<_> = BUNDLES
            .map(|bundle| CopyRef::new(home, bundle.secret))
            .into();
        let mut routers = Vec::new();
        match everywhere {
            None => wanted.extend(fleet().map(router)),
            Some(mut found) => routers.extend(fleet().map(|name| {
                let observed = found.remove(&SecretRef::new(name, ROUTER.secret));
                (router(name), observed.unwrap_or_default())
            })),
        }
        let mut listed = self.secrets_by_name(wanted.into_iter()).await?;
        listed.items.append(&mut routers);
        Ok(listed)
    }

    /// Lists Opaque Secrets of any name. If they may not be listed, it reads the Secrets with names
    /// that are known to hold copies.
    async fn other_secrets(&self, scope: &Scope) -> Listed<(CopyRef, Observed)> {
        let source = Source {
            api: "/api/v1".to_owned(),
            resource: "secrets",
            params: ListParams::default()
                .fields("type=Opaque")
                .limit(SECRETS_PAGE),
        };
        let keep = |body: SecretBody| {
            let namespace: Namespace = body.metadata.namespace.as_deref()?.parse().ok()?;
            let name = body.metadata.name.clone()?;
            let is_in_scope = scope.places.contains(&namespace);
            is_in_scope.then(|| (CopyRef { namespace, name }, body.into()))
        };
        let mut listed = self.lists(scope, &source, keep).await;
        let is_denied = |place: &&Namespace| {
            let mut lists = listed.denied.iter();
            lists.any(|list| list.namespace.as_ref().is_none_or(|at| at == *place))
        };
        let places: Vec<_> = scope.named.iter().filter(is_denied).cloned().collect();
        let candidates = places
            .into_iter()
            .flat_map(|namespace| KNOWN_COPIES.map(|name| CopyRef::new(&namespace, name)));
        match self.secrets_by_name(candidates).await {
            Ok(read) => {
                let existing = read
                    .items
                    .into_iter()
                    .filter(|(_, observed)| observed.live.is_some());
                listed.items.extend(existing);
                listed.denied.extend(read.denied);
            }
            Err(failure) => listed.add("secrets", None, Err(failure)),
        }
        listed
    }

    async fn pods(&self, scope: &Scope) -> Listed<(Pod, Stays)> {
        let keep = |body: PodBody| {
            let (pod, stays) = body.pod()?;
            let is_in_scope = scope.places.contains(&pod.namespace);
            is_in_scope.then_some((pod, stays))
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

    /// Reads the Secrets with these names.
    async fn secrets_by_name(
        &self,
        secrets: impl Iterator<Item = CopyRef>,
    ) -> Result<Listed<(CopyRef, Observed)>, Failure> {
        let reads = secrets.map(|at| async move {
            let found = self.secret_or_denied(&at.namespace, &at.name).await?;
            Ok::<_, Failure>((at, found))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await?;
        let mut listed = Listed::default();
        for (at, found) in found {
            match found {
                Ok(observed) => listed.items.push((at, observed)),
                Err(_) => listed.denied.push(Denied::secret(&at.namespace, &at.name)),
            }
        }
        Ok(listed)
    }

    /// Finds the namespaces of absent Secrets that do not exist either.
    async fn absent_namespaces(
        &self,
        copies: &[(CopyRef, Observed)],
    ) -> Result<BTreeSet<Namespace>, Failure> {
        let namespaces: BTreeSet<_> = copies
            .iter()
            .filter(|(_, observed)| observed.live.is_none())
            .map(|(at, _)| &at.namespace)
            .collect();
        let states = self
            .namespaces(&namespaces.into_iter().collect::<Vec<_>>())
            .await?;
        Ok(states
            .into_iter()
            .filter(|(_, state)| *state == NamespaceState::Absent)
            .map(|(name, _)| name)
            .collect())
    }

    /// Lists the ExternalSecrets of these namespaces.
    async fn externals_of(&self, scope: &Scope) -> Listed<ExternalSecret> {
        let mut listed = Listed::default();
        if scope.everywhere
            && let Ok(Some(externals)) = self.external_secrets(None).await
        {
            listed.items = externals;
            return listed;
        }
        let reads = scope
            .places
            .iter()
            .map(|name| async move { (name, self.external_secrets(Some(name)).await) });
        let found: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).collect().await;
        for (name, externals) in found {
            listed.add("externalsecrets", Some(name), externals);
        }
        listed
    }

    /// Reads a list in these namespaces and keeps what `keep` returns.
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
            let found = self
                .list_mapped(&path, params.clone(), resource, &keep)
                .await;
            // If Secrets may not be listed in any of many namespaces, trying each would be too slow.
            if matches!(found, Ok(Some(_))) || scope.places.len() > MANY && *resource == "secrets" {
                listed.add(resource, None, found);
                return listed;
            }
        }
        let keep = &keep;
        let reads = scope.places.iter().map(|namespace| async move {
            let path = format!("{api}/namespaces/{namespace}/{resource}");
            let found = self
                .list_mapped(&path, params.clone(), resource, keep)
                .await;
            (namespace, found)
        });
        let found: Vec<_> = stream::iter(reads).buffer_unordered(WIDTH).collect().await;
        for (namespace, found) in found {
            listed.add(resource, Some(namespace), found);
        }
        listed
    }
}

/// The result of a list: its objects, or the missing permission.
pub(in crate::io) fn or_denied<T>(
    found: Result<Option<T>, Failure>,
    resource: &str,
    namespace: Option<&Namespace>,
) -> Result<T, Denied> {
    let why = match found {
        Ok(Some(items)) => return Ok(items),
        Ok(None) => None,
        Err(failure) => Some(failure.message),
    };
    Err(Denied::new("list", resource, namespace).because(why))
}

impl<T> Listed<T> {
    /// Adds the result of a list: its objects, or the missing permission.
    fn add(
        &mut self,
        resource: &str,
        namespace: Option<&Namespace>,
        found: Result<Option<Vec<T>>, Failure>,
    ) {
        match or_denied(found, resource, namespace) {
            Ok(items) => self.items.extend(items),
            Err(denied) => self.denied.push(denied),
        }
    }
}
