//! What a test gets for itself: a namespace, a folder to work in, and the program to run there.

use crate::sandbox::SANDBOX;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// The names of the three Secrets.
pub const ROUTER: &str = "agentibrain-router-secrets";
/// See [`ROUTER`].
pub const EMBEDDINGS: &str = "embeddings-secrets";
/// See [`ROUTER`].
pub const AGENTICORE: &str = "agenticore-secrets";

/// The inputs that make all three Secrets.
pub const INPUTS: [(&str, &str); 2] = [
    ("POSTGRES_URL", "postgres://u:p@db/brain"),
    ("ANTHROPIC_API_KEY", "sk-ant-of-a-test"),
];

/// Keys and values of a Secret.
pub type Data = BTreeMap<String, String>;

/// How many random trials a test makes, at least 1; `.ci/run` raises it.
pub fn trials() -> usize {
    let asked = std::env::var("K8S_BOOTSTRAP_TRIALS");
    let trials = asked.map_or(3, |text| text.parse().expect("a number"));
    assert!(trials > 0, "K8S_BOOTSTRAP_TRIALS=0 would test nothing");
    trials
}

/// The same for trials that take a second or more each: six at most.
pub fn few_trials() -> usize {
    trials().min(6)
}

/// A namespace and a folder.
pub struct Space {
    /// The namespace's name, unique in the sandbox.
    pub namespace: String,
    /// The working directory of the program.
    pub folder: TempDir,
    /// The kubeconfig that the program gets.
    pub kubeconfig: PathBuf,
}

