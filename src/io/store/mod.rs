//! The secret store: OpenBao's or Vault's KV engine, version 2.
//!
//! Where it is and as whom comes from the environment variables of both programs, or from what
//! their `login` leaves in the home folder. Every write has a precondition (`cas`). No answer is
//! ever quoted: it may hold values.

mod response;
mod settings;

use self::response::{Capabilities, Mount, Read, StoreResponse};
use self::settings::Settings;
use super::kube::connection;
use crate::domain::eso::store_entry::{Entry, Fields, StoreReach, quoted};
use crate::domain::plan::EntryPlan;
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
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Where a token asks what it may do.
const CAPABILITIES: &str = "sys/capabilities-self";
/// What is wrong where no connection could be set up and nothing else is known.
const UNUSABLE: &str =
    "its client certificate or key (BAO_CLIENT_CERT, BAO_CLIENT_KEY) is unusable";

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

/// Where the environment leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The program that reads that variable: `bao` or `vault`.
    pub program: &'static str,
    /// The namespace within the store.
    pub namespace: Option<String>,
}

/// Where the environment leads; `None` where no variable names an address.
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

/// Tells whether the environment leads to this address.
pub fn is_at(address: &str) -> bool {
    let shown = |text: &str| {
        let uri: Option<http::Uri> = text.parse().ok();
        uri.map(|uri| connection::shown(&uri))
    };
    settings::setting("ADDR").and_then(|(_, named)| shown(&named)) == shown(address)
}

