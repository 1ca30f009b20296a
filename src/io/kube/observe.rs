//! The read phase of a plan. It must not write.
//!
//! Named fleet namespaces are read one by one, which needs only Roles in those namespaces. A fleet
//! that a label selector matches is read by lists across all namespaces, so that the number of
//! requests does not grow with the fleet.

use super::client::{Cluster, WIDTH};
use super::wire::{ListBody, NamedBody, SecretBody};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observations};
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::table::{Bundle, ROUTER};
use crate::error::Failure;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// The number of items in a page of a list.
pub(in crate::io) const PAGE: u32 = 500;
/// The number of times that a paged LIST restarts after 410 Gone.
const RESTARTS: u32 = 3;

/// The namespaces besides home that get the router Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetScope {
    /// The namespaces of `--fleet-namespace`.
    pub named: BTreeSet<Namespace>,
    /// The label selector of `--fleet-selector`.
    pub selector: Option<String>,
}

/// The result of the read phase.
#[derive(Debug)]
pub struct Found {
    pub home: NamespaceState,
    /// The fleet namespaces, without home.
    pub fleet: BTreeMap<Namespace, NamespaceState>,
    pub secrets: Observations,
    /// The ExternalSecrets of these namespaces that may be listed.
    pub externals: Vec<ExternalSecret>,
    /// What could not be read and may matter.
    pub warnings: Vec<String>,
}

/// The part of the result that is about the fleet.
#[derive(Default)]
struct FleetFound {
    namespaces: BTreeMap<Namespace, NamespaceState>,
    secrets: Observations,
    /// `None` if ExternalSecrets may not be listed.
    externals: Option<Vec<ExternalSecret>>,
    /// Whether the selector matches no namespace.
    nothing_selected: bool,
}

