//! Writing an entry into a store through the operator: a PushSecret and a Secret that live for a
//! moment.

use super::ephemeral::{EphemeralKind, PUSH_VERSION, Temporaries, Temporary};
use super::read_via_eso::{LONGEST, PAUSE};
use super::wait::PATIENCE;
use super::wire::{PushSecretBody, ResourcesBody};
use super::{GROUP, Reconciled};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::eso::objects::{Cause, StoreRef};
use crate::domain::eso::store_entry::Fields;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

/// How a push ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The operator has written the entry, or has found one there and left it.
    Done,
    /// Another run has taken the objects away: nobody knows what became of it.
    Disturbed,
}

/// A push that is under way.
struct Push<'a> {
    cluster: &'a Cluster,
    temporaries: &'a Temporaries,
    push: Temporary,
    secret: Temporary,
    /// The version of stores.
    version: &'static str,
    store: &'a StoreRef,
    path: &'a str,
}

/// Where an entry is written to.
#[derive(Clone, Copy, Debug)]
pub struct PushTarget<'a> {
    /// The version of ExternalSecret and of stores.
    pub version: &'static str,
    /// The namespace of the temporary objects.
    pub namespace: &'a Namespace,
    /// The store.
    pub store: &'a StoreRef,
    /// The entry.
    pub path: &'a str,
}

impl Cluster {
    /// Tells whether PushSecrets are served, or may not be asked for.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn serves_push_secrets(&self) -> Result<bool, Failure> {
        let answer = self.send(get(format!("{GROUP}/{PUSH_VERSION}"))).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            StatusCode::FORBIDDEN => Ok(true),
            _ => {
                let what = "the PushSecret API".to_owned();
                let body: ResourcesBody = answer.read(&self.attempt("get", what, None))?;
                Ok(body.has("pushsecrets"))
            }
        }
    }

    /// Has the operator create an entry, if there is none. `name` is that of the temporary
    /// PushSecret and of its Secret.
    ///
    /// # Errors
    /// Whatever keeps the operator from writing there, in words (exit code 3).
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
        // What cannot be removed now stays written down: the end of the run tries again, and tells.
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
        let secret = cluster.make(temporaries, &self.secret, &secret).await?;
        let Some(secret) = secret else {
            return Ok(Pushed::Disturbed);
        };
        let push = self.push_object();
        match cluster.make(temporaries, &self.push, &push).await? {
            Some(push) => self.follow(&push, &secret).await,
            None => Ok(Pushed::Disturbed),
        }
    }

    fn secret_object(&self, fields: &Fields) -> Value {
        let texts = fields
            .iter()
            .filter_map(|(key, field)| Some((key, field.text.as_ref()?)));
        let data: Map<_, _> = texts
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

    /// Without an interval the operator does its work once: an object that a killed run leaves does
    /// not write an entry again that a person has deleted.
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

    /// Waits for the operator.
    async fn follow(&self, push: &str, secret: &str) -> Result<Pushed, Failure> {
        let deadline = Instant::now() + self.cluster.timeout().unwrap_or(LONGEST);
        let mut failing_since = None;
        loop {
            let Some(now) = self.look(push).await? else {
                return Ok(Pushed::Disturbed);
            };
            let over = Instant::now() >= deadline;
            match now.condition() {
                Some(condition) if condition.ready => return Ok(Pushed::Done),
                Some(condition) => {
                    if !self.cluster.is_there(&self.secret, secret).await? {
                        return Ok(Pushed::Disturbed);
                    }
                    let since: Instant = *failing_since.get_or_insert_with(Instant::now);
                    let last = Cause::of(&condition.message).is_some_and(|cause| cause.is_final());
                    if last || over || since.elapsed() >= PATIENCE {
                        let cause = self.cause(&now).await?;
                        let namespace = &self.push.namespace;
                        let cannot = self.cannot();
                        return Err(self.cluster.explain(cannot, cause, namespace, self.store));
                    }
                }
                None if over => return Err(self.cluster.not_processed(self.cannot())),
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn look(&self, uid: &str) -> Result<Option<PushSecretBody>, Failure> {
        let answer = self.cluster.send(get(self.push.path())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let attempt = self.cluster.attempt_on("get", &self.push);
        let found: PushSecretBody = answer.read(&attempt)?;
        Ok((found.uid() == uid).then_some(found))
    }

    async fn cause(&self, now: &PushSecretBody) -> Result<Option<Cause>, Failure> {
        let condition = now.condition();
        let object = Reconciled {
            namespace: &self.push.namespace,
            uid: now.uid(),
            condition: condition.as_ref(),
            store: Some(self.store),
        };
        self.cluster.why(self.version, object).await
    }

    fn cannot(&self) -> Failure {
        Failure::unable(format!("cannot write {} through {}", self.path, self.store))
    }
}
