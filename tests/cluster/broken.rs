//! Servers, proxies and credentials that are broken, slow or unusual.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What must not be seen of an answer.
const SENTINEL: &str = "s3ntinel-of-a-broken-answer";

/// A CA that has not signed the sandbox's certificate.
const ANOTHER_CA: &str = "-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIULC8G4sqTYoB9SiMyENJW+s1iSYUwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKYW5vdGhlciBDQTAgFw0yNjExMjQxNDM5MTNaGA8yMTI2MTAz
MTE0MzkxM1owFTETMBEGA1UEAwwKYW5vdGhlciBDQTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABMtHl9h9hz+xgsxLHnTfleFHCu06J+w5gz0NtJmawWc3vVg0f9VR
vIdLaS7ovdlYhR6MdPveq8GWiEJAaacynGmjUzBRMB0GA1UdDgQWBBRnmpL0xeDK
pG8RO1AChnp6rxb6TDAfBgNVHSMEGDAWgBRnmpL0xeDKpG8RO1AChnp6rxb6TDAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIC2IuLQ1bC6bn3Umwjf6
WfBQxMZwy4HF4qMfX6yektIQAiEA+H3ctjb7Chdb/IW89RkUg4w+cwWR3L769vJS
8EPB3F8=
-----END CERTIFICATE-----
";

/// A hand-made server of plain HTTP.
struct Stub {
    port: u16,
    /// How often each request line came.
    seen: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// What the server answers.
struct Reply {
    status: u16,
    headers: &'static str,
    body: String,
    /// Promises more than it sends.
    cut: bool,
    after: Duration,
}

fn reply(status: u16, body: &Value) -> Reply {
    raw(status, &body.to_string())
}

fn raw(status: u16, body: &str) -> Reply {
    Reply {
        status,
        headers: "",
        body: body.to_owned(),
        cut: false,
        after: Duration::ZERO,
    }
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let object = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": code,
    });
    reply(code, &object)
}

/// What a fresh namespace of a real server answers.
fn fresh(request: &str) -> Reply {
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
    fn new(answer: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
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
    fn space(&self) -> Space {
        let space = Space::without_namespace();
        let cluster = json!({ "server": format!("http://127.0.0.1:{}", self.port) });
        with_kubeconfig(space, &kubeconfig(&cluster, &json!({})))
    }

    /// How often requests came whose line contains that.
    fn count(&self, part: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let counts = seen.iter().filter(|(line, _)| line.contains(part));
        counts.map(|(_, count)| count).sum()
    }
}

fn serve(
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
fn head_of(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn kubeconfig(cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{ "name": "here", "context": { "cluster": "it", "user": "me" } }],
        "clusters": [{ "name": "it", "cluster": cluster }],
        "users": [{ "name": "me", "user": user }],
    })
}

fn with_kubeconfig(mut space: Space, kubeconfig: &Value) -> Space {
    space.kubeconfig = space.folder.path().join("kubeconfig");
    std::fs::write(&space.kubeconfig, kubeconfig.to_string()).unwrap();
    space
}

/// The cluster and the user of the sandbox's kubeconfig.
fn sandbox() -> (Value, Value) {
    let output = Command::new("kubectl")
        .args([
            "config",
            "view",
            "--raw",
            "--flatten",
            "--minify",
            "-o",
            "json",
        ])
        .env("KUBECONFIG", &SANDBOX.kubeconfig)
        .output()
        .unwrap();
    let ran = Ran::from(output).exits(0).json();
    let (cluster, user) = (&ran["clusters"][0]["cluster"], &ran["users"][0]["user"]);
    (cluster.clone(), user.clone())
}

/// A fresh namespace, reached with these changes to the cluster and the user of the kubeconfig.
fn reached_with(cluster: &[(&str, Value)], user: Option<Value>) -> Space {
    let (mut of_sandbox, admin) = sandbox();
    for (key, value) in cluster {
        of_sandbox[*key] = value.clone();
    }
    let user = user.unwrap_or(admin);
    with_kubeconfig(Space::new(), &kubeconfig(&of_sandbox, &user))
}

