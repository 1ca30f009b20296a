//! Objects that a run makes for a moment: they are written down before they are made, and removed
//! however the run ends.
//!
//! Their names are the same in every run, so that the next one finds what a killed one left, and so
//! that the operator works off those of two runs at once one after the other. A run waits for
//! another's objects to go, for a moment; whoever misses its own makes it anew.

use super::{GROUP, place};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::owner::FIELD_MANAGER;
use crate::error::Failure;
use crate::io::kube::client::{Cluster, get, write};
use crate::io::kube::response::Attempt;
use crate::io::kube::wire::seconds;
use crate::io::local::signals::wait_for_signal;
use http::{Method, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The label that tells a temporary object from one that is meant to stay.
pub const LABEL: &str = "k8s-bootstrap/temporary";
/// The version of PushSecret.
pub const PUSH_VERSION: &str = "v1alpha1";
/// How long the operator gets to let an object go, which it holds by a finalizer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The age from which on an object was left by a killed run, in seconds. Two runs at once keep theirs
/// for less.
const LEFT_BEHIND: i64 = 3;
/// How long removing everything may take.
const LONGEST_REMOVAL: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// What a temporary object is, in the order in which they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EphemeralKind {
    /// It reads an entry of a store into a Secret of its name, which the operator makes.
    ExternalSecret(&'static str),
    /// It writes a Secret into a store.
    PushSecret,
    /// It holds values.
    Secret,
}

/// A temporary object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temporary {
    /// What it is.
    pub kind: EphemeralKind,
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: String,
}

impl Temporary {
    /// Its path.
    pub(super) fn path(&self) -> String {
        let (place, name) = (self.place(), &self.name);
        format!("{place}/{name}")
    }

    /// The path of its collection.
    fn place(&self) -> String {
        let namespace = &self.namespace;
        match self.kind {
            EphemeralKind::ExternalSecret(version) => place(version, namespace),
            EphemeralKind::PushSecret => {
                format!("{GROUP}/{PUSH_VERSION}/namespaces/{namespace}/pushsecrets")
            }
            EphemeralKind::Secret => format!("/api/v1/namespaces/{namespace}/secrets"),
        }
    }

