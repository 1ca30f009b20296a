//! The secret store: the KV engine, version 2, of OpenBao or Vault.
//!
//! The address and the token come from the environment variables of `bao` or `vault`, or from the
//! file that their `login` writes. Every write has a precondition (`cas`). A response must never be
//! quoted, because it may hold values.

mod response;
mod settings;

use self::response::{Mount, Payload, ReadData, StoreResponse};
use self::settings::Settings;
use super::kube::connection;
use crate::domain::eso::store_entry::{Entry, Fields, StoreReach, quoted};
use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use crate::io::written::Written;
use crate::ui::Ui;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The largest response that is read, in bytes.
const LARGEST_RESPONSE: usize = 4 * 1024 * 1024;

/// The path that returns the capabilities of the token.
const CAPABILITIES: &str = "sys/capabilities-self";
/// The cause of a failed connection if no other cause is known.
const UNUSABLE: &str =
    "its client certificate or key (BAO_CLIENT_CERT, BAO_CLIENT_KEY) is unusable";

/// A client of an OpenBao or Vault server.
#[derive(Clone)]
pub struct Store {
    client: Client,
    address: String,
    token: HeaderValue,
    namespace: Option<HeaderValue>,
    timeout: Option<Duration>,
    reach: StoreReach,
    ui: Ui,
}

/// The store that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The program of the variable that names the address: `bao` or `vault`.
    pub program: &'static str,
    /// The namespace in the store.
    pub namespace: Option<String>,
}

/// Reads which store the environment names; `None` if no variable has an address.
pub fn named() -> Option<Named> {
    let (program, _) = settings::setting("ADDR")?;
    Some(Named {
        program,
        namespace: settings::setting("NAMESPACE").map(|(_, name)| name),
    })
}

#[derive(Serialize)]
struct Write<'a> {
    options: Options,
    data: BTreeMap<&'a str, &'a RawValue>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

/// Checks whether the environment names this address.
pub fn is_at(address: &str) -> bool {
    let normalized = |text: &str| {
        let uri: Option<http::Uri> = text.parse().ok();
        uri.map(|uri| connection::display_url(&uri))
    };
    settings::setting("ADDR").and_then(|(_, found)| normalized(&found)) == normalized(address)
}

impl Store {
    /// Connects to the server that the environment names.
    ///
    /// # Errors
    /// No token, invalid settings, a server that is unreachable or not trusted, an engine that is
    /// not KV version 2 (exit code 3).
    pub async fn connect(mount: &str, timeout: Option<Duration>, ui: Ui) -> Result<Self, Failure> {
        // The mount may come from an object in the cluster, so it is not trusted.
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if mount.is_empty() || !mount.chars().all(is_allowed) || mount.contains("..") {
            return Err(
                Failure::unable("the name of the mount in the secret store is not a path")
                    .hint("use letters, digits, '-', '_', '.' and '/'"),
            );
        }
        let settings = Settings::read()?;
        let program = settings.program;
        let address = connection::display_url(&settings.uri);
        let client = connection::connect(settings.config(timeout)?, timeout, "kubectl")
            .await
            .map_err(|failure| match failure.causes.as_slice() {
                [] => unreachable(&address, program, vec![UNUSABLE.to_owned()]),
                _ => unreachable(&address, program, failure.causes),
            })?;
        let store = Self {
            client,
            address,
            token: settings.token,
            namespace: settings.namespace,
            timeout,
            reach: StoreReach {
                program,
                mount: mount.to_owned(),
            },
            ui,
        };
        store.check_mount().await?;
        Ok(store)
    }

    /// The server's URL.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The program and mount, for hints.
    pub fn reach(&self) -> &StoreReach {
        &self.reach
    }

    /// Checks that the mount is a KV engine of version 2.
    async fn check_mount(&self) -> Result<(), Failure> {
        let StoreReach { program, mount } = &self.reach;
        let at = format!("sys/internal/ui/mounts/{mount}");
        let what = format!("ask the secret store about the mount {mount}");
        let answer = self.get(&at).await?;
        // A token without any permission below the mount gets this error; the later read reports it.
        // Any other 403 means that the store does not accept the token.
        if answer.status == StatusCode::FORBIDDEN {
            if answer.has_error("preflight capability check") {
                return Ok(());
            }
            return Err(self.unknown_token(&answer, &what));
        }
        let Payload::<Mount> { data: found } = self.read_as(&answer, &what, &at)?;
        let hint = format!("name another with --mount; {program} secrets list shows them");
        // For a path below a mount, the store returns the mount.
        if !found.path.is_empty() && found.path.trim_matches('/') != mount {
            let path = found.path;
            return Err(
                Failure::unable(format!("{mount} is not a mount of the secret store"))
                    .cause(format!("it is a path below the mount {path}"))
                    .hint(hint),
            );
        }
        let version = found.options.unwrap_or_default().remove("version");
        match (found.r#type.as_str(), version.as_deref()) {
            ("kv" | "generic", Some("2")) => Ok(()),
            ("kv" | "generic", _) => Err(Failure::unable(format!(
                "{mount} is a KV engine of version 1, which has no check-and-set: two writers could \
                 overwrite each other unseen"
            ))
            .hint(format!("{program} kv enable-versioning {}", quoted(mount)))),
            _ => Err(Failure::unable(format!("{mount} is not a KV engine")).hint(hint)),
        }
    }

