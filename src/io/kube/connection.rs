//! The connection to the API server: a single HTTP/2 connection with `TCP_NODELAY`.
//!
//! kube's own client opens an HTTP/1.1 connection per concurrent request. It is used only with a
//! proxy, plain `http`, or a server that does not choose HTTP/2. A port-forward needs an HTTP/1.1
//! connection of its own, which it upgrades.

use crate::error::Failure;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::middleware::AuthLayer;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use rustls::pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tower::{BoxError, Layer, Service, ServiceBuilder};

/// Makes a client for the configured server. `kubectl` is the command prefix for hints.
///
/// # Errors
/// Invalid credentials, or a server that is unreachable or not trusted (exit code 3).
pub async fn connect(
    config: Config,
    timeout: Option<Duration>,
    kubectl: &str,
) -> Result<Client, Failure> {
    if !is_direct(&config) {
        return fallback(config, kubectl);
    }
    let (auth, for_tls) = authenticate(&config, kubectl)?;
    let mut tls = for_tls
        .rustls_client_config()
        .map_err(|error| credentials(&error, kubectl))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let limits = [config.connect_timeout, timeout];
    let endpoint = Arc::new(Endpoint::new(
        &config,
        tls,
        limits.into_iter().flatten().min(),
        kubectl,
    )?);
    let Some(sender) = endpoint
        .open()
        .await
        .map_err(|error| unreachable(&config, &error, kubectl))?
    else {
        return fallback(config, kubectl);
    };
    let wire = Http2 {
        endpoint,
        sender: Arc::new(Mutex::new(sender)),
    };
    client(config, auth, wire, kubectl)
}

/// Makes an HTTP/1.1 client, because HTTP/2 connections cannot be upgraded. It connects on first use.
///
/// # Errors
/// Invalid credentials (exit code 3).
pub(in crate::io) fn upgradable(config: Config, kubectl: &str) -> Result<Client, Failure> {
    if !is_direct(&config) {
        return fallback(config, kubectl);
    }
    let (auth, for_tls) = authenticate(&config, kubectl)?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = for_tls
        .rustls_https_connector_with_connector(tcp)
        .map_err(|error| credentials(&error, kubectl))?;
    let wire = HttpClient::builder(TokioExecutor::new()).build(connector);
    let wire = ServiceBuilder::new().map_err(BoxError::from).service(wire);
    client(config, auth, wire, kubectl)
}

fn is_direct(config: &Config) -> bool {
    config.proxy_url.is_none() && config.cluster_url.scheme_str() == Some("https")
}

/// Makes the layer that adds a token to requests, and the configuration for TLS.
fn authenticate(config: &Config, kubectl: &str) -> Result<(Option<AuthLayer>, Config), Failure> {
    // An exec plug-in runs here and would run again for TLS. If it has returned a token, the second
    // run is not needed. Otherwise it may return a client certificate, which TLS needs.
    let auth = config
        .auth_layer()
        .map_err(|error| credentials(&error, kubectl))?;
    let mut for_tls = config.clone();
    if auth.is_some() {
        for_tls.auth_info.exec = None;
    }
    Ok((auth, for_tls))
}

/// Makes a client that sends its requests through `wire`.
fn client<W>(
    config: Config,
    auth: Option<AuthLayer>,
    wire: W,
    kubectl: &str,
) -> Result<Client, Failure>
where
    W: Service<http::Request<Body>, Response = http::Response<Incoming>, Error = BoxError>,
    W: Clone + Send + 'static,
    W::Future: Send,
{
    let headers = config
        .extra_headers_layer()
        .map_err(|error| credentials(&error, kubectl))?;
    let service = ServiceBuilder::new()
        .option_layer(auth)
        .layer(headers)
        .service(wire);
    let service = config.base_uri_layer().layer(service);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Makes kube's own client.
fn fallback(config: Config, kubectl: &str) -> Result<Client, Failure> {
    Ok(ClientBuilder::try_from(config)
        .map_err(|error| credentials(&error, kubectl))?
        .build())
}

/// The address of the server and its TLS settings.
struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
    timeout: Option<Duration>,
}

