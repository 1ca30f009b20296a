//! What the commands of Path 2 share: what is served, which ExternalSecrets count, the store and what
//! the operator reads there.

use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{LiveSecret, NamespaceState};
use crate::domain::eso::comparison::{Difference, SecretData};
use crate::domain::eso::objects::{Cause, ExternalSecret, SecretStore, StoreRef, temporary_name};
use crate::domain::eso::store_entry::{Entries, Entry, Layout};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{BUNDLES, Bundle, ROUTER};
use crate::error::Failure;
use crate::io::eso::ephemeral::Temporaries;
use crate::io::eso::{Seen, Served};
use crate::io::kube::client::{Cluster, WIDTH};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::time::Duration;

/// The version of ExternalSecret that is served.
///
/// # Errors
/// Where none is, or that may not be asked (exit code 3).
pub async fn served(cluster: &Cluster, reach: &HintContext) -> Result<&'static str, Failure> {
    match cluster.served().await? {
        Served::Version(version) => Ok(version),
        Served::Nothing => Err(Failure::unable(
            "External Secrets Operator is not installed: the API server knows no ExternalSecret",
        )
        .hint("install it: https://external-secrets.io/latest/introduction/getting-started/")),
        Served::Forbidden => Err(Failure::unable(
            "you may not ask which version of ExternalSecret is served",
        )
        .hint(format!(
            "every user may by default; see {} get clusterrolebinding system:discovery",
            reach.kubectl
        ))),
    }
}

/// Tells whether an ExternalSecret makes one of the Secrets: any of them at home, that of the
/// tokens in the fleet.
pub fn is_of_the_table(
    external: &ExternalSecret,
    home: &Namespace,
    fleet: &BTreeSet<Namespace>,
) -> bool {
    let target = external.target.as_str();
    match external.namespace == *home {
        true => BUNDLES.iter().any(|bundle| bundle.secret == target),
        false => target == ROUTER.secret && fleet.contains(&external.namespace),
    }
}

/// How long the operator has for an ExternalSecret.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Refuses a home namespace that is not there.
///
/// # Errors
/// One that is absent or going away (exit code 3).
pub fn check_home(name: &Namespace, state: NamespaceState) -> Result<(), Failure> {
    match state {
        NamespaceState::Active | NamespaceState::Forbidden => Ok(()),
        NamespaceState::Absent => Err(Failure::unable(format!("namespace {name} does not exist"))
            .hint("name the one that has the Secrets with -n")),
        NamespaceState::Terminating => Err(Failure::unable(format!(
            "namespace {name} is being deleted"
        ))
        .hint("wait until it is gone")),
    }
}

/// The ExternalSecrets of these namespaces, as they are at this moment.
///
/// # Errors
/// Where those of one may not be listed (exit code 3).
pub async fn externals(
    cluster: &Cluster,
    version: &str,
    places: impl Iterator<Item = &Namespace>,
) -> Result<Vec<ExternalSecret>, Failure> {
    let reads = places.map(|place| cluster.all_external_secrets(version, place));
    let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// A failure where a Secret is not what it is to be.
///
/// # Errors
/// The keys of which it has other values, or which it has or lacks (exit code 3).
pub fn check_values(live: &LiveSecret, wanted: &SecretData) -> Result<(), Failure> {
    let odd = Difference::between(live, wanted).keys();
    match odd.is_empty() {
        true => Ok(()),
        false => Err(Failure::unable(format!(
            "it has other values than before: {}",
            odd.join(", ").replace(char::is_control, "?")
        ))),
    }
}

/// A store as a namespace sees it; `None` where it may not be read: the operator will tell.
///
/// # Errors
/// One that is not there (exit code 3).
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

/// Refuses a store that the operator cannot use.
///
/// # Errors
/// One that is not ready, with the cause (exit code 3).
pub async fn check_ready(
    cluster: &Cluster,
    namespace: &Namespace,
    store: &SecretStore,
) -> Result<(), Failure> {
    if store.is_ready() {
        return Ok(());
    }
    let cannot = Failure::unable(format!("{} cannot be used", store.at));
    let cause = cluster.store_cause(namespace, store).await?;
    Err(cluster.explain(cannot, cause, namespace, &store.at))
}

/// A store as the operator sees it, read through ExternalSecrets that live for a moment.
#[derive(Clone, Copy)]
pub struct Through<'a> {
    /// Where they are made.
    pub cluster: &'a Cluster,
    /// They, until they are removed.
    pub temporaries: &'a Temporaries,
    /// The version of ExternalSecret that is served.
    pub version: &'static str,
    /// The store.
    pub store: &'a StoreRef,
}

impl Through<'_> {
    /// What is at the path of a bundle, as a namespace sees it.
    ///
    /// # Errors
    /// Whatever keeps the operator from reading there (exit code 3).
    pub async fn read(
        &self,
        namespace: &Namespace,
        bundle: &Bundle,
        path: &str,
    ) -> Result<Entry, Failure> {
        let name = temporary_name("proof", bundle);
        self.cluster
            .read_through(
                self.temporaries,
                self.version,
                namespace,
                self.store,
                path,
                &name,
            )
            .await
    }

    /// Every entry of a layout.
    ///
    /// # Errors
    /// As those of [`Through::read`].
    pub async fn entries(
        &self,
        namespace: &Namespace,
        layout: &Layout,
    ) -> Result<Entries, Failure> {
        let reads = BUNDLES.map(|bundle| async move {
            let path = layout.path(bundle);
            let entry = self.read(namespace, bundle, &path).await?;
            Ok::<_, Failure>((path, entry))
        });
        // All of them are awaited, so that the same one is told whichever fails first.
        join_all(reads).await.into_iter().collect()
    }
}