impl Store {
    /// Connects to the server of the environment.
    ///
    /// # Errors
    /// No token, settings that cannot be used, a server that cannot be reached or trusted, an engine
    /// that is not KV version 2 (exit code 3).
    pub async fn connect(mount: &str, timeout: Option<Duration>, ui: Ui) -> Result<Self, Failure> {
        // It can come from an object of the cluster.
        let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if mount.is_empty() || !mount.chars().all(good) || mount.contains("..") {
            return Err(
                Failure::unable("the name of the mount in the secret store is not a path")
                    .hint("use letters, digits, '-', '_', '.' and '/'"),
            );
        }
        let settings = Settings::read()?;
        let program = settings.program;
        let address = connection::shown(&settings.uri);
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

    /// How a person gets there.
    pub fn reach(&self) -> &StoreReach {
        &self.reach
    }

    /// Refuses an engine that is not KV version 2.
    async fn check_mount(&self) -> Result<(), Failure> {
        let StoreReach { program, mount } = &self.reach;
        let at = format!("sys/internal/ui/mounts/{mount}");
        let what = format!("ask the secret store about the mount {mount}");
        let answer = self.get(&at).await?;
        // Who has no right anywhere below the mount may not ask, and reading will tell. Any other
        // refusal is about the token itself: OpenBao answers so what it does not know.
        if answer.status == StatusCode::FORBIDDEN {
            return match answer.says("preflight capability check") {
                true => Ok(()),
                false => Err(self.unknown_token(&answer, &what)),
            };
        }
        let Mount { data: found } = self.read_as(&answer, &what, &at)?;
        let another = format!("name another with --mount; {program} secrets list shows them");
        // A path below a mount is answered with the mount.
        if !found.path.is_empty() && found.path.trim_matches('/') != mount {
            let path = found.path;
            return Err(
                Failure::unable(format!("{mount} is not a mount of the secret store"))
                    .cause(format!("it is a path below the mount {path}"))
                    .hint(another),
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
            _ => Err(Failure::unable(format!("{mount} is not a KV engine")).hint(another)),
        }
    }

    /// Refuses where the token may not write what is planned.
    ///
    /// # Errors
    /// Each capability that is missing; a store that does not answer (exit code 3).
    pub async fn check(&self, written: &[&EntryPlan]) -> Result<(), Failure> {
        let written: Vec<_> = written
            .iter()
            .map(|entry| (entry.path.as_str(), entry.base.version))
            .collect();
        self.may_write(&written).await
    }

    /// Refuses where the token may not write these entries, each with the version that it has.
    ///
    /// # Errors
    /// As those of [`Store::check`].
    pub async fn may_write(&self, written: &[(&str, u64)]) -> Result<(), Failure> {
        if written.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = written
            .iter()
            .map(|(path, _)| self.data_path(path))
            .collect();
        let Some(may) = self.capabilities(&paths).await? else {
            self.ui.warn(&format!(
                "the store's token may not ask what it may do (update on {CAPABILITIES})"
            ));
            return Ok(());
        };
        let mut failure =
            Failure::unable("the store's token may not write there, and nothing has been written");
        for ((_, version), path) in written.iter().zip(&paths) {
            // The first version of an entry is created, every other one updates it.
            let needed = if *version == 0 { "create" } else { "update" };
            let words = may.get(path).map(Vec::as_slice).unwrap_or_default();
            if !words.iter().any(|word| word == needed || word == "root") {
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

    /// What the holder of another token may do with these entries, in the store's words, all
    /// together; `None` where the store does not take that token.
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
            client: self.client.clone(),
            address: self.address.clone(),
            token,
            namespace: self.namespace.clone(),
            timeout: self.timeout,
            reach: self.reach.clone(),
            ui: self.ui,
        };
        let paths: Vec<_> = paths.iter().map(|path| self.data_path(path)).collect();
        let may = holder.capabilities(&paths).await?;
        Ok(may.map(|may| may.into_values().flatten().collect()))
    }

    /// What the token may do with each of these paths, in the store's words: `create`, `update`,
    /// `root`, `deny`. `None` where it may not ask.
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
        let found: Capabilities = self.read_as(&answer, what, CAPABILITIES)?;
        let words = |may: Value| serde_json::from_value(may).unwrap_or_default();
        let data = found.data.into_iter();
        Ok(Some(data.map(|(path, may)| (path, words(may))).collect()))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// One that may not be read, or is in no form that is known (exit code 3).
    pub async fn read(&self, path: &str) -> Result<Entry, Failure> {
        let at = self.data_path(path);
        let answer = self.get(&at).await?;
        // An entry that is absent is an answer without an error; a mount that is absent has one.
        if answer.status == StatusCode::NOT_FOUND && !answer.says("") {
            // Its newest version may be deleted: the next one builds on that number.
            let deleted: Option<Read> = serde_json::from_slice(&answer.body).ok();
            return Ok(deleted.map(Entry::from).unwrap_or_default());
        }
        let what = format!("read {path} in the secret store");
        let read: Read = self.read_as(&answer, &what, &at)?;
        Ok(read.into())
    }

    /// Writes an entry on top of the version that was read.
    ///
    /// # Errors
    /// Where the store refuses (exit code 3).
    pub async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure> {
        self.put(&entry.path, entry.base.version, fields).await
    }

    /// Writes all fields of an entry on top of that version.
    ///
    /// # Errors
    /// Where the store refuses (exit code 3).
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
            StatusCode::BAD_REQUEST if answer.says("did not match the current version") => {
                Ok(Written::Stale)
            }
            _ => Err(self.refused(&answer, &what, &at)),
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
            Failure::unable("cannot put the request to the secret store into JSON")
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
            // What both programs send, so that an agent in between can tell them from a browser.
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace.clone());
        }
        let request = request.body(Body::from(body)).map_err(|_| {
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
            let (why, _) = super::kube::client::reason_of(&error);
            unreachable(&self.address, program, vec![why])
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
            return Err(self.refused(answer, what, path));
        }
        // The parser's error could quote a value.
        serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::unable(format!(
                "the secret store's answer for {path} cannot be read"
            ))
            .hint("check that the address is that of OpenBao or Vault")
        })
    }

    /// Puts an answer that is no success into words, without its text. `path` is what was asked.
    fn refused(&self, answer: &StoreResponse, what: &str, path: &str) -> Failure {
        let StoreReach { program, .. } = &self.reach;
        let (cause, hint) = match answer.status {
            StatusCode::SERVICE_UNAVAILABLE if answer.says("sealed") => {
                ("the store is sealed", format!("{program} operator unseal"))
            }
            status if status.is_redirection() || answer.says("not active") => (
                "the server is standby, and not the one that answers",
                format!("set the address to the active one: {program} status names it"),
            ),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => (
                "the server is standby, or busy",
                format!("{program} status"),
            ),
            StatusCode::BAD_REQUEST if answer.says("Upgrading from non-versioned") => (
                "the engine is on its way from version 1 to 2",
                "run this again in a moment".to_owned(),
            ),
            StatusCode::FORBIDDEN if answer.says("invalid token") || answer.says("bad token") => {
                return self.unknown_token(answer, what);
            }
            StatusCode::FORBIDDEN => (
                "the token may not do that, or has expired",
                format!("{program} token capabilities {}", quoted(path)),
            ),
            StatusCode::NOT_FOUND if answer.says("namespace not found") => (
                "there is no such namespace in the store",
                format!("set or unset BAO_NAMESPACE; {program} namespace list shows them"),
            ),
            StatusCode::NOT_FOUND => (
                "nothing is mounted there",
                format!("name another with --mount; {program} secrets list shows them"),
            ),
            _ => ("an unexpected answer", format!("{program} status")),
        };
        let told = answer.status.as_u16();
        Failure::unable(format!("cannot {what}"))
            .cause(format!("{told}: {cause}"))
            .hint(hint)
    }

    fn unknown_token(&self, answer: &StoreResponse, what: &str) -> Failure {
        let told = answer.status.as_u16();
        Failure::unable(format!("cannot {what}"))
            .cause(format!("{told}: the token is unknown, revoked or expired"))
            .hint(format!("log in again: {} login", self.reach.program))
    }
}

fn unreachable(address: &str, program: &str, causes: Vec<String>) -> Failure {
    let variable = program.to_uppercase();
    let hint = format!("check the address and, over TLS, {variable}_CACERT: {program} status");
    let failure = Failure::unable(format!("cannot talk to the secret store {address}"));
    Failure { causes, ..failure }.hint(hint)
}
