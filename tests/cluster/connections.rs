//! Certificates, credentials, plug-ins and proxies: what a kubeconfig can say.

use crate::space::{INPUTS, Space};
use crate::stub::*;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let ca = json!(STANDARD.encode(ANOTHER_CA));
    let space = reached_with(&[("certificate-authority-data", ca)], None);
    for arguments in [&["--apply"][..], &["diff"], &["tokens", "recover"]] {
        let ran = space.run_with(&INPUTS, arguments).exits(3);
        ran.says(&["is not trusted", "certificate-authority"]);
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
    ran.says(&["is not trusted"]);
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
            let arguments = [arguments, &["--request-timeout", "300ms"]].concat();
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
        let arguments = ["--apply", "--request-timeout", "500ms"];
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
        .says(&["does not accept your credentials"]);
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
        let arguments = ["--apply", "--request-timeout", "300ms"];
        space.run_with(&INPUTS, &arguments).exits(3);
        assert_eq!(space.versions(), [""; 0]);
    }
}
