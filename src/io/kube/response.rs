//! An answer of the API server: read as what it should be, or put into words.
//!
//! A body is never quoted: it may be a Secret, and the message of an error may hold one.

use super::wire::StatusBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::hint_context::HintContext;
use crate::error::Failure;
use http::StatusCode;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// What the server answered.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The body, not parsed.
    pub body: Vec<u8>,
    /// How often the request was sent.
    pub tries: u32,
    /// The server's time, in seconds since 1970.
    pub date: Option<i64>,
    /// How long the server asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

/// What was tried, for the words where it failed.
pub struct Attempt<'a> {
    /// As RBAC calls it.
    pub verb: &'static str,
    /// The object.
    pub what: String,
    /// Where it is.
    pub namespace: Option<&'a Namespace>,
    /// The command that tried, as `rbac` calls it.
    pub command: &'static str,
    /// How a person gets there.
    pub reach: &'a HintContext,
}

impl Response {
    /// Why the server refused, as far as the body tells.
    pub fn status_body(&self) -> StatusBody {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Tells whether the object does not exist. A 404 alone does not: anybody answers so who is no
    /// API server.
    pub fn is_absent(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.status_body().reason == "NotFound"
    }

    /// Tells whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.status.is_server_error()
    }

    /// Reads the body of an answer that should be a success.
    ///
    /// # Errors
    /// An answer that is none, or whose body is something else (exit code 3).
    pub fn read<T: DeserializeOwned>(&self, attempt: &Attempt<'_>) -> Result<T, Failure> {
        if !self.status.is_success() {
            return Err(self.refused(attempt));
        }
        // The parser's error could quote a value.
        serde_json::from_slice(&self.body).map_err(|_| {
            let what = &attempt.what;
            Failure::unable(format!("the API server's answer for {what} cannot be read"))
                .hint("check what stands between you and the server (a proxy?), and its version")
        })
    }

    /// Puts an answer that is not a success into words, without its message.
    pub fn refused(&self, attempt: &Attempt<'_>) -> Failure {
        let status = self.status_body();
        let known = self.status.canonical_reason().unwrap_or("unknown");
        let word = |reason: &&str| {
            (1..=40).contains(&reason.len()) && reason.chars().all(|c| c.is_ascii_alphabetic())
        };
        let reason = Some(status.reason.as_str()).filter(word).unwrap_or(known);
        let told = format!("{} {reason}", self.status.as_u16());
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
            StatusCode::UNAUTHORIZED => Failure::unable("the API server does not know who you are")
                .cause(told)
                .hint("log in again, or choose another user or --context"),
            StatusCode::FORBIDDEN if status.speaks_of("NamespaceTerminating") => cannot
                .cause(format!("{told}: the namespace is being deleted"))
                .hint("wait until it is gone, then run this again with --create-namespace"),
            StatusCode::FORBIDDEN if status.speaks_of("exceeded quota") => cannot
                .cause(format!("{told}: a ResourceQuota is used up"))
                .hint(format!("{kubectl}{place} describe resourcequota")),
            _ if status.speaks_of("admission webhook") => cannot
                .cause(format!("{told}: an admission webhook denied it"))
                .hint(format!(
                    "{kubectl} get validatingwebhookconfigurations,mutatingwebhookconfigurations"
                )),
            _ if status.speaks_of("ValidatingAdmissionPolicy") => cannot
                .cause(format!("{told}: an admission policy denied it"))
                .hint(format!("{kubectl} get validatingadmissionpolicies")),
            // No Role of ours may make namespaces.
            StatusCode::FORBIDDEN if namespace.is_none() => cannot
                .cause(format!("{told}: you may not {verb} it"))
                .hint("have an administrator do it, then run this without that option"),
            StatusCode::FORBIDDEN => {
                cannot
                    .cause(format!("{told}: you may not {verb} it"))
                    .hint(format!(
                        "have an administrator run: {program} rbac {command}{fleet} \
                     --service-account NAMESPACE:NAME | {kubectl} apply -f -"
                    ))
            }
            StatusCode::NOT_FOUND if self.is_absent() => cannot.cause(told).hint(match elsewhere {
                Some(name) => format!("{kubectl} create namespace {name}"),
                None => format!(
                    "`{} --create-namespace` makes the namespace; or name another one with -n",
                    reach.apply
                ),
            }),
            StatusCode::NOT_FOUND => cannot
                .cause(format!("{told}, and not in the words of an API server"))
                .hint("check the server in the kubeconfig: kubectl config view --minify"),
            _ if self.is_transient() => {
                let tries = match self.tries {
                    0 | 1 => String::new(),
                    tries => format!(", {tries} times"),
                };
                cannot
                    .cause(format!("{told}{tries}"))
                    .hint("wait and run it again, or give it longer with --request-timeout")
            }
            _ => cannot
                .cause(told)
                .hint("the log of the API server tells more; -v shows the requests"),
        }
    }
}