    /// Checks that the token may write these entries, given as path and current version.
    ///
    /// # Errors
    /// Each missing capability; a store that does not answer (exit code 3).
    pub async fn ensure_writable(&self, entries: &[(&str, u64)]) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = entries
            .iter()
            .map(|(path, _)| self.data_path(path))
            .collect();
        let Some(capabilities) = self.capabilities(&paths).await? else {
            self.ui.warn(&format!(
                "the permissions of the store's token are unknown: it lacks update on \
                 {CAPABILITIES}"
            ));
            return Ok(());
        };
        let mut failure =
            Failure::unable("the store's token may not write there, and nothing has been written");
        for ((_, version), path) in entries.iter().zip(&paths) {
            // The first version of an entry needs `create`, every later one `update`.
            let needed = if *version == 0 { "create" } else { "update" };
            let granted = capabilities
                .get(path)
                .map(Vec::as_slice)
                .unwrap_or_default();
            if !granted.iter().any(|word| word == needed || word == "root") {
                failure = failure
                    .cause(format!("it lacks the capability {needed} on {path}"))
                    .hint(format!(
                        "give its policy: path \"{path}\" {{ capabilities = [\"create\", \"read\", \
                         \"update\"] }}"
                    ));
            }
        }
        failure.if_any()
    }

    /// The capabilities of another token on these entries, of all entries together; `None` if the
    /// store does not accept that token.
    ///
    /// # Errors
    /// A store that does not answer (exit code 3).
    pub async fn capabilities_of(
        &self,
        token: &SecretValue,
        paths: &[String],
    ) -> Result<Option<Vec<String>>, Failure> {
        let Some(token) = settings::header(token) else {
            return Ok(None);
        };
        let holder = Self {
            token,
            ..self.clone()
        };
        let paths: Vec<_> = paths.iter().map(|path| self.data_path(path)).collect();
        let capabilities = holder.capabilities(&paths).await?;
        Ok(capabilities.map(|found| found.into_values().flatten().collect()))
    }

    /// The capabilities of the token by path, such as `create`, `update`, `root`, `deny`. `None` if
    /// it may not read its capabilities.
    async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<Option<BTreeMap<String, Vec<String>>>, Failure> {
        let body = json!({ "paths": paths });
        let answer = self.post(CAPABILITIES, &body).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let what = "ask the secret store what its token may do";
        let found: Payload<Map<String, Value>> = self.read_as(&answer, what, CAPABILITIES)?;
        let words = |list: Value| serde_json::from_value(list).unwrap_or_default();
        let data = found.data.into_iter();
        Ok(Some(data.map(|(path, list)| (path, words(list))).collect()))
    }

    /// Reads an entry. An absent entry has no fields and version 0, or the version of its deleted
    /// predecessor.
    ///
    /// # Errors
    /// An entry that the token may not read, or whose format is unknown (exit code 3).
    pub async fn read(&self, path: &str) -> Result<Entry, Failure> {
        let at = self.data_path(path);
        let answer = self.get(&at).await?;
        // A 404 for an absent entry has no error text; a 404 for an absent mount has one.
        if answer.status == StatusCode::NOT_FOUND && !answer.has_error("") {
            // If the newest version is deleted, the next write needs its number as `cas`.
            let deleted: Option<Payload<Option<ReadData>>> =
                serde_json::from_slice(&answer.body).ok();
            let deleted = deleted.and_then(|body| body.data);
            return Ok(deleted.map(Entry::from).unwrap_or_default());
        }
        let what = format!("read {path} in the secret store");
        let read: Payload<Option<ReadData>> = self.read_as(&answer, &what, &at)?;
        Ok(read.data.unwrap_or_default().into())
    }

    /// Writes all fields of an entry on top of version `cas`.
    ///
    /// # Errors
    /// A store that refuses or does not answer (exit code 3).
    pub async fn put(&self, path: &str, cas: u64, fields: &Fields) -> Result<Written, Failure> {
        let what = format!("write {path} in the secret store");
        let data: Result<BTreeMap<&str, &RawValue>, _> = fields
            .iter()
            .map(|(key, field)| Ok((key.as_str(), serde_json::from_str(field.json.expose())?)))
            .collect();
        let data = data.map_err(|_: serde_json::Error| {
            Failure::unable(format!("cannot {what}"))
                .cause("one of its fields cannot be sent back as it is")
                .hint("look for a field that is not text")
        })?;
        let options = Options { cas };
        let at = self.data_path(path);
        let answer = self.post(&at, &Write { options, data }).await?;
        match answer.status {
            status if status.is_success() => Ok(Written::Done),
            StatusCode::BAD_REQUEST if answer.has_error("did not match the current version") => {
                Ok(Written::Stale)
            }
            _ => Err(self.failure(&answer, &what, &at)),
        }
    }

    fn data_path(&self, path: &str) -> String {
        format!("{}/data/{path}", self.reach.mount)
    }

    async fn get(&self, path: &str) -> Result<StoreResponse, Failure> {
        self.send(Method::GET, path, Vec::new()).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<StoreResponse, Failure> {
        let body = serde_json::to_vec(body).map_err(|_| {
            Failure::unable("cannot encode the request to the secret store as JSON")
                .hint("look for a field that is not text")
        })?;
        self.send(Method::POST, path, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<StoreResponse, Failure> {
        let line = format!("{method} {}/v1/{path}", self.address);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::ACCEPT, "application/json")
            .header("X-Vault-Token", self.token.clone())
            // `bao` and `vault` send it so that an agent can tell them from a browser.
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace.clone());
        }
        let request = request.body(Body::from(body)).map_err(|_| {
            Failure::usage("the path in the secret store is not valid in a URL")
                .hint("use letters, digits, '-', '_', '.' and '/'")
        })?;
        let started = Instant::now();
        let exchange = async {
            let response = self.client.send(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_RESPONSE).collect().await;
            let body = body.map_err(kube::Error::Service)?.to_bytes().to_vec();
            Ok::<_, kube::Error>((parts.status, body))
        };
        let program = self.reach.program;
        let exchanged = match self.timeout {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.map_err(|_| {
                let cause = format!("timed out after {limit:?} (--request-timeout)");
                unreachable(&self.address, program, vec![cause])
            })?,
        };
        let (status, body) = exchanged.map_err(|error| {
            let (cause, _) = super::kube::client::reason_of(&error);
            unreachable(&self.address, program, vec![cause])
        })?;
        let took = started.elapsed().as_millis();
        let detail = format!("{line} -> {} in {took} ms", status.as_u16());
        self.ui.detail(1, &detail);
        Ok(StoreResponse { status, body })
    }

    fn read_as<T: for<'a> Deserialize<'a>>(
        &self,
        answer: &StoreResponse,
        what: &str,
        path: &str,
    ) -> Result<T, Failure> {
        if !answer.status.is_success() {
            return Err(self.failure(answer, what, path));
        }
        // The parser's error could quote a value.
        serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::unable(format!(
                "the secret store's answer for {path} cannot be read"
            ))
            .hint("check that the address is that of OpenBao or Vault")
        })
    }

    /// Describes an unsuccessful response without quoting it. `path` is the requested path.
    fn failure(&self, answer: &StoreResponse, what: &str, path: &str) -> Failure {
        let program = self.reach.program;
        let (cause, hint) = match answer.status {
            StatusCode::SERVICE_UNAVAILABLE if answer.has_error("sealed") => {
                ("the store is sealed", format!("{program} operator unseal"))
            }
            status if status.is_redirection() || answer.has_error("not active") => (
                "the server is a standby and does not serve requests",
                format!("set the address to the active server: {program} status names it"),
            ),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => (
                "the server is a standby, or busy",
                format!("{program} status"),
            ),
            StatusCode::BAD_REQUEST if answer.has_error("Upgrading from non-versioned") => (
                "the engine is being upgraded from version 1 to 2",
                "run this again in a moment".to_owned(),
            ),
            StatusCode::FORBIDDEN
                if answer.has_error("invalid token") || answer.has_error("bad token") =>
            {
                return self.unknown_token(answer, what);
            }
            StatusCode::FORBIDDEN => (
                "the token lacks the permission, or has expired",
                format!("{program} token capabilities {}", quoted(path)),
            ),
            StatusCode::NOT_FOUND if answer.has_error("namespace not found") => (
                "namespace not found in the store",
                format!("set or unset BAO_NAMESPACE; {program} namespace list shows them"),
            ),
            StatusCode::NOT_FOUND => (
                "nothing is mounted there",
                format!("name another with --mount; {program} secrets list shows them"),
            ),
            _ => ("an unexpected answer", format!("{program} status")),
        };
        let status = answer.status.as_u16();
        Failure::unable(format!("cannot {what}"))
            .cause(format!("{status}: {cause}"))
            .hint(hint)
    }

    fn unknown_token(&self, answer: &StoreResponse, what: &str) -> Failure {
        let status = answer.status.as_u16();
        Failure::unable(format!("cannot {what}"))
            .cause(format!(
                "{status}: the token is unknown, revoked or expired"
            ))
            .hint(format!("log in again: {} login", self.reach.program))
    }
}

fn unreachable(address: &str, program: &str, causes: Vec<String>) -> Failure {
    let variable = program.to_uppercase();
    let hint = format!("check the address and, over TLS, {variable}_CACERT: {program} status");
    let failure = Failure::unable(format!("cannot talk to the secret store {address}"));
    Failure { causes, ..failure }.hint(hint)
}
