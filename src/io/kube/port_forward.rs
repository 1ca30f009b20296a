//! Asking a service in a pod over HTTP, through the API server's port-forward.
//!
//! A status is all that is read of an answer. The errors of kube, the node and the service can
//! quote what was sent or stored, so each is told in words of this file.

use super::client::reason_of;
use super::connection;
use super::kubeconfig::{self, AGENT, Selection};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::Reply;
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use kube::{Api, Client};
use std::time::Duration;

/// How long one request may take, with all that it needs.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A way to the pods of a cluster.
pub struct Forwarder {
    client: Client,
}

/// A request to a service.
pub struct Ask<'a> {
    /// Its method.
    pub method: Method,
    /// The path, with the query where there is one.
    pub path: &'a str,
    /// The token that it shows.
    pub bearer: &'a SecretValue,
    /// The body, where it has one.
    pub json: Option<&'a str>,
}

impl Forwarder {
    /// Prepares to go to the pods of the selected cluster. `kubectl` is how a person reaches it, for
    /// hints.
    ///
    /// # Errors
    /// No usable kubeconfig, or credentials that cannot be had (exit code 3). A server that cannot
    /// be reached shows when it is asked.
    pub async fn connect(selection: &Selection, kubectl: &str) -> Result<Self, Failure> {
        let (config, _) = kubeconfig::load(selection).await?;
        let client = connection::upgradable(config, kubectl)?;
        Ok(Self { client })
    }

    /// Asks what listens on a port of a pod, within [`LIMIT`]. A redirect is an answer.
    pub async fn ask(&self, namespace: &Namespace, pod: &str, port: u16, ask: &Ask<'_>) -> Reply {
        let Some(request) = request(ask) else {
            return unreachable("the token or the path cannot stand in an HTTP request");
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace.as_str());
        let asking = async {
            match pods.portforward(pod, &[port]).await {
                Ok(forwarder) => exchange(Tunnel(forwarder), port, request).await,
                Err(error) => refused(&error),
            }
        };
        tokio::time::timeout(LIMIT, asking)
            .await
            .unwrap_or_else(|_| {
                unreachable(format!("it did not answer within {} s", LIMIT.as_secs()))
            })
    }
}

/// A port-forward that ends where it goes out of scope; kube's would wait for the other side.
struct Tunnel(Portforwarder);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Builds the request; `None` where a part of it holds what no header or path may.
fn request(ask: &Ask<'_>) -> Option<Request<String>> {
    let bearer = SecretValue::from(format!("Bearer {}", ask.bearer.expose()));
    let mut bearer = HeaderValue::from_str(bearer.expose()).ok()?;
    bearer.set_sensitive(true);
    let request = Request::builder()
        .method(ask.method.clone())
        .uri(ask.path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::AUTHORIZATION, bearer);
    let request = match ask.json {
        Some(_) => request.header(header::CONTENT_TYPE, "application/json"),
        None => request,
    };
    request.body(ask.json.unwrap_or_default().to_owned()).ok()
}

/// Sends the request through the tunnel and waits for the status.
async fn exchange(mut tunnel: Tunnel, port: u16, request: Request<String>) -> Reply {
    let (Some(stream), Some(error)) = (tunnel.0.take_stream(port), tunnel.0.take_error(port))
    else {
        return unreachable("the port-forward did not open");
    };
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(opened) => opened,
        Err(error) => return broken(&error),
    };
    // The node says that it cannot forward, then closes; only the first tells why.
    let told = async {
        match error.await {
            Some(text) => not_forwarded(&text),
            None => std::future::pending().await,
        }
    };
    let driven = async {
        // Its error reaches the request too.
        connection.await.ok();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        reply = told => reply,
        answer = sender.send_request(request) => match answer {
            Ok(answer) => Reply::Status(answer.status().as_u16()),
            Err(error) => broken(&error),
        },
        reply = driven => reply,
    }
}

fn unreachable(why: impl Into<String>) -> Reply {
    Reply::Unreachable(why.into())
}

