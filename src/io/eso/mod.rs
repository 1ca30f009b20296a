//! The objects of External Secrets Operator: ExternalSecrets, PushSecrets and stores.
//!
//! Messages of the operator may quote a value. They must be classified as a `Cause` and not printed.

pub mod disown;
pub mod ephemeral;
mod external_ref;
mod read_via_eso;
mod snapshot;
pub mod through;
pub mod wait;
mod wire;
mod write_via_eso;

pub use self::external_ref::ExternalRef;
use self::external_ref::{GROUP, collection};
use super::kube::client::{Cluster, get, write};
use super::kube::observe::PAGE;
use super::kube::response::{Attempt, Response};
use super::kube::wire::{ListBody, last_seen};
use super::written::Written;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{
    Cause, Condition, Credentials, Event, ExternalSecret, FORCE_SYNC, SecretStore, StoreKind,
    StoreRef, VERSIONS,
};
pub use crate::domain::eso::objects::{Seen, Served};
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use http::{Method, StatusCode};
use kube::core::params::ListParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wire::{EsoBody, ResourcesBody};

impl Cluster {
    /// Finds the API version of ExternalSecret that the server serves.
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

    /// Checks whether the server serves an API version of ExternalSecret; `None` if that is forbidden.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn serves(&self, version: &str) -> Result<Option<bool>, Failure> {
        let what = format!("external-secrets.io/{version}");
        self.serves_resource(version, "externalsecrets", &what)
            .await
    }

    /// Checks whether an API version has a resource; `None` if that is forbidden.
    async fn serves_resource(
        &self,
        version: &str,
        resource: &str,
        what: &str,
    ) -> Result<Option<bool>, Failure> {
        let answer = self.send(get(format!("{GROUP}/{version}"))).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Some(false)),
            StatusCode::FORBIDDEN => Ok(None),
            _ => {
                let attempt = self.attempt("get", what.to_owned(), None);
                let body: ResourcesBody = answer.read(&attempt)?;
                let mut resources = body.resources.iter();
                Ok(Some(resources.any(|found| found.name == resource)))
            }
        }
    }

    /// Reads the token in the Secret that a store refers to; `None` if it does not exist or may not be
    /// read. A SecretStore can use only Secrets of its own namespace, which is `namespace`.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn token_of(
        &self,
        namespace: &Namespace,
        kind: StoreKind,
        at: &Credentials,
    ) -> Result<Option<SecretValue>, Failure> {
        let place = at
            .namespace
            .as_deref()
            .filter(|_| kind == StoreKind::ClusterSecretStore)
            .map_or_else(|| Ok(namespace.clone()), str::parse);
        let Ok(place) = place else {
            return Ok(None);
        };
        let found = self.secret_or_denied(&place, &at.secret).await?;
        let live = found.ok().and_then(|found| found.live);
        Ok(live.and_then(|live| live.text(&at.key).cloned()))
    }

    /// Lists the ExternalSecrets of one namespace or of all; `None` if they may not be listed. Without
    /// the operator's CRDs the list is empty.
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
            // resourceVersion=0 reads from the API server's cache, which is faster than etcd.
            let uri = format!("{GROUP}/{version}{place}/externalsecrets?resourceVersion=0");
            let answer = self.send(get(uri)).await?;
            match answer.status {
                StatusCode::NOT_FOUND => {}
                StatusCode::FORBIDDEN => return Ok(None),
                _ => {
                    let attempt = self.attempt("list", "ExternalSecrets".to_owned(), namespace);
                    return Ok(Some(read_list(&answer, &attempt)?));
                }
            }
        }
        Ok(Some(Vec::new()))
    }

    /// Reads an ExternalSecret; `None` if it does not exist.
    ///
    /// # Errors
    /// An ExternalSecret that cannot be read (exit code 3).
    pub async fn external_secret(
        &self,
        at: ExternalRef<'_>,
    ) -> Result<Option<ExternalSecret>, Failure> {
        let found = self.find(at.path(), at.to_string(), at.namespace).await?;
        Ok(found.and_then(EsoBody::external_secret))
    }

    /// Reads a store that an ExternalSecret of this namespace refers to.
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
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(Seen::Forbidden);
        }
        let found = answer.found(&self.attempt("get", at.to_string(), Some(namespace)))?;
        let store = found.and_then(|body: EsoBody| body.store(at.kind));
        Ok(store.map_or(Seen::Absent, Seen::There))
    }

    /// Lists the warning events about an object; `None` if events may not be listed. Events about a
    /// cluster-scoped object are in the namespace `default`.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn warnings(
        &self,
        namespace: Option<&Namespace>,
        uid: &str,
    ) -> Result<Option<Vec<Event>>, Failure> {
        let place = namespace.map_or("default", Namespace::as_str);
        let path = format!("/api/v1/namespaces/{place}/events");
        let params = ListParams::default()
            .limit(PAGE)
            .fields(&format!("involvedObject.uid={uid}"));
        let keep = |event: Value| {
            (event["type"] == "Warning").then(|| Event {
                last: last_seen(&event).unwrap_or_default(),
                message: event["message"].as_str().unwrap_or_default().to_owned(),
            })
        };
        self.list_mapped(&path, params, "events", keep).await
    }

    /// Finds the cause why an ExternalSecret is not ready, from its events, its condition and the events
    /// of its store.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3).
    pub async fn cause(
        &self,
        version: &str,
        external: &ExternalSecret,
    ) -> Result<Option<Cause>, Failure> {
        let (namespace, uid) = (&external.namespace, &external.uid);
        let (condition, store) = (external.condition.as_ref(), external.store.as_ref());
        self.why(version, namespace, uid, condition, store).await
    }

    /// Finds the cause why an object is not ready: from its events, its condition, the events of its
    /// store, in this order.
    async fn why(
        &self,
        version: &str,
        namespace: &Namespace,
        uid: &str,
        condition: Option<&Condition>,
        store: Option<&StoreRef>,
    ) -> Result<Option<Cause>, Failure> {
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

    /// Adds the cause why a store cannot be used, and a hint.
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
                .cause("the operator reports no reason")
                .hint(store.describe(namespace, reach)),
        }
    }

    /// Adds to a failure that the operator does not do its work.
    fn not_processed(&self, failure: Failure) -> Failure {
        let kubectl = &self.reach().kubectl;
        failure
            .cause("timed out: the operator has not processed it; check that it runs")
            .hint(format!(
                "{kubectl} get pods -A -l app.kubernetes.io/name=external-secrets"
            ))
    }

    /// Finds the cause why a store is not ready, from its events.
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

    /// Makes the operator refresh an ExternalSecret now.
    ///
    /// # Errors
    /// A server that refuses or does not answer (exit code 3).
    pub async fn refresh(&self, version: &str, external: &ExternalSecret) -> Result<(), Failure> {
        let change = json!({ "metadata": { "annotations": {
            FORCE_SYNC: stamp(external.forced.as_deref()),
        } } });
        self.change_external_secret(ExternalRef::of(version, external), &change)
            .await
    }

    /// Makes the operator validate a store again. A missing permission or store is ignored.
    ///
    /// # Errors
    /// A server that refuses for another reason or does not answer (exit code 3).
    async fn refresh_store(
        &self,
        version: &str,
        namespace: &Namespace,
        store: &StoreRef,
    ) -> Result<(), Failure> {
        let change = json!({ "metadata": { "annotations": { FORCE_SYNC: stamp(None) } } });
        let path = store_path(version, namespace, store);
        let answer = self.send(write(Method::PATCH, &path, &change)).await?;
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            return Ok(());
        }
        answer.done(&self.attempt("patch", store.to_string(), Some(namespace)))
    }

    /// Creates an ExternalSecret, and never changes an existing one.
    ///
    /// # Errors
    /// A server that refuses, or an ExternalSecret of that name (exit code 3).
    pub async fn create_external_secret(
        &self,
        at: ExternalRef<'_>,
        object: &Value,
    ) -> Result<(), Failure> {
        let request = write(Method::POST, &collection(at.version, at.namespace), object);
        let answer = self.send(request).await?;
        match answer.written(&self.attempt_external("create", at))? {
            Written::Done => Ok(()),
            Written::Stale => Err(Failure::unable(format!(
                "{at} has just been created by another client: run this again"
            ))),
        }
    }

    /// Lists the ExternalSecrets of a namespace with a consistent read.
    ///
    /// # Errors
    /// A list that is forbidden or cannot be read (exit code 3).
    pub async fn all_external_secrets(
        &self,
        version: &str,
        namespace: &Namespace,
    ) -> Result<Vec<ExternalSecret>, Failure> {
        let answer = self.send(get(collection(version, namespace))).await?;
        let attempt = self.attempt("list", "ExternalSecrets".to_owned(), Some(namespace));
        read_list(&answer, &attempt)
    }

    /// Deletes an ExternalSecret without its Secret, and waits until it is gone. An absent
    /// ExternalSecret is accepted.
    ///
    /// # Errors
    /// A server that refuses, or an ExternalSecret that still exists at the deadline (exit code 3).
    pub async fn orphan_external_secret(
        &self,
        at: ExternalRef<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let options = json!({ "propagationPolicy": "Orphan" });
        let answer = self
            .send(write(Method::DELETE, &at.path(), &options))
            .await?;
        if !answer.is_absent() {
            answer.done(&self.attempt_external("delete", at))?;
        }
        while self.external_secret(at).await?.is_some() {
            if deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(Failure::unable(
                    "timed out: it is being deleted but still exists",
                ));
            }
            sleep(wait::PAUSE).await;
        }
        Ok(())
    }

    /// Sends a merge patch for an ExternalSecret.
    ///
    /// # Errors
    /// A server that refuses or does not answer (exit code 3).
    pub async fn change_external_secret(
        &self,
        at: ExternalRef<'_>,
        change: &Value,
    ) -> Result<(), Failure> {
        let answer = self.send(write(Method::PATCH, &at.path(), change)).await?;
        answer.done(&self.attempt_external("patch", at))
    }

    /// Describes a request about an ExternalSecret for error messages.
    fn attempt_external<'a>(&'a self, verb: &'static str, at: ExternalRef<'a>) -> Attempt<'a> {
        self.attempt(verb, at.to_string(), Some(at.namespace))
    }
}

fn read_list(answer: &Response, attempt: &Attempt<'_>) -> Result<Vec<ExternalSecret>, Failure> {
    let list: ListBody<EsoBody> = answer.read(attempt)?;
    let read = list.items.into_iter().filter_map(EsoBody::external_secret);
    Ok(read.collect())
}

/// Makes a new value for the force-sync annotation: the time in seconds, or more if `before` is not
/// older.
fn stamp(before: Option<&str>) -> String {
    let now = super::local::environment::seconds_since_1970();
    let next = before
        .and_then(|text| text.parse::<i64>().ok())
        .map_or(now, |before| before.saturating_add(1));
    now.max(next).to_string()
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
