//! The read phase of `verify`: the Secrets of home and fleet, and who reads them.
//!
//! What may not be read becomes a fact, not a failure. Of a fleet that is selected by labels
//! everything is read by lists across all namespaces, where that is permitted.

use super::cluster::{Cluster, WIDTH, get};
use super::environment;
use super::observe::{Claim, Fleet};
use super::wire::{SecretBody, VersionBody};
use super::workloads::{PodBody, WorkloadBody};
use crate::domain::bundles::{BUNDLES, ROUTER};
use crate::domain::facts::{ClusterFacts, CopyRef, Denied, Place};
use crate::domain::live::{NamespaceState, Observed};
use crate::domain::names::Namespace;
use crate::domain::ownership::Owner;
use crate::domain::workloads::Kind;
use crate::error::Failure;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use kube::core::params::ListParams;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Where each kind of workload is listed, and what RBAC calls it.
const WORKLOADS: [(Kind, &str, &str); 4] = [
    (Kind::StatefulSet, "/apis/apps/v1", "statefulsets"),
    (Kind::Deployment, "/apis/apps/v1", "deployments"),
    (Kind::DaemonSet, "/apis/apps/v1", "daemonsets"),
    (Kind::CronJob, "/apis/batch/v1", "cronjobs"),
];

/// What was listed, and where that was forbidden.
struct Listed<T> {
    items: Vec<T>,
    denied: Vec<Denied>,
}

