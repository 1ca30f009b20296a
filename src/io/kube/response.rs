//! A response of the API server: parsed, or turned into a [`Failure`].
//!
//! A body must never be quoted: it may be a Secret, and an error message may quote one.

use super::wire::mentions;
use crate::domain::cluster::names::Namespace;
use crate::domain::hint_context::HintContext;
use crate::error::Failure;
use crate::io::written::Written;
use http::StatusCode;
use kube::core::Status;
use serde::de::DeserializeOwned;
use std::time::Duration;

pub struct Response {
    pub status: StatusCode,
    /// The body, not parsed.
    pub body: Vec<u8>,
    /// How many times the request was sent.
    pub tries: u32,
    /// The server's time, in seconds since 1970.
    pub date: Option<i64>,
    /// The `Retry-After` header.
    pub retry_after: Option<Duration>,
}

/// A request, described for error messages.
pub struct Attempt<'a> {
    /// The verb of RBAC.
    pub verb: &'static str,
    /// The object, for example `Secret brain/router`.
    pub what: String,
    /// The namespace of the object; `None` for a namespace and for lists across namespaces.
    pub namespace: Option<&'a Namespace>,
    /// The name of the command as an argument of `rbac`.
    pub command: &'static str,
    /// The command prefixes for hints.
    pub reach: &'a HintContext,
}

impl Response {
    /// Parses the body of an error; empty if it is not a `Status`. The message may quote an object, so
    /// it is searched and must not be printed.
    pub fn status_body(&self) -> Status {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Checks whether the object does not exist. The status 404 alone is not enough: a server that is
    /// not an API server also returns it.
    pub fn is_absent(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.status_body().reason == "NotFound"
    }

    /// Checks whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// Parses the body of a successful response.
    ///
    /// # Errors
    /// An unsuccessful response, or a body of another format (exit code 3).
    pub fn read<T: DeserializeOwned>(&self, attempt: &Attempt<'_>) -> Result<T, Failure> {
        self.done(attempt)?;
        // The parser's error could quote a value.
        serde_json::from_slice(&self.body).map_err(|_| {
            let what = &attempt.what;
            Failure::unable(format!("the API server's answer for {what} cannot be read"))
                .hint("check what stands between you and the server (a proxy?), and its version")
        })
    }

    /// Parses the body of a successful response; `None` if the object does not exist.
    ///
    /// # Errors
    /// As [`Response::read`].
    pub fn found<T: DeserializeOwned>(&self, attempt: &Attempt<'_>) -> Result<Option<T>, Failure> {
        if self.is_absent() {
            return Ok(None);
        }
        self.read(attempt).map(Some)
    }

    /// Tells whether a change was carried out or came too late.
    ///
    /// # Errors
    /// Another unsuccessful response (exit code 3).
    pub fn written(&self, attempt: &Attempt<'_>) -> Result<Written, Failure> {
        match self.status {
            StatusCode::CONFLICT => Ok(Written::Stale),
            status if status.is_success() => Ok(Written::Done),
            _ => Err(self.failure(attempt)),
        }
    }

    /// Checks that a change was carried out.
    ///
    /// # Errors
    /// An unsuccessful response (exit code 3).
    pub fn done(&self, attempt: &Attempt<'_>) -> Result<(), Failure> {
        if self.status.is_success() {
            Ok(())
        } else {
            Err(self.failure(attempt))
        }
    }

    /// Describes an unsuccessful response without its message.
    pub fn failure(&self, attempt: &Attempt<'_>) -> Failure {
        let status = self.status_body();
        let standard = self.status.canonical_reason().unwrap_or("unknown");
        let is_word = |reason: &&str| {
            (1..=40).contains(&reason.len()) && reason.chars().all(|c| c.is_ascii_alphabetic())
        };
        let reason = Some(status.reason.as_str())
            .filter(is_word)
            .unwrap_or(standard);
        let refusal = format!("{} {reason}", self.status.as_u16());
        let Attempt {
            verb,
            what,
            namespace,
            command,
            reach,
        } = attempt;
        let (kubectl, program) = (&reach.kubectl, &reach.program);
        let elsewhere = namespace.filter(|name| name.as_str() != reach.home);
        let fleet = elsewhere
            .map(|name| format!(" --fleet-namespace {name}"))
            .unwrap_or_default();
        let place = namespace
            .map(|name| format!(" -n {name}"))
            .unwrap_or_default();
        let cannot = Failure::unable(format!("cannot {verb} {what}"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                Failure::unable("the API server does not accept your credentials")
                    .cause(refusal)
                    .hint("log in again, or choose another user or --context")
            }
            StatusCode::FORBIDDEN if mentions(&status, "NamespaceTerminating") => cannot
                .cause(format!("{refusal}: the namespace is being deleted"))
                .hint("wait until it is gone, then run this again with --create-namespace"),
            StatusCode::FORBIDDEN if mentions(&status, "exceeded quota") => cannot
                .cause(format!("{refusal}: a ResourceQuota is used up"))
                .hint(format!("{kubectl}{place} describe resourcequota")),
            _ if mentions(&status, "admission webhook") => cannot
                .cause(format!("{refusal}: an admission webhook denied it"))
                .hint(format!(
                    "{kubectl} get validatingwebhookconfigurations,mutatingwebhookconfigurations"
                )),
            _ if mentions(&status, "ValidatingAdmissionPolicy") => cannot
                .cause(format!("{refusal}: an admission policy denied it"))
                .hint(format!("{kubectl} get validatingadmissionpolicies")),
            // The Roles that `rbac` prints do not allow this.
            StatusCode::FORBIDDEN if namespace.is_none() => cannot
                .cause(format!("{refusal}: you may not {verb} it"))
                .hint("have an administrator do it, then run this without that option"),
            StatusCode::FORBIDDEN => cannot
                .cause(format!("{refusal}: you may not {verb} it"))
                .hint(format!(
                    "have an administrator run: {program} rbac {command}{fleet} \
                     --service-account NAMESPACE:NAME | {kubectl} apply -f -"
                )),
            StatusCode::NOT_FOUND if self.is_absent() => {
                cannot.cause(refusal).hint(match elsewhere {
                    Some(name) => format!("{kubectl} create namespace {name}"),
                    None => format!(
                        "`{} --create-namespace` creates the namespace; or name another one with -n",
                        reach.apply
                    ),
                })
            }
            StatusCode::NOT_FOUND => cannot
                .cause(format!(
                    "{refusal}, and the response is not from an API server"
                ))
                .hint("check the server in the kubeconfig: kubectl config view --minify"),
            _ if self.is_transient() => {
                let tries = match self.tries {
                    0 | 1 => String::new(),
                    tries => format!(", {tries} times"),
                };
                cannot
                    .cause(format!("{refusal}{tries}"))
                    .hint("wait and run it again, or give it longer with --request-timeout")
            }
            _ => cannot
                .cause(refusal)
                .hint("see the log of the API server; -v shows the requests"),
        }
    }
}
