//! Reading and writing what External Secrets Operator works on.

mod wire;

use super::cluster::{Cluster, get, write};
use super::wire::ListBody;
use crate::domain::external_secrets::{
    Cause, Event, ExternalSecret, FORCE_SYNC, SecretStore, StoreKind, StoreRef, VERSIONS,
};
use crate::domain::names::Namespace;
use crate::domain::ownership::FIELD_MANAGER;
use crate::error::Failure;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wire::{EventBody, ExternalSecretBody, ResourcesBody, StoreBody};

/// The group of ExternalSecrets and their stores.
const GROUP: &str = "/apis/external-secrets.io";

/// Which version of ExternalSecret is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// This one, the newest.
    Version(&'static str),
    /// None: the operator's CRDs are not installed.
    Nothing,
    /// We may not ask.
    Forbidden,
}

/// What became of reading an object that may be absent or forbidden.
#[derive(Clone, Debug)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It is not.
    Absent,
    /// It may not be read.
    Forbidden,
}

impl<T> Seen<T> {
    /// It, where it is there.
    pub fn there(self) -> Option<T> {
        match self {
            Self::There(found) => Some(found),
            Self::Absent | Self::Forbidden => None,
        }
    }
}

impl Cluster {
    /// Which version of ExternalSecret is served.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn served(&self) -> Result<Served, Failure> {
        for version in VERSIONS {
            let answer = self.send(get(format!("{GROUP}/{version}"))).await?;
            match answer.status {
                StatusCode::NOT_FOUND => {}
                StatusCode::FORBIDDEN => return Ok(Served::Forbidden),
                _ => {
                    let what = format!("external-secrets.io/{version}");
                    let body: ResourcesBody = answer.read(&self.attempt("get", what, None))?;
                    if body.has("externalsecrets") {
                        return Ok(Served::Version(version));
                    }
                }
            }
        }
        Ok(Served::Nothing)
    }

    /// The ExternalSecrets of a namespace or of all; `None` where they may not be listed. Where the
    /// operator is not installed there are none.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn external_secrets(
        &self,
        namespace: Option<&Namespace>,
    ) -> Result<Option<Vec<ExternalSecret>>, Failure> {
        let place = namespace
            .map(|name| format!("/namespaces/{name}"))
            .unwrap_or_default();
        for version in VERSIONS {
            // resourceVersion=0: a consistent list waits for etcd, this one is answered at once.
            let uri = format!("{GROUP}/{version}{place}/externalsecrets?resourceVersion=0");
            let answer = self.send(get(uri)).await?;
            match answer.status {
                StatusCode::NOT_FOUND => {}
                StatusCode::FORBIDDEN => return Ok(None),
                _ => {
                    let attempt = self.attempt("list", "ExternalSecrets".to_owned(), namespace);
                    let list: ListBody<ExternalSecretBody> = answer.read(&attempt)?;
                    let read = list.items.into_iter().filter_map(ExternalSecretBody::read);
                    return Ok(Some(read.collect()));
                }
            }
        }
        Ok(Some(Vec::new()))
    }

    /// An ExternalSecret, as it is now; `None` where there is none.
    ///
    /// # Errors
    /// One that may not be read (exit code 3).
    pub async fn external_secret(
        &self,
        version: &str,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<ExternalSecret>, Failure> {
        let answer = self.send(get(path(version, namespace, name))).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let what = format!("ExternalSecret {namespace}/{name}");
        let body: ExternalSecretBody = answer.read(&self.attempt("get", what, Some(namespace)))?;
        Ok(body.read())
    }

    /// A store as a namespace sees it.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn secret_store(
        &self,
        version: &str,
        namespace: &Namespace,
        at: &StoreRef,
    ) -> Result<Seen<SecretStore>, Failure> {
        let answer = self.send(get(store_path(version, namespace, at))).await?;
        if answer.is_absent() {
            return Ok(Seen::Absent);
        }
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(Seen::Forbidden);
        }
        let body: StoreBody = answer.read(&self.attempt("get", at.to_string(), Some(namespace)))?;
        Ok(body.read(at.kind).map_or(Seen::Absent, Seen::There))
    }

    /// The warnings about an object; `None` where events may not be listed. Those about what has no
    /// namespace are in `default`.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn warnings(
        &self,
        namespace: Option<&Namespace>,
        uid: &str,
    ) -> Result<Option<Vec<Event>>, Failure> {
        let place = namespace.map_or("default", Namespace::as_str);
        let uri =
            format!("/api/v1/namespaces/{place}/events?fieldSelector=involvedObject.uid%3D{uid}");
        let answer = self.send(get(uri)).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let attempt = self.attempt("list", "events".to_owned(), namespace);
        let list: ListBody<EventBody> = answer.read(&attempt)?;
        Ok(Some(
            list.items.into_iter().filter_map(EventBody::read).collect(),
        ))
    }

    /// Why an ExternalSecret does not work, as far as events tell: its own, then those of its store.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn cause(
        &self,
        version: &str,
        external: &ExternalSecret,
    ) -> Result<Option<Cause>, Failure> {
        let own = self
            .warnings(Some(&external.namespace), &external.uid)
            .await?;
        let condition = external.condition.iter();
        let cause = Cause::of_events(&own.unwrap_or_default()).or_else(|| {
            condition
                .filter_map(|found| Cause::of(&found.message))
                .next()
        });
        match (cause, &external.store) {
            (Some(Cause::StoreNotReady), Some(store)) => {
                let seen = self
                    .secret_store(version, &external.namespace, store)
                    .await?;
                let Seen::There(store) = seen else {
                    return Ok(Some(Cause::StoreNotReady));
                };
                let why = self.store_cause(&external.namespace, &store).await?;
                Ok(Some(why.unwrap_or(Cause::StoreNotReady)))
            }
            (cause, _) => Ok(cause),
        }
    }

    /// Why a store is not ready, as far as its events tell.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn store_cause(
        &self,
        namespace: &Namespace,
        store: &SecretStore,
    ) -> Result<Option<Cause>, Failure> {
        let place = match store.at.kind {
            StoreKind::ClusterSecretStore => None,
            StoreKind::SecretStore => Some(namespace),
        };
        let warnings = self.warnings(place, &store.uid).await?;
        Ok(Cause::of_events(&warnings.unwrap_or_default()))
    }

    /// Has the operator refresh an ExternalSecret now.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub async fn refresh(&self, version: &str, external: &ExternalSecret) -> Result<(), Failure> {
        let change = json!({ "metadata": { "annotations": {
            FORCE_SYNC: stamp(external.forced.as_deref()),
        } } });
        self.change_external_secret(version, &external.namespace, &external.name, &change)
            .await
    }

    /// Has the operator look at a store again, which it does by itself every five minutes only;
    /// `false` where that is not allowed.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub async fn refresh_store(
        &self,
        version: &str,
        namespace: &Namespace,
        store: &StoreRef,
    ) -> Result<bool, Failure> {
        let change = json!({ "metadata": { "annotations": { FORCE_SYNC: stamp(None) } } });
        let uri = format!(
            "{}?fieldManager={FIELD_MANAGER}",
            store_path(version, namespace, store)
        );
        let answer = self
            .send(write(Method::PATCH, uri, MERGE_PATCH, &change))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.refused(&self.attempt("patch", store.to_string(), Some(namespace)))),
        }
    }

    /// Changes an ExternalSecret by a merge patch.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub async fn change_external_secret(
        &self,
        version: &str,
        namespace: &Namespace,
        name: &str,
        change: &Value,
    ) -> Result<(), Failure> {
        let uri = format!(
            "{}?fieldManager={FIELD_MANAGER}",
            path(version, namespace, name)
        );
        let answer = self
            .send(write(Method::PATCH, uri, MERGE_PATCH, change))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            _ => {
                let what = format!("ExternalSecret {namespace}/{name}");
                Err(answer.refused(&self.attempt("patch", what, Some(namespace))))
            }
        }
    }
}

const MERGE_PATCH: &str = "application/merge-patch+json";

/// A value that differs from the one that is there: the time in seconds.
fn stamp(before: Option<&str>) -> String {
    let now = super::environment::seconds_since_1970();
    let before = before.and_then(|text| text.parse::<i64>().ok());
    now.max(before.map_or(now, |before| before.saturating_add(1)))
        .to_string()
}

fn path(version: &str, namespace: &Namespace, name: &str) -> String {
    format!("{GROUP}/{version}/namespaces/{namespace}/externalsecrets/{name}")
}

fn store_path(version: &str, namespace: &Namespace, at: &StoreRef) -> String {
    let (resource, name) = (at.kind.resource(), &at.name);
    match at.kind {
        StoreKind::ClusterSecretStore => format!("{GROUP}/{version}/{resource}/{name}"),
        StoreKind::SecretStore => {
            format!("{GROUP}/{version}/namespaces/{namespace}/{resource}/{name}")
        }
    }
}
