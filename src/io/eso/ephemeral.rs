//! Temporary objects. They are recorded before they are created, and removed however the run ends.
//!
//! Their names are the same in every run. So a run finds the objects of a killed run, and concurrent
//! runs are serialised: each waits briefly for the other's objects to disappear, and recreates its
//! own if they were removed. This module must not remove an object without the temporary label.

use crate::domain::cluster::names::Namespace;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get, write};
use crate::io::kube::response::Attempt;
use crate::io::kube::wire::{NamedBody, seconds};
use crate::io::local::signals::wait_for_signal;
use crate::io::written::Written;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The label of temporary objects. An object without it is never removed.
pub const LABEL: &str = "k8s-bootstrap/temporary";
/// The API version of PushSecret.
pub const PUSH_VERSION: &str = "v1alpha1";
/// The time that the operator has to remove its finalizer from a deleted object.
const FINALIZER_TIMEOUT: Duration = Duration::from_secs(5);
/// The age, in seconds, from which an object counts as left by a killed run. Running runs keep their
/// objects for less time.
const LEFTOVER_AGE: i64 = 3;
/// The time limit for removing all temporary objects of a run.
const LONGEST_REMOVAL: Duration = Duration::from_secs(60);
/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(25);

/// The kind of a temporary object, in the order of removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EphemeralKind {
    /// Reads a store entry into a Secret of the same name, which the operator creates. It holds the
    /// API version.
    ExternalSecret(&'static str),
    /// Writes a Secret into a store.
    PushSecret,
    /// Holds the values.
    Secret,
}

impl EphemeralKind {
    /// The API version, the kind and the resource.
    fn names(self) -> (String, &'static str, &'static str) {
        let of_group = |version| format!("external-secrets.io/{version}");
        match self {
            Self::ExternalSecret(version) => {
                (of_group(version), "ExternalSecret", "externalsecrets")
            }
            Self::PushSecret => (of_group(PUSH_VERSION), "PushSecret", "pushsecrets"),
            Self::Secret => ("v1".to_owned(), "Secret", "secrets"),
        }
    }
}

/// A temporary object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temporary {
    pub kind: EphemeralKind,
    pub namespace: Namespace,
    pub name: String,
}

impl Temporary {
    /// The API path.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// The API path of the collection.
    fn collection(&self) -> String {
        let (version, _, resource) = self.kind.names();
        let api = match self.kind {
            EphemeralKind::Secret => "api",
            _ => "apis",
        };
        format!("/{api}/{version}/namespaces/{}/{resource}", self.namespace)
    }

    /// The object with `apiVersion`, `kind` and `metadata`.
    pub(super) fn head(&self) -> Value {
        let (version, kind, _) = self.kind.names();
        json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace.as_str(),
                "labels": { LABEL: "true" },
            },
        })
    }
}

impl fmt::Display for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, kind, _) = self.kind.names();
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// The temporary objects that a run has to remove. A run uses one thread.
#[derive(Debug, Default)]
pub struct Temporaries {
    /// The uid of each object, once it is known.
    objects: RefCell<BTreeMap<Temporary, Option<String>>>,
    /// The number of create requests without a response yet.
    pending: Cell<usize>,
    /// Whether no more objects may be created.
    is_closed: Cell<bool>,
}

impl Temporaries {
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks whether all objects have been removed.
    pub fn is_empty(&self) -> bool {
        self.objects.borrow().is_empty()
    }

    /// Records an object before this run or the operator creates it.
    pub(super) fn record(&self, at: &Temporary) {
        self.objects.borrow_mut().entry(at.clone()).or_default();
    }

    fn set_uid(&self, at: &Temporary, uid: &str) {
        self.objects
            .borrow_mut()
            .insert(at.clone(), Some(uid.to_owned()));
    }

    fn forget(&self, at: &Temporary) {
        self.objects.borrow_mut().remove(at);
    }

    /// Forbids further objects, and waits for the responses of pending requests.
    async fn close(&self) {
        self.is_closed.set(true);
        while self.pending.get() > 0 {
            sleep(PAUSE).await;
        }
    }
}