impl Cluster {
    /// Reads these Secrets of the home namespace, and the router Secrets of the fleet.
    ///
    /// # Errors
    /// A Secret or list that cannot be read (exit code 3), or an invalid selector (2).
    pub async fn observe(
        &self,
        home: &Namespace,
        bundles: &[&'static Bundle],
        fleet: &FleetScope,
    ) -> Result<Found, Failure> {
        let (state, secrets, externals, rest) = tokio::join!(
            self.namespace(home),
            self.secrets(home, bundles),
            self.external_secrets(Some(home)),
            self.fleet(home, fleet),
        );
        let (state, externals, rest) = (state?, externals?, rest?);
        let mut found = Found {
            home: state,
            fleet: rest.namespaces,
            secrets: rest.secrets,
            externals: Vec::new(),
            warnings: Vec::new(),
        };
        found.secrets.extend(secrets?);
        if externals.is_none() || rest.externals.is_none() {
            found.warnings.push(
                "ExternalSecrets may not be listed, so it is unknown whether one of them is about \
                 to create a Secret"
                    .to_owned(),
            );
        }
        found.externals = externals
            .into_iter()
            .chain(rest.externals)
            .flatten()
            .collect();
        for external in &found.externals {
            if let Some(observed) = external.secret().and_then(|at| found.secrets.get_mut(&at)) {
                observed.claim(external);
            }
        }
        if rest.nothing_selected {
            found
                .warnings
                .push("the fleet selector matches no namespace".to_owned());
        }
        Ok(found)
    }

    /// Reads these Secrets of a namespace.
    ///
    /// # Errors
    /// A Secret that cannot be read (exit code 3).
    pub async fn secrets(
        &self,
        namespace: &Namespace,
        bundles: &[&'static Bundle],
    ) -> Result<Observations, Failure> {
        let all = bundles.iter();
        self.secrets_at(all.map(|bundle| SecretRef::new(namespace, bundle.secret)))
            .await
    }

    /// Reads these Secrets.
    async fn secrets_at(
        &self,
        all: impl Iterator<Item = SecretRef>,
    ) -> Result<Observations, Failure> {
        let reads = all.map(|at| async move {
            let observed = self.secret(&at).await?;
            Ok::<_, Failure>((at, observed))
        });
        // In their order, so that the reported failure does not depend on their timing.
        stream::iter(reads).buffered(WIDTH).try_collect().await
    }

    async fn fleet(&self, home: &Namespace, fleet: &FleetScope) -> Result<FleetFound, Failure> {
        let named: Vec<_> = fleet.named.iter().filter(|name| *name != home).collect();
        let Some(selector) = &fleet.selector else {
            let (namespaces, secrets, externals) = tokio::join!(
                self.namespaces(&named),
                self.secrets_at(named.iter().map(|name| SecretRef::new(name, ROUTER.secret))),
                try_join_all(named.iter().map(|name| self.external_secrets(Some(name)))),
            );
            // One namespace without permission is enough to make the whole list unknown.
            let externals: Option<Vec<Vec<ExternalSecret>>> = externals?.into_iter().collect();
            return Ok(FleetFound {
                namespaces: namespaces?,
                secrets: secrets?,
                externals: externals.map(|lists| lists.into_iter().flatten().collect()),
                nothing_selected: false,
            });
        };
        let (named, selected, everywhere, externals) = tokio::join!(
            self.namespaces(&named),
            self.selected_namespaces(selector),
            self.routers_everywhere(),
            self.external_secrets(None),
        );
        let mut namespaces = selected?;
        let nothing_selected = namespaces.is_empty();
        namespaces.remove(home);
        // Named namespaces replace selected ones: their state can also be absent.
        namespaces.extend(named?);
        let mut secrets = match everywhere? {
            Some(secrets) => secrets,
            None => {
                let all = namespaces.keys();
                self.secrets_at(all.map(|name| SecretRef::new(name, ROUTER.secret)))
                    .await?
            }
        };
        secrets.retain(|at, _| namespaces.contains_key(&at.namespace));
        for namespace in namespaces.keys() {
            let at = SecretRef::new(namespace, ROUTER.secret);
            secrets.entry(at).or_default();
        }
        Ok(FleetFound {
            namespaces,
            secrets,
            externals: externals?,
            nothing_selected,
        })
    }

    /// Reads the state of each of these namespaces.
    pub(in crate::io) async fn namespaces(
        &self,
        names: &[&Namespace],
    ) -> Result<BTreeMap<Namespace, NamespaceState>, Failure> {
        let reads = names.iter().map(|name| async move {
            Ok::<_, Failure>(((*name).clone(), self.namespace(name).await?))
        });
        stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await
    }

    /// Lists the namespaces that a label selector matches.
    ///
    /// # Errors
    /// Namespaces that may not be listed (exit code 3).
    async fn selected_namespaces(
        &self,
        selector: &str,
    ) -> Result<BTreeMap<Namespace, NamespaceState>, Failure> {
        self.matching_namespaces(selector).await?.ok_or_else(|| {
            let (reach, command) = (self.reach(), self.command);
            let (program, kubectl) = (&reach.program, &reach.kubectl);
            Failure::unable("namespaces may not be listed, so the fleet selector cannot be used")
                .hint(format!(
                    "name them with --fleet-namespace, or have an administrator run: {program} \
                     rbac {command} --fleet-selector LABELS --service-account NAMESPACE:NAME | \
                     {kubectl} apply -f -"
                ))
        })
    }

    /// Lists the namespaces that a label selector matches; `None` if they may not be listed.
    pub(in crate::io) async fn matching_namespaces(
        &self,
        selector: &str,
    ) -> Result<Option<BTreeMap<Namespace, NamespaceState>>, Failure> {
        let params = ListParams::default().limit(PAGE).labels(selector);
        let keep = |body: NamedBody| {
            let state = body.state();
            Some((body.metadata.name?.parse().ok()?, state))
        };
        let what = "namespaces of the fleet selector";
        let found = self
            .list_mapped("/api/v1/namespaces", params, what, keep)
            .await?;
        Ok(found.map(|found| found.into_iter().collect()))
    }

    /// Lists the router Secrets of all namespaces; `None` if they may not be listed.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn routers_everywhere(&self) -> Result<Option<Observations>, Failure> {
        let name = format!("metadata.name={}", ROUTER.secret);
        let params = ListParams::default().limit(PAGE).fields(&name);
        let keep = |body: SecretBody| {
            let namespace = body.metadata.namespace.as_deref()?.parse().ok()?;
            Some((SecretRef::new(&namespace, ROUTER.secret), body.into()))
        };
        let what = "router Secrets of all namespaces";
        let found = self
            .list_mapped("/api/v1/secrets", params, what, keep)
            .await?;
        Ok(found.map(|found| found.into_iter().collect()))
    }

    /// Lists the names of the pods of a namespace by uid; `None` if they may not be listed.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn pods_of(
        &self,
        namespace: &Namespace,
    ) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let keep = |body: NamedBody| Some((body.metadata.uid?, body.metadata.name?));
        let params = ListParams::default().limit(PAGE);
        let found = self.list_mapped(&path, params, "pods", keep).await?;
        Ok(found.map(|found| found.into_iter().collect()))
    }

    /// Reads a list page by page and keeps what `keep` returns; `None` if the list is forbidden.
    /// `what` describes the list for error messages.
    pub(in crate::io) async fn list_mapped<T: DeserializeOwned, U>(
        &self,
        path: &str,
        mut params: ListParams,
        what: &str,
        keep: impl Fn(T) -> Option<U>,
    ) -> Result<Option<Vec<U>>, Failure> {
        let mut items = Vec::new();
        let mut restarts = 0;
        loop {
            let request = Request::new(path).list(&params).map_err(|_| {
                Failure::usage(format!("cannot list the {what}")).hint("check the selector")
            })?;
            let answer = self.send(request).await?;
            match answer.status {
                StatusCode::FORBIDDEN => return Ok(None),
                // The continue token has expired, so the list starts again.
                StatusCode::GONE if params.continue_token.is_some() && restarts < RESTARTS => {
                    restarts += 1;
                    items.clear();
                    params.continue_token = None;
                    continue;
                }
                StatusCode::BAD_REQUEST if params.label_selector.is_some() => {
                    return Err(Failure::usage("--fleet-selector is not a label selector")
                        .hint("as for kubectl: key=value, key!=value, key in (a,b), key"));
                }
                _ => {}
            }
            let page: ListBody<T> = answer.read(&self.attempt("list", what.to_owned(), None))?;
            items.extend(page.items.into_iter().filter_map(&keep));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(Some(items)),
            }
        }
    }
}
