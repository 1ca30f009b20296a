//! Kubeconfigs made by hand, and a server of plain HTTP for answers that no API server gives.

use crate::sandbox::SANDBOX;
use crate::space::{INPUTS, Ran, Space};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What must not be seen of an answer.
pub const SENTINEL: &str = "s3ntinel-of-a-broken-answer";

/// A hand-made server of plain HTTP.
pub struct Stub {
    pub port: u16,
    /// How often each request line came.
    pub seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// What the server answers.
pub struct Reply {
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
    /// Promises more than it sends.
    pub cut: bool,
    pub after: Duration,
}

pub fn reply(status: u16, body: &Value) -> Reply {
    raw(status, &body.to_string())
}

pub fn raw(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: "",
        body: body.to_owned(),
        cut: false,
        after: Duration::ZERO,
    }
}

pub fn status(code: u16, reason: &str, message: &str) -> Reply {
    let object = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code,
    });
    reply(code, &object)
}

/// What a fresh namespace of a real server answers.
pub fn fresh(request: &str) -> Reply {
    let object = json!({ "metadata": { "name": "some", "resourceVersion": "1" } });
    match request {
        _ if request.starts_with("POST ") => reply(201, &object),
        _ if request.contains("/secrets/") => status(404, "NotFound", "not found"),
        _ if request.contains("/apis/") => raw(404, "404 page not found"),
        _ => reply(200, &object),
    }
}

impl Stub {
    /// Answers by the method and path and by how often they came before.
    pub fn new(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::default();
        let (counts, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counts, answer) = (Arc::clone(&counts), Arc::clone(&answer));
                // The client may hang up at any time.
                thread::spawn(move || serve(stream?, &counts, &*answer));
            }
        });
        Self { port, seen }
    }

    /// A space whose kubeconfig leads here.
    pub fn space(&self) -> Space {
        let space = Space::without_namespace();
        let cluster = json!({ "server": format!("http://127.0.0.1:{}", self.port) });
        with_kubeconfig(space, &kubeconfig(&cluster, &json!({})))
    }

    /// How often requests came whose line contains that.
    pub fn count(&self, part: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let counts = seen.iter().filter(|(line, _)| line.contains(part));
        counts.map(|(_, count)| count).sum()
    }
}

pub fn serve(
    mut stream: TcpStream,
    counts: &Mutex<BTreeMap<String, usize>>,
    answer: &dyn Fn(&str, usize) -> Reply,
) -> std::io::Result<()> {
    let head = head_of(&mut stream)?;
    let mut words = head.split(' ');
    let request = [words.next(), words.next()].map(Option::unwrap_or_default);
    let request = request.join(" ");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.parse::<u64>().unwrap())
    });
    let mut body = Vec::new();
    (&stream).take(length.unwrap_or(0)).read_to_end(&mut body)?;
    let before = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(request.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let reply = answer(&request, before);
    thread::sleep(reply.after);
    let promised = reply.body.len() + if reply.cut { 100 } else { 0 };
    write!(
        stream,
        "HTTP/1.1 {} Whatever\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {}Content-Length: {promised}\r\n\r\n{}",
        reply.status, reply.headers, reply.body
    )
}

/// Reads up to the empty line, byte by byte.
pub fn head_of(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

pub fn kubeconfig(cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{ "name": "here", "context": { "cluster": "it", "user": "me" } }],
        "clusters": [{ "name": "it", "cluster": cluster }],
        "users": [{ "name": "me", "user": user }],
    })
}

pub fn with_kubeconfig(mut space: Space, kubeconfig: &Value) -> Space {
    space.kubeconfig = space.folder.path().join("kubeconfig");
    std::fs::write(&space.kubeconfig, kubeconfig.to_string()).unwrap();
    space
}

/// The cluster and the user of the sandbox's kubeconfig.
pub fn sandbox() -> (Value, Value) {
    let config = Kubeconfig::read_from(&SANDBOX.kubeconfig).unwrap();
    let config = serde_json::to_value(config).unwrap();
    let (cluster, user) = (
        &config["clusters"][0]["cluster"],
        &config["users"][0]["user"],
    );
    (cluster.clone(), user.clone())
}

/// A fresh namespace, reached with these changes to the cluster and the user of the kubeconfig.
pub fn reached_with(cluster: &[(&str, Value)], user: Option<Value>) -> Space {
    let (mut of_sandbox, admin) = sandbox();
    for (key, value) in cluster {
        of_sandbox[*key] = value.clone();
    }
    let user = user.unwrap_or(admin);
    with_kubeconfig(Space::new(), &kubeconfig(&of_sandbox, &user))
}

/// A token of a service account that may do everything in the namespace.
pub fn account_token(space: &Space) -> String {
    let token = space.service_account("operator");
    let group = "rbac.authorization.k8s.io";
    let path = format!(
        "/apis/{group}/v1/namespaces/{}/rolebindings",
        space.namespace
    );
    let account = json!({
        "kind": "ServiceAccount", "namespace": space.namespace, "name": "operator",
    });
    let binding = json!({
        "metadata": { "name": "operator" },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [account],
    });
    SANDBOX.expect("POST", &path, &binding);
    token
}

/// Writes a script that can be run.
pub fn script(space: &Space, text: &str) -> PathBuf {
    let path = space.folder.path().join("plug-in");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

/// A user of the kubeconfig whose credentials come from that program.
pub fn plug_in(command: &PathBuf) -> Value {
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "interactiveMode": "Never",
    } })
}

#[track_caller]
pub fn hides(ran: Ran, sentinel: &str) -> Ran {
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(sentinel), "{}\n{}", ran.out, ran.err);
    }
    ran
}

/// Runs every command that reads the cluster, at `-vv`, as text and as JSON; each has to end with
/// that code and to hide the sentinel.
#[track_caller]
pub fn every_command_hides(space: &Space, code: i32, more: &[&str]) {
    let commands: [&[&str]; 3] = [&["--apply"], &["diff"], &["tokens", "recover"]];
    for command in commands {
        for format in ["text", "json"] {
            let arguments = [command, &["-vv", "-o", format], more].concat();
            let ran = hides(space.run_with(&INPUTS, &arguments).exits(code), SENTINEL);
            if format == "json" {
                let document = ran.json();
                assert_eq!(document["ok"], false, "{arguments:?}");
                assert!(document["error"]["message"].is_string(), "{arguments:?}");
            } else {
                assert!(ran.err.contains("hint"), "{}", ran.err);
            }
        }
    }
}
