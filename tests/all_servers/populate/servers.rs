//! Which server, as whom, by which way; and servers that do not answer as hoped.

use super::Operator;
use crate::path2::BAO;
use crate::path2::Bao;
use crate::sandbox::SANDBOX;
use crate::space::{Ran, Space};
use crate::stub::{Reply, Stub, raw};
use crate::wait::wait;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// An OpenBao server for one test.
struct Server {
    bao: Bao,
    child: Child,
}

impl Server {
    fn start(at: &Space) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = free.local_addr().unwrap().to_string();
        drop(free);
        let settings = at.folder.path().join("server.hcl");
        std::fs::write(&settings, "disable_clustering = true\n").unwrap();
        let root = "root-of-a-test".to_owned();
        let mut command = Command::new("bao");
        let child = command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-listen-address={place}"))
            .arg(format!("-config={}", settings.display()))
            .env_clear()
            .env("PATH", &SANDBOX.path)
            .env("HOME", at.folder.path())
            .env("BAO_DEV_ROOT_TOKEN_ID", &root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Bao {
            address: format!("http://{place}"),
            tls_address: String::new(),
            ca: PathBuf::new(),
            root,
        };
        wait("the server listens", || TcpStream::connect(&place).is_ok());
        wait("the server has its engine", || {
            let found = bao.request(&bao.root, "GET", "sys/mounts/secret", &Value::Null);
            found.1["data"]["options"]["version"] == "2"
        });
        Self { bao, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_sealed_server_and_one_that_stopped_are_told_apart() {
    let at = Operator::new();
    let mut server = Server::start(&at.space);
    let lead = [
        ("BAO_ADDR", &*server.bao.address.clone()),
        ("BAO_TOKEN", "root-of-a-test"),
    ];
    let all = [&lead[..], &crate::space::INPUTS].concat();
    at.run_with(&all, &["--apply"]).exits(0);
    let tokens = at.space.filed();

    server.bao.expect("PUT", "sys/seal", &json!({}));
    let sealed = at.run_with(&all, &["--apply"]).exits(3);
    sealed.says(&["503: the store is sealed", "bao operator unseal"]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let stopped = at.run_with(&all, &["--apply"]).exits(3);
    stopped.says(&[
        "cannot talk to the secret store http://127.0.0.1:",
        "refused",
        "bao status",
    ]);
    assert_eq!(at.space.filed(), tokens);
}

#[test]
fn an_engine_of_version_1_is_refused_with_the_reason() {
    let at = Operator::new();
    let mount = format!("kv1-{}", at.space.namespace);
    let engine = json!({ "type": "kv", "options": { "version": "1" } });
    BAO.expect("POST", &format!("sys/mounts/{mount}"), &engine);
    for apply in [&[][..], &["--apply"]] {
        let ran = at.run(&[apply, &["--mount", &mount]].concat()).exits(3);
        ran.says(&[
            "version 1",
            "check-and-set",
            &format!("bao kv enable-versioning {mount}"),
        ]);
    }
    let list = format!("{mount}?list=true");
    let (status, _) = BAO.request(&at.token, "GET", &list, &Value::Null);
    assert_eq!(status, 404, "something was written");
    assert!(!at.space.file().exists());

    // The hint mends it.
    at.follow(&format!("bao kv enable-versioning {mount}"));
    wait("the engine is of version 2", || {
        at.run(&["--apply", "--mount", &mount]).code == 0
    });
}

#[test]
fn a_mount_that_does_not_exist_is_no_empty_store() {
    let at = Operator::new();
    for apply in [&[][..], &["--apply"]] {
        let of = |mount: &str| at.run(&[apply, &["--mount", mount]].concat()).exits(3);
        of("nowhere").says(&[
            "404: nothing is mounted there",
            "bao secrets list",
            "--mount",
        ]);
        of("secret/below").says(&["secret/below is not a mount", "below the mount secret/"]);
        of("sys").says(&["sys is not a KV engine", "bao secrets list"]);
    }
    assert!(!at.space.file().exists());
}

#[test]
fn a_namespace_of_the_store_is_kept_to() {
    let at = Operator::new();
    let team = format!("team-{}", at.space.namespace);
    BAO.expect("POST", &format!("sys/namespaces/{team}"), &json!({}));
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    BAO.expect("POST", &format!("{team}/sys/mounts/secret"), &engine);
    let all = [&[("BAO_NAMESPACE", &*team)], &crate::space::INPUTS[..]].concat();
    at.run_with(&all, &["--apply"]).exits(0);
    let path = format!("{team}/secret/data/{}", at.path("router"));
    let found = BAO.expect("GET", &path, &Value::Null);
    assert_eq!(found["data"]["data"], json!(at.space.filed()));
    assert_eq!(at.versions(), [0, 0, 0]);

    let nowhere = [("BAO_NAMESPACE", "nowhere")];
    let ran = at.run_with(&nowhere, &["--apply"]).exits(3);
    ran.says(&["namespace not found in the store", "bao namespace list"]);
}

#[test]
fn tls_needs_the_ca() {
    let at = Operator::new();
    let (address, ca) = (&*BAO.tls_address, BAO.ca.to_str().unwrap());
    let run = |more: &[(&str, &str)]| {
        at.run_with(&[&[("BAO_ADDR", address)], more].concat(), &["--apply"])
    };
    run(&[]).exits(3).says(&[
        "cannot talk to the secret store https://",
        "invalid peer certificate",
        "BAO_CACERT",
    ]);
    assert!(!at.space.file().exists());
    run(&[("BAO_CACERT", ca)]).exits(0);
    run(&[("VAULT_CACERT", ca)]).exits(0);
    run(&[("BAO_SKIP_VERIFY", "true")]).exits(0);
    let unusable = [
        ("BAO_CACERT", ca),
        ("BAO_CLIENT_CERT", "absent"),
        ("BAO_CLIENT_KEY", "absent"),
    ];
    run(&unusable)
        .exits(3)
        .says(&["cannot talk to", "BAO_CLIENT_CERT"]);
    let own = at.space.folder.path().join("own.crt");
    std::fs::write(&own, "no certificate\n").unwrap();
    run(&[("BAO_CACERT", "own.crt")])
        .exits(3)
        .says(&["the CA file own.crt", "point BAO_CACERT at"]);
    assert_eq!(at.versions(), [1, 0, 0]);
}

/// The program in this folder with nothing that leads to the store but this.
fn led_by(at: &Operator, environment: &[(&str, &str)]) -> Ran {
    let arguments = ["populate", "--prefix", &at.space.namespace, "--apply", "-v"];
    at.space.run_with(environment, &arguments)
}

#[test]
fn the_variables_of_both_programs_lead_to_the_store() {
    let at = Operator::new();
    let (address, token) = (&*BAO.address, &*at.token);
    let nowhere = "http://127.0.0.1:1";
    led_by(&at, &[("VAULT_ADDR", address), ("VAULT_TOKEN", token)]).exits(0);
    let both = [
        ("BAO_ADDR", address),
        ("VAULT_ADDR", nowhere),
        ("BAO_TOKEN", token),
        ("VAULT_TOKEN", "bad"),
    ];
    led_by(&at, &both).exits(0);
    // An empty one is none.
    led_by(
        &at,
        &[
            ("BAO_ADDR", ""),
            ("VAULT_ADDR", address),
            ("VAULT_TOKEN", token),
        ],
    )
    .exits(0);
    // Hints are for the program whose variable was found.
    let hint = led_by(&at, &[("VAULT_ADDR", address), ("VAULT_TOKEN", "bad")]).exits(3);
    hint.says(&["vault login"]);
    assert_eq!(at.versions(), [1, 0, 0]);
}

#[test]
fn the_token_that_login_left_is_used_where_the_environment_has_none() {
    let at = Operator::new();
    let address = ("BAO_ADDR", &*BAO.address);
    led_by(&at, &[address])
        .exits(3)
        .says(&["there is no token", "bao login"]);
    let left = at.space.folder.path().join(".vault-token");
    std::fs::write(&left, format!("{}\n", at.token)).unwrap();
    led_by(&at, &[address]).exits(0);
    led_by(&at, &[address, ("BAO_TOKEN", "bad")]).exits(3);
}

/// A server whose every answer is this one.
fn answering(status: u16, headers: &'static str, body: &str) -> Ran {
    let body = body.to_owned();
    let stub = Stub::new(move |_, _| Reply {
        headers,
        ..raw(status, &body)
    });
    let at = Operator::new();
    let address = format!("http://127.0.0.1:{}", stub.port);
    let ran = at
        .run_with(&[("BAO_ADDR", &address)], &["--apply"])
        .exits(3);
    assert!(!at.space.file().exists());
    ran
}

#[test]
fn what_a_standby_server_says_is_explained() {
    let sealed = r#"{"errors":["Vault is sealed"]}"#;
    answering(503, "", sealed).says(&["503: the store is sealed", "operator unseal"]);
    let active = r#"{"errors":["local node not active but active cluster node not found"]}"#;
    answering(500, "", active).says(&["500: the server is a standby", "bao status"]);
    let header = "Location: http://127.0.0.1:1/\r\n";
    answering(307, header, "").says(&["307: the server is a standby", "set the address"]);
    answering(429, "", "").says(&["429: the server is a standby, or busy"]);
    answering(500, "", "not JSON").says(&["500: an unexpected answer", "bao status"]);
    answering(200, "", "<html>").says(&["cannot be read", "OpenBao or Vault"]);
    let invalid =
        r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
    answering(403, "", invalid).says(&["the token is unknown, revoked or expired", "login"]);
}
