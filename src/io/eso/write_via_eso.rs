//! Writes an entry into a store through the operator, with a temporary PushSecret and Secret.
//!
//! An existing entry must not be overwritten.

use super::ephemeral::PUSH_VERSION;
use super::through::{Operation, PAUSE};
use super::wait::PATIENCE;
use crate::domain::cluster::observed_secret::LiveValue;
use crate::domain::eso::objects::Cause;
use crate::domain::eso::store_entry::Fields;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::written::Written;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

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
}

impl Operation<'_> {
    pub(super) async fn write(&self, fields: &Fields) -> Result<Written, Failure> {
        let (cluster, temporaries) = (self.cluster, self.temporaries);
        cluster.remove_leftover(&self.object).await?;
        let secret = self.secret(fields);
        let secret = cluster
            .create_temporary(temporaries, &self.secret, &secret)
            .await?;
        let Some(secret) = secret else {
            return Ok(Written::Stale);
        };
        let push = self.push_secret();
        let push = cluster
            .create_temporary(temporaries, &self.object, &push)
            .await?;
        match push {
            Some(push) => self.wait_for_push(&push, &secret).await,
            None => Ok(Written::Stale),
        }
    }

    fn secret(&self, fields: &Fields) -> Value {
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
    fn push_secret(&self) -> Value {
        let mut object = self.object.head();
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
    async fn wait_for_push(&self, push: &str, secret: &str) -> Result<Written, Failure> {
        let failure =
            || Failure::unable(format!("cannot write {} through {}", self.path, self.store));
        let mut failing_since = None;
        loop {
            let Some(now) = self.find(push).await? else {
                return Ok(Written::Stale);
            };
            let timed_out = self.has_timed_out();
            match now.condition() {
                Some(condition) if condition.ready => return Ok(Written::Done),
                Some(condition) => {
                    if !self.cluster.has_temporary(&self.secret, secret).await? {
                        return Ok(Written::Stale);
                    }
                    let since: Instant = *failing_since.get_or_insert_with(Instant::now);
                    let is_final =
                        Cause::of(&condition.message).is_some_and(|cause| cause.is_final());
                    if is_final || timed_out || since.elapsed() >= PATIENCE {
                        let cause = self.cause(&now).await?;
                        return Err(self.explain(failure(), cause));
                    }
                }
                None if timed_out => return Err(self.cluster.not_processed(failure())),
                None => {}
            }
            sleep(PAUSE).await;
        }
    }
}