/// An existing object with the name of a temporary one.
struct Found {
    metadata: ObjectMeta,
    /// The server's time, in seconds since 1970.
    now: Option<i64>,
}

impl Found {
    fn is_temporary(&self) -> bool {
        let mut labels = self.metadata.labels.iter();
        labels.any(|labels| labels.contains_key(LABEL))
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Checks whether no running run uses the object. It is also true if the object is not temporary;
    /// the caller must check that.
    fn is_leftover(&self) -> bool {
        let created = self.metadata.creation_timestamp.as_ref().map(seconds);
        let age = created.zip(self.now).map(|(created, now)| now - created);
        !self.is_temporary() || age.is_none_or(|age| age >= LEFTOVER_AGE)
    }
}

impl Cluster {
    /// Runs work that creates temporary objects, and removes them however it ends: success, failure or
    /// a signal.
    ///
    /// # Errors
    /// The failure of the work, an interruption, and objects that cannot be removed (exit code 3).
    pub async fn with_temporaries<T>(
        &self,
        temporaries: &Temporaries,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let outcome = tokio::select! {
            // Signals are polled first: their handlers must be installed before an object exists.
            biased;
            signalled = wait_for_signal() => {
                // The server may still execute a pending create request, so its response is awaited.
                tokio::select! {
                    _ = &mut work => {}
                    () = temporaries.close() => {}
                }
                signalled.and(Err(interruption()))
            }
            outcome = &mut work => outcome,
        };
        let removed = self.remove_temporaries(temporaries).await;
        match (outcome, removed) {
            (Ok(value), removed) => removed.map(|()| value),
            (Err(failure), Ok(())) => Err(failure),
            (Err(mut failure), Err(other)) => {
                failure.causes.push(other.describe());
                failure.hints.extend(other.hints);
                Err(failure)
            }
        }
    }

    /// Removes all temporary objects of a run that still exist.
    ///
    /// # Errors
    /// Objects that could not be removed, by name (exit code 3).
    pub async fn remove_temporaries(&self, temporaries: &Temporaries) -> Result<(), Failure> {
        let all: Vec<_> = temporaries.objects.borrow().keys().cloned().collect();
        let mut left = Vec::new();
        let end = Instant::now() + LONGEST_REMOVAL;
        for at in all {
            let rest = end.saturating_duration_since(Instant::now());
            let removed = timeout(rest, self.remove(temporaries, &at)).await;
            if let Err(failure) = removed.unwrap_or_else(|_| Err(Failure::unable("timed out"))) {
                left.push((at, failure));
            }
        }
        let Some((first, _)) = left.first() else {
            return Ok(());
        };
        let kubectl = &self.reach().kubectl;
        let mut failure = Failure::unable("temporary objects are left behind").hint(format!(
            "{kubectl} -n {} delete externalsecrets,pushsecrets,secrets -l {LABEL}",
            first.namespace
        ));
        for (at, reason) in left {
            failure = failure.cause(format!("{at}: {}", reason.describe()));
        }
        Err(failure)
    }

    /// Creates a temporary object after removing one of a killed run, and gives its uid; `None` if
    /// another run has just created one.
    pub(super) async fn create_temporary(
        &self,
        temporaries: &Temporaries,
        at: &Temporary,
        object: &Value,
    ) -> Result<Option<String>, Failure> {
        if temporaries.is_closed.get() {
            return Err(interruption());
        }
        self.remove_leftover(at).await?;
        if temporaries.is_closed.get() {
            return Err(interruption());
        }
        temporaries.record(at);
        temporaries.pending.set(temporaries.pending.get() + 1);
        let request = write(Method::POST, &at.collection(), object);
        let answer = self.send(request).await;
        temporaries.pending.set(temporaries.pending.get() - 1);
        let answer = answer?;
        let attempt = self.attempt_on("create", at);
        if !answer.status.is_success() {
            temporaries.forget(at);
            return answer.written(&attempt).map(|_| None);
        }
        let body: NamedBody = answer.read(&attempt)?;
        let uid = body.metadata.uid.unwrap_or_default();
        temporaries.set_uid(at, &uid);
        Ok(Some(uid))
    }

