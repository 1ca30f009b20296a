//! The secret store: OpenBao's or Vault's KV engine, version 2.
//!
//! Where it is and as whom comes from the environment variables of both programs, or from what
//! their `login` leaves in the home folder. Every write has a precondition (`cas`). No answer is
//! ever quoted: it may hold values.

use super::connection;
use crate::domain::store::{Entry, Field, StoreReach};
use crate::domain::value::SecretValue;
use crate::error::Failure;
use crate::ui::Ui;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The largest token file that is read, in bytes.
const LARGEST_TOKEN: u64 = 64 * 1024;
/// Where both programs are when nothing says otherwise.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// An OpenBao or Vault server, and who we are there.
pub struct Store {
    client: Client,
    address: String,
    token: HeaderValue,
    namespace: Option<HeaderValue>,
    timeout: Option<Duration>,
    reach: StoreReach,
    ui: Ui,
}

/// How a write ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is done.
    Done,
    /// Somebody else wrote first: read again.
    Stale,
}

/// A setting, from OpenBao's variable or else from Vault's.
fn setting(name: &str) -> Option<(&'static str, String)> {
    let set = |prefix: &str| {
        let value = std::env::var(format!("{prefix}_{name}")).ok();
        value.filter(|value| !value.is_empty())
    };
    set("BAO")
        .map(|value| ("bao", value))
        .or_else(|| set("VAULT").map(|value| ("vault", value)))
}

/// Tells whether the environment names a store.
pub fn is_named() -> bool {
    setting("ADDR").is_some()
}

