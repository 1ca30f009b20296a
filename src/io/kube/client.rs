//! Reading from and writing to the API server.
//!
//! Requests are built here and sent in one place, which retries, logs without bodies, and turns
//! what comes back into facts or a [`Failure`].

use super::connection;
use super::kubeconfig::{self, Selection};
use super::response::{Attempt, Response};
use super::wire::{NamespaceBody, SecretBody, object_of};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observed};
use crate::domain::cluster::owner::{self, FIELD_MANAGER, Manager};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::manifest::Manifest;
use crate::error::Failure;
use crate::io::written::Written;
use crate::ui::Ui;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How often a request is sent at most.
const ATTEMPTS: u32 = 10;
/// The first pause between two attempts; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How many requests are under way at once at most.
pub const WIDTH: usize = 32;
/// The longest pause, also where the server asks for a longer one.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that is not asked for by the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes; a page of a list is the largest.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// The largest event of a watch that is read, in bytes: one object.
const LARGEST_EVENT: usize = 4 * 1024 * 1024;

/// An API server, and who we are there.
pub struct Cluster {
    client: Client,
    /// The context of the kubeconfig; `None` inside a pod.
    pub context: Option<String>,
    /// The server's URL.
    pub server: String,
    timeout: Option<Duration>,
    ui: Ui,
    /// The command as `rbac` calls it, for the hint where something is forbidden.
    command: &'static str,
    reach: HintContext,
    /// Whether it has been said that the server does not answer as it should.
    complained: AtomicBool,
    /// Lets [`WIDTH`] requests through at once.
    gate: Semaphore,
}

