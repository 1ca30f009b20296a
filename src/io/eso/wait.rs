//! Waits for the operator to process an object. It must not change a Secret.

use super::external_ref::ExternalRef;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{Cause, ExternalSecret, SecretStore};
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The time that an ExternalSecret or store may be not ready before that counts as final.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two reads.
pub const PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    /// Waits until the operator has synced the current version of an ExternalSecret. `before` is the
    /// `synced` of the version before the change.
    ///
    /// # Errors
    /// The reason of the operator, a timeout, or an ExternalSecret that was deleted (exit code 3).
    pub async fn settled(
        &self,
        at: ExternalRef<'_>,
        before: &str,
        deadline: Option<Instant>,
    ) -> Result<ExternalSecret, Failure> {
        let started = Instant::now();
        loop {
            let now = self
                .external_secret(at)
                .await?
                .ok_or_else(|| Failure::unable("it was deleted during the wait"))?;
            let condition = now.condition.as_ref();
            let ready = condition.is_some_and(|condition| condition.ready);
            if now.synced != before && now.is_settled() && ready {
                return Ok(now);
            }
            let timed_out = deadline.is_some_and(|end| Instant::now() >= end);
            let has_failed = condition.is_some() && !ready && started.elapsed() >= PATIENCE;
            if timed_out || has_failed {
                return Err(match self.cause(at.version, &now).await? {
                    Some(cause) => Failure::unable(cause.describe()),
                    None if timed_out => {
                        Failure::unable("timed out: the operator has not processed it")
                    }
                    None => Failure::unable("the operator reports no reason"),
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until a store is ready, at most [`PATIENCE`], and gives its last state. If it is not ready,
    /// the operator is asked to validate it now: by itself it does so only every five minutes.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn wait_until_ready(
        &self,
        version: &str,
        namespace: &Namespace,
        mut store: SecretStore,
    ) -> Result<SecretStore, Failure> {
        if store.condition.is_some() && !store.is_ready() {
            self.refresh_store(version, namespace, &store.at).await?;
        }
        let end = Instant::now() + PATIENCE;
        while !store.is_ready() && Instant::now() < end {
            sleep(PAUSE).await;
            let seen = self.secret_store(version, namespace, &store.at).await?;
            store = seen.there().unwrap_or(store);
        }
        Ok(store)
    }
}

/// Checks whether the entry of an ExternalSecret has no fields, which the operator reports as success.
pub fn is_empty(external: &ExternalSecret) -> bool {
    let condition = external.condition.as_ref();
    let cause = condition.and_then(|condition| Cause::of(&condition.message));
    cause == Some(Cause::PathEmpty)
}