impl Store {
    /// Connects to the server of the environment.
    ///
    /// # Errors
    /// No token, settings that cannot be used, a server that cannot be reached or trusted, an engine
    /// that is not KV version 2 (exit code 3).
    pub async fn connect(mount: &str, timeout: Option<Duration>, ui: Ui) -> Result<Self, Failure> {
        let found = setting("ADDR");
        let program = found.as_ref().map_or("bao", |(program, _)| *program);
        let address = found.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |(_, address)| address);
        let reach = StoreReach {
            program,
            mount: mount.to_owned(),
        };
        let uri: Uri = address
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme().is_some() && uri.host().is_some())
            .ok_or_else(|| {
                Failure::unable("the address of the secret store is none")
                    .hint("set BAO_ADDR or VAULT_ADDR to a URL such as https://bao.example:8200")
            })?;
        let address = connection::shown(&uri);
        let token = header(&token(program)?).ok_or_else(|| {
            Failure::unable("the token for the secret store cannot stand in an HTTP header")
                .hint(format!("log in again: {program} login"))
        })?;
        let namespace = setting("NAMESPACE").and_then(|(_, name)| header(&name.into()));
        let config = config(uri, timeout)?;
        let client = connection::connect(config, timeout, "kubectl")
            .await
            .map_err(|failure| unreachable(&address, program, failure.causes))?;
        let store = Self {
            client,
            address,
            token,
            namespace,
            timeout,
            reach,
            ui,
        };
        store.check_mount().await?;
        Ok(store)
    }

    /// The server's URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How a person gets there.
    pub fn reach(&self) -> &StoreReach {
        &self.reach
    }

    /// Refuses an engine that is not KV version 2.
    async fn check_mount(&self) -> Result<(), Failure> {
        let mount = &self.reach.mount;
        let answer = self
            .send(
                Method::GET,
                &format!("sys/internal/ui/mounts/{mount}"),
                None,
            )
            .await?;
        let program = self.reach.program;
        let list = format!("{program} secrets list");
        // Who has no right anywhere below the mount may not ask: reading will tell.
        if answer.status == StatusCode::FORBIDDEN && !answer.says("preflight capability check") {
            return Err(self.refused(&answer, "ask about the mount", mount));
        }
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(());
        }
        let mounted: Mount = self.read_as(&answer, "ask about the mount", mount)?;
        match (mounted.data.r#type.as_str(), mounted.data.options) {
            ("kv" | "generic", Some(options)) if options.get("version").is_some_and(|v| v == "2") => {
                Ok(())
            }
            ("kv" | "generic", _) => Err(Failure::unable(format!(
                "{mount} is a KV engine of version 1, which has no check-and-set: two writers could \
                 overwrite each other unseen"
            ))
            .hint(format!("{program} kv enable-versioning {mount}"))),
            _ => Err(Failure::unable(format!("{mount} is no KV engine"))
                .hint(format!("name another with --mount; {list} shows them"))),
        }
    }

    /// What the token may do with each of these paths, in the store's words (`create`, `update`,
    /// `read`, `root`, `deny`).
    ///
    /// # Errors
    /// A store that does not answer (exit code 3).
    pub async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let full: Vec<_> = paths.iter().map(|path| self.data_path(path)).collect();
        let body = json!({ "paths": full });
        let what = "ask what its token may do";
        let answer = self
            .send(Method::POST, "sys/capabilities-self", Some(&body))
            .await?;
        let found: Capabilities = self.read_as(&answer, what, "sys/capabilities-self")?;
        Ok(paths
            .iter()
            .zip(full)
            .map(|(path, full)| {
                let may = found.data.get(&full).and_then(|may| {
                    may.as_array().map(|words| {
                        let words = words.iter().filter_map(Value::as_str);
                        words.map(str::to_owned).collect()
                    })
                });
                (path.clone(), may.unwrap_or_default())
            })
            .collect())
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// One that may not be read, or is in no form that is known (exit code 3).
    pub async fn read(&self, path: &str) -> Result<Entry, Failure> {
        let answer = self.send(Method::GET, &self.data_path(path), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            // The newest version may be deleted; the next one builds on its number.
            let deleted: Option<Read> = serde_json::from_slice(&answer.body).ok();
            let version = deleted
                .and_then(|read| read.data)
                .map_or(0, |data| data.metadata.version);
            return Ok(Entry {
                version,
                fields: None,
            });
        }
        let read: Read = self.read_as(&answer, "read", path)?;
        let data = read.data.unwrap_or_default();
        let fields = data
            .data
            .map(|fields| fields.into_iter().map(field).collect());
        Ok(Entry {
            version: data.metadata.version,
            fields,
        })
    }

    /// Writes an entry on top of the version that was read.
    ///
    /// # Errors
    /// Where the store refuses (exit code 3).
    pub async fn write(
        &self,
        path: &str,
        version: u64,
        fields: &BTreeMap<String, Field>,
    ) -> Result<Stored, Failure> {
        let data: Map<String, Value> = fields
            .iter()
            .map(|(key, field)| {
                let value = serde_json::from_str(field.json.expose()).unwrap_or_default();
                (key.clone(), value)
            })
            .collect();
        let body = json!({ "options": { "cas": version }, "data": data });
        let answer = self
            .send(Method::POST, &self.data_path(path), Some(&body))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(Stored::Done),
            StatusCode::BAD_REQUEST if answer.says("check-and-set") => Ok(Stored::Stale),
            _ => Err(self.refused(&answer, "write", path)),
        }
    }

    fn data_path(&self, path: &str) -> String {
        format!("{}/data/{path}", self.reach.mount)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let line = format!("{method} {}/v1/{path}", self.address);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::ACCEPT, "application/json")
            .header("X-Vault-Token", self.token.clone())
            // What both programs send, so that an agent in between can tell them from a browser.
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace.clone());
        }
        let body = body.map(|body| body.to_string().into_bytes());
        let request = request
            .body(Body::from(body.unwrap_or_default()))
            .map_err(|_| {
                Failure::usage("the path in the secret store cannot stand in a URL")
                    .hint("use letters, digits, '-', '_', '.' and '/'")
            })?;
        let started = Instant::now();
        let exchange = async {
            let response = self.client.send(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_ANSWER).collect().await;
            let body = body.map_err(kube::Error::Service)?.to_bytes().to_vec();
            Ok::<_, kube::Error>((parts.status, body))
        };
        let program = self.reach.program;
        let exchanged = match self.timeout {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.map_err(|_| {
                let why = "the time is over (--request-timeout)".to_owned();
                unreachable(&self.address, program, vec![why])
            })?,
        };
        let (status, body) = exchanged.map_err(|error| {
            let (why, _) = super::cluster::reason_of(&error);
            unreachable(&self.address, program, vec![why])
        })?;
        let took = started.elapsed().as_millis();
        let detail = format!("{line} -> {} in {took} ms", status.as_u16());
        self.ui.detail(1, &detail);
        Ok(Answer { status, body })
    }

    fn read_as<T: for<'a> Deserialize<'a>>(
        &self,
        answer: &Answer,
        verb: &str,
        path: &str,
    ) -> Result<T, Failure> {
        if !answer.status.is_success() {
            return Err(self.refused(answer, verb, path));
        }
        // The parser's error could quote a value.
        serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::unable(format!(
                "the secret store's answer for {path} cannot be read"
            ))
            .hint("check that the address is that of OpenBao or Vault")
        })
    }

    /// Puts an answer that is no success into words, without its text.
    fn refused(&self, answer: &Answer, verb: &str, path: &str) -> Failure {
        let StoreReach { program, mount } = &self.reach;
        let told = answer.status.as_u16();
        let cannot = Failure::unable(format!("cannot {verb} {path} in the secret store"));
        match answer.status {
            StatusCode::SERVICE_UNAVAILABLE if answer.says("sealed") => cannot
                .cause(format!("{told}: the store is sealed"))
                .hint(format!("{program} operator unseal")),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => cannot
                .cause(format!("{told}: the server is standby, or busy"))
                .hint(format!("{program} status")),
            StatusCode::FORBIDDEN if answer.says("invalid token") || answer.says("bad token") => {
                cannot
                    .cause(format!("{told}: the token is unknown, revoked or expired"))
                    .hint(format!("{program} login"))
            }
            StatusCode::FORBIDDEN => cannot
                .cause(format!(
                    "{told}: its token may not {verb} that, or has expired"
                ))
                .hint(format!("{program} token capabilities {mount}/data/{path}")),
            StatusCode::NOT_FOUND => cannot
                .cause(format!("{told}: there is nothing at that path"))
                .hint(format!("{program} secrets list")),
            _ => cannot
                .cause(told.to_string())
                .hint(format!("{program} status")),
        }
    }
}