impl Cluster {
    /// Connects to the selected cluster.
    ///
    /// # Errors
    /// No usable kubeconfig, or a server that cannot be reached or trusted (exit code 3).
    pub async fn connect(
        selection: &Selection,
        timeout: Option<Duration>,
        ui: Ui,
        command: &'static str,
        reach: HintContext,
    ) -> Result<Self, Failure> {
        let (config, context) = kubeconfig::load(selection).await?;
        let server = connection::shown(&config.cluster_url);
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
            complained: AtomicBool::new(false),
            gate: Semaphore::new(WIDTH),
        })
    }

    /// The state of a namespace.
    pub(in crate::io) async fn namespace(
        &self,
        name: &Namespace,
    ) -> Result<NamespaceState, Failure> {
        let answer = self.send(get(format!("/api/v1/namespaces/{name}"))).await?;
        match answer.status {
            _ if answer.is_absent() => Ok(NamespaceState::Absent),
            StatusCode::FORBIDDEN => Ok(NamespaceState::Forbidden),
            _ => {
                let body: NamespaceBody =
                    answer.read(&self.attempt("get", format!("namespace {name}"), None))?;
                Ok(body.state())
            }
        }
    }

    /// A Secret, as it is.
    pub(in crate::io) async fn secret(&self, at: &SecretRef) -> Result<Observed, Failure> {
        let answer = self.send(get(path_of(at))).await?;
        if answer.is_absent() {
            return Ok(Observed::default());
        }
        let body: SecretBody = answer.read(&self.attempt_at("get", at))?;
        Ok(body.into())
    }

    /// Creates a namespace; one that exists by now is as good.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub async fn create_namespace(&self, name: &Namespace) -> Result<(), Failure> {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name.as_str() },
        });
        let uri = format!("/api/v1/namespaces?fieldManager={FIELD_MANAGER}");
        let answer = self
            .send(write(Method::POST, uri, "application/json", &object))
            .await?;
        match answer.status {
            StatusCode::CONFLICT => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(answer.refused(&self.attempt("create", format!("namespace {name}"), None))),
        }
    }

    /// Writes a Secret: one without `resource_version` is created and never replaced, any other is
    /// applied on top of that version.
    ///
    /// # Errors
    /// Where the server refuses, or a controller owns a field (exit code 3).
    pub async fn write(&self, manifest: &Manifest, force: bool) -> Result<Written, Failure> {
        match manifest.resource_version {
            None => self.create(manifest).await,
            Some(_) => self.apply(manifest, force).await,
        }
    }

    async fn create(&self, manifest: &Manifest) -> Result<Written, Failure> {
        let at = &manifest.at;
        let uri = format!(
            "/api/v1/namespaces/{}/secrets?fieldManager={FIELD_MANAGER}",
            at.namespace
        );
        let object = object_of(manifest);
        let answer = self
            .send(write(Method::POST, uri, "application/json", &object))
            .await?;
        match answer.status {
            StatusCode::CONFLICT => Ok(Written::Stale),
            status if status.is_success() => Ok(Written::Done),
            _ => Err(answer.refused(&self.attempt_at("create", at))),
        }
    }

    async fn apply(&self, manifest: &Manifest, force: bool) -> Result<Written, Failure> {
        let at = &manifest.at;
        let object = object_of(manifest);
        let patch = |force: bool| {
            let uri = format!("{}?fieldManager={FIELD_MANAGER}&force={force}", path_of(at));
            self.send(write(
                Method::PATCH,
                uri,
                "application/apply-patch+yaml",
                &object,
            ))
        };
        let mut answer = patch(false).await?;
        let conflicts = answer.status_body().conflicts();
        if answer.status == StatusCode::CONFLICT && !conflicts.is_empty() {
            let foreign: Vec<_> = conflicts
                .iter()
                .filter(|(manager, _)| owner::manager_of(manager) == Manager::Foreign)
                .map(|(manager, field)| format!("{field} is managed by {manager}"))
                .collect();
            if !foreign.is_empty() && !force {
                let mut failure = Failure::unable(format!("{at} has changed hands meanwhile"))
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
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(Written::Stale),
            status if status.is_success() => Ok(Written::Done),
            _ => Err(answer.refused(&self.attempt_at("patch", at))),
        }
    }

    /// Changes an object on top of the version that the change names.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub(in crate::io) async fn merge(
        &self,
        uri: String,
        change: &serde_json::Value,
        what: String,
        namespace: &Namespace,
    ) -> Result<Written, Failure> {
        let request = write(Method::PATCH, uri, "application/merge-patch+json", change);
        let answer = self.send(request).await?;
        match answer.status {
            StatusCode::CONFLICT => Ok(Written::Stale),
            _ if answer.is_absent() => Ok(Written::Stale),
            status if status.is_success() => Ok(Written::Done),
            _ => Err(answer.refused(&self.attempt("patch", what, Some(namespace)))),
        }
    }

    /// How a person gets there.
    pub fn reach(&self) -> &HintContext {
        &self.reach
    }

    /// How long a request may take; `None` for no limit.
    pub(in crate::io) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The command as `rbac` calls it.
    pub(in crate::io) fn command(&self) -> &'static str {
        self.command
    }

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

    fn attempt_at<'a>(&'a self, verb: &'static str, at: &'a SecretRef) -> Attempt<'a> {
        self.attempt(verb, at.to_string(), Some(&at.namespace))
    }

    /// Sends a request; where the server is busy or broken, again and again within the time that
    /// `--request-timeout` allows.
    pub(in crate::io) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response, Failure> {
        // A limit that no clock can count is none.
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
                    let asked = answer.retry_after.unwrap_or(pause).min(LONGEST_ASKED_PAUSE);
                    answer.is_transient().then_some(asked)
                }
                // A write is create-only, has a precondition or says the same twice: sending it again is safe.
                Err(trouble) => trouble.passing.then_some(pause),
            };
            let again = wait.filter(|wait| {
                tries < ATTEMPTS
                    && deadline.is_none_or(|deadline| Instant::now() + *wait < deadline)
            });
            let Some(wait) = again else {
                return outcome.map_err(|trouble| trouble.failure);
            };
            if !self.complained.swap(true, Ordering::Relaxed) {
                self.ui.story(&format!(
                    "{} does not answer as it should; trying again",
                    self.server
                ));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            tries += 1;
        }
    }

    /// The first event of a watch, a line of JSON; `None` where there is none, for whatever reason.
    ///
    /// It may take as long as the server likes, so it goes through no gate: the caller sets a limit.
    pub(in crate::io) async fn first_event(&self, uri: String) -> Option<Vec<u8>> {
        let line = format!("GET {uri}");
        let sent = self.client.send(get(uri).map(Body::from)).await.ok()?;
        let status = sent.status();
        self.ui.detail(1, &format!("{line} -> {}", status.as_u16()));
        if !status.is_success() {
            return None;
        }
        let mut body = Limited::new(sent.into_body(), LARGEST_EVENT);
        let mut event = Vec::new();
        loop {
            let frame = body.frame().await?.ok()?;
            let Ok(part) = frame.into_data() else {
                continue;
            };
            let end = part.iter().position(|byte| *byte == b'\n');
            event.extend_from_slice(&part[..end.unwrap_or(part.len())]);
            if end.is_some() {
                return Some(event);
            }
        }
    }

    async fn send_once(
        &self,
        request: Request<Vec<u8>>,
        deadline: Option<Instant>,
    ) -> Result<Response, Trouble> {
        // It is never closed.
        let _permit = self.gate.acquire().await.ok();
        let line = format!("{} {}", request.method(), request.uri());
        let started = Instant::now();
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            Ok::<_, kube::Error>((
                parts,
                body.map_err(kube::Error::Service)?.to_bytes().to_vec(),
            ))
        };
        let trouble = |why: String, passing: bool| Trouble {
            failure: Failure::unable(format!("no answer from the API server {}", self.server))
                .cause(why)
                .hint(format!(
                    "check that it runs: {} cluster-info; --request-timeout gives it longer",
                    self.reach.kubectl
                )),
            passing,
        };
        let exchanged = match deadline {
            None => exchange.await,
            Some(deadline) => tokio::time::timeout_at(deadline, exchange)
                .await
                .map_err(|_| {
                    trouble(
                        format!("{line}: the time is over (--request-timeout)"),
                        false,
                    )
                })?,
        };
        let (parts, body) = exchanged.map_err(|error| {
            let (why, passing) = reason_of(&error);
            trouble(why, passing)
        })?;
        let took = started.elapsed().as_millis();
        self.ui.detail(
            1,
            &format!("{line} -> {} in {took} ms", parts.status.as_u16()),
        );
        let after = parts.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        Ok(Response {
            status: parts.status,
            body,
            tries: 1,
            date: date_of(&parts.headers),
            retry_after: after.map(Duration::from_secs),
        })
    }
}

/// The server's time.
fn date_of(headers: &header::HeaderMap) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second())
}

/// Why there is no answer, and whether the next try may get one.
struct Trouble {
    failure: Failure,
    passing: bool,
}

fn path_of(at: &SecretRef) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", at.namespace, at.name)
}

pub(in crate::io) fn get(uri: String) -> Request<Vec<u8>> {
    build(Method::GET, uri, None, Vec::new())
}

pub(in crate::io) fn write(
    method: Method,
    uri: String,
    content_type: &str,
    object: &serde_json::Value,
) -> Request<Vec<u8>> {
    build(
        method,
        uri,
        Some(content_type),
        object.to_string().into_bytes(),
    )
}

fn build(
    method: Method,
    uri: String,
    content_type: Option<&str>,
    body: Vec<u8>,
) -> Request<Vec<u8>> {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::ACCEPT, "application/json");
    let request = match content_type {
        Some(content_type) => request.header(header::CONTENT_TYPE, content_type),
        None => request,
    };
    request
        .body(body)
        .expect("the parts are names that have been checked")
}

/// The innermost text of a transport error, which speaks of sockets and not of bodies, and whether
/// it may pass.
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
