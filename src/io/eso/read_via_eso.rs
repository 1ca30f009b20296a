//! Reads an entry of a store through the operator, with a temporary ExternalSecret.

use super::ephemeral::{LABEL, Temporary};
use super::through::{Operation, PAUSE};
use super::wait::PATIENCE;
use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue};
use crate::domain::eso::objects::Cause;
use crate::domain::eso::store_entry::{Entry, Field, Fields};
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use serde_json::json;
use tokio::time::{Instant, sleep};

impl Operation<'_> {
    pub(super) async fn read(&self) -> Result<Entry, Failure> {
        loop {
            self.cluster.remove_leftover(&self.object).await?;
            self.cluster.remove_leftover(&self.secret).await?;
            self.temporaries.record(&self.secret);
            let object = self.external_secret();
            let created = self
                .cluster
                .create_temporary(self.temporaries, &self.object, &object);
            if let Some(uid) = created.await?
                && let Some(entry) = self.wait_for_entry(&uid).await?
            {
                return Ok(entry);
            }
            // Another run uses the same names now.
            if self.has_timed_out() {
                return Err(self
                    .cannot_read()
                    .cause("timed out: another run uses the same temporary objects")
                    .hint("wait until it has ended, then run this again"));
            }
            sleep(PAUSE).await;
        }
    }

    fn external_secret(&self) -> serde_json::Value {
        let mut object = self.object.head();
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
            let Some(now) = self.find(uid).await? else {
                return Ok(None);
            };
            match now.condition() {
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
                            return Err(self.explain(self.cannot_read(), cause));
                        }
                        _ => {}
                    }
                }
                None if self.has_timed_out() => {
                    return Err(self.cluster.not_processed(self.cannot_read()));
                }
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Reads the fields that the operator has copied; `None` if the Secret is of another run.
    async fn read_fields(&self, uid: &str) -> Result<Option<Entry>, Failure> {
        let Temporary {
            namespace, name, ..
        } = &self.secret;
        let found = self.cluster.secret_or_denied(namespace, name).await??;
        let is_ours = |live: &LiveSecret| {
            let owner = live.marks.owner.as_ref();
            owner.is_some_and(|(_, owner)| owner == uid)
        };
        Ok(found.live.filter(is_ours).map(|live| {
            let data = live.data.into_iter();
            entry(Some(data.map(|(key, value)| (key, field(value))).collect()))
        }))
    }

    fn cannot_read(&self) -> Failure {
        Failure::unable(format!("cannot read {} through {}", self.path, self.store))
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