/// An answer of the store.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    /// Tells whether one of the errors holds this text.
    fn says(&self, text: &str) -> bool {
        let errors: Errors = serde_json::from_slice(&self.body).unwrap_or_default();
        errors.errors.iter().any(|error| error.contains(text))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Errors {
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Mount {
    data: MountData,
}

#[derive(Deserialize)]
struct MountData {
    r#type: String,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Capabilities {
    data: Map<String, Value>,
}

#[derive(Deserialize)]
struct Read {
    data: Option<ReadData>,
}

#[derive(Deserialize, Default)]
struct ReadData {
    data: Option<Map<String, Value>>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    version: u64,
}

fn field((key, value): (String, Value)) -> (String, Field) {
    let text = value.as_str().map(SecretValue::from);
    let json = SecretValue::from(value.to_string());
    (key, Field { json, text })
}

/// A value as a header that no log shows.
fn header(value: &SecretValue) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The token of the environment, or the one that `login` left.
fn token(program: &'static str) -> Result<SecretValue, Failure> {
    if let Some((_, token)) = setting("TOKEN") {
        return Ok(SecretValue::from(token));
    }
    let none = || {
        Failure::unable("there is no token for the secret store").hint(format!(
            "set BAO_TOKEN or VAULT_TOKEN, or log in: {program} login"
        ))
    };
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .ok_or_else(none)?;
    // OpenBao's program kept Vault's name for this file.
    let path = home.join(".vault-token");
    match read_small(&path) {
        Ok(text) if !text.expose().trim().is_empty() => Ok(SecretValue::from(text.expose().trim())),
        Ok(_) => Err(none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(none()),
        Err(error) => Err(Failure::unable(format!("cannot read {}", path.display()))
            .because(error)
            .hint(format!("log in again: {program} login"))),
    }
}

fn read_small(path: &Path) -> std::io::Result<SecretValue> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(LARGEST_TOKEN)
        .read_to_string(&mut text)?;
    Ok(SecretValue::from(text))
}

/// The way there, in the terms of the client that the API server is talked to with.
fn config(uri: Uri, timeout: Option<Duration>) -> Result<Config, Failure> {
    let mut config = Config::new(uri);
    config
        .headers
        .push((header::USER_AGENT, super::kubeconfig::AGENT));
    config.default_retry = false;
    config.connect_timeout = timeout;
    config.tls_server_name = setting("TLS_SERVER_NAME").map(|(_, name)| name);
    config.accept_invalid_certs =
        setting("SKIP_VERIFY").is_some_and(|(_, value)| value == "true" || value == "1");
    config.auth_info.client_certificate = setting("CLIENT_CERT").map(|(_, path)| path);
    config.auth_info.client_key = setting("CLIENT_KEY").map(|(_, path)| path);
    if let Some((program, path)) = setting("CACERT") {
        let unusable = |why: String| {
            Failure::unable(format!(
                "the CA file {path} of the secret store cannot be used"
            ))
            .cause(why)
            .hint(format!(
                "point {}_CACERT at a PEM file",
                program.to_uppercase()
            ))
        };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&path)
            .map_err(|error| unusable(error.to_string()))?
            .collect();
        let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("there is no certificate in it".to_owned()));
        }
        config.root_cert = Some(certificates.iter().map(|der| der.to_vec()).collect());
    }
    Ok(config)
}

fn unreachable(address: &str, program: &str, causes: Vec<String>) -> Failure {
    let mut failure = Failure::unable(format!("cannot talk to the secret store {address}"))
        .hint(format!("check the address and the CA: {program} status"));
    failure.causes = causes;
    failure
}