/// A token of a service account that may do everything in the namespace.
fn account_token(space: &Space) -> String {
    space.kubectl(&["create", "serviceaccount", "operator"]);
    let account = format!("--serviceaccount={}:operator", space.namespace);
    space.kubectl(&[
        "create",
        "rolebinding",
        "operator",
        "--clusterrole=cluster-admin",
        &account,
    ]);
    space
        .kubectl(&["create", "token", "operator"])
        .trim()
        .to_owned()
}

/// Writes a script that can be run.
fn script(space: &Space, text: &str) -> PathBuf {
    let path = space.folder.path().join("plug-in");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

/// A user of the kubeconfig whose credentials come from that program.
fn plug_in(command: &PathBuf) -> Value {
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "interactiveMode": "Never",
    } })
}

#[track_caller]
fn hides(ran: Ran, sentinel: &str) -> Ran {
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(sentinel), "{}\n{}", ran.out, ran.err);
    }
    ran
}

/// Runs every command that reads the cluster, at `-vv`, as text and as JSON; each has to end with
/// that code and to hide the sentinel.
#[track_caller]
fn every_command_hides(space: &Space, code: i32, more: &[&str]) {
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

#[test]
fn a_secret_that_cannot_be_parsed_is_not_quoted() {
    let value = json!({ "metadata": {}, "data": { "KB_ROUTER_TOKEN": { "what": SENTINEL } } });
    let list = json!([SENTINEL]);
    let bodies = [
        format!(r#"{{"metadata":{{"name":"a"}},"data":{{"KB_ROUTER_TOKEN":"{SENTINEL}" oops"#),
        format!("<html>{SENTINEL}</html>"),
        format!(r#"{{"metadata":{{"name":"{SENTINEL}"}},"data":"{SENTINEL}"}}"#),
        format!(r#"{{"metadata":"{SENTINEL}"}}"#),
        format!("\"{SENTINEL}\""),
        value.to_string(),
        list.to_string(),
        String::new(),
    ];
    for body in bodies {
        let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
            true => raw(200, &body),
            false => fresh(request),
        });
        let space = stub.space();
        every_command_hides(&space, 3, &[]);
        assert_eq!(stub.count("POST"), 0);
        assert!(!space.file().exists());
    }
}

#[test]
fn a_secret_that_breaks_off_is_not_quoted() {
    let stub = Stub::new(|request, _| match request.contains(ROUTER) {
        true => Reply {
            cut: true,
            ..raw(200, &format!(r#"{{"data":{{"KB_ROUTER_TOKEN":"{SENTINEL}"#))
        },
        false => fresh(request),
    });
    every_command_hides(&stub.space(), 3, &["--request-timeout", "500ms"]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn the_message_of_an_error_is_not_quoted() {
    for code in [400, 401, 403, 409, 422, 500, 503] {
        let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
            true => status(code, "Whatever", &format!("no: {SENTINEL}")),
            false => fresh(request),
        });
        every_command_hides(&stub.space(), 3, &["--request-timeout", "300ms"]);
        assert_eq!(stub.count("POST"), 0);
    }
}

#[test]
fn the_message_of_a_refused_write_is_not_quoted() {
    for code in [400, 401, 403, 404, 413, 422, 500] {
        let stub = Stub::new(move |request, _| match request.starts_with("POST ") {
            true => status(code, "Whatever", &format!("no: {SENTINEL}")),
            false => fresh(request),
        });
        for format in ["text", "json"] {
            let space = stub.space();
            let arguments = ["--apply", "-vv", "-o", format, "--request-timeout", "300ms"];
            hides(space.run_with(&INPUTS, &arguments).exits(3), SENTINEL);
            // The tokens are on disk, and the next run would carry on with them.
            assert_eq!(space.filed().len(), 2);
        }
    }
}

#[test]
fn a_value_that_is_not_base64_is_a_question_and_not_quoted() {
    let body = json!({
        "metadata": { "name": ROUTER, "resourceVersion": "7" }, "type": "Opaque",
        "data": { "KB_ROUTER_TOKEN": format!("!{SENTINEL}!") },
    });
    let stub = Stub::new(move |request, _| match request.contains(ROUTER) {
        true => reply(200, &body),
        false => fresh(request),
    });
    every_command_hides(&stub.space(), 1, &[]);
    stub.space()
        .run_with(&INPUTS, &["--apply"])
        .exits(1)
        .says(&["KB_ROUTER_TOKEN", ROUTER]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let stub = Stub::new(|request, before| match before {
        0 if request.contains(EMBEDDINGS) => Reply {
            headers: "Retry-After: 1\r\n",
            ..status(429, "TooManyRequests", "later")
        },
        _ => fresh(request),
    });
    let started = Instant::now();
    let ran = stub.space().run_with(&INPUTS, &["--apply"]).exits(0);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(ran.err.contains("trying again"), "{}", ran.err);
    assert_eq!(stub.count(&format!("secrets/{EMBEDDINGS}")), 2);
    assert_eq!(stub.count("POST"), 3);
}

#[test]
fn a_busy_server_that_asks_for_more_time_than_there_is_ends_the_run() {
    let stub = Stub::new(|request, _| match request.contains(EMBEDDINGS) {
        true => Reply {
            headers: "Retry-After: 3600\r\n",
            ..status(429, "TooManyRequests", "later")
        },
        false => fresh(request),
    });
    let started = Instant::now();
    let ran = stub.space().run_with(&INPUTS, &["--apply"]).exits(3);
    assert!(started.elapsed() < Duration::from_secs(20));
    ran.says(&["429", "--request-timeout"]);
    assert_eq!(stub.count("POST"), 0);
}

#[test]
fn a_server_that_always_fails_is_asked_more_than_once_and_not_for_ever() {
    let stub = Stub::new(|_, _| status(500, "InternalError", "no"));
    let space = stub.space();
    let started = Instant::now();
    let arguments = ["--apply", "--request-timeout", "2s"];
    let ran = space.run_with(&INPUTS, &arguments).exits(3);
    assert!(started.elapsed() < Duration::from_secs(6));
    ran.says(&["500", "--request-timeout"]);
    for name in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let path = format!("GET /api/v1/namespaces/{}/secrets/{name}", space.namespace);
        assert!(stub.count(&path) > 1, "{name}: {}", stub.count(&path));
    }
    assert!(!space.file().exists());
}

#[test]
fn a_server_that_recovers_is_no_failure() {
    let stub = Stub::new(|request, before| match before {
        0 => status(503, "ServiceUnavailable", "starting"),
        1 => Reply {
            cut: true,
            ..raw(200, "{")
        },
        _ => fresh(request),
    });
    stub.space().run_with(&INPUTS, &["--apply"]).exits(0);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let stub = Stub::new(|request, _| Reply {
        after: Duration::from_secs(20),
        ..fresh(request)
    });
    let started = Instant::now();
    let arguments = ["--apply", "--request-timeout", "1s"];
    let ran = stub.space().run_with(&INPUTS, &arguments).exits(3);
    assert!(started.elapsed() < Duration::from_secs(5));
    ran.says(&["--request-timeout"]);
    assert_eq!(stub.count("POST"), 0);
}

/// Runs every command against a server that answers everything so.
fn not_kubernetes(code: u16) {
    let stub = Stub::new(move |_, _| raw(code, "nope"));
    let space = stub.space();
    let commands: [&[&str]; 4] = [
        &["--apply"],
        &["--apply", "--create-namespace"],
        &["diff"],
        &["tokens", "recover"],
    ];
    for arguments in commands {
        let ran = space.run_with(&INPUTS, arguments).exits(3);
        assert!(ran.err.contains("hint"), "{}", ran.err);
        hides(ran, "nope");
    }
}

#[test]
fn a_server_that_is_not_kubernetes_is_a_failure() {
    not_kubernetes(200);
    not_kubernetes(302);
    not_kubernetes(400);
}

#[test]
fn not_found_by_a_server_that_is_not_kubernetes_does_not_mean_absent() {
    not_kubernetes(404);
}

/// A Secret of the router as somebody else made it.
fn of_another(winner: [&str; 2]) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    json!({
        "metadata": { "name": ROUTER, "resourceVersion": "7" }, "type": "Opaque",
        "data": {
            "KB_ROUTER_TOKEN": STANDARD.encode(winner[0]),
            "EMBEDDINGS_API_KEY": STANDARD.encode(winner[1]),
        },
    })
}

/// Another run creates the router's Secret between our read and our write.
fn lost_race(winner: [&'static str; 2]) -> Stub {
    Stub::new(move |request, before| match request.contains(ROUTER) {
        true if before > 0 => reply(200, &of_another(winner)),
        _ if request.starts_with("POST ") && before == 0 => {
            // The router's Secret is the first to be created, beside those without a token.
            status(409, "AlreadyExists", "already exists")
        }
        _ => fresh(request),
    })
}

const WINNER: [&str; 2] = [
    "the-router-token-of-the-winner",
    "the-embeddings-key-of-the-winner",
];

#[test]
fn a_run_that_loses_the_race_takes_the_winners_tokens_for_its_own_minted_ones() {
    let stub = lost_race(WINNER);
    let space = stub.space();
    hides(
        space.run_with(&INPUTS, &["--apply", "-vv"]).exits(0),
        WINNER[0],
    );
    assert_eq!(space.filed()["KB_ROUTER_TOKEN"], WINNER[0]);
    assert_eq!(space.filed()["EMBEDDINGS_API_KEY"], WINNER[1]);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
    assert_eq!(stub.count("PATCH"), 0);
}

#[test]
fn a_run_that_loses_the_race_with_tokens_of_its_file_does_not_replace_them() {
    let stub = lost_race(WINNER);
    let space = stub.space();
    space.write_file(&[("KB_ROUTER_TOKEN", "the-router-token-of-the-file")]);
    let ran = space.run_with(&INPUTS, &["--apply", "-vv"]).exits(3);
    let ran = hides(hides(ran, WINNER[0]), "the-router-token-of-the-file");
    ran.says(&["--prefer cluster"]);
    assert_eq!(
        space.filed()["KB_ROUTER_TOKEN"],
        "the-router-token-of-the-file"
    );
    assert_eq!(stub.count("PATCH"), 0);
    assert_eq!(space.beside_file(), [".k8s-tokens"]);
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let ca = json!(STANDARD.encode(ANOTHER_CA));
    let space = reached_with(&[("certificate-authority-data", ca)], None);
    for arguments in [&["--apply"][..], &["diff"], &["tokens", "recover"]] {
        let ran = space.run_with(&INPUTS, arguments).exits(3);
        ran.says(&["not to be trusted", "certificate-authority"]);
    }
    assert_eq!(space.versions(), [""; 0]);
    assert!(!space.file().exists());
}

#[test]
fn a_certificate_need_not_be_checked_where_the_kubeconfig_says_so() {
    let changes = [
        ("certificate-authority-data", Value::Null),
        ("insecure-skip-tls-verify", json!(true)),
    ];
    reached_with(&changes, None).bootstrapped();
}

#[test]
fn the_name_in_the_certificate_is_the_one_that_the_kubeconfig_says() {
    let named = |name: &str| reached_with(&[("tls-server-name", json!(name))], None);
    named("kubernetes.default.svc").bootstrapped();
    let ran = named("wrong.example")
        .run_with(&INPUTS, &["--apply"])
        .exits(3);
    ran.says(&["not to be trusted"]);
    let ran = named("not a name!")
        .run_with(&INPUTS, &["--apply"])
        .exits(3);
    ran.says(&["tls-server-name"]);
}

#[test]
fn a_host_name_is_as_good_as_an_address() {
    let (cluster, _) = sandbox();
    let server = cluster["server"].as_str().unwrap();
    let server = server.replace("127.0.0.1", "localhost");
    reached_with(&[("server", json!(server))], None).bootstrapped();
}

#[test]
fn a_context_or_kubeconfig_that_does_not_exist_is_named() {
    let mut space = Space::new();
    for arguments in [&["--apply"][..], &["diff"], &["tokens", "recover"]] {
        let arguments = [arguments, &["--context", "nowhere"]].concat();
        let ran = space.run_with(&INPUTS, &arguments).exits(3);
        ran.says(&["nowhere", "get-contexts"]);
    }
    space.kubeconfig = space.folder.path().join("absent");
    space
        .run_with(&INPUTS, &["--apply"])
        .exits(3)
        .says(&["kubeconfig"]);
    assert_eq!(space.versions(), [""; 0]);
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    // Bound and given back.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for scheme in ["http", "https"] {
        let cluster = json!({ "server": format!("{scheme}://127.0.0.1:{port}") });
        let config = kubeconfig(&cluster, &json!({}));
        let space = with_kubeconfig(Space::without_namespace(), &config);
        for arguments in [&["--apply"][..], &["diff"], &["tokens", "recover"]] {
            let arguments = [arguments, &["--request-timeout", "1s"]].concat();
            let ran = space.run_with(&INPUTS, &arguments).exits(3);
            ran.says(&["127.0.0.1", "kubectl cluster-info"]);
        }
        assert!(!space.file().exists());
    }
}

#[test]
fn a_port_that_accepts_and_says_nothing_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let cluster = json!({ "server": format!("{scheme}://127.0.0.1:{port}") });
        let config = kubeconfig(&cluster, &json!({}));
        let space = with_kubeconfig(Space::without_namespace(), &config);
        let started = Instant::now();
        let arguments = ["--apply", "--request-timeout", "1s"];
        space.run_with(&INPUTS, &arguments).exits(3);
        assert!(started.elapsed() < Duration::from_secs(5), "{scheme}");
    }
}

#[test]
fn a_token_that_the_server_does_not_know_is_a_failure() {
    let user = json!({ "token": SENTINEL });
    let space = reached_with(&[], Some(user));
    every_command_hides(&space, 3, &[]);
    space
        .run_with(&INPUTS, &["--apply"])
        .exits(3)
        .says(&["does not know who you are"]);
    assert_eq!(space.versions(), [""; 0]);
}

#[test]
fn a_token_and_a_token_file_are_credentials() {
    let mut space = reached_with(&[], None);
    let token = account_token(&space);
    let (cluster, _) = sandbox();
    space = with_kubeconfig(space, &kubeconfig(&cluster, &json!({ "token": token })));
    hides(
        space.run_with(&INPUTS, &["--apply", "-vv"]).exits(0),
        &token,
    );

    let file = space.folder.path().join("token");
    std::fs::write(&file, &token).unwrap();
    space = with_kubeconfig(space, &kubeconfig(&cluster, &json!({ "tokenFile": file })));
    hides(space.run_with(&INPUTS, &["diff", "-vv"]).exits(0), &token);

    std::fs::remove_file(&file).unwrap();
    let ran = space.run_with(&INPUTS, &["diff"]).exits(3);
    ran.says(&["token file"]);
}

#[test]
fn a_token_file_may_end_with_a_newline_as_for_kubectl() {
    let mut space = reached_with(&[], None);
    let token = account_token(&space);
    let (cluster, _) = sandbox();
    let file = space.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    space = with_kubeconfig(space, &kubeconfig(&cluster, &json!({ "tokenFile": file })));
    let arguments = ["--apply", "-vv", "--request-timeout", "2s"];
    hides(space.run_with(&INPUTS, &arguments).exits(0), &token);
}

#[test]
fn a_credential_plug_in_is_run_once() {
    let space = reached_with(&[], None);
    let token = account_token(&space);
    let runs = space.folder.path().join("runs");
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "token": token },
    });
    let text = format!(
        "#!/bin/sh\necho run >>'{}'\necho '{credential}'\n",
        runs.display()
    );
    let (cluster, _) = sandbox();
    let user = plug_in(&script(&space, &text));
    let space = with_kubeconfig(space, &kubeconfig(&cluster, &user));
    for (count, arguments) in [&["--apply"][..], &["--apply"], &["diff"]]
        .iter()
        .enumerate()
    {
        let arguments = [arguments, &["-vv"][..]].concat();
        hides(space.run_with(&INPUTS, &arguments).exits(0), &token);
        let runs = std::fs::read_to_string(&runs).unwrap();
        assert_eq!(runs.lines().count(), count + 1, "{arguments:?}");
    }
}

