//! A store as External Secrets Operator reaches it, through temporary objects.

use super::ephemeral::{EphemeralKind, Temporaries, Temporary};
use super::wire::EsoBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{Cause, StoreRef, temporary_name};
use crate::domain::eso::store_entry::{Entries, Entry, Fields, Layout};
use crate::domain::table::{BUNDLES, Bundle};
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::written::Written;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// The time limit if `--request-timeout` is off.
const LONGEST: Duration = Duration::from_secs(30);
/// The pause between two reads.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A store that is reached through the operator.
#[derive(Clone, Copy)]
pub struct Through<'a> {
    pub cluster: &'a Cluster,
    /// The temporary objects that still have to be removed.
    pub temporaries: &'a Temporaries,
    /// The served API version of ExternalSecret.
    pub version: &'static str,
    pub store: &'a StoreRef,
}

impl Through<'_> {
    /// Reads the entry of a bundle, with the access that ExternalSecrets of `namespace` have.
    ///
    /// The operator reports no versions: the version is 0 for an absent entry and 1 otherwise.
    ///
    /// # Errors
    /// The reason why the operator cannot read the entry (exit code 3).
    pub async fn read(
        &self,
        namespace: &Namespace,
        bundle: &Bundle,
        path: &str,
    ) -> Result<Entry, Failure> {
        let kind = EphemeralKind::ExternalSecret(self.version);
        let name = temporary_name("proof", bundle);
        let operation = Operation::new(self, kind, namespace, name, path);
        let outcome = operation.read().await;
        operation.clean_up().await;
        outcome
    }

    /// Reads every entry of a layout.
    ///
    /// # Errors
    /// As [`Through::read`].
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
        // Await all, so that the failure reported does not depend on which read ends first.
        join_all(reads).await.into_iter().collect()
    }

    /// Makes the operator create the entry of a bundle, or leave an existing one unchanged.
    /// [`Written::Stale`] if another run has removed the temporary objects, so that it is unknown
    /// whether the entry was written.
    ///
    /// # Errors
    /// The reason why the operator cannot write the entry (exit code 3).
    pub async fn write(
        &self,
        namespace: &Namespace,
        bundle: &Bundle,
        path: &str,
        fields: &Fields,
    ) -> Result<Written, Failure> {
        let name = temporary_name("push", bundle);
        let operation = Operation::new(self, EphemeralKind::PushSecret, namespace, name, path);
        let outcome = operation.write(fields).await;
        operation.clean_up().await;
        outcome
    }
}

/// A read or write in progress.
pub(super) struct Operation<'a> {
    pub cluster: &'a Cluster,
    pub temporaries: &'a Temporaries,
    /// The served API version of stores.
    version: &'static str,
    pub store: &'a StoreRef,
    /// The ExternalSecret or PushSecret.
    pub object: Temporary,
    /// The Secret of the same name.
    pub secret: Temporary,
    pub path: &'a str,
    deadline: Instant,
}

impl<'a> Operation<'a> {
    fn new(
        through: &Through<'a>,
        kind: EphemeralKind,
        namespace: &Namespace,
        name: String,
        path: &'a str,
    ) -> Self {
        let object = Temporary {
            kind,
            namespace: namespace.clone(),
            name,
        };
        Self {
            cluster: through.cluster,
            temporaries: through.temporaries,
            version: through.version,
            store: through.store,
            secret: Temporary {
                kind: EphemeralKind::Secret,
                ..object.clone()
            },
            object,
            path,
            deadline: Instant::now() + through.cluster.timeout.unwrap_or(LONGEST),
        }
    }

    async fn clean_up(&self) {
        for at in [&self.object, &self.secret] {
            // An object that cannot be removed stays recorded. The end of the run tries again and
            // reports it.
            let _ = self.cluster.remove(self.temporaries, at).await;
        }
    }

    /// Reads the object; `None` if another run has replaced it.
    pub async fn find(&self, uid: &str) -> Result<Option<EsoBody>, Failure> {
        let (path, what) = (self.object.path(), self.object.to_string());
        let namespace = &self.object.namespace;
        let found: Option<EsoBody> = self.cluster.find(path, what, namespace).await?;
        Ok(found.filter(|found| found.uid() == uid))
    }

    /// Finds the cause why the object is not ready.
    pub async fn cause(&self, now: &EsoBody) -> Result<Option<Cause>, Failure> {
        let (namespace, condition) = (&self.object.namespace, now.condition());
        let (condition, store) = (condition.as_ref(), Some(self.store));
        self.cluster
            .why(self.version, namespace, now.uid(), condition, store)
            .await
    }

    /// Adds the cause to the failure of this operation.
    pub fn explain(&self, failure: Failure, cause: Option<Cause>) -> Failure {
        let namespace = &self.object.namespace;
        self.cluster.explain(failure, cause, namespace, self.store)
    }

    pub fn has_timed_out(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