    /// `apiVersion`, `kind` and `metadata`.
    pub(super) fn head(&self) -> Value {
        let (version, kind) = match self.kind {
            EphemeralKind::ExternalSecret(version) => {
                (format!("external-secrets.io/{version}"), "ExternalSecret")
            }
            EphemeralKind::PushSecret => {
                (format!("external-secrets.io/{PUSH_VERSION}"), "PushSecret")
            }
            EphemeralKind::Secret => ("v1".to_owned(), "Secret"),
        };
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
        let kind = match self.kind {
            EphemeralKind::ExternalSecret(_) => "ExternalSecret",
            EphemeralKind::PushSecret => "PushSecret",
            EphemeralKind::Secret => "Secret",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// What a run has made and has to remove. One thread serves a run.
#[derive(Debug, Default)]
pub struct Temporaries {
    /// With the uid, once it is known.
    made: RefCell<BTreeMap<Temporary, Option<String>>>,
    /// How many are being made at this moment.
    pending: Cell<usize>,
    /// Whether no more may be made.
    closed: Cell<bool>,
}

impl Temporaries {
    /// A run that has made nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether all that was made is gone again.
    pub fn is_empty(&self) -> bool {
        self.made.borrow().is_empty()
    }

    /// Writes down an object that somebody else makes for us.
    pub(super) fn note(&self, at: &Temporary) {
        self.made.borrow_mut().entry(at.clone()).or_default();
    }

    fn identify(&self, at: &Temporary, uid: &str) {
        self.made
            .borrow_mut()
            .insert(at.clone(), Some(uid.to_owned()));
    }

    fn forget(&self, at: &Temporary) {
        self.made.borrow_mut().remove(at);
    }

    /// Lets no more be made, and waits until those are there that are being made.
    async fn close(&self) {
        self.closed.set(true);
        while self.pending.get() > 0 {
            sleep(PAUSE).await;
        }
    }
}

/// As much of an object as is needed to remove it.
#[derive(Deserialize)]
struct AnyBody {
    metadata: ObjectMeta,
}

/// An object that was found.
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

    /// Tells whether nobody is at work with it. What is not a temporary object is left to the caller.
    fn is_left_behind(&self) -> bool {
        let created = self.metadata.creation_timestamp.as_ref().map(seconds);
        let age = created.zip(self.now).map(|(created, now)| now - created);
        !self.is_temporary() || age.is_none_or(|age| age >= LEFT_BEHIND)
    }
}

impl Cluster {
    /// Does work that makes temporary objects, and removes them however it ends: done, failed, or
    /// interrupted by a signal.
    ///
    /// # Errors
    /// The work's own, an interruption, and objects that cannot be removed (exit code 3).
    pub async fn with_temporaries<T>(
        &self,
        temporaries: &Temporaries,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let ended = tokio::select! {
            // The signals come first: before anything is made they have to be waited for.
            biased;
            signalled = wait_for_signal() => {
                // A request that is under way may be carried out although nobody waits for it.
                tokio::select! {
                    _ = &mut work => {}
                    () = temporaries.close() => {}
                }
                signalled.and(Err(interruption()))
            }
            ended = &mut work => ended,
        };
        let removed = self.remove_temporaries(temporaries).await;
        match (ended, removed) {
            (Ok(ended), removed) => removed.map(|()| ended),
            (Err(failure), Ok(())) => Err(failure),
            (Err(mut failure), Err(other)) => {
                failure.causes.push(other.describe());
                failure.hints.extend(other.hints);
                Err(failure)
            }
        }
    }

    /// Removes everything that a run has made and not removed yet.
    ///
    /// # Errors
    /// Objects that stay (exit code 3); the failure names them.
    pub async fn remove_temporaries(&self, temporaries: &Temporaries) -> Result<(), Failure> {
        let all: Vec<_> = temporaries.made.borrow().keys().cloned().collect();
        let mut left = Vec::new();
        let end = Instant::now() + LONGEST_REMOVAL;
        for at in all {
            let rest = end.saturating_duration_since(Instant::now());
            let removed = timeout(rest, self.remove(temporaries, &at)).await;
            if let Err(why) = removed.unwrap_or_else(|_| Err(Failure::unable("the time is over"))) {
                left.push((at, why));
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
        for (at, why) in left {
            failure = failure.cause(format!("{at}: {}", why.describe()));
        }
        Err(failure)
    }

    /// Makes a temporary object in the place of one that a killed run left; gives its uid, or `None`
    /// where another run has just made one.
    pub(super) async fn make(
        &self,
        temporaries: &Temporaries,
        at: &Temporary,
        object: &Value,
    ) -> Result<Option<String>, Failure> {
        if temporaries.closed.get() {
            return Err(interruption());
        }
        self.remove_leftover(at).await?;
        if temporaries.closed.get() {
            return Err(interruption());
        }
        temporaries.note(at);
        temporaries.pending.set(temporaries.pending.get() + 1);
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", at.place());
        let request = write(Method::POST, uri, "application/json", object);
        let answer = self.send(request).await;
        temporaries.pending.set(temporaries.pending.get() - 1);
        let answer = answer?;
        if answer.status == StatusCode::CONFLICT {
            temporaries.forget(at);
            return Ok(None);
        }
        let attempt = self.attempt_on("create", at);
        if !answer.status.is_success() {
            temporaries.forget(at);
            return Err(answer.failure(&attempt));
        }
        let body: AnyBody = answer.read(&attempt)?;
        let uid = body.metadata.uid.unwrap_or_default();
        temporaries.identify(at, &uid);
        Ok(Some(uid))
    }

    /// Removes one of our own objects; one that another run has put in its place stays.
    pub(super) async fn remove(
        &self,
        temporaries: &Temporaries,
        at: &Temporary,
    ) -> Result<(), Failure> {
        let Some(uid) = temporaries.made.borrow().get(at).cloned() else {
            return Ok(());
        };
        if let Some(found) = self.any(at).await?
            && uid.is_none_or(|uid| uid == found.uid())
        {
            self.delete(at, &found).await?;
        }
        temporaries.forget(at);
        Ok(())
    }

    /// Removes what a killed run left under this name. What is young may be another run's that is at
    /// work: that is waited for.
    ///
    /// # Errors
    /// An object of that name that is meant to stay, or that cannot be removed (exit code 3).
    pub async fn remove_leftover(&self, at: &Temporary) -> Result<(), Failure> {
        while let Some(found) = self.any(at).await? {
            if found.is_left_behind() {
                return self.delete(at, &found).await;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Deletes a temporary object, unless another has taken its place, and waits until it is gone.
    async fn delete(&self, at: &Temporary, found: &Found) -> Result<(), Failure> {
        if !found.is_temporary() {
            return Err(self.in_the_way(at));
        }
        let precondition = json!({ "preconditions": { "uid": found.uid() } });
        let request = write(Method::DELETE, at.path(), "application/json", &precondition);
        let answer = self.send(request).await?;
        match answer.status {
            // By now it is somebody else's.
            StatusCode::CONFLICT => return Ok(()),
            status if status.is_success() || answer.is_absent() => {}
            _ => return Err(answer.failure(&self.attempt_on("delete", at))),
        }
        self.wait_until_gone(at, found.uid()).await
    }

    fn in_the_way(&self, at: &Temporary) -> Failure {
        let (place, name) = (at.place(), &at.name);
        let resource = place.rsplit('/').next().unwrap_or_default();
        let kubectl = &self.reach().kubectl;
        Failure::unable(format!("{at} is in the way: it is not a temporary object")).hint(format!(
            "see what it is: {kubectl} -n {} get {resource} {name}",
            at.namespace
        ))
    }

    /// The operator holds an ExternalSecret by a finalizer, and lets it go at once. Where it does not
    /// run, the finalizer is taken away: nothing of this object is worth keeping.
    async fn wait_until_gone(&self, at: &Temporary, uid: &str) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.any(at).await? {
                Some(found) if found.uid() == uid => {}
                _ => return Ok(()),
            }
            if Instant::now() >= end {
                break;
            }
            sleep(PAUSE).await;
        }
        let change = json!({ "metadata": { "uid": uid, "finalizers": null } });
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", at.path());
        let request = write(Method::PATCH, uri, "application/merge-patch+json", &change);
        let answer = self.send(request).await?;
        match answer.status {
            status if status.is_success() || answer.is_absent() => Ok(()),
            _ => Err(answer.failure(&self.attempt_on("patch", at))),
        }
    }

    /// Tells whether an object is still there.
    pub(super) async fn is_there(&self, at: &Temporary, uid: &str) -> Result<bool, Failure> {
        let found = self.any(at).await?;
        Ok(found.is_some_and(|found| found.uid() == uid))
    }

    async fn any(&self, at: &Temporary) -> Result<Option<Found>, Failure> {
        let answer = self.send(get(at.path())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let body: AnyBody = answer.read(&self.attempt_on("get", at))?;
        Ok(Some(Found {
            metadata: body.metadata,
            now: answer.date,
        }))
    }

    /// For the words where something is tried on a temporary object and fails.
    pub(super) fn attempt_on<'a>(&'a self, verb: &'static str, at: &'a Temporary) -> Attempt<'a> {
        self.attempt(verb, at.to_string(), Some(&at.namespace))
    }
}

fn interruption() -> Failure {
    Failure::unable("interrupted").hint("run it again: it carries on where it was")
}
