//! Reading from and writing to the API server.
//!
//! All requests go through `Cluster::send`, which retries them and logs them without
//! bodies. A body must not be logged or quoted. Other modules turn the response into facts or a
//! [`Failure`].

use super::connection;
use super::kubeconfig::{self, Selection};
use super::response::{Attempt, Response};
use super::wire::{NamedBody, SecretBody, conflicts, object_of};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observed};
use crate::domain::cluster::owner::{self, FIELD_MANAGER, Manager, ROTATION_MANAGER};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::manifest::Manifest;
use crate::error::Failure;
use crate::io::written::Written;
use crate::ui::Ui;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The maximum number of times that a request is sent.
const ATTEMPTS: u32 = 10;
/// The first pause between two attempts. Each pause is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The maximum number of concurrent requests.
pub const WIDTH: usize = 32;
/// The longest pause, even if `Retry-After` is longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest pause without `Retry-After`.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The largest response that is read, in bytes. Pages of a list are the largest.
const LARGEST_RESPONSE: usize = 32 * 1024 * 1024;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// A client of an API server.
pub struct Cluster {
    client: Client,
    /// The kubeconfig context; `None` inside a pod.
    pub context: Option<String>,
    /// The server's URL.
    pub server: String,
    /// The time limit of a request; `None` for no limit.
    pub(in crate::io) timeout: Option<Duration>,
    ui: Ui,
    /// The name of the command as an argument of `rbac`, for hints about missing permissions.
    pub(in crate::io) command: &'static str,
    reach: HintContext,
    /// Whether the message about retries has been printed.
    has_warned: AtomicBool,
    /// Limits concurrent requests to [`WIDTH`].
    permits: Semaphore,
}

impl Cluster {
    /// Connects to the selected cluster.
    ///
    /// # Errors
    /// No valid kubeconfig, or a server that is unreachable or not trusted (exit code 3).
    pub async fn connect(
        selection: &Selection,
        timeout: Option<Duration>,
        ui: Ui,
        command: &'static str,
        reach: HintContext,
    ) -> Result<Self, Failure> {
        let (config, context) = kubeconfig::load(selection).await?;
        let server = connection::display_url(&config.cluster_url);
        let started = Instant::now();
        let client = connection::connect(config, timeout, &reach.kubectl).await?;
        ui.detail(
            2,
            &format!(
                "ready to talk to {server} after {} ms",
                started.elapsed().as_millis()
            ),
        );
        Ok(Self {
            client,
            context,
            server,
            timeout,
            ui,
            command,
            reach,
            has_warned: AtomicBool::new(false),
            permits: Semaphore::new(WIDTH),
        })
    }

