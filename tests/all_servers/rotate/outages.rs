//! Servers that are away for a moment in the middle of a rotation: it ends as it should, or fails
//! and is carried on by the next run.

use super::scene::chance;
use crate::path2::Bao;
use crate::sandbox::Sandbox;
use crate::space::{Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "outages";
const ROTATE: [&str; 4] = ["rotate", "--reloader-grace", "0", "--apply"];

/// A control plane of this test's own, with a brain in it.
struct Own {
    sandbox: Sandbox,
    bao: Bao,
    space: Space,
    /// What replaces the API server that was ended.
    server: Option<Child>,
}

impl Own {
    fn start() -> Self {
        let sandbox = Sandbox::start();
        let space = Space {
            namespace: NAMESPACE.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            kubeconfig: sandbox.kubeconfig.clone(),
        };
        let own = Self {
            bao: Bao::of(&sandbox),
            sandbox,
            space,
            server: None,
        };
        own.space
            .run_with(&INPUTS, &["--apply", "--create-namespace"])
            .exits(0);
        let output = Command::new("helm")
            .env("PATH", &own.sandbox.path)
            .env("HOME", own.space.folder.path())
            .env("KUBECONFIG", &own.sandbox.kubeconfig)
            .args(["-n", NAMESPACE, "install", "--wait", "brain"])
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/all_servers/chart"
            ))
            .output();
        Ran::from(output.unwrap()).exits(0);
        own
    }

    fn environment(&self) -> [(&'static str, &str); 2] {
        let bao = &self.bao;
        [("BAO_ADDR", &bao.address), ("BAO_TOKEN", &bao.root)]
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.space.run_with(&self.environment(), words)
    }

    /// Moves the brain to Path 2.
    fn move_to_the_store(&self) {
        let bao = &self.bao;
        let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "store-token" },
            "stringData": { "token": bao.root },
        });
        self.sandbox.expect("POST", &secrets, &secret);
        let token = json!({ "name": "store-token", "key": "token", "namespace": NAMESPACE });
        let store = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ClusterSecretStore",
            "metadata": { "name": NAMESPACE },
            "spec": { "provider": { "vault": {
                "server": bao.address, "path": "secret", "version": "v2",
                "auth": { "tokenSecretRef": token },
            } } },
        });
        let stores = "/apis/external-secrets.io/v1/clustersecretstores";
        self.sandbox.expect("POST", stores, &store);
        wait("the store is judged", || {
            let path = format!("{stores}/{NAMESPACE}");
            let store = self.sandbox.expect("GET", &path, &Value::Null);
            store["status"]["conditions"][0]["status"] == "True"
        });
        let way = ["--prefix", NAMESPACE, "--store", NAMESPACE, "--apply"];
        self.run(&[&["migrate"], &way[..]].concat()).exits(0);
    }

    fn data(&self, secret: &str) -> Data {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{secret}");
        let object = self.sandbox.expect("GET", &path, &Value::Null);
        let data = object["data"].as_object().unwrap().iter();
        let text = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        data.map(|(key, value)| (key.clone(), String::from_utf8(text(value)).unwrap()))
            .collect()
    }

    /// The process of a server.
    fn pid(&self, server: &str) -> Pid {
        let pids = std::fs::read_to_string(self.sandbox.folder.join("pids")).unwrap();
        let mut named = pids.lines().filter_map(|line| line.split_once(' '));
        let (_, pid) = named.find(|(name, _)| *name == server).expect("a server");
        Pid::from_raw(pid.parse().unwrap()).unwrap()
    }

    /// Stops a server for a while.
    fn pause(&self, server: &str, time: Duration) {
        let pid = self.pid(server);
        kill_process(pid, Signal::STOP).unwrap();
        thread::sleep(time);
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// Ends the API server, and starts it again.
    fn restart_api_server(&mut self) {
        let pid = self.pid("kube-apiserver");
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let words = std::fs::read_to_string(format!("{process}/cmdline")).unwrap();
        let words: Vec<_> = words.split_terminator('\0').map(str::to_owned).collect();
        kill_process(pid, Signal::KILL).unwrap();
        wait("it has ended", || {
            let words = std::fs::read(format!("{process}/cmdline"));
            words.is_ok_and(|words| words.is_empty()) || !std::fs::exists(&process).unwrap()
        });
        wait("the API server is back", || {
            let ended = |server: &mut Child| server.try_wait().unwrap().is_some();
            // Its port may be the source port of somebody's connection for a while.
            if self.server.as_mut().is_none_or(ended) {
                let log = std::fs::File::create(self.sandbox.folder.join("again.log")).unwrap();
                let server = Command::new(&words[0])
                    .args(&words[1..])
                    .current_dir(&self.sandbox.folder)
                    .env_clear()
                    .env("HOME", &self.sandbox.folder)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(log)
                    .spawn();
                self.server = Some(server.unwrap());
            }
            let mut kubectl = self.space.shell("kubectl get --raw /readyz");
            kubectl.output().unwrap().status.success()
        });
    }

    /// How long a rotation takes without an outage.
    fn length(&self) -> Duration {
        let started = Instant::now();
        self.run(&ROTATE).exits(0);
        started.elapsed()
    }

    /// Rotates while something happens in the first two thirds, and once more if that failed; holds that
    /// there is one token everywhere afterwards.
    fn rotates_through(&mut self, what: &str, outage: impl FnOnce(&mut Self)) {
        let length = self.length();
        let before = self.data(ROUTER);
        let mut command = self.space.command(&self.environment(), &ROTATE);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        thread::sleep(length.mul_f64(2.0 / 3.0 * chance()));
        assert!(child.try_wait().unwrap().is_none(), "{what} too late");
        outage(self);
        let ran = Ran::from(child.wait_with_output().unwrap());
        let mut story = format!("{what}: {}\n{}", ran.code, ran.err);
        if ran.code != 0 {
            assert_eq!(ran.code, 3, "{story}");
            assert!(ran.err.contains("hint: "), "{story}");
            // It may have failed before it began, or when all was done.
            let more = self.run(&ROTATE);
            story = format!("{story}\nthen: {}\n{}", more.code, more.err);
            assert_eq!(more.code, 0, "{story}");
        }
        let data = self.data(ROUTER);
        let keys: Vec<_> = data.keys().map(String::as_str).collect();
        assert_eq!(keys, ["EMBEDDINGS_API_KEY", "KB_ROUTER_TOKEN"], "{story}");
        assert!(self.space.filed() == data, "the file: {story}");
        let lists = self.data(EMBEDDINGS);
        let list = &lists["EMBEDDINGS_API_KEYS"];
        assert!(*list == data["EMBEDDINGS_API_KEY"], "the list: {story}");
        for (key, value) in &data {
            assert!(*value != before[key], "{key} is another: {story}");
        }
        let status = self.run(&["rotate", "--status"]);
        assert!(status.out.contains("no rotation is open"), "{story}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
fn a_rotation_ends_although_servers_are_away_for_a_while() {
    let mut own = Own::start();
    own.rotates_through("etcd stood still", |own| {
        own.pause("etcd", Duration::from_secs(5));
    });
    own.move_to_the_store();
    own.rotates_through("the operator stood still", |own| {
        own.pause("eso", Duration::from_secs(8));
    });
    let entry = own.bao.fields(&format!("{NAMESPACE}/router"));
    assert!(entry == own.data(ROUTER), "the store has the same");
    own.rotates_through("the API server ended", Own::restart_api_server);
}
