//! Waiting for the operator.

use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{Cause, ExternalSecret, SecretStore};
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the operator may call an ExternalSecret not ready before that is taken as its last word.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(100);

impl Cluster {
    /// Waits until the operator has worked off an ExternalSecret as it is now, and not as it was
    /// when its `synced` was that `before`.
    ///
    /// # Errors
    /// Why it does not work, as far as the operator tells; an operator that does not come in time;
    /// one that is gone (exit code 3).
    pub async fn settled(
        &self,
        version: &str,
        namespace: &Namespace,
        name: &str,
        before: &str,
        deadline: Option<Instant>,
    ) -> Result<ExternalSecret, Failure> {
        let started = Instant::now();
        loop {
            let now = self.external_secret(version, namespace, name).await?;
            let now = now.ok_or_else(|| Failure::unable("it was deleted meanwhile"))?;
            let condition = now.condition.as_ref();
            let ready = condition.is_some_and(|condition| condition.ready);
            if now.synced != before && now.is_settled() && ready {
                return Ok(now);
            }
            let over = deadline.is_some_and(|end| Instant::now() >= end);
            let refused = condition.is_some() && !ready && started.elapsed() >= PATIENCE;
            if over || refused {
                return Err(match self.cause(version, &now).await? {
                    Some(cause) => Failure::unable(cause.describe()),
                    None if over => Failure::unable("the operator has not worked on it in time"),
                    None => Failure::unable("the operator does not say why"),
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// The store when the operator has judged it, anew where it was not ready: by itself it looks
    /// again every five minutes only.
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

/// Tells whether the operator found an entry without fields, which it calls a success.
pub fn is_empty(external: &ExternalSecret) -> bool {
    let condition = external.condition.as_ref();
    let cause = condition.and_then(|condition| Cause::of(&condition.message));
    cause == Some(Cause::PathEmpty)
}
