//! Reads an entry of a store through the operator, with a temporary ExternalSecret.

use super::ephemeral::{EphemeralKind, LABEL, Temporaries, Temporary};
use super::wait::PATIENCE;
use super::wire::ExternalSecretBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::eso::objects::{Cause, ExternalSecret, StoreRef};
use crate::domain::eso::store_entry::{Entry, Field, Fields};
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get};
use crate::io::kube::wire::SecretBody;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The time limit if `--request-timeout` is off.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// The pause between two reads.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A read in progress.
struct Proof<'a> {
    cluster: &'a Cluster,
    temporaries: &'a Temporaries,
    external: Temporary,
    /// The Secret that the operator creates.
    secret: Temporary,
    store: &'a StoreRef,
    path: &'a str,
    deadline: Instant,
}

impl Cluster {
    /// Reads an entry through the operator. `name` is the name of the temporary ExternalSecret and of
    /// its Secret.
    ///
    /// The operator reports no versions: the version is 0 for an absent entry and 1 otherwise.
    ///
    /// # Errors
    /// The reason why the operator cannot read the entry (exit code 3).
    pub async fn read_via_eso(
        &self,
        temporaries: &Temporaries,
        version: &'static str,
        namespace: &Namespace,
        store: &StoreRef,
        path: &str,
        name: &str,
    ) -> Result<Entry, Failure> {
        let of_kind = |kind| Temporary {
            kind,
            namespace: namespace.clone(),
            name: name.to_owned(),
        };
        let proof = Proof {
            cluster: self,
            temporaries,
            external: of_kind(EphemeralKind::ExternalSecret(version)),
            secret: of_kind(EphemeralKind::Secret),
            store,
            path,
            deadline: Instant::now() + self.timeout().unwrap_or(LONGEST),
        };
        let outcome = proof.read().await;
        // An object that cannot be removed stays recorded. The end of the run tries again and reports it.
        let _ = self.remove(temporaries, &proof.external).await;
        let _ = self.remove(temporaries, &proof.secret).await;
        outcome
    }
}

impl Proof<'_> {
    async fn read(&self) -> Result<Entry, Failure> {
        loop {
            self.cluster.remove_leftover(&self.external).await?;
            self.cluster.remove_leftover(&self.secret).await?;
            self.temporaries.record(&self.secret);
            let object = self.object();
            let created = self
                .cluster
                .create_temporary(self.temporaries, &self.external, &object);
            if let Some(uid) = created.await?
                && let Some(entry) = self.wait_for_entry(&uid).await?
            {
                return Ok(entry);
            }
            // Another run uses the same names now.
            if self.has_timed_out() {
                return Err(self
                    .failure()
                    .cause("timed out: another run uses the same temporary objects")
                    .hint("wait until it has ended, then run this again"));
            }
            sleep(PAUSE).await;
        }
    }

    fn object(&self) -> serde_json::Value {
        let mut object = self.external.head();
        object["spec"] = json!({
            "refreshInterval": "0s",
            "secretStoreRef": { "kind": self.store.kind.as_str(), "name": self.store.name },
            "target": {
                "name": self.secret.name,
                "creationPolicy": "Owner",
                "deletionPolicy": "Retain",
                "template": { "metadata": { "labels": { LABEL: "true" } } },
            },
            "dataFrom": [{ "extract": { "key": self.path } }],
        });
        object
    }

    /// Waits for the operator; `None` if another run has replaced the object.
    async fn wait_for_entry(&self, uid: &str) -> Result<Option<Entry>, Failure> {
        let mut failing_since = None;
        loop {
            let Some(now) = self.read_external(uid).await? else {
                return Ok(None);
            };
            match now.condition.as_ref() {
                Some(condition) if condition.ready => {
                    if Cause::of(&condition.message) == Some(Cause::PathEmpty) {
                        return Ok(Some(entry(Some(Fields::new()))));
                    }
                    return self.read_fields(uid).await;
                }
                Some(_) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    match self.cause(&now).await? {
                        // The store has answered that the entry does not exist.
                        Some(Cause::PathMissing) => return Ok(Some(entry(None))),
                        cause
                            if since.elapsed() >= PATIENCE
                                || self.has_timed_out()
                                || cause.as_ref().is_some_and(Cause::is_final) =>
                        {
                            let (namespace, store) = (&self.external.namespace, self.store);
                            let failure = self.failure();
                            return Err(self.cluster.explain(failure, cause, namespace, store));
                        }
                        _ => {}
                    }
                }
                None if self.has_timed_out() => {
                    return Err(self.cluster.not_processed(self.failure()));
                }
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn read_external(&self, uid: &str) -> Result<Option<ExternalSecret>, Failure> {
        let answer = self.cluster.send(get(self.external.path())).await?;
        let attempt = self.cluster.attempt_on("get", &self.external);
        let found = answer.found(&attempt)?.and_then(ExternalSecretBody::read);
        Ok(found.filter(|found| found.uid == uid))
    }

    async fn cause(&self, now: &ExternalSecret) -> Result<Option<Cause>, Failure> {
        let EphemeralKind::ExternalSecret(version) = self.external.kind else {
            return Ok(None);
        };
        self.cluster.cause(version, now).await
    }

    /// Reads the fields that the operator has copied; `None` if the Secret is of another run.
    async fn read_fields(&self, uid: &str) -> Result<Option<Entry>, Failure> {
        let answer = self.cluster.send(get(self.secret.path())).await?;
        let attempt = self.cluster.attempt_on("get", &self.secret);
        let found: Option<SecretBody> = answer.found(&attempt)?;
        Ok(found.filter(|body| body.is_owned_by(uid)).map(|body| {
            let data = body.into_data().into_iter();
            entry(Some(data.map(|(key, value)| (key, field(value))).collect()))
        }))
    }

    fn failure(&self) -> Failure {
        Failure::unable(format!("cannot read {} through {}", self.path, self.store))
    }

    fn has_timed_out(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// Makes an entry with the version 0 or 1.
fn entry(fields: Option<Fields>) -> Entry {
    Entry {
        version: fields.is_some().into(),
        fields,
    }
}

fn field(value: LiveValue) -> Field {
    match value.text {
        Some(text) => Field::of_text(&text),
        None => Field {
            json: SecretValue::from("null"),
            text: None,
        },
    }
}
