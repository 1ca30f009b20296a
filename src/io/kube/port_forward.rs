//! HTTP requests to a service in a pod, through the API server's port-forward.
//!
//! Only the status of a response is read. Errors of kube, the node and the service may quote a value,
//! so this module must describe each in its own words.

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

/// The time limit of one request, with its port-forward.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A client for the pods of a cluster.
pub struct Forwarder {
    client: Client,
}

/// A request to a service: a POST if it has a body, else a GET.
pub struct Ask<'a> {
    /// The path, with a query if there is one.
    pub path: &'a str,
    /// The token of the `Authorization` header.
    pub bearer: &'a SecretValue,
    /// The body.
    pub json: Option<&'a str>,
}

impl Forwarder {
    /// Makes a client for the selected cluster. `kubectl` is the command prefix for hints.
    ///
    /// # Errors
    /// No valid kubeconfig, or invalid credentials (exit code 3). It does not connect yet.
    pub async fn connect(selection: &Selection, kubectl: &str) -> Result<Self, Failure> {
        let (config, _) = kubeconfig::load(selection).await?;
        let client = connection::upgradable(config, kubectl)?;
        Ok(Self { client })
    }

    /// Sends a request to a port of a pod, within [`LIMIT`]. A redirect is not followed.
    pub async fn ask(&self, namespace: &Namespace, pod: &str, port: u16, ask: &Ask<'_>) -> Reply {
        let Some(request) = request(ask) else {
            return unreachable("the token or the path is not valid in an HTTP request");
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace.as_str());
        let reply = async {
            match pods.portforward(pod, &[port]).await {
                Ok(forwarder) => exchange(Tunnel(forwarder), port, request).await,
                Err(error) => portforward_error(&error),
            }
        };
        tokio::time::timeout(LIMIT, reply)
            .await
            .unwrap_or_else(|_| unreachable(format!("timed out after {LIMIT:?}")))
    }
}

/// A port-forward that is closed on drop. kube's own waits for the other side.
struct Tunnel(Portforwarder);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Builds the request; `None` if the token or the path is not valid in HTTP.
fn request(ask: &Ask<'_>) -> Option<Request<String>> {
    let bearer = SecretValue::from(format!("Bearer {}", ask.bearer.expose()));
    let mut bearer = HeaderValue::from_str(bearer.expose()).ok()?;
    bearer.set_sensitive(true);
    let mut request = Request::builder()
        .uri(ask.path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::AUTHORIZATION, bearer);
    if ask.json.is_some() {
        request = request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, "application/json");
    }
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
        Err(error) => return http_error(&error),
    };
    // If the node cannot forward, it reports an error and closes the connection. The error comes first
    // here because only it has the cause.
    let node_error = async {
        match error.await {
            Some(text) => forward_error(&text),
            None => std::future::pending().await,
        }
    };
    let driver = async {
        // The request gets the connection's error.
        connection.await.ok();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        reply = node_error => reply,
        answer = sender.send_request(request) => match answer {
            Ok(answer) => Reply::Status(answer.status().as_u16()),
            Err(error) => http_error(&error),
        },
        reply = driver => reply,
    }
}

fn unreachable(why: impl Into<String>) -> Reply {
    Reply::Unreachable(why.into())
}

/// Describes why the API server opened no port-forward.
fn portforward_error(error: &kube::Error) -> Reply {
    match error {
        // An error of the node has a code and no reason.
        kube::Error::Api(status) => match (status.code, status.reason.as_str()) {
            (403, "Forbidden") => Reply::Forbidden,
            (401, "Unauthorized") => unreachable("the API server does not accept your credentials"),
            (404, "NotFound") => unreachable("pod not found"),
            (400, _) if status.message.contains("host assigned") => {
                unreachable("the pod is not scheduled to a node yet")
            }
            (code, _) => unreachable(format!("no port-forward: {}", describe_status(code))),
        },
        kube::Error::UpgradeConnection(_) => unreachable(
            "no port-forward: a proxy between here and the API server does not allow it",
        ),
        kube::Error::Auth(_) | kube::Error::Service(_) | kube::Error::HyperError(_) => unreachable(
            format!("no answer from the API server: {}", reason_of(error).0),
        ),
        _ => unreachable("no port-forward"),
    }
}

/// Describes a status by code and name.
fn describe_status(code: u16) -> String {
    let name = StatusCode::from_u16(code).ok();
    match name.and_then(|code| code.canonical_reason()) {
        Some(name) => format!("{code} {name}"),
        None => "the response is not from an API server".to_owned(),
    }
}

/// Describes an error of the node without quoting it: its text names processes and folders.
fn forward_error(text: &str) -> Reply {
    if text.to_lowercase().contains("connection refused") {
        unreachable("nothing listens on that port of the pod")
    } else {
        unreachable("the node cannot forward to that port of the pod")
    }
}

/// Describes why the pod gave no response.
fn http_error(error: &hyper::Error) -> Reply {
    if error.is_parse() {
        unreachable("the process on that port does not speak HTTP")
    } else {
        unreachable("the connection to the pod was closed without an answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn build(token: &str, path: &str, json: Option<&str>) -> Option<Request<String>> {
        request(&Ask {
            path,
            bearer: &SecretValue::from(token),
            json,
        })
    }

    #[test]
    fn the_token_is_sent_and_never_shown() {
        let request = build("s3ntinel", "/a?b=c", Some("{}")).unwrap();
        let token = &request.headers()[header::AUTHORIZATION];
        assert_eq!(token, "Bearer s3ntinel");
        assert!(!format!("{request:?}").contains("s3ntinel"));
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.body(), "{}");
    }

    #[test]
    fn an_invalid_token_or_path_is_not_sent() {
        assert!(build("a\nb", "/", None).is_none());
        assert!(build("a", "/ HTTP/1.1\r\n", None).is_none());
    }

    #[test]
    fn a_port_forward_error_is_described_without_its_message() {
        let refusal = |code, reason: &str, message: &str| {
            let status = Status::failure(message, reason).with_code(code);
            portforward_error(&kube::Error::Api(status.boxed()))
        };
        assert_eq!(refusal(403, "Forbidden", "s3ntinel"), Reply::Forbidden);
        let unscheduled = "pod s3ntinel does not have a host assigned";
        for (code, reason, message, why) in [
            (
                400,
                "BadRequest",
                unscheduled,
                "the pod is not scheduled to a node yet",
            ),
            (403, "", "s3ntinel", "no port-forward: 403 Forbidden"),
            (404, "NotFound", "s3ntinel", "pod not found"),
            (404, "", "s3ntinel", "no port-forward: 404 Not Found"),
            (
                0,
                "s3ntinel",
                "s3ntinel",
                "no port-forward: the response is not from an API server",
            ),
        ] {
            assert_eq!(refusal(code, reason, message), unreachable(why));
        }
    }

    #[test]
    fn an_error_of_the_node_is_not_quoted() {
        let closed = "pod s3ntinel: dial tcp4 127.0.0.1:8080: connect: connection refused";
        assert_eq!(
            forward_error(closed),
            unreachable("nothing listens on that port of the pod")
        );
        assert_eq!(
            forward_error("s3ntinel"),
            unreachable("the node cannot forward to that port of the pod")
        );
    }
}