/// How a run of the program ended.
pub struct Ran {
    /// Its exit code; 128 and the signal where one ended it.
    pub code: i32,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Space {
    /// A fresh namespace.
    pub fn new() -> Self {
        let space = Self::without_namespace();
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space.namespace },
        });
        SANDBOX.expect("POST", "/api/v1/namespaces", &object);
        space
    }

    /// A name for a namespace that does not exist.
    pub fn without_namespace() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            namespace: format!("space-{count}"),
            folder: tempfile::tempdir().unwrap(),
            kubeconfig: SANDBOX.kubeconfig.clone(),
        }
    }

    /// Deletes the namespace, which stays in the state Terminating.
    pub fn terminate(&self) {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        // Else the namespace would be gone when its controller has emptied it.
        let held = json!({ "metadata": { "finalizers": ["tests.invalid/stays"] } });
        SANDBOX.expect("PATCH", &path, &held);
        let gone = SANDBOX.expect("DELETE", &path, &Value::Null);
        assert_eq!(gone["status"]["phase"], "Terminating");
    }

    /// Makes the service account that every pod needs, unless a controller was faster.
    pub fn lets_pods_be_made(&self) {
        self.make_service_account("default");
    }

    /// A token of a service account, which is made unless it is there.
    pub fn service_account(&self, name: &str) -> String {
        self.make_service_account(name);
        let path = format!("{}/{name}/token", self.service_accounts());
        let answer = SANDBOX.expect("POST", &path, &json!({}));
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    fn make_service_account(&self, name: &str) {
        let object = json!({ "metadata": { "name": name } });
        let path = self.service_accounts();
        let (status, answer) = SANDBOX.request("POST", &path, "application/json", &object);
        assert!(matches!(status, 201 | 409), "{status}: {answer}");
    }

    fn service_accounts(&self) -> String {
        format!("/api/v1/namespaces/{}/serviceaccounts", self.namespace)
    }

    /// Another folder for the same namespace: another operator.
    pub fn other_operator(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            folder: tempfile::tempdir().unwrap(),
            kubeconfig: self.kubeconfig.clone(),
        }
    }

    /// The program in this folder, with an environment that holds only what it needs and these
    /// variables. `-n` is the namespace.
    pub fn command(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-bootstrap"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", &SANDBOX.path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(environment.iter().copied())
            .args(["-n", &self.namespace])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// A line for a shell in this folder, in which the program is on the PATH as `k8s-bootstrap`.
    pub fn shell(&self, line: &str) -> Command {
        static BIN: LazyLock<PathBuf> = LazyLock::new(|| {
            let bin = SANDBOX.folder.join("program");
            std::fs::create_dir(&bin).unwrap();
            symlink(
                env!("CARGO_BIN_EXE_k8s-bootstrap"),
                bin.join("k8s-bootstrap"),
            )
            .unwrap();
            bin
        });
        let mut path = BIN.clone().into_os_string();
        path.push(":");
        path.push(&SANDBOX.path);
        let mut command = Command::new("sh");
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .args(["-c", line])
            .stdin(Stdio::null());
        command
    }

    /// Runs the program without inputs.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments)
    }

    /// Runs the program with these variables.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        self.command(environment, arguments)
            .output()
            .unwrap()
            .into()
    }

    /// Runs `--apply` with [`INPUTS`], which has to succeed.
    pub fn bootstrapped(&self) -> Ran {
        self.run_with(&INPUTS, &["--apply"]).exits(0)
    }

    /// The same with the documented keys only: the embeddings service finds no list.
    pub fn documented(&self) -> Ran {
        self.run_with(&INPUTS, &["--apply", "--without-api-keys"])
            .exits(0)
    }

    /// Runs kubectl as an administrator in the namespace, which has to succeed; gives its stdout.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = Command::new("kubectl")
            .env("PATH", &SANDBOX.path)
            .env("KUBECONFIG", &SANDBOX.kubeconfig)
            .current_dir(self.folder.path())
            .args(["-n", &self.namespace])
            .args(arguments)
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert_eq!(ran.code, 0, "kubectl {arguments:?}: {}", ran.err);
        ran.out
    }

    /// Where the Secrets of this namespace are.
    pub fn path(&self, name: &str) -> String {
        let slash = if name.is_empty() { "" } else { "/" };
        format!("/api/v1/namespaces/{}/secrets{slash}{name}", self.namespace)
    }

    /// Makes a Secret as kubectl would; `more` is merged into the object.
    pub fn create_secret(&self, name: &str, data: &[(&str, &str)], more: &Value) {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": { "name": name },
            "data": data.iter().map(|(k, v)| ((*k).to_owned(), json!(STANDARD.encode(v))))
                .collect::<serde_json::Map<_, _>>(),
        });
        merge(&mut object, more);
        let path = format!("{}?fieldManager=kubectl-create", self.path(""));
        SANDBOX.expect("POST", &path, &object);
    }

    /// Sets keys of a Secret, as that field manager.
    pub fn set_keys(&self, name: &str, data: &[(&str, &str)], manager: &str) {
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(k, v)| ((*k).to_owned(), json!(STANDARD.encode(v))))
            .collect();
        let path = format!("{}?fieldManager={manager}", self.path(name));
        SANDBOX.expect("PATCH", &path, &json!({ "data": data }));
    }

    /// Removes a key of a Secret.
    pub fn remove_key(&self, name: &str, key: &str) {
        SANDBOX.expect("PATCH", &self.path(name), &json!({ "data": { key: null } }));
    }

    /// The whole object of a Secret; `None` where there is none.
    pub fn object(&self, name: &str) -> Option<Value> {
        let (status, object) =
            SANDBOX.request("GET", &self.path(name), "application/json", &Value::Null);
        match status {
            200 => Some(object),
            404 => None,
            _ => panic!("get {name}: {status}"),
        }
    }

    /// The decoded values of a Secret, which has to exist.
    pub fn data(&self, name: &str) -> Data {
        let object = self
            .object(name)
            .unwrap_or_else(|| panic!("there is no Secret {name}"));
        let data = object["data"].as_object().cloned().unwrap_or_default();
        let decode = |value: &Value| {
            String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
        };
        data.iter()
            .map(|(key, value)| (key.clone(), decode(value)))
            .collect()
    }

    /// The resource versions of the three Secrets, of those that exist.
    pub fn versions(&self) -> Vec<String> {
        [ROUTER, EMBEDDINGS, AGENTICORE]
            .iter()
            .filter_map(|name| self.object(name))
            .map(|object| {
                object["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    /// The program's requests to this namespace that were to change something.
    pub fn writes(&self) -> Vec<String> {
        self.requests()
            .iter()
            .filter(|event| !matches!(event["verb"].as_str(), Some("get" | "list" | "watch")))
            .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
            .collect()
    }

    /// The program's requests to this namespace.
    pub fn requests(&self) -> Vec<Value> {
        SANDBOX.audited_in(&self.namespace, "k8s-bootstrap/")
    }

    /// The tokens file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("local/.k8s-tokens")
    }

    /// The values in the tokens file.
    pub fn filed(&self) -> Data {
        let text = std::fs::read_to_string(self.file()).unwrap();
        let assignments = text.lines().filter(|line| !line.starts_with('#'));
        assignments
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect()
    }

    /// Writes a tokens file, as the old script would.
    pub fn write_file(&self, pairs: &[(&str, &str)]) {
        std::fs::create_dir_all(self.folder.path().join("local")).unwrap();
        let lines: String = pairs
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\"\n"))
            .collect();
        std::fs::write(self.file(), lines).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.file(), mode).unwrap();
    }

    /// The names in the folder of the tokens file.
    pub fn beside_file(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("local"));
        let mut names: Vec<_> = entries
            .map(|entries| {
                entries
                    .map(|e| e.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }
}

impl Ran {
    /// Panics unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\nstdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    /// stdout as the one JSON document that it has to be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Panics unless each text is on stdout or stderr.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            let said = self.out.contains(text) || self.err.contains(text);
            assert!(
                said,
                "{text:?} is not in\nstdout:\n{}\nstderr:\n{}",
                self.out, self.err
            );
        }
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = output.status.signal().map(|signal| 128 + signal);
        Self {
            code: output.status.code().or(signal).unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) if !from.is_null() => *into = from.clone(),
        _ => {}
    }
}
