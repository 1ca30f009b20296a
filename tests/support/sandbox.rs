//! The control plane that all tests of a target share, and requests to it that are not the program's.

use kube::Config;
use kube::client::{Body, Client};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use tokio::runtime::Handle;

/// A running control plane, with the servers that the target asks for. It ends when this process
/// does: its holder reads stdin to the end.
pub struct Sandbox {
    /// An administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The folder with the audit log.
    pub folder: PathBuf,
    /// The PATH with the sandbox's programs, such as kubectl and helm.
    pub path: PathBuf,
    /// An administrator's client, whose connections are used again.
    client: Client,
    audit: Mutex<Audit>,
    _holder: Child,
}

/// The one that all tests share.
pub static SANDBOX: LazyLock<Sandbox> = LazyLock::new(Sandbox::start);

impl Sandbox {
    /// Starts one. A test that stops servers has its own.
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh");
        let tell = r#"printf '%s\n' "$KUBECONFIG" "$SANDBOX_DIR" "$PATH"; exec cat"#;
        let mut holder = Command::new(script)
            .arg("run")
            .args(crate::sandbox_options())
            .args(["sh", "-c", tell])
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
        let (kubeconfig, folder, path) = (line(), line(), line());
        let audit = Audit {
            log: File::open(folder.join("audit.log")).unwrap(),
            rest: String::new(),
            entries: Vec::new(),
        };
        let client = block_on(client_of(kubeconfig.clone()));
        Self {
            kubeconfig,
            folder,
            path,
            client,
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
        let request = || {
            let request = http::Request::builder().method(method).uri(path);
            let request = request.header("content-type", content_type);
            request.body(Body::from(body.clone())).unwrap()
        };
        // A busy server may close a connection that has been idle. What is not created twice may be
        // sent again.
        let tries = if method == "POST" { 1 } else { 3 };
        let mut answers = (0..tries).map(|_| block_on(answer_to(self.client.clone(), request())));
        let mut answer = answers.next().unwrap();
        while answer.is_err()
            && let Some(next) = answers.next()
        {
            answer = next;
        }
        parsed(answer.unwrap_or_else(|error| panic!("{method} {path}: {error}")))
    }

    /// An administrator's client, for whoever runs a runtime of their own.
    pub async fn client(&self) -> Client {
        client_of(self.kubeconfig.clone()).await
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
        self.audited_if(|entry| entry.agent.starts_with(agent) && entry.uri.contains(part))
    }

    /// The audited requests for a namespace or to something in it, of programs whose User-Agent begins so.
    pub fn audited_in(&self, namespace: &str, agent: &str) -> Vec<Value> {
        self.audited_if(|entry| entry.namespace == namespace && entry.agent.starts_with(agent))
    }

    /// The audited requests of a user.
    pub fn audited_of(&self, user: &str) -> Vec<Value> {
        self.audited_if(|entry| entry.user == user)
    }

    fn audited_if(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Value> {
        let mut audit = self.audit.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join("audit.log");
        let inode = std::fs::metadata(path).unwrap().ino();
        assert_eq!(audit.log.metadata().unwrap().ino(), inode, "it was rotated");
        audit.read_on();
        let entries = audit.entries.iter().filter(|entry| wanted(entry));
        let lines: Vec<_> = entries.map(|entry| entry.line.clone()).collect();
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
    let address = address.parse().unwrap();
    parsed(block_on(async {
        let client = Client::try_from(Config::new(address)).unwrap();
        answer_to(client, request).await.unwrap()
    }))
}

/// The status and the body of an answer, which is not parsed here: all requests share a thread.
async fn answer_to(
    client: Client,
    request: http::Request<Body>,
) -> Result<(u16, Vec<u8>), kube::Error> {
    let response = client.send(request).await?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await?;
    Ok((status, bytes.into()))
}

fn parsed((status, body): (u16, Vec<u8>)) -> (u16, Value) {
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn client_of(kubeconfig: PathBuf) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// Drives the connections, which outlive a request. With a runtime of several threads instead, tokio
/// would be compiled with more features for the tests than for the program.
static RUNTIME: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    RUNTIME.spawn(async move { sender.send(work.await) });
    receiver.recv().expect("the request did not panic")
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
    user: String,
    namespace: String,
    line: String,
}

/// The fields of an event that tests ask for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "requestURI")]
    uri: String,
    #[serde(default)]
    user_agent: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
struct ObjectRef {
    #[serde(default)]
    namespace: String,
}

impl Audit {
    fn read_on(&mut self) {
        self.log.read_to_string(&mut self.rest).unwrap();
        let rest = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(rest);
        for line in std::mem::replace(&mut self.rest, rest).lines() {
            let event: Event = serde_json::from_str(line).expect("an audit event a line");
            self.entries.push(Entry {
                uri: event.uri,
                agent: event.user_agent,
                user: event.user.username,
                namespace: event.object_ref.namespace,
                line: line.to_owned(),
            });
        }
    }
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("an audit event a line")
}
