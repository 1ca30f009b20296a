//! The control plane that all tests share, and requests to it that are not the program's.

use crate::services;
use kube::Config;
use kube::client::{Body, Client};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

/// A running control plane with controllers, a scheduler, and kwok for a node: pods run, without
/// containers. It ends when this process does: its holder reads stdin to the end.
pub struct Sandbox {
    /// An administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The folder with the audit log.
    pub folder: PathBuf,
    /// The PATH on which helm and kubectl are, also where this machine has none of its own.
    pub path: PathBuf,
    _holder: Child,
}

/// The one that all tests share.
pub static SANDBOX: LazyLock<Sandbox> = LazyLock::new(Sandbox::start);

impl Sandbox {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh");
        let mut holder = Command::new(script)
            .args(["run", "--with", "controllers,helm"])
            .args(services::forwards())
            .args([
                "sh",
                "-c",
                "echo \"$KUBECONFIG\"; echo \"$SANDBOX_DIR\"; echo \"$PATH\"; cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("local/sandbox.sh starts");
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let mut line = || {
            let line = lines
                .next()
                .expect("the sandbox is up: its own words are above");
            PathBuf::from(line.unwrap())
        };
        Self {
            kubeconfig: line(),
            folder: line(),
            path: line(),
            _holder: holder,
        }
    }

    /// Sends a request as an administrator; gives the status and the body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(Body::from(body))
            .unwrap();
        let exchange = async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap();
            let response = Client::try_from(config)
                .unwrap()
                .send(request)
                .await
                .unwrap();
            let status = response.status().as_u16();
            let bytes = response.into_body().collect_bytes().await.unwrap();
            (
                status,
                serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            )
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(exchange)
    }

    /// As [`Sandbox::request`], and panics unless it succeeds.
    pub fn expect(&self, method: &str, path: &str, body: &Value) -> Value {
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let (status, answer) = self.request(method, path, content_type, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {}",
            answer["message"]
        );
        answer
    }

    /// The audited requests to paths that contain `part`, of programs whose User-Agent begins so.
    pub fn audited(&self, part: &str, agent: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.join("audit.log")).unwrap();
        log.lines()
            // The log is long and parsing is slow.
            .filter(|line| line.contains(part) && line.contains(agent))
            .map(|line| serde_json::from_str::<Value>(line).expect("an audit event a line"))
            .filter(|event| {
                event["requestURI"]
                    .as_str()
                    .is_some_and(|uri| uri.contains(part))
            })
            .filter(|event| {
                event["userAgent"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(agent))
            })
            .collect()
    }
}
