//! The fleet's namespaces, the two programs, and what the API server heard of them.

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::Request;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// How many namespaces a fleet has.
pub const SIZES: [usize; 3] = [10, 100, 1000];

/// How many namespaces the loop of kubectl goes over.
pub const SAMPLE: usize = 20;

/// The label of a fleet's namespaces, before the size.
pub const LABEL: &str = "fleet-of";

/// The Secret that a fleet gets.
const ROUTER: &str = "agentibrain-router-secrets";

const HOME: &str = "home";

/// How many requests for the preparation are under way at once.
const WIDTH: usize = 16;

/// Everything that is measured, in a folder of its own.
pub struct Parts {
    /// Our program.
    program: PathBuf,
    /// The plain kubectl.
    pub kubectl: PathBuf,
    kubeconfig: PathBuf,
    work: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

/// What a run has sent.
pub struct Sent {
    /// Requests, without the further pages of lists.
    pub firsts: usize,
    /// The further pages.
    pub pages: usize,
    /// Those of all that were to change something.
    pub writes: usize,
}

/// The names of the namespaces that kubectl goes over.
pub fn sample() -> impl Iterator<Item = String> {
    (0..SAMPLE).map(|index| format!("sample-{index}"))
}

fn member(index: usize) -> String {
    format!("agents-{index}")
}

fn secret_of(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{ROUTER}")
}

impl Parts {
    /// Makes all namespaces, and the input of kubectl.
    pub fn new(program: PathBuf, kubectl: PathBuf, kubeconfig: PathBuf) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig)?;
            let config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            anyhow::Ok(kube::Client::try_from(config)?)
        })?;
        let work = tempfile::Builder::new()
            .prefix("fleet-bench.")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let digits = ["0123456789abcdef"; 4].concat();
        std::fs::write(
            work.path().join("router.env"),
            format!("KB_ROUTER_TOKEN={digits}\nEMBEDDINGS_API_KEY={digits}\n"),
        )?;
        let parts = Self {
            program,
            kubectl,
            kubeconfig,
            work,
            runtime,
            client,
        };
        parts.make_namespaces()?;
        // So that it has its cache.
        let mut get = parts.clean(&parts.kubectl);
        crate::timed(get.args(["get", "secrets"]), &[0])?;
        Ok(parts)
    }

    fn make_namespaces(&self) -> Result<()> {
        let members = (0..SIZES[2]).map(|index| {
            let sizes = SIZES.iter().filter(|size| index < **size);
            let labels = sizes.map(|size| (format!("{LABEL}-{size}"), json!("")));
            (member(index), labels.collect())
        });
        let others = sample().chain([HOME.to_owned()]);
        let others = others.map(|name| (name, serde_json::Map::new()));
        let requests = members.chain(others).map(|(name, labels)| {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": name, "labels": labels },
            });
            ("POST", "/api/v1/namespaces".to_owned(), object)
        });
        self.send(requests)
    }

    /// Removes what was made for the first so many members, and the tokens.
    pub fn clear(&self, size: usize) -> Result<()> {
        let names = (0..size).map(member).chain([HOME.to_owned()]);
        self.delete_routers(names)?;
        let tokens = self.work.path().join("local");
        if tokens.exists() {
            std::fs::remove_dir_all(tokens)?;
        }
        Ok(())
    }

    /// Removes what kubectl has made.
    pub fn clear_sample(&self) -> Result<()> {
        self.delete_routers(sample())
    }

    fn delete_routers(&self, names: impl Iterator<Item = String>) -> Result<()> {
        self.send(names.map(|name| ("DELETE", secret_of(&name), Value::Null)))
    }

    /// Checks that home and so many members have the same Secret.
    pub fn all_made(&self, size: usize) -> Result<()> {
        let path = format!("/api/v1/secrets?fieldSelector=metadata.name={ROUTER}");
        let list = Request::get(path).body(Vec::new())?;
        let list: Value = self.runtime.block_on(self.client.request(list))?;
        let items = list["items"].as_array().context("no list of Secrets")?;
        let ours = |item: &&Value| {
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            namespace == HOME || namespace.starts_with("agents-")
        };
        let ours: Vec<_> = items.iter().filter(ours).collect();
        let same = ours.iter().filter(|item| item["data"] == ours[0]["data"]);
        let (same, all) = (same.count(), ours.len());
        ensure!(
            same == size + 1 && all == same,
            "{same} of {all} Secrets are equal, of {}",
            size + 1
        );
        Ok(())
    }

    /// Sends requests together; one for what is not there counts as done.
    fn send(&self, requests: impl Iterator<Item = (&'static str, String, Value)>) -> Result<()> {
        let exchanges = requests.map(|(method, path, object)| async move {
            let body = match object {
                Value::Null => Vec::new(),
                object => object.to_string().into_bytes(),
            };
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header("content-type", "application/json")
                .body(body)?;
            match self.client.request::<Value>(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                answer => answer.map(drop).with_context(|| format!("{method} {path}")),
            }
        });
        self.runtime.block_on(
            stream::iter(exchanges)
                .buffer_unordered(WIDTH)
                .try_collect(),
        )
    }

    /// A command without the caller's environment, in the working folder.
    pub fn clean(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // kubectl keeps its cache there.
            .env("HOME", self.work.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(self.work.path());
        command
    }

    /// `--apply` over so many namespaces.
    pub fn ours(&self, size: usize) -> Result<Command> {
        let mut command = self.clean(&self.program);
        let selector = format!("{LABEL}-{size}");
        command.args(["--apply", "-n", HOME, "--fleet-selector", &selector]);
        Ok(command)
    }

    /// kubectl, which makes the Secret in a namespace.
    pub fn create(&self, namespace: &str) -> Command {
        let mut command = self.clean(&self.kubectl);
        command.args(["-n", namespace, "create", "secret", "generic", ROUTER]);
        command.args(["--from-env-file", "router.env"]);
        command
    }

    /// Runs our program and tells what the API server heard of it.
    pub fn sent_by(&self, mut ours: Command) -> Result<Sent> {
        let log = self.kubeconfig.with_file_name("audit.log");
        let before = usize::try_from(std::fs::metadata(&log)?.len())?;
        crate::timed(&mut ours, &[0])?;
        let text = std::fs::read(&log)?;
        let mut sent = Sent {
            firsts: 0,
            pages: 0,
            writes: 0,
        };
        for line in text[before..].split(|byte| *byte == b'\n') {
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            if !text("userAgent").starts_with("k8s-bootstrap/") {
                continue;
            }
            match text("requestURI").contains("continue=") {
                true => sent.pages += 1,
                false => sent.firsts += 1,
            }
            sent.writes += usize::from(!matches!(text("verb"), "get" | "list"));
        }
        ensure!(sent.firsts > 0, "the audit log has none of our requests");
        Ok(sent)
    }
}