    pub(in crate::io) async fn namespace(
        &self,
        name: &Namespace,
    ) -> Result<NamespaceState, Failure> {
        let answer = self.send(get(format!("/api/v1/namespaces/{name}"))).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(NamespaceState::Forbidden);
        }
        let found = answer.found(&self.attempt("get", format!("namespace {name}"), None))?;
        Ok(found.map_or(NamespaceState::Absent, |body: NamedBody| body.state()))
    }

    /// Reads a Secret. An absent Secret is an empty [`Observed`].
    ///
    /// # Errors
    /// A Secret that cannot be read (exit code 3).
    pub async fn secret(&self, at: &SecretRef) -> Result<Observed, Failure> {
        self.secret_or_denied(&at.namespace, at.name).await?
    }

    /// Reads a Secret of any name. The inner failure is a missing permission.
    pub(in crate::io) async fn secret_or_denied(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Result<Observed, Failure>, Failure> {
        let uri = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let answer = self.send(get(uri)).await?;
        if answer.is_absent() {
            return Ok(Ok(Observed::default()));
        }
        let what = format!("Secret {namespace}/{name}");
        let attempt = self.attempt("get", what, Some(namespace));
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(Err(answer.failure(&attempt)));
        }
        let body: SecretBody = answer.read(&attempt)?;
        Ok(Ok(body.into()))
    }

    /// Creates a namespace, or accepts one that already exists.
    ///
    /// # Errors
    /// A server that refuses or does not answer (exit code 3).
    pub async fn create_namespace(&self, name: &Namespace) -> Result<(), Failure> {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name.as_str() },
        });
        let request = write(Method::POST, "/api/v1/namespaces", &object);
        let answer = self.send(request).await?;
        answer.written(&self.attempt("create", format!("namespace {name}"), None))?;
        Ok(())
    }

    /// Writes a Secret. Without `resource_version` it is created and never replaces another one; with
    /// it, it is applied on top of that version.
    ///
    /// # Errors
    /// A server that refuses, or another field manager that owns a field (exit code 3).
    pub async fn write(&self, manifest: &Manifest, force: bool) -> Result<Written, Failure> {
        match manifest.resource_version {
            None => self.create(manifest).await,
            Some(_) => self.apply(manifest, force).await,
        }
    }

    async fn create(&self, manifest: &Manifest) -> Result<Written, Failure> {
        let at = &manifest.at;
        let collection = format!("/api/v1/namespaces/{}/secrets", at.namespace);
        let request = write(Method::POST, &collection, &object_of(manifest));
        let answer = self.send(request).await?;
        answer.written(&self.attempt_at("create", at))
    }

    async fn apply(&self, manifest: &Manifest, force: bool) -> Result<Written, Failure> {
        let at = &manifest.at;
        let object = object_of(manifest);
        let patch = |force: bool| {
            let uri = format!(
                "{}?fieldManager={FIELD_MANAGER}&force={force}",
                secret_path(at)
            );
            self.send(build(Method::PATCH, uri, APPLY_PATCH, &object))
        };
        let mut answer = patch(false).await?;
        let conflicts = conflicts(&answer.status_body());
        if answer.status == StatusCode::CONFLICT && !conflicts.is_empty() {
            let foreign: Vec<_> = conflicts
                .iter()
                .filter(|(manager, _)| owner::manager_of(manager) == Manager::Foreign)
                .map(|(manager, field)| format!("{field} is managed by {manager}"))
                .collect();
            if !foreign.is_empty() && !force {
                let mut failure = Failure::unable(format!("{at} now has another field manager"))
                    .hint(format!(
                        "change it there, or take it over with `{} --force-conflicts`",
                        self.reach.apply
                    ));
                failure.causes = foreign;
                return Err(failure);
            }
            answer = patch(true).await?;
        }
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Written::Stale),
            _ => answer.written(&self.attempt_at("patch", at)),
        }
    }

    /// Sends a merge patch of a rotation, which names the `resourceVersion` that it is based on. `what`
    /// describes the object for error messages.
    ///
    /// # Errors
    /// A server that refuses or does not answer (exit code 3).
    pub(in crate::io) async fn merge(
        &self,
        path: &str,
        change: &Value,
        what: String,
        namespace: &Namespace,
    ) -> Result<Written, Failure> {
        let uri = format!("{path}?fieldManager={ROTATION_MANAGER}");
        let answer = self
            .send(build(Method::PATCH, uri, MERGE_PATCH, change))
            .await?;
        if answer.is_absent() {
            return Ok(Written::Stale);
        }
        answer.written(&self.attempt("patch", what, Some(namespace)))
    }

    /// The command prefixes for hints.
    pub fn reach(&self) -> &HintContext {
        &self.reach
    }

    /// Reads an object; `None` if it does not exist. `what` describes it for error messages.
    pub(in crate::io) async fn find<T: DeserializeOwned>(
        &self,
        path: String,
        what: String,
        namespace: &Namespace,
    ) -> Result<Option<T>, Failure> {
        let answer = self.send(get(path)).await?;
        answer.found(&self.attempt("get", what, Some(namespace)))
    }

    /// Describes a request for error messages.
    pub(in crate::io) fn attempt<'a>(
        &'a self,
        verb: &'static str,
        what: String,
        namespace: Option<&'a Namespace>,
    ) -> Attempt<'a> {
        let (command, reach) = (self.command, &self.reach);
        Attempt {
            verb,
            what,
            namespace,
            command,
            reach,
        }
    }

    pub(in crate::io) fn attempt_at<'a>(
        &'a self,
        verb: &'static str,
        at: &'a SecretRef,
    ) -> Attempt<'a> {
        self.attempt(verb, at.to_string(), Some(&at.namespace))
    }

    /// Sends a request. If the server is busy or broken, it is sent again within `--request-timeout`.
    ///
    /// # Errors
    /// A server that does not answer (exit code 3). An error status is not a failure here.
    pub(in crate::io) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response, Failure> {
        // A timeout beyond the range of the clock counts as no limit.
        let deadline = self
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let mut outcome = self.send_once(request.clone(), deadline).await;
            let wait = match &mut outcome {
                Ok(answer) => {
                    answer.tries = tries;
                    let after = answer.retry_after.unwrap_or(pause).min(LONGEST_RETRY_AFTER);
                    answer.is_transient().then_some(after)
                }
                // Sending a write again is safe: it is a create, has a precondition or is idempotent.
                Err(error) => error.is_transient.then_some(pause),
            };
            let retry = wait.filter(|wait| {
                tries < ATTEMPTS
                    && deadline.is_none_or(|deadline| Instant::now() + *wait < deadline)
            });
            let Some(wait) = retry else {
                return outcome.map_err(|error| error.failure);
            };
            if !self.has_warned.swap(true, Ordering::Relaxed) {
                self.ui.story(&format!(
                    "{} is busy or unreachable; trying again",
                    self.server
                ));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    async fn send_once(
        &self,
        request: Request<Vec<u8>>,
        deadline: Option<Instant>,
    ) -> Result<Response, SendError> {
        // `acquire` fails only if the semaphore is closed, and it never is.
        let _permit = self.permits.acquire().await.ok();
        let line = format!("{} {}", request.method(), request.uri());
        let started = Instant::now();
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_RESPONSE).collect().await;
            Ok::<_, kube::Error>((
                parts,
                body.map_err(kube::Error::Service)?.to_bytes().to_vec(),
            ))
        };
        let no_answer = |cause: String, is_transient: bool| SendError {
            failure: Failure::unable(format!("no answer from the API server {}", self.server))
                .cause(cause)
                .hint(format!(
                    "check that it runs: {} cluster-info; --request-timeout gives it longer",
                    self.reach.kubectl
                )),
            is_transient,
        };
        let exchanged = match deadline {
            None => exchange.await,
            Some(deadline) => tokio::time::timeout_at(deadline, exchange)
                .await
                .map_err(|_| {
                    let limit = self.timeout.unwrap_or_default();
                    let cause = format!("{line}: timed out after {limit:?} (--request-timeout)");
                    no_answer(cause, false)
                })?,
        };
        let (parts, body) = exchanged.map_err(|error| {
            let (cause, is_transient) = reason_of(&error);
            no_answer(cause, is_transient)
        })?;
        let took = started.elapsed().as_millis();
        self.ui.detail(
            1,
            &format!("{line} -> {} in {took} ms", parts.status.as_u16()),
        );
        let retry_after = parts
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|seconds| seconds.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Ok(Response {
            status: parts.status,
            body,
            tries: 1,
            date: date_of(&parts.headers),
            retry_after,
        })
    }
}