impl Endpoint {
    fn new(
        config: &Config,
        tls: rustls::ClientConfig,
        timeout: Option<Duration>,
        kubectl: &str,
    ) -> Result<Self, Failure> {
        let url = &config.cluster_url;
        // An IPv6 address has brackets in a URL and nowhere else.
        let host = url
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let tls_name = config
            .tls_server_name
            .clone()
            .unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(tls_name).map_err(|_| {
            Failure::unable("the server name in the kubeconfig is not a host name or address").hint(
                format!("check server and tls-server-name: {kubectl} config view --minify"),
            )
        })?;
        let port = url.port_u16().unwrap_or(443);
        Ok(Self {
            host,
            port,
            name,
            tls: TlsConnector::from(Arc::new(tls)),
            timeout,
        })
    }

    /// Connects; `None` if the server does not choose HTTP/2.
    async fn open(&self) -> std::io::Result<Option<SendRequest<Body>>> {
        let connecting = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            let stream = self.tls.connect(self.name.clone(), tcp).await?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Ok(None);
            }
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(std::io::Error::other)?;
            // The task ends with the last sender. Waiting requests get the connection's error.
            tokio::spawn(async move { connection.await.ok() });
            Ok(Some(sender))
        };
        match self.timeout {
            None => connecting.await,
            Some(limit) => tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Sends all requests over one connection, and opens a new one if it has been closed.
#[derive(Clone)]
struct Http2 {
    endpoint: Arc<Endpoint>,
    sender: Arc<Mutex<SendRequest<Body>>>,
}

impl Http2 {
    async fn sender(&self) -> Result<SendRequest<Body>, BoxError> {
        let mut sender = self.sender.lock().await;
        if sender.is_closed() {
            *sender = self
                .endpoint
                .open()
                .await?
                .ok_or("the server no longer speaks HTTP/2")?;
        }
        Ok(sender.clone())
    }
}

impl Service<http::Request<Body>> for Http2 {
    type Response = http::Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let wire = self.clone();
        Box::pin(async move {
            let mut sender = wire.sender().await?;
            sender.ready().await?;
            Ok(sender.send_request(request).await?)
        })
    }
}

/// Describes an error of kube. Its own text may hold the output of an exec plug-in.
fn credentials(error: &kube::Error, kubectl: &str) -> Failure {
    use kube::client::AuthError;
    let failure = match error {
        kube::Error::Auth(AuthError::AuthExecStart(source)) => {
            Failure::unable("the credential plug-in of the kubeconfig cannot be started")
                .cause(source.to_string())
        }
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            Failure::unable("the credential plug-in of the kubeconfig failed")
                .cause(out.status.to_string())
        }
        kube::Error::Auth(AuthError::ReadTokenFile(source, path)) => {
            Failure::unable(format!("cannot read the token file {}", path.display()))
                .cause(source.to_string())
        }
        kube::Error::ProxyProtocolUnsupported { .. }
        | kube::Error::ProxyProtocolDisabled { .. } => {
            Failure::unable("the proxy-url of the kubeconfig is of a kind that is not supported")
        }
        _ => Failure::unable("the credentials of the kubeconfig cannot be used"),
    };
    failure.hint(format!("check that `{kubectl} get namespaces` works"))
}

/// Formats a URL for messages, without credentials and without a trailing slash.
pub fn display_url(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", url.path().trim_end_matches('/'))
}

fn unreachable(config: &Config, error: &std::io::Error, kubectl: &str) -> Failure {
    let server = display_url(&config.cluster_url);
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(why @ rustls::Error::InvalidCertificate(_)) => Failure::unable(format!(
            "the certificate of {server} is not trusted"
        ))
        .cause(why.to_string())
        .hint(format!(
            "check certificate-authority and the server's name: {kubectl} config view --minify"
        )),
        Some(why) => Failure::unable(format!("no secure connection to {server}"))
            .cause(why.to_string())
            .hint(format!(
                "check that this is the API server: {kubectl} cluster-info"
            )),
        None => Failure::unable(format!("cannot reach the API server {server}"))
            .cause(error.to_string())
            .hint(format!(
                "check that it runs and that this is the right context: {kubectl} cluster-info"
            )),
    }
}
