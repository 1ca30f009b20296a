//! Reading and writing what External Secrets Operator works on.

pub mod disown;
pub mod ephemeral;
mod read_via_eso;
mod snapshot;
pub mod wait;
mod wire;
pub mod write_via_eso;

use super::kube::client::{Cluster, get, write};
use super::kube::wire::ListBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::owner::FIELD_MANAGER;
use crate::domain::eso::objects::{
    Cause, Condition, Credentials, Event, ExternalSecret, FORCE_SYNC, SecretStore, StoreKind,
    StoreRef, VERSIONS,
};
pub use crate::domain::eso::objects::{Seen, Served};
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::{EventBody, ExternalSecretBody, ResourcesBody, StoreBody};

/// The group of ExternalSecrets and their stores.
const GROUP: &str = "/apis/external-secrets.io";

/// An object that the operator has object.
struct Reconciled<'a> {
    namespace: &'a Namespace,
    uid: &'a str,
    condition: Option<&'a Condition>,
    store: Option<&'a StoreRef>,
}

impl Cluster {
    /// Which version of ExternalSecret is served.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn served(&self) -> Result<Served, Failure> {
        for version in VERSIONS {
            match self.serves(version).await? {
                Some(true) => return Ok(Served::Version(version)),
                Some(false) => {}
                None => return Ok(Served::Forbidden),
            }
        }
        Ok(Served::Nothing)
    }

    /// Whether a version of ExternalSecret is served; `None` where we may not ask.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn serves(&self, version: &str) -> Result<Option<bool>, Failure> {
        let answer = self.send(get(format!("{GROUP}/{version}"))).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Some(false)),
            StatusCode::FORBIDDEN => Ok(None),
            _ => {
                let what = format!("external-secrets.io/{version}");
                let body: ResourcesBody = answer.read(&self.attempt("get", what, None))?;
                Ok(Some(body.has("externalsecrets")))
            }
        }
    }

    /// The token in a Secret that a store refers to, as a namespace sees it; `None` where it is not
    /// there, or may not be read. A SecretStore reaches no Secret of another namespace.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn token_of(
        &self,
        namespace: &Namespace,
        kind: StoreKind,
        at: &Credentials,
    ) -> Result<Option<SecretValue>, Failure> {
        let named = at.namespace.as_deref();
        let named = named.filter(|_| kind == StoreKind::ClusterSecretStore);
        let place = named.map(str::parse);
        let Ok(place) = place.unwrap_or_else(|| Ok(namespace.clone())) else {
            return Ok(None);
        };
        let found = self.peek(&place, &at.secret).await?;
        let live = found.and_then(|found| found.live);
        Ok(live.and_then(|live| live.text(&at.key).cloned()))
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
        let object = Reconciled {
            namespace: &external.namespace,
            uid: &external.uid,
            condition: external.condition.as_ref(),
            store: external.store.as_ref(),
        };
        self.why(version, object).await
    }

    /// Why what the operator has object does not work: its events, its condition, those of its store.
    async fn why(&self, version: &str, object: Reconciled<'_>) -> Result<Option<Cause>, Failure> {
        let Reconciled {
            namespace,
            uid,
            condition,
            store,
        } = object;
        let own = self.warnings(Some(namespace), uid).await?;
        let cause = Cause::of_events(&own.unwrap_or_default())
            .or_else(|| condition.and_then(|found| Cause::of(&found.message)));
        match (cause, store) {
            (Some(Cause::StoreNotReady), Some(store)) => {
                let seen = self.secret_store(version, namespace, store).await?;
                let Seen::There(store) = seen else {
                    return Ok(Some(Cause::StoreNotReady));
                };
                let why = self.store_cause(namespace, &store).await?;
                Ok(Some(why.unwrap_or(Cause::StoreNotReady)))
            }
            (cause, _) => Ok(cause),
        }
    }

    /// Adds to a failure why a store cannot be used, and what to do about it.
    pub fn explain(
        &self,
        failure: Failure,
        cause: Option<Cause>,
        namespace: &Namespace,
        store: &StoreRef,
    ) -> Failure {
        let reach = self.reach();
        match cause {
            Some(cause) => failure
                .cause(cause.describe())
                .hint(cause.remedy(store, namespace, reach)),
            None => failure
                .cause("the operator does not say why")
                .hint(store.describe(namespace, reach)),
        }
    }

    /// Adds to a failure that the operator does not do its work.
    fn not_processed(&self, failure: Failure) -> Failure {
        let kubectl = &self.reach().kubectl;
        failure
            .cause("the operator has not looked at it in time: does it run?")
            .hint(format!(
                "{kubectl} get pods -A -l app.kubernetes.io/name=external-secrets"
            ))
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

    /// Has the operator look at a store again, where that is allowed.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    async fn refresh_store(
        &self,
        version: &str,
        namespace: &Namespace,
        store: &StoreRef,
    ) -> Result<(), Failure> {
        let change = json!({ "metadata": { "annotations": { FORCE_SYNC: stamp(None) } } });
        let uri = format!(
            "{}?fieldManager={FIELD_MANAGER}",
            store_path(version, namespace, store)
        );
        let answer = self
            .send(write(Method::PATCH, uri, MERGE_PATCH, &change))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(answer.failure(&self.attempt("patch", store.to_string(), Some(namespace)))),
        }
    }

    /// Makes an ExternalSecret that is not there; one that is there is left as it is.
    ///
    /// # Errors
    /// Where the server refuses, or somebody has just made one of that name (exit code 3).
    pub async fn create_external_secret(
        &self,
        version: &str,
        namespace: &Namespace,
        name: &str,
        object: &Value,
    ) -> Result<(), Failure> {
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", place(version, namespace));
        let request = write(Method::POST, uri, "application/json", object);
        let answer = self.send(request).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(Failure::unable(format!(
                "somebody has just made ExternalSecret {namespace}/{name}: run this again"
            ))),
            _ => {
                let what = format!("ExternalSecret {namespace}/{name}");
                Err(answer.failure(&self.attempt("create", what, Some(namespace))))
            }
        }
    }

    /// The ExternalSecrets of a namespace, as they are at this moment.
    ///
    /// # Errors
    /// Where they may not be listed (exit code 3).
    pub async fn all_external_secrets(
        &self,
        version: &str,
        namespace: &Namespace,
    ) -> Result<Vec<ExternalSecret>, Failure> {
        let answer = self.send(get(place(version, namespace))).await?;
        let attempt = self.attempt("list", "ExternalSecrets".to_owned(), Some(namespace));
        let list: ListBody<ExternalSecretBody> = answer.read(&attempt)?;
        let read = list.items.into_iter().filter_map(ExternalSecretBody::read);
        Ok(read.collect())
    }

    /// Deletes an ExternalSecret and leaves what it made; one that is gone is as good. Waits until
    /// it is gone.
    ///
    /// # Errors
    /// Where the server refuses, or it stays (exit code 3).
    pub async fn orphan_external_secret(
        &self,
        version: &str,
        namespace: &Namespace,
        name: &str,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let options = json!({ "propagationPolicy": "Orphan" });
        let uri = path(version, namespace, name);
        let request = write(Method::DELETE, uri, "application/json", &options);
        let answer = self.send(request).await?;
        if !answer.status.is_success() && !answer.is_absent() {
            let what = format!("ExternalSecret {namespace}/{name}");
            return Err(answer.failure(&self.attempt("delete", what, Some(namespace))));
        }
        while self
            .external_secret(version, namespace, name)
            .await?
            .is_some()
        {
            if deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::unable("it is being deleted, and stays"));
            }
            sleep(wait::PAUSE).await;
        }
        Ok(())
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
                Err(answer.failure(&self.attempt("patch", what, Some(namespace))))
            }
        }
    }
}

const MERGE_PATCH: &str = "application/merge-patch+json";

/// A value that differs from the one that is there: the time in seconds.
fn stamp(before: Option<&str>) -> String {
    let now = super::local::environment::seconds_since_1970();
    let before = before.and_then(|text| text.parse::<i64>().ok());
    now.max(before.map_or(now, |before| before.saturating_add(1)))
        .to_string()
}

/// Where the ExternalSecrets of a namespace are.
fn place(version: &str, namespace: &Namespace) -> String {
    format!("{GROUP}/{version}/namespaces/{namespace}/externalsecrets")
}

/// Where an ExternalSecret is in the API.
pub fn path(version: &str, namespace: &Namespace, name: &str) -> String {
    format!("{}/{name}", place(version, namespace))
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
