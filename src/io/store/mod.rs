//! The secret store: OpenBao's or Vault's KV engine, version 2.
//!
//! Where it is and as whom comes from the environment variables of both programs, or from what
//! their `login` leaves in the home folder. Every write has a precondition (`cas`). No answer is
//! ever quoted: it may hold values.

mod answer;
mod settings;

use self::answer::{Answer, Capabilities, Mount, Read};
use self::settings::Settings;
use super::connection;
use crate::domain::store::{Entry, Fields, StoreReach};
use crate::domain::store_plan::EntryPlan;
use crate::domain::value::SecretValue;
use crate::error::Failure;
use crate::ui::Ui;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

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

/// Tells whether the environment names a store.
pub fn is_named() -> bool {
    settings::setting("ADDR").is_some()
}

impl Store {
    /// Connects to the server of the environment.
    ///
    /// # Errors
    /// No token, settings that cannot be used, a server that cannot be reached or trusted, an engine
    /// that is not KV version 2 (exit code 3).
    pub async fn connect(mount: &str, timeout: Option<Duration>, ui: Ui) -> Result<Self, Failure> {
        let settings = Settings::read()?;
        let program = settings.program;
        let address = connection::shown(&settings.uri);
        let client = connection::connect(settings.config(timeout)?, timeout, "kubectl")
            .await
            .map_err(|failure| unreachable(&address, program, failure.causes))?;
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

    /// Refuses where the token may not write what is planned.
    ///
    /// # Errors
    /// Each capability that is missing; a store that does not answer (exit code 3).
    pub async fn check(&self, written: &[&EntryPlan]) -> Result<(), Failure> {
        if written.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = written
            .iter()
            .map(|entry| self.data_path(&entry.path))
            .collect();
        let may = self.capabilities(&paths).await?;
        let mut failure =
            Failure::unable("the store's token may not write there, and nothing has been written");
        for (entry, path) in written.iter().zip(&paths) {
            // The first version of an entry is created, every other one updates it.
            let needed = if entry.base.version == 0 {
                "create"
            } else {
                "update"
            };
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
        match failure.causes.is_empty() {
            true => Ok(()),
            false => Err(failure),
        }
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
        let paths: Vec<_> = paths.iter().map(|path| self.data_path(path)).collect();
        let body = json!({ "paths": paths });
        let at = "sys/capabilities-self";
        let answer = self.send_as(token, Method::POST, at, Some(&body)).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let found: Capabilities = self.read_as(&answer, "ask what a token may do at", at)?;
        let words = found
            .data
            .into_iter()
            .filter(|(path, _)| paths.contains(path));
        let words = words.filter_map(|(_, may)| serde_json::from_value::<Vec<String>>(may).ok());
        Ok(Some(words.flatten().collect()))
    }

    /// What the token may do with each of these paths, in the store's words: `create`, `update`,
    /// `root`, `deny`.
    async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let at = "sys/capabilities-self";
        let body = json!({ "paths": paths });
        let answer = self.send(Method::POST, at, Some(&body)).await?;
        let found: Capabilities = self.read_as(&answer, "ask what the token may do at", at)?;
        let words = |may: Value| serde_json::from_value(may).unwrap_or_default();
        let data = found.data.into_iter();
        Ok(data.map(|(path, may)| (path, words(may))).collect())
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// One that may not be read, or is in no form that is known (exit code 3).
    pub async fn read(&self, path: &str) -> Result<Entry, Failure> {
        let answer = self.send(Method::GET, &self.data_path(path), None).await?;
        // An entry that is absent is an answer without an error; a mount that is absent has one.
        if answer.status == StatusCode::NOT_FOUND && !answer.says("") {
            // Its newest version may be deleted: the next one builds on that number.
            let deleted: Option<Read> = serde_json::from_slice(&answer.body).ok();
            return Ok(deleted.map(Entry::from).unwrap_or_default());
        }
        let read: Read = self.read_as(&answer, "read", path)?;
        Ok(read.into())
    }

    /// Writes an entry on top of the version that was read.
    ///
    /// # Errors
    /// Where the store refuses (exit code 3).
    pub async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Stored, Failure> {
        let data: Map<String, Value> = fields
            .iter()
            .map(|(key, field)| {
                let value = serde_json::from_str(field.json.expose()).unwrap_or_default();
                (key.clone(), value)
            })
            .collect();
        let body = json!({ "options": { "cas": entry.base.version }, "data": data });
        let answer = self
            .send(Method::POST, &self.data_path(&entry.path), Some(&body))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(Stored::Done),
            StatusCode::BAD_REQUEST if answer.says("check-and-set") => Ok(Stored::Stale),
            _ => Err(self.refused(&answer, "write", &entry.path)),
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
        self.send_as(self.token.clone(), method, path, body).await
    }

    async fn send_as(
        &self,
        token: HeaderValue,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let line = format!("{method} {}/v1/{path}", self.address);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::ACCEPT, "application/json")
            .header("X-Vault-Token", token)
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

fn unreachable(address: &str, program: &str, causes: Vec<String>) -> Failure {
    let mut failure = Failure::unable(format!("cannot talk to the secret store {address}"))
        .hint(format!("check the address and the CA: {program} status"));
    failure.causes = causes;
    failure
}