    /// Removes an object of this run. An object of another run with the same name is not removed.
    pub(super) async fn remove(
        &self,
        temporaries: &Temporaries,
        at: &Temporary,
    ) -> Result<(), Failure> {
        let Some(uid) = temporaries.objects.borrow().get(at).cloned() else {
            return Ok(());
        };
        if let Some(found) = self.find_temporary(at).await?
            && uid.is_none_or(|uid| uid == found.uid())
        {
            self.delete(at, &found).await?;
        }
        temporaries.forget(at);
        Ok(())
    }

    /// Removes the object of a killed run with this name. A recent object may be in use by another
    /// run, so this waits until it disappears or is old enough.
    ///
    /// # Errors
    /// An object that is not temporary, or that cannot be removed (exit code 3).
    pub async fn remove_leftover(&self, at: &Temporary) -> Result<(), Failure> {
        while let Some(found) = self.find_temporary(at).await? {
            if found.is_leftover() {
                return self.delete(at, &found).await;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Deletes a temporary object, unless another one has replaced it, and waits until it is gone.
    async fn delete(&self, at: &Temporary, found: &Found) -> Result<(), Failure> {
        if !found.is_temporary() {
            return Err(self.name_is_taken(at));
        }
        let precondition = json!({ "preconditions": { "uid": found.uid() } });
        let request = write(Method::DELETE, &at.path(), &precondition);
        let answer = self.send(request).await?;
        // A conflict: the uid differs, because another run has created a new object.
        if !answer.is_absent() && answer.written(&self.attempt_on("delete", at))? == Written::Stale
        {
            return Ok(());
        }
        self.wait_until_gone(at, found.uid()).await
    }

    fn name_is_taken(&self, at: &Temporary) -> Failure {
        let (_, _, resource) = at.kind.names();
        let kubectl = &self.reach().kubectl;
        Failure::unable(format!("{at} already exists and is not a temporary object")).hint(format!(
            "see what it is: {kubectl} -n {} get {resource} {}",
            at.namespace, at.name
        ))
    }

    /// Waits until the operator has removed its finalizer. If it does not run, the finalizer is removed
    /// here: a temporary object needs no cleanup by the operator.
    async fn wait_until_gone(&self, at: &Temporary, uid: &str) -> Result<(), Failure> {
        let end = Instant::now() + FINALIZER_TIMEOUT;
        loop {
            match self.find_temporary(at).await? {
                Some(found) if found.uid() == uid => {}
                _ => return Ok(()),
            }
            if Instant::now() >= end {
                break;
            }
            sleep(PAUSE).await;
        }
        let change = json!({ "metadata": { "uid": uid, "finalizers": null } });
        let answer = self.send(write(Method::PATCH, &at.path(), &change)).await?;
        if answer.is_absent() {
            return Ok(());
        }
        answer.done(&self.attempt_on("patch", at))
    }

    /// Checks whether an object still exists.
    pub(super) async fn has_temporary(&self, at: &Temporary, uid: &str) -> Result<bool, Failure> {
        let found = self.find_temporary(at).await?;
        Ok(found.is_some_and(|found| found.uid() == uid))
    }

    async fn find_temporary(&self, at: &Temporary) -> Result<Option<Found>, Failure> {
        let answer = self.send(get(at.path())).await?;
        let found: Option<NamedBody> = answer.found(&self.attempt_on("get", at))?;
        Ok(found.map(|body| Found {
            metadata: body.metadata,
            now: answer.date,
        }))
    }

    /// Describes a request about a temporary object for error messages.
    pub(super) fn attempt_on<'a>(&'a self, verb: &'static str, at: &'a Temporary) -> Attempt<'a> {
        self.attempt(verb, at.to_string(), Some(&at.namespace))
    }
}

fn interruption() -> Failure {
    Failure::unable("interrupted").hint("run it again: it continues where it stopped")
}