/// Reads the server's time, in seconds since 1970.
fn date_of(headers: &header::HeaderMap) -> Option<i64> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_second())
}

/// A request without a response.
struct SendError {
    failure: Failure,
    /// Whether the next attempt may succeed.
    is_transient: bool,
}

/// The API path of a Secret.
pub(in crate::io) fn secret_path(at: &SecretRef) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", at.namespace, at.name)
}

pub(in crate::io) fn get(uri: String) -> Request<Vec<u8>> {
    with_body(Request::get(uri), Vec::new())
}

/// A request that changes the object or collection at `path`. A patch is a merge patch.
pub(in crate::io) fn write(method: Method, path: &str, object: &Value) -> Request<Vec<u8>> {
    let (uri, content_type) = match method {
        Method::DELETE => (path.to_owned(), JSON),
        Method::PATCH => (format!("{path}?fieldManager={FIELD_MANAGER}"), MERGE_PATCH),
        _ => (format!("{path}?fieldManager={FIELD_MANAGER}"), JSON),
    };
    build(method, uri, content_type, object)
}

fn build(method: Method, uri: String, content_type: &str, object: &Value) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header(header::CONTENT_TYPE, content_type);
    with_body(request, object.to_string().into_bytes())
}

fn with_body(request: http::request::Builder, body: Vec<u8>) -> Request<Vec<u8>> {
    request
        .header(header::ACCEPT, JSON)
        .body(body)
        .expect("the parts are names that have been checked")
}

/// Describes a transport error, and tells whether it is transient. The innermost error is about
/// sockets and never quotes a body.
pub(in crate::io) fn reason_of(error: &kube::Error) -> (String, bool) {
    if let kube::Error::Auth(_) = error {
        return ("the credentials cannot be refreshed".to_owned(), false);
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let too_large = innermost.is::<http_body_util::LengthLimitError>();
    (innermost.to_string(), !too_large)
}
