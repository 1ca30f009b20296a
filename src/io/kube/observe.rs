//! The read phase: everything that a plan needs, all at once.
//!
//! A fleet that is named is read namespace by namespace, which Roles in those namespaces allow. A
//! fleet that is selected by labels is read by lists across all namespaces, so that the number of
//! requests does not grow with it.

use super::client::{Cluster, WIDTH};
use super::wire::{ListBody, NamedBody, NamespaceBody, SecretBody};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observations, Observed};
use crate::domain::eso::objects::ExternalSecret;
use crate::domain::table::{Bundle, ROUTER};
use crate::error::Failure;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use kube::core::Request;
use kube::core::params::ListParams;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// How many items a page of a list has.
pub(in crate::io) const PAGE: u32 = 500;
/// How often a list begins again whose rest is no longer to be had.
const RESTARTS: u32 = 3;

/// Which namespaces get the router Secret beside home.
#[derive(Clone, Debug, Default)]
pub struct FleetScope {
    /// Those that are named.
    pub named: BTreeSet<Namespace>,
    /// Those that a label selector matches.
    pub selector: Option<String>,
}

/// What the read phase found.
#[derive(Debug)]
pub struct Found {
    /// The home namespace.
    pub home: NamespaceState,
    /// The fleet namespaces, without home.
    pub fleet: BTreeMap<Namespace, NamespaceState>,
    /// The Secrets.
    pub secrets: Observations,
    /// The ExternalSecrets there, as far as they may be listed.
    pub externals: Vec<ExternalSecret>,
    /// What could not be seen and may matter.
    pub warnings: Vec<String>,
}

/// What was found in the fleet.
#[derive(Default)]
struct FleetFound {
    namespaces: BTreeMap<Namespace, NamespaceState>,
    secrets: Observations,
    /// `None` where ExternalSecrets may not be listed.
    claims: Option<Vec<ExternalSecret>>,
    /// Whether there is a selector that matches no namespace.
    nothing_selected: bool,
}