#[test]
fn a_credential_plug_in_can_give_a_certificate() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let (cluster, admin) = sandbox();
    let pem = |key: &str| {
        let text = admin[key].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    };
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {
            "clientCertificateData": pem("client-certificate-data"),
            "clientKeyData": pem("client-key-data"),
        },
    });
    let space = Space::new();
    let text = format!("#!/bin/sh\ncat <<'END'\n{credential}\nEND\n");
    let user = plug_in(&script(&space, &text));
    with_kubeconfig(space, &kubeconfig(&cluster, &user)).bootstrapped();
}

#[test]
fn a_credential_plug_in_that_fails_is_not_quoted() {
    let half = format!(r#"{{"kind":"ExecCredential","status":{{"token":"{SENTINEL}""#);
    let odd = format!(r#"{{"kind":"ExecCredential","status":"{SENTINEL}"}}"#);
    let scripts = [
        format!("#!/bin/sh\necho {SENTINEL}\necho {SENTINEL} >&2\nexit 1\n"),
        format!("#!/bin/sh\necho {SENTINEL}\n"),
        format!("#!/bin/sh\necho '{half}'\n"),
        format!("#!/bin/sh\necho '{odd}'\n"),
        format!("#!/bin/sh\necho {SENTINEL} >&2\n"),
        format!("#!/bin/sh\n# {SENTINEL}\nkill -9 $$\n"),
    ];
    let (cluster, _) = sandbox();
    for text in scripts {
        let space = Space::new();
        let user = plug_in(&script(&space, &text));
        let space = with_kubeconfig(space, &kubeconfig(&cluster, &user));
        every_command_hides(&space, 3, &[]);
        assert_eq!(space.versions(), [""; 0]);
    }
    let space = Space::new();
    let user = plug_in(&space.folder.path().join("no-such-program"));
    let space = with_kubeconfig(space, &kubeconfig(&cluster, &user));
    space
        .run_with(&INPUTS, &["--apply"])
        .exits(3)
        .says(&["plug-in"]);
}

/// A proxy that connects through; gives its port and the count of its connections.
fn tunnel() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || connect_through(stream?, &counted));
        }
    });
    (port, count)
}

