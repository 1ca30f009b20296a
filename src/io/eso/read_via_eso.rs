//! What a store holds, as the operator sees it: read through an ExternalSecret that lives for a
//! moment.

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

/// How long it is waited for, where requests may take any time.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// The pause between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A proof that is under way.
struct Proof<'a> {
    cluster: &'a Cluster,
    temporaries: &'a Temporaries,
    external: Temporary,
    /// The Secret that the operator makes.
    secret: Temporary,
    store: &'a StoreRef,
    path: &'a str,
    deadline: Instant,
}

impl Cluster {
    /// What a store holds at a path, as the operator sees it. `name` is that of the temporary
    /// ExternalSecret and of its Secret.
    ///
    /// The version of the entry is 0 where there is none, else 1.
    ///
    /// # Errors
    /// Whatever keeps the operator from reading there, in words (exit code 3).
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
        // What cannot be removed now stays written down: the end of the run tries again, and tells.
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
            self.temporaries.note(&self.secret);
            let object = self.object();
            let made = self.cluster.make(self.temporaries, &self.external, &object);
            if let Some(uid) = made.await?
                && let Some(entry) = self.follow(&uid).await?
            {
                return Ok(entry);
            }
            // Another run uses the same names at this moment.
            if self.is_over() {
                return Err(self
                    .cannot()
                    .cause("another run is in the way")
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

    /// Waits for the operator; `None` where the object has been replaced by that of another run.
    async fn follow(&self, uid: &str) -> Result<Option<Entry>, Failure> {
        let mut failing_since = None;
        loop {
            let Some(now) = self.look(uid).await? else {
                return Ok(None);
            };
            match now.condition.as_ref() {
                Some(condition) if condition.ready => {
                    let empty = Cause::of(&condition.message) == Some(Cause::PathEmpty);
                    return match empty {
                        true => Ok(Some(entry(Some(Fields::new())))),
                        false => self.fields(uid).await,
                    };
                }
                Some(_) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    match self.cause(&now).await? {
                        // The store has answered: it will not change its mind.
                        Some(Cause::PathMissing) => return Ok(Some(entry(None))),
                        cause
                            if since.elapsed() >= PATIENCE
                                || self.is_over()
                                || cause.as_ref().is_some_and(Cause::is_final) =>
                        {
                            let (namespace, store) = (&self.external.namespace, self.store);
                            let cannot = self.cannot();
                            return Err(self.cluster.explain(cannot, cause, namespace, store));
                        }
                        _ => {}
                    }
                }
                None if self.is_over() => return Err(self.cluster.not_processed(self.cannot())),
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn look(&self, uid: &str) -> Result<Option<ExternalSecret>, Failure> {
        let answer = self.cluster.send(get(self.external.path())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let attempt = self.cluster.attempt_on("get", &self.external);
        let found = answer.read::<ExternalSecretBody>(&attempt)?.read();
        Ok(found.filter(|found| found.uid == uid))
    }

    async fn cause(&self, now: &ExternalSecret) -> Result<Option<Cause>, Failure> {
        let EphemeralKind::ExternalSecret(version) = self.external.kind else {
            return Ok(None);
        };
        self.cluster.cause(version, now).await
    }

    /// The fields that the operator has copied; `None` where the Secret is another run's.
    async fn fields(&self, uid: &str) -> Result<Option<Entry>, Failure> {
        let answer = self.cluster.send(get(self.secret.path())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let attempt = self.cluster.attempt_on("get", &self.secret);
        let body: SecretBody = answer.read(&attempt)?;
        if !body.is_owned_by(uid) {
            return Ok(None);
        }
        let fields = body.into_data().into_iter();
        let fields = fields.map(|(key, value)| (key, field(value)));
        Ok(Some(entry(Some(fields.collect()))))
    }

    fn cannot(&self) -> Failure {
        Failure::unable(format!("cannot read {} through {}", self.path, self.store))
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// An entry as the operator shows it, which has no versions.
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
