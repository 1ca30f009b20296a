//! Writes an entry into a store through the operator, with a temporary PushSecret and Secret.
//!
//! An existing entry must not be overwritten.

use super::ephemeral::{EphemeralKind, PUSH_VERSION, Temporaries, Temporary};
use super::read_via_eso::{LONGEST, PAUSE};
use super::wait::PATIENCE;
use super::wire::PushSecretBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::eso::objects::{Cause, StoreRef};
use crate::domain::eso::store_entry::Fields;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The operator has written the entry, or has left an existing one unchanged.
    Done,
    /// Another run has removed the objects, so it is unknown whether the entry was written.
    Disturbed,
}

/// A push in progress.
struct Push<'a> {
    cluster: &'a Cluster,
    temporaries: &'a Temporaries,
    push: Temporary,
    secret: Temporary,
    /// The API version of stores.
    version: &'static str,
    store: &'a StoreRef,
    path: &'a str,
}

/// The entry to write, and the store.
#[derive(Clone, Copy, Debug)]
pub struct PushTarget<'a> {
    /// The API version of ExternalSecrets and stores.
    pub version: &'static str,
    /// The namespace of the temporary objects.
    pub namespace: &'a Namespace,
    pub store: &'a StoreRef,
    pub path: &'a str,
}

impl Cluster {
    /// Checks whether the server serves PushSecrets. If that is forbidden, the result is also `true`.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn serves_push_secrets(&self) -> Result<bool, Failure> {
        let what = "the PushSecret API";
        let serves = self
            .serves_resource(PUSH_VERSION, "pushsecrets", what)
            .await?;
        Ok(serves.unwrap_or(true))
    }

    /// Makes the operator create an entry if it does not exist. `name` is the name of the temporary
    /// PushSecret and of its Secret.
    ///
    /// # Errors
    /// The reason why the operator cannot write the entry (exit code 3).
    pub async fn write_via_eso(
        &self,
        temporaries: &Temporaries,
        target: PushTarget<'_>,
        name: &str,
        fields: &Fields,
    ) -> Result<Pushed, Failure> {
        let of_kind = |kind| Temporary {
            kind,
            namespace: target.namespace.clone(),
            name: name.to_owned(),
        };
        let push = Push {
            cluster: self,
            temporaries,
            push: of_kind(EphemeralKind::PushSecret),
            secret: of_kind(EphemeralKind::Secret),
            version: target.version,
            store: target.store,
            path: target.path,
        };
        let outcome = push.run(fields).await;
        // An object that cannot be removed stays recorded. The end of the run tries again and reports it.
        let _ = self.remove(temporaries, &push.push).await;
        let _ = self.remove(temporaries, &push.secret).await;
        outcome
    }
}

impl Push<'_> {
    async fn run(&self, fields: &Fields) -> Result<Pushed, Failure> {
        let (cluster, temporaries) = (self.cluster, self.temporaries);
        cluster.remove_leftover(&self.push).await?;
        let secret = self.secret_object(fields);
        let secret = cluster
            .create_temporary(temporaries, &self.secret, &secret)
            .await?;
        let Some(secret) = secret else {
            return Ok(Pushed::Disturbed);
        };
        let push = self.push_object();
        match cluster
            .create_temporary(temporaries, &self.push, &push)
            .await?
        {
            Some(push) => self.wait_for_push(&push, &secret).await,
            None => Ok(Pushed::Disturbed),
        }
    }

    fn secret_object(&self, fields: &Fields) -> Value {
        let data: Map<_, _> = fields
            .iter()
            .filter_map(|(key, field)| Some((key, field.text.as_ref()?)))
            .map(|(key, text)| {
                let value = LiveValue::encode(text).base64;
                (key.clone(), Value::from(value.expose()))
            })
            .collect();
        let mut object = self.secret.head();
        object["type"] = json!("Opaque");
        object["data"] = Value::Object(data);
        object
    }

    /// Makes a PushSecret without a refresh interval, so that the operator pushes once. Otherwise the
    /// PushSecret of a killed run could create a deleted entry again.
    fn push_object(&self) -> Value {
        let mut object = self.push.head();
        object["spec"] = json!({
            "refreshInterval": "0s",
            "updatePolicy": "IfNotExists",
            "deletionPolicy": "None",
            "secretStoreRefs": [{ "kind": self.store.kind.as_str(), "name": self.store.name }],
            "selector": { "secret": { "name": self.secret.name } },
            "data": [{ "match": { "remoteRef": { "remoteKey": self.path } } }],
        });
        object
    }

    /// Waits for the operator. The arguments are the uids of the PushSecret and of the Secret.
    async fn wait_for_push(&self, push: &str, secret: &str) -> Result<Pushed, Failure> {
        let deadline = Instant::now() + self.cluster.timeout().unwrap_or(LONGEST);
        let mut failing_since = None;
        loop {
            let Some(now) = self.read_push(push).await? else {
                return Ok(Pushed::Disturbed);
            };
            let timed_out = Instant::now() >= deadline;
            match now.condition() {
                Some(condition) if condition.ready => return Ok(Pushed::Done),
                Some(condition) => {
                    if !self.cluster.has_temporary(&self.secret, secret).await? {
                        return Ok(Pushed::Disturbed);
                    }
                    let since: Instant = *failing_since.get_or_insert_with(Instant::now);
                    let is_final =
                        Cause::of(&condition.message).is_some_and(|cause| cause.is_final());
                    if is_final || timed_out || since.elapsed() >= PATIENCE {
                        let cause = self.cause(&now).await?;
                        let namespace = &self.push.namespace;
                        let failure = self.failure();
                        return Err(self.cluster.explain(failure, cause, namespace, self.store));
                    }
                }
                None if timed_out => return Err(self.cluster.not_processed(self.failure())),
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn read_push(&self, uid: &str) -> Result<Option<PushSecretBody>, Failure> {
        let answer = self.cluster.send(get(self.push.path())).await?;
        let attempt = self.cluster.attempt_on("get", &self.push);
        let found: Option<PushSecretBody> = answer.found(&attempt)?;
        Ok(found.filter(|found| found.uid() == uid))
    }

    async fn cause(&self, now: &PushSecretBody) -> Result<Option<Cause>, Failure> {
        let condition = now.condition();
        let (namespace, condition) = (&self.push.namespace, condition.as_ref());
        let (cluster, version) = (self.cluster, self.version);
        cluster
            .why(version, namespace, now.uid(), condition, Some(self.store))
            .await
    }

    fn failure(&self) -> Failure {
        Failure::unable(format!("cannot write {} through {}", self.path, self.store))
    }
}