/// Where something is listed.
struct Scope {
    places: Vec<Namespace>,
    /// Whether to try all namespaces at once first.
    everywhere: bool,
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
        fleet: &Fleet,
        copies: &BTreeSet<CopyRef>,
    ) -> Result<ClusterFacts, Failure> {
        let (version, states) = tokio::join!(self.version(), self.all_states(home, fleet));
        let (version, (mut states, nothing_selected)) = (version?, states?);
        // Of a namespace that was only selected and goes away there is nothing to say.
        states.retain(|name, state| {
            name == home || fleet.named.contains(name) || *state == NamespaceState::Active
        });
        let mut facts = ClusterFacts {
            server: self.server.clone(),
            version,
            now: environment::seconds_since_1970(),
            home: home.clone(),
            places: states
                .into_iter()
                .map(|(name, state)| {
                    let place = Place {
                        state,
                        ..Place::default()
                    };
                    (name, place)
                })
                .collect(),
            nothing_selected,
            copies: BTreeMap::new(),
            denied: BTreeSet::new(),
            probes: Vec::new(),
        };
        let scope = Scope {
            places: facts.places.keys().cloned().collect(),
            everywhere: fleet.selector.is_some(),
        };
        let opaque = ListParams::default().fields("type=Opaque");
        let lists = WORKLOADS.iter().map(|(kind, path, resource)| {
            let scope = &scope;
            async move {
                let listed: Listed<WorkloadBody> = self
                    .lists(scope, path, resource, ListParams::default())
                    .await?;
                Ok::<_, Failure>((*kind, listed))
            }
        });
        let (secrets, others, pods, claims, workloads, copied) = tokio::join!(
            self.table_secrets(home, &scope),
            self.lists::<SecretBody>(&scope, "/api/v1", "secrets", opaque),
            self.lists::<PodBody>(&scope, "/api/v1", "pods", ListParams::default()),
            self.all_claims(&scope),
            join_all(lists),
            self.copies(copies),
        );
        let (secrets, others, pods, claims) = (secrets?, others?, pods?, claims?);
        for (namespace, name, observed) in secrets.items {
            if let Some(place) = facts.places.get_mut(&namespace) {
                place.secrets.insert(name, observed);
            }
        }
        for body in others.items {
            let at = (
                body.namespace().map(str::parse),
                body.name().map(str::to_owned),
            );
            let (Some(Ok(namespace)), Some(name)) = at else {
                continue;
            };
            let place: Option<&mut Place> = facts.places.get_mut(&namespace);
            place
                .filter(|place| !place.secrets.contains_key(name.as_str()))
                .map(|place| place.others.insert(name, body.into()));
        }
        for pod in pods.items.into_iter().filter_map(PodBody::pod) {
            if let Some(place) = facts.places.get_mut(&pod.namespace) {
                place.pods.push(pod);
            }
        }
        facts.denied.extend(secrets.denied);
        facts.denied.extend(others.denied);
        facts.denied.extend(pods.denied);
        facts.denied.extend(claims.denied);
        for listed in workloads {
            let (kind, listed) = listed?;
            facts.denied.extend(listed.denied);
            for workload in listed
                .items
                .into_iter()
                .filter_map(|body| body.workload(kind))
            {
                if let Some(place) = facts.places.get_mut(&workload.namespace) {
                    place.workloads.push(workload);
                }
            }
        }
        for claim in claims.items {
            let place = claim.namespace.parse().ok();
            let place = place.and_then(|name: Namespace| facts.places.get_mut(&name));
            let observed = place.and_then(|place| {
                let name = BUNDLES.iter().find(|bundle| bundle.secret == claim.target);
                place.secrets.get_mut(name?.secret)
            });
            if let Some(observed) = observed.filter(|observed| observed.owner.is_none()) {
                observed.owner = Some(Owner::external_secret(&claim.name));
            }
        }
        let copied = copied?;
        facts.copies.extend(copied.items);
        facts.denied.extend(copied.denied);
        Ok(facts)
    }

    /// The server's version.
    async fn version(&self) -> Result<String, Failure> {
        let answer = self.send(get("/version".to_owned())).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok("of a version that you may not ask for".to_owned());
        }
        let body: VersionBody =
            answer.read(&self.attempt("get", "the version".to_owned(), None))?;
        Ok(body.shown())
    }

    /// The state of home and of each fleet namespace, and whether a selector matches nothing.
    async fn all_states(
        &self,
        home: &Namespace,
        fleet: &Fleet,
    ) -> Result<(BTreeMap<Namespace, NamespaceState>, bool), Failure> {
        let named: Vec<_> = std::iter::once(home).chain(&fleet.named).collect();
        let named = self.states(&named);
        let Some(selector) = &fleet.selector else {
            return Ok((named.await?, false));
        };
        let (named, selected) = tokio::join!(named, self.selected(selector));
        let mut states = selected?;
        let nothing = states.is_empty();
        states.extend(named?);
        Ok((states, nothing))
    }

    /// The Secrets of the table: all of them at home, the router Secret in the fleet.
    async fn table_secrets(
        &self,
        home: &Namespace,
        scope: &Scope,
    ) -> Result<Listed<(Namespace, &'static str, Observed)>, Failure> {
        let fleet = || scope.places.iter().filter(|name| *name != home);
        let everywhere = match scope.everywhere {
            true => self.routers_everywhere().await?,
            false => None,
        };
        let mut wanted: Vec<(&Namespace, &'static str)> =
            BUNDLES.iter().map(|bundle| (home, bundle.secret)).collect();
        let mut listed = Listed {
            items: Vec::new(),
            denied: Vec::new(),
        };
        match everywhere {
            None => wanted.extend(fleet().map(|name| (name, ROUTER.secret))),
            Some(mut found) => {
                let observed: BTreeMap<Namespace, Observed> = std::mem::take(&mut found)
                    .into_iter()
                    .map(|(at, observed)| (at.namespace, observed))
                    .collect();
                listed.items.extend(fleet().map(|name| {
                    let observed = observed.get(name).cloned().unwrap_or_default();
                    (name.clone(), ROUTER.secret, observed)
                }));
            }
        }
        let reads = wanted.into_iter().map(|(namespace, name)| async move {
            let found = self.peek(namespace, name).await?;
            Ok::<_, Failure>((namespace, name, found))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await?;
        for (namespace, name, found) in found {
            match found {
                Some(observed) => listed.items.push((namespace.clone(), name, observed)),
                None => listed.denied.push(Denied {
                    verb: "get",
                    resource: format!("secrets/{name}"),
                    namespace: Some(namespace.clone()),
                }),
            }
        }
        Ok(listed)
    }

    /// The Secrets that the operator names.
    async fn copies(
        &self,
        copies: &BTreeSet<CopyRef>,
    ) -> Result<Listed<(CopyRef, Observed)>, Failure> {
        let reads = copies.iter().map(|at| async move {
            let found = self.peek(&at.namespace, &at.name).await?;
            Ok::<_, Failure>((at.clone(), found))
        });
        let mut listed = Listed {
            items: Vec::new(),
            denied: Vec::new(),
        };
        for read in join_all(reads).await {
            match read? {
                (at, Some(observed)) => listed.items.push((at, observed)),
                (at, None) => listed.denied.push(Denied {
                    verb: "get",
                    resource: format!("secrets/{}", at.name),
                    namespace: Some(at.namespace),
                }),
            }
        }
        Ok(listed)
    }

    /// A Secret of any name; `None` where it may not be read.
    async fn peek(&self, namespace: &Namespace, name: &str) -> Result<Option<Observed>, Failure> {
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
    async fn all_claims(&self, scope: &Scope) -> Result<Listed<Claim>, Failure> {
        let denied = |namespace: Option<&Namespace>| Denied {
            verb: "list",
            resource: "externalsecrets".to_owned(),
            namespace: namespace.cloned(),
        };
        let mut listed = Listed {
            items: Vec::new(),
            denied: Vec::new(),
        };
        if scope.everywhere
            && let Some(claims) = self.claims(None).await?
        {
            listed.items = claims;
            return Ok(listed);
        }
        let reads = scope
            .places
            .iter()
            .map(|name| async move { Ok::<_, Failure>((name, self.claims(Some(name)).await?)) });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await?;
        for (name, claims) in found {
            match claims {
                Some(claims) => listed.items.extend(claims),
                None => listed.denied.push(denied(Some(name))),
            }
        }
        Ok(listed)
    }

    /// Everything of one kind in these namespaces.
    async fn lists<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        api: &str,
        resource: &str,
        params: ListParams,
    ) -> Result<Listed<T>, Failure> {
        let denied = |namespace: Option<&Namespace>| Denied {
            verb: "list",
            resource: resource.to_owned(),
            namespace: namespace.cloned(),
        };
        let mut listed = Listed {
            items: Vec::new(),
            denied: Vec::new(),
        };
        if scope.everywhere {
            let path = format!("{api}/{resource}");
            if let Some(items) = self.pages(&path, params.clone(), resource).await? {
                listed.items = items;
                return Ok(listed);
            }
        }
        let reads = scope.places.iter().map(|namespace| {
            let params = params.clone();
            async move {
                let path = format!("{api}/namespaces/{namespace}/{resource}");
                let items: Option<Vec<T>> = self.pages(&path, params, resource).await?;
                Ok::<_, Failure>((namespace, items))
            }
        });
        let found: Vec<_> = stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await?;
        for (namespace, items) in found {
            match items {
                Some(items) => listed.items.extend(items),
                None => listed.denied.push(denied(Some(namespace))),
            }
        }
        Ok(listed)
    }
}