fn connect_through(mut near: TcpStream, count: &AtomicUsize) -> std::io::Result<()> {
    let head = head_of(&mut near)?;
    let mut words = head.split(' ');
    assert_eq!(words.next(), Some("CONNECT"), "{head}");
    let mut far = TcpStream::connect(words.next().unwrap())?;
    count.fetch_add(1, Ordering::Relaxed);
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (near.try_clone()?, far.try_clone()?);
    thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    std::io::copy(&mut far, &mut near)?;
    near.shutdown(Shutdown::Write)
}

#[test]
fn a_proxy_of_the_kubeconfig_is_used() {
    let (port, count) = tunnel();
    let proxy = json!(format!("http://127.0.0.1:{port}"));
    let space = reached_with(&[("proxy-url", proxy)], None);
    space.bootstrapped();
    assert!(count.load(Ordering::Relaxed) > 0);
    let ran = space.bootstrapped();
    assert_eq!(ran.out.matches(": unchanged").count(), 4, "{}", ran.out);
    assert_eq!(space.writes().len(), 3);
}

#[test]
fn a_proxy_that_is_not_there_is_a_failure() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for scheme in ["http", "socks5", "gopher"] {
        let proxy = json!(format!("{scheme}://127.0.0.1:{port}"));
        let space = reached_with(&[("proxy-url", proxy)], None);
        let arguments = ["--apply", "--request-timeout", "1s"];
        space.run_with(&INPUTS, &arguments).exits(3);
        assert_eq!(space.versions(), [""; 0]);
    }
}
