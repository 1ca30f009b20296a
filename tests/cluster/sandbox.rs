//! The control plane that all tests share, and requests to it that are not the program's.

use crate::services;
use kube::Config;
use kube::client::{Body, Client};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A running control plane with controllers, a scheduler, and kwok for a node: pods run, without
/// containers; External Secrets Operator, an OpenBao server and AWS Secrets Manager. It ends when this process does: its holder reads stdin to the end.
pub struct Sandbox {
    /// An administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The folder with the audit log.
    pub folder: PathBuf,
    /// The PATH on which helm and kubectl are, also where this machine has none of its own.
    pub path: PathBuf,
    /// The OpenBao server.
    pub bao: Bao,
    /// The URL of what plays AWS Secrets Manager.
    pub aws: String,
    audit: Mutex<Audit>,
    _holder: Child,
}

/// An OpenBao server with a KV engine, version 2, at `secret/`.
pub struct Bao {
    /// Its URL.
    pub address: String,
    /// Its URL over TLS.
    pub tls_address: String,
    /// The certificate that the latter's is signed with.
    pub ca: PathBuf,
    /// The root token.
    pub root: String,
}

/// The one that all tests share.
pub static SANDBOX: LazyLock<Sandbox> = LazyLock::new(Sandbox::start);

impl Sandbox {
    /// Starts one. A test that stops servers has its own.
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh");
        let mut holder = Command::new(script)
            .args(["run", "--with", "controllers,helm,eso,openbao,aws"])
            .args(services::forwards())
            .args([
                "sh",
                "-c",
                "for word in \"$KUBECONFIG\" \"$SANDBOX_DIR\" \"$PATH\" \"$BAO_ADDR\" \\
                 \"$SANDBOX_BAO_TLS_ADDR\" \"$SANDBOX_BAO_CACERT\" \"$BAO_TOKEN\" \
                 \"$AWS_SECRETSMANAGER_ENDPOINT\"; do
                   echo \"$word\"; done; cat",
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
            line.unwrap()
        };
        let (kubeconfig, folder, path) = (line().into(), PathBuf::from(line()), line().into());
        let bao = Bao {
            address: line(),
            tls_address: line(),
            ca: line().into(),
            root: line(),
        };
        let audit = Audit {
            log: File::open(folder.join("audit.log")).unwrap(),
            rest: String::new(),
            entries: Vec::new(),
        };
        Self {
            kubeconfig,
            folder,
            path,
            bao,
            aws: line(),
            audit: Mutex::new(audit),
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
        block_on(async { answer_to(self.client().await, request).await })
    }

    /// A client of an administrator.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.unwrap()).unwrap()
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
        let mut audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join("audit.log");
        let inode = std::fs::metadata(path).unwrap().ino();
        assert_eq!(audit.log.metadata().unwrap().ino(), inode, "it was rotated");
        audit.read_on();
        let entries = audit.entries.iter();
        let lines: Vec<_> = entries
            .filter(|entry| entry.agent.starts_with(agent) && entry.uri.contains(part))
            .map(|entry| entry.line.clone())
            .collect();
        drop(audit);
        lines.iter().map(|line| event(line)).collect()
    }
}

/// Sends a request to another server than the API server; gives the status and the body.
pub fn exchange(address: &str, request: http::request::Builder, body: &Value) -> (u16, Value) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = request.body(Body::from(body)).unwrap();
    let exchange = async {
        let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
        answer_to(client, request).await
    };
    block_on(exchange)
}

/// The status and the body of an answer.
async fn answer_to(client: Client, request: http::Request<Body>) -> (u16, Value) {
    let response = client.send(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, body)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// What has been read of the audit log. It grows long, and each test asks for a small part of it.
struct Audit {
    log: File,
    /// A line that the server is still writing.
    rest: String,
    entries: Vec<Entry>,
}

struct Entry {
    uri: String,
    agent: String,
    line: String,
}

impl Audit {
    fn read_on(&mut self) {
        self.log.read_to_string(&mut self.rest).unwrap();
        let rest = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(rest);
        for line in std::mem::replace(&mut self.rest, rest).lines() {
            let event = event(line);
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            self.entries.push(Entry {
                uri: text("requestURI"),
                agent: text("userAgent"),
                line: line.to_owned(),
            });
        }
    }
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("an audit event a line")
}