/// Why there is no port-forward.
fn refused(error: &kube::Error) -> Reply {
    match error {
        // A node's own refusals come through with their code but without a reason.
        kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
            (403, "Forbidden") => Reply::Forbidden,
            (401, "Unauthorized") => unreachable("the API server does not know who you are"),
            (404, "NotFound") => unreachable("there is no such pod"),
            (400, _) if status.message.contains("host assigned") => {
                unreachable("the pod is on no node yet")
            }
            (code, _) => unreachable(format!("no port-forward: {}", named(code))),
        },
        kube::Error::UpgradeConnection(_) => unreachable(
            "no port-forward: what stands before the API server does not let it through",
        ),
        kube::Error::Auth(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => unreachable(
            format!("no answer from the API server: {}", reason_of(error).0),
        ),
        _ => unreachable("no port-forward"),
    }
}

/// A status with its name.
fn named(code: u16) -> String {
    let name = StatusCode::from_u16(code).ok();
    match name.and_then(|code| code.canonical_reason()) {
        Some(name) => format!("{code} {name}"),
        None => "an answer that is not of an API server".to_owned(),
    }
}

/// What a node means that cannot forward; its text names processes and folders.
fn not_forwarded(text: &str) -> Reply {
    if text.to_lowercase().contains("connection refused") {
        unreachable("nothing listens on that port of the pod")
    } else {
        unreachable("the node cannot forward to that port of the pod")
    }
}

/// Why there is no answer from the pod.
fn broken(error: &hyper::Error) -> Reply {
    if error.is_parse() {
        unreachable("what listens on that port does not speak HTTP")
    } else {
        unreachable("the connection to the pod was closed without an answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn asked(token: &str, path: &str, json: Option<&str>) -> Option<Request<String>> {
        request(&Ask {
            method: Method::POST,
            path,
            bearer: &SecretValue::from(token),
            json,
        })
    }

    #[test]
    fn the_token_is_sent_and_never_shown() {
        let request = asked("s3ntinel", "/a?b=c", Some("{}")).unwrap();
        let token = &request.headers()[header::AUTHORIZATION];
        assert_eq!(token, "Bearer s3ntinel");
        assert!(!format!("{request:?}").contains("s3ntinel"));
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.body(), "{}");
    }

    #[test]
    fn what_would_break_the_request_is_not_sent() {
        assert!(asked("a\nb", "/", None).is_none());
        assert!(asked("a", "/ HTTP/1.1\r\n", None).is_none());
    }

    #[test]
    fn a_refusal_is_told_without_its_message() {
        let refusal = |code, reason: &str, message: &str| {
            let status = Status::failure(message, reason).with_code(code);
            refused(&kube::Error::Api(status.boxed()))
        };
        assert_eq!(refusal(403, "Forbidden", "s3ntinel"), Reply::Forbidden);
        let unscheduled = "pod s3ntinel does not have a host assigned";
        for (code, reason, message, why) in [
            (400, "BadRequest", unscheduled, "the pod is on no node yet"),
            (403, "", "s3ntinel", "no port-forward: 403 Forbidden"),
            (404, "NotFound", "s3ntinel", "there is no such pod"),
            (404, "", "s3ntinel", "no port-forward: 404 Not Found"),
            (
                0,
                "s3ntinel",
                "s3ntinel",
                "no port-forward: an answer that is not of an API server",
            ),
        ] {
            assert_eq!(refusal(code, reason, message), unreachable(why));
        }
    }

    #[test]
    fn a_node_that_cannot_forward_is_not_quoted() {
        let closed = "pod s3ntinel: dial tcp4 127.0.0.1:8080: connect: connection refused";
        assert_eq!(
            not_forwarded(closed),
            unreachable("nothing listens on that port of the pod")
        );
        assert_eq!(
            not_forwarded("s3ntinel"),
            unreachable("the node cannot forward to that port of the pod")
        );
    }
}
