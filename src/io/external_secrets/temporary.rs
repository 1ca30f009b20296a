//! Objects that a run makes for a moment: they are written down before they are made, and removed
//! however the run ends.
//!
//! Their names are the same in every run, so that the next one finds what a killed one left. Two
//! runs at once take each other's objects for such leftovers; whoever misses its own makes it anew.

use super::{GROUP, path};
use crate::domain::names::Namespace;
use crate::domain::ownership::FIELD_MANAGER;
use crate::error::Failure;
use crate::io::cluster::{Cluster, get, write};
use crate::io::signals::interrupted;
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
/// How long removing everything may take.
const LONGEST_REMOVAL: Duration = Duration::from_secs(60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// What a temporary object is, in the order in which they are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
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
    pub kind: Kind,
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
            Kind::ExternalSecret(version) => {
                let path = path(version, namespace, "");
                path.trim_end_matches('/').to_owned()
            }
            Kind::PushSecret => {
                format!("{GROUP}/{PUSH_VERSION}/namespaces/{namespace}/pushsecrets")
            }
            Kind::Secret => format!("/api/v1/namespaces/{namespace}/secrets"),
        }
    }

    /// `apiVersion`, `kind` and `metadata`.
    pub(super) fn head(&self) -> Value {
        let (version, kind) = match self.kind {
            Kind::ExternalSecret(version) => {
                (format!("external-secrets.io/{version}"), "ExternalSecret")
            }
            Kind::PushSecret => (format!("external-secrets.io/{PUSH_VERSION}"), "PushSecret"),
            Kind::Secret => ("v1".to_owned(), "Secret"),
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
            Kind::ExternalSecret(_) => "ExternalSecret",
            Kind::PushSecret => "PushSecret",
            Kind::Secret => "Secret",
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

impl AnyBody {
    fn is_temporary(&self) -> bool {
        let mut labels = self.metadata.labels.iter();
        labels.any(|labels| labels.contains_key(LABEL))
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
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
            signalled = interrupted() => {
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
                failure.causes.push(other.told());
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
            failure = failure.cause(format!("{at}: {}", why.told()));
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
        let attempt = self.attempt("create", at.to_string(), Some(&at.namespace));
        if !answer.status.is_success() {
            temporaries.forget(at);
            return Err(answer.refused(&attempt));
        }
        let body: AnyBody = answer.read(&attempt)?;
        temporaries.identify(at, body.uid());
        Ok(Some(body.uid().to_owned()))
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
        self.remove_if(at, uid.as_deref()).await?;
        temporaries.forget(at);
        Ok(())
    }

    /// Removes what a killed run left under this name.
    ///
    /// # Errors
    /// An object of that name that is meant to stay, or that cannot be removed (exit code 3).
    pub async fn remove_leftover(&self, at: &Temporary) -> Result<(), Failure> {
        self.remove_if(at, None).await
    }

    /// Removes an object that is temporary and has this uid, if one is given, and waits until it is
    /// gone.
    async fn remove_if(&self, at: &Temporary, uid: Option<&str>) -> Result<(), Failure> {
        let Some(found) = self.any(at).await? else {
            return Ok(());
        };
        if uid.is_some_and(|uid| uid != found.uid()) {
            return Ok(());
        }
        if !found.is_temporary() {
            return Err(
                Failure::unable(format!("{at} is in the way: it is no temporary object")).hint(
                    format!(
                        "rename it: {} -n {} get {} {} -o yaml",
                        self.reach().kubectl,
                        at.namespace,
                        at.place().rsplit('/').next().unwrap_or_default(),
                        at.name
                    ),
                ),
            );
        }
        let precondition = json!({ "preconditions": { "uid": found.uid() } });
        let request = write(Method::DELETE, at.path(), "application/json", &precondition);
        let answer = self.send(request).await?;
        match answer.status {
            // By now it is somebody else's.
            StatusCode::CONFLICT => return Ok(()),
            status if status.is_success() || answer.is_absent() => {}
            _ => {
                let attempt = self.attempt("delete", at.to_string(), Some(&at.namespace));
                return Err(answer.refused(&attempt));
            }
        }
        self.wait_until_gone(at, found.uid()).await
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
            _ => {
                let attempt = self.attempt("patch", at.to_string(), Some(&at.namespace));
                Err(answer.refused(&attempt))
            }
        }
    }

    async fn any(&self, at: &Temporary) -> Result<Option<AnyBody>, Failure> {
        let answer = self.send(get(at.path())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let attempt = self.attempt("get", at.to_string(), Some(&at.namespace));
        answer.read(&attempt).map(Some)
    }
}

fn interruption() -> Failure {
    Failure::unable("interrupted").hint("run it again: it carries on where it was")
}