impl Cluster {
    /// Reads these Secrets of the home namespace, and the router Secrets of the fleet.
    ///
    /// # Errors
    /// A Secret or list that cannot be read (exit code 3); a selector that is none (2).
    pub async fn observe(
        &self,
        home: &Namespace,
        bundles: &[&'static Bundle],
        fleet: &FleetScope,
    ) -> Result<Found, Failure> {
        let (state, secrets, claims, rest) = tokio::join!(
            self.namespace(home),
            self.secrets(home, bundles),
            self.external_secrets(Some(home)),
            self.fleet(home, fleet),
        );
        let (state, claims, rest) = (state?, claims?, rest?);
        let mut found = Found {
            home: state,
            fleet: rest.namespaces,
            secrets: rest.secrets,
            externals: Vec::new(),
            warnings: Vec::new(),
        };
        found.secrets.extend(secrets?);
        if claims.is_none() || rest.claims.is_none() {
            found.warnings.push(
                "ExternalSecrets may not be listed, so a Secret that one of them is about to make \
                 is not noticed"
                    .to_owned(),
            );
        }
        found.externals = claims.into_iter().chain(rest.claims).flatten().collect();
        let claims = found.externals.iter().filter(|claim| claim.makes_secret());
        let claims: BTreeMap<_, _> = claims
            .map(|claim| ((&claim.namespace, claim.target.as_str()), claim))
            .collect();
        for (at, observed) in &mut found.secrets {
            if let Some(claim) = claims.get(&(&at.namespace, at.name)) {
                observed.claim(claim);
            }
        }
        if rest.nothing_selected {
            found
                .warnings
                .push("the fleet selector matches no namespace".to_owned());
        }
        Ok(found)
    }

    /// Reads these Secrets of a namespace, and nothing else.
    ///
    /// # Errors
    /// One that cannot be read (exit code 3).
    pub async fn secrets(
        &self,
        namespace: &Namespace,
        bundles: &[&'static Bundle],
    ) -> Result<Observations, Failure> {
        let reads = bundles.iter().map(|bundle| async {
            let at = SecretRef {
                namespace: namespace.clone(),
                name: bundle.secret,
            };
            let observed = self.secret(&at).await?;
            Ok::<_, Failure>((at, observed))
        });
        // All of them are awaited, so that the same one is told whichever fails first.
        join_all(reads).await.into_iter().collect()
    }

    async fn fleet(&self, home: &Namespace, fleet: &FleetScope) -> Result<FleetFound, Failure> {
        let named: Vec<_> = fleet.named.iter().filter(|name| *name != home).collect();
        let Some(selector) = &fleet.selector else {
            let (namespaces, secrets, claims) = tokio::join!(
                self.states(&named),
                self.routers(named.iter().copied()),
                try_join_all(named.iter().map(|name| self.external_secrets(Some(name)))),
            );
            // One that is forbidden makes the whole uncertain.
            let claims: Option<Vec<Vec<ExternalSecret>>> = claims?.into_iter().collect();
            return Ok(FleetFound {
                namespaces: namespaces?,
                secrets: secrets?,
                claims: claims.map(|claims| claims.into_iter().flatten().collect()),
                nothing_selected: false,
            });
        };
        let (named, selected, everywhere, claims) = tokio::join!(
            self.states(&named),
            self.selected(selector),
            self.routers_everywhere(),
            self.external_secrets(None),
        );
        let mut namespaces = selected?;
        let nothing_selected = namespaces.is_empty();
        namespaces.remove(home);
        // A state of one that is named tells more: it can be absent.
        namespaces.extend(named?);
        let mut secrets = match everywhere? {
            Some(secrets) => secrets,
            None => self.routers(namespaces.keys()).await?,
        };
        secrets.retain(|at, _| namespaces.contains_key(&at.namespace));
        for namespace in namespaces.keys() {
            let at = SecretRef {
                namespace: namespace.clone(),
                name: ROUTER.secret,
            };
            secrets.entry(at).or_default();
        }
        Ok(FleetFound {
            namespaces,
            secrets,
            claims: claims?,
            nothing_selected,
        })
    }

    /// The state of each of these namespaces.
    pub(in crate::io) async fn states(
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

    /// The namespaces that a label selector matches.
    async fn selected(
        &self,
        selector: &str,
    ) -> Result<BTreeMap<Namespace, NamespaceState>, Failure> {
        self.matching(selector).await?.ok_or_else(|| {
            let (reach, command) = (self.reach(), self.command());
            let (program, kubectl) = (&reach.program, &reach.kubectl);
            Failure::unable("namespaces may not be listed, so the fleet selector finds none").hint(
                format!(
                    "name them with --fleet-namespace, or have an administrator run: {program} \
                     rbac {command} --fleet-selector LABELS --service-account NAMESPACE:NAME | \
                     {kubectl} apply -f -"
                ),
            )
        })
    }

    /// The namespaces that a label selector matches; `None` where they may not be listed.
    pub(in crate::io) async fn matching(
        &self,
        selector: &str,
    ) -> Result<Option<BTreeMap<Namespace, NamespaceState>>, Failure> {
        let params = ListParams::default().labels(selector);
        let what = "namespaces of the fleet selector";
        let bodies: Option<Vec<NamespaceBody>> =
            self.pages("/api/v1/namespaces", params, what).await?;
        let state = |body: NamespaceBody| {
            let state = body.state();
            Some((body.metadata.name?.parse().ok()?, state))
        };
        Ok(bodies.map(|bodies| bodies.into_iter().filter_map(state).collect()))
    }

    /// The router Secret of each of these namespaces.
    async fn routers(
        &self,
        names: impl Iterator<Item = &Namespace>,
    ) -> Result<Observations, Failure> {
        let reads = names.map(|name| async move {
            let at = SecretRef {
                namespace: name.clone(),
                name: ROUTER.secret,
            };
            let observed = self.secret(&at).await?;
            Ok::<_, Failure>((at, observed))
        });
        stream::iter(reads)
            .buffer_unordered(WIDTH)
            .try_collect()
            .await
    }

    /// The router Secrets of all namespaces; `None` where they may not be listed.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn routers_everywhere(&self) -> Result<Option<Observations>, Failure> {
        let params = ListParams::default().fields(&format!("metadata.name={}", ROUTER.secret));
        let bodies: Option<Vec<SecretBody>> = self
            .pages(
                "/api/v1/secrets",
                params,
                "router Secrets of all namespaces",
            )
            .await?;
        let observed = |body: SecretBody| {
            let at = SecretRef {
                namespace: body.namespace()?.parse().ok()?,
                name: ROUTER.secret,
            };
            Some((at, Observed::from(body)))
        };
        Ok(bodies.map(|bodies| bodies.into_iter().filter_map(observed).collect()))
    }

    /// The pods of a namespace, by uid with their names; `None` where they may not be listed.
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
        let found = self.kept(&path, params, "pods", keep).await?;
        Ok(found.map(|found| found.into_iter().collect()))
    }

    /// A list, page by page; `None` where it is forbidden.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        params: ListParams,
        what: &str,
    ) -> Result<Option<Vec<T>>, Failure> {
        self.kept(path, params.limit(PAGE), what, Some).await
    }

    /// What of a list is to be kept, page by page; `None` where it is forbidden.
    pub(in crate::io) async fn kept<T: DeserializeOwned, U>(
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
                Failure::usage(format!("the {what} cannot be asked for")).hint("check the selector")
            })?;
            let answer = self.send(request).await?;
            match answer.status {
                StatusCode::FORBIDDEN => return Ok(None),
                // The rest of the list is no longer to be had: from the start again.
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
