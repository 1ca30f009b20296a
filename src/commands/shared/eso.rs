//! Checks and reads that several Path 2 commands need: the served API version, the ExternalSecrets
//! of the table, the state of the store, and what External Secrets Operator reads there.
//!
//! Writes nothing.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{LiveSecret, NamespaceState};
use crate::domain::eso::comparison::{Difference, SecretData};
use crate::domain::eso::objects::{Cause, ExternalSecret, SecretStore, StoreRef};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::error::Failure;
use crate::io::eso::{Seen, Served};
use crate::io::kube::client::{Cluster, WIDTH};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::time::Duration;

/// The API version of ExternalSecret that the server serves.
///
/// # Errors
/// No version is served, or discovery is forbidden (exit code 3).
pub async fn served(cluster: &Cluster, reach: &HintContext) -> Result<&'static str, Failure> {
    match cluster.served().await? {
        Served::Version(version) => Ok(version),
        Served::Nothing => Err(Failure::unable(
            "External Secrets Operator is not installed: the API server does not serve \
             ExternalSecret",
        )
        .hint("install it: https://external-secrets.io/latest/introduction/getting-started/")),
        Served::Forbidden => Err(Failure::unable(
            "API discovery is forbidden, so the version of ExternalSecret is unknown",
        )
        .hint(format!(
            "every user is allowed to by default; see {} get clusterrolebinding system:discovery",
            reach.kubectl
        ))),
    }
}

/// True if an ExternalSecret targets a Secret of the table: any of them in the home namespace, the
/// router Secret in a fleet namespace.
pub fn is_of_the_table(
    external: &ExternalSecret,
    home: &Namespace,
    fleet: &BTreeSet<Namespace>,
) -> bool {
    let target = external.target.as_str();
    if external.namespace == *home {
        BUNDLES.iter().any(|bundle| bundle.secret == target)
    } else {
        target == ROUTER.secret && fleet.contains(&external.namespace)
    }
}

/// How long External Secrets Operator may take to reconcile one ExternalSecret.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Checks that the home namespace can be used.
///
/// # Errors
/// A namespace that does not exist or is being deleted (exit code 3).
pub fn check_home(name: &Namespace, state: NamespaceState) -> Result<(), Failure> {
    match state {
        NamespaceState::Active | NamespaceState::Forbidden => Ok(()),
        NamespaceState::Absent => Err(Failure::unable(format!("namespace {name} does not exist"))
            .hint("name the namespace of the Secrets with -n")),
        NamespaceState::Terminating => Err(Failure::unable(format!(
            "namespace {name} is being deleted"
        ))
        .hint("wait until it is gone")),
    }
}

/// Lists the ExternalSecrets of these namespaces.
///
/// # Errors
/// A namespace in which listing them is forbidden (exit code 3).
pub async fn externals(
    cluster: &Cluster,
    version: &str,
    namespaces: impl Iterator<Item = &Namespace>,
) -> Result<Vec<ExternalSecret>, Failure> {
    let reads = namespaces.map(|namespace| cluster.all_external_secrets(version, namespace));
    let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Checks that a Secret holds exactly these values.
///
/// # Errors
/// Names the keys that differ, are missing or are not wanted (exit code 3).
pub fn check_values(live: &LiveSecret, wanted: &SecretData) -> Result<(), Failure> {
    let differing = Difference::between(live, wanted).keys();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::unable(format!(
        "it does not hold the expected values: {}",
        differing.join(", ").replace(char::is_control, "?")
    )))
}

/// Reads a SecretStore or ClusterSecretStore. `None` if reading it is forbidden: an unusable store
/// then shows when the operator uses it.
///
/// # Errors
/// A store that does not exist (exit code 3).
pub async fn find_store(
    cluster: &Cluster,
    version: &str,
    namespace: &Namespace,
    at: &StoreRef,
) -> Result<Option<SecretStore>, Failure> {
    match cluster.secret_store(version, namespace, at).await? {
        Seen::There(store) => Ok(Some(store)),
        Seen::Forbidden => Ok(None),
        Seen::Absent => Err(Failure::unable(format!("there is no {at}"))
            .hint(Cause::StoreAbsent.remedy(at, namespace, cluster.reach()))),
    }
}

/// Checks that a store is ready.
///
/// # Errors
/// A store that is not ready, with the cause from its status and events (exit code 3).
pub async fn check_ready(
    cluster: &Cluster,
    namespace: &Namespace,
    store: &SecretStore,
) -> Result<(), Failure> {
    if store.is_ready() {
        return Ok(());
    }
    let failure = Failure::unable(format!("{} cannot be used", store.at));
    let cause = cluster.store_cause(namespace, store).await?;
    Err(cluster.explain(failure, cause, namespace, &store.at))
}
