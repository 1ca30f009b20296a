//! What the tests of Path 2 need: entries of the OpenBao server, and stores through which External
//! Secrets Operator reads them.

use crate::sandbox::{SANDBOX, Sandbox, exchange};
use crate::space::{Data, Space};
use crate::wait::wait;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

/// The group of ExternalSecrets and their stores, in the version that is served.
pub const GROUP: &str = "/apis/external-secrets.io/v1";

/// An OpenBao server with a KV engine, version 2, at `secret/`.
pub struct Bao {
    /// Its URL.
    pub address: String,
    /// Its URL over TLS.
    pub tls_address: String,
    /// The CA certificate of the URL over TLS.
    pub ca: PathBuf,
    /// The root token.
    pub root: String,
}

/// The OpenBao server that all tests share.
pub static BAO: LazyLock<Bao> = LazyLock::new(|| Bao::of(&SANDBOX));

/// The URL of what plays AWS Secrets Manager.
pub fn aws() -> String {
    exported(&SANDBOX, "aws.env")["AWS_SECRETSMANAGER_ENDPOINT"].clone()
}

/// The variables that a file of a sandbox exports.
fn exported(sandbox: &Sandbox, file: &str) -> Data {
    let text = std::fs::read_to_string(sandbox.folder.join(file)).unwrap();
    let pairs = text.lines().map(|line| {
        let assignment = line.strip_prefix("export ").expect(line);
        assignment.split_once('=').expect(line)
    });
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Bao {
    /// The server of a sandbox.
    pub fn of(sandbox: &Sandbox) -> Self {
        let variables = exported(sandbox, "openbao.env");
        Self {
            address: variables["BAO_ADDR"].clone(),
            tls_address: variables["SANDBOX_BAO_TLS_ADDR"].clone(),
            ca: variables["SANDBOX_BAO_CACERT"].clone().into(),
            root: variables["BAO_TOKEN"].clone(),
        }
    }

    /// Sends a request; gives the status and the body.
    pub fn request(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("X-Vault-Token", token);
        exchange(&self.address, request, body)
    }

    /// As [`Bao::request`] with the root token, and panics unless it succeeds.
    #[track_caller]
    pub fn expect(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.request(&self.root, method, path, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Writes an entry, whatever was there.
    #[track_caller]
    pub fn put(&self, path: &str, fields: &[(&str, &str)]) {
        let fields: Data = fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let body = json!({ "data": fields });
        self.expect("POST", &format!("secret/data/{path}"), &body);
    }

    /// The fields of an entry and its version; `None` where there is none.
    pub fn entry(&self, path: &str) -> Option<(Data, u64)> {
        let path = format!("secret/data/{path}");
        let (status, answer) = self.request(&self.root, "GET", &path, &Value::Null);
        if status == 404 {
            return None;
        }
        assert_eq!(status, 200, "{path}: {answer}");
        let fields = serde_json::from_value(answer["data"]["data"].clone()).unwrap();
        let version = answer["data"]["metadata"]["version"].as_u64().unwrap();
        Some((fields, version))
    }

    /// The fields of an entry that is there.
    #[track_caller]
    pub fn fields(&self, path: &str) -> Data {
        self.entry(path).expect("an entry").0
    }

    /// A token of a policy with these capabilities below a prefix, which may be revoked without a
    /// word: `capabilities` is `"read", "create"`.
    pub fn token(&self, prefix: &str, capabilities: &[&str]) -> String {
        let name = format!("{}-{}", prefix.replace('/', "-"), capabilities.join("-"));
        let words = serde_json::to_string(capabilities).unwrap();
        let policy = format!("path \"secret/data/{prefix}/*\" {{ capabilities = {words} }}");
        self.expect(
            "PUT",
            &format!("sys/policies/acl/{name}"),
            &json!({ "policy": policy }),
        );
        let body = json!({ "policies": [name] });
        let made = self.expect("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A token for reading below a prefix that ends after so many seconds.
    pub fn short_token(&self, prefix: &str, seconds: u32) -> String {
        // It makes the policy.
        self.token(prefix, &["read"]);
        let ttl = format!("{seconds}s");
        let policy = format!("{}-read", prefix.replace('/', "-"));
        let body = json!({ "policies": [policy], "ttl": ttl, "explicit_max_ttl": ttl });
        let made = self.expect("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Writes an entry without a field.
    pub fn put_empty(&self, path: &str) {
        let body = json!({ "data": {} });
        self.expect("POST", &format!("secret/data/{path}"), &body);
    }

    /// Removes an entry with all of its versions.
    pub fn forget(&self, path: &str) {
        self.expect("DELETE", &format!("secret/metadata/{path}"), &Value::Null);
    }

    /// Ends a token.
    pub fn revoke(&self, token: &str) {
        self.expect("POST", "auth/token/revoke", &json!({ "token": token }));
    }
}

/// An OpenBao server of a test's own, which can be stopped and sealed. It keeps nothing over a stop
/// but its address and its root token, and ends with this.
pub struct OwnBao {
    /// How it is reached.
    pub bao: Bao,
    port: u16,
    folder: TempDir,
    server: Option<Child>,
}

impl OwnBao {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        // Clustering would take two more ports.
        let config = "disable_clustering = true\n";
        std::fs::write(folder.path().join("bao.hcl"), config).unwrap();
        let bao = Bao {
            address: format!("http://127.0.0.1:{port}"),
            tls_address: String::new(),
            ca: PathBuf::new(),
            root: format!("root-of-{port}"),
        };
        let mut own = Self {
            bao,
            port,
            folder,
            server: None,
        };
        own.run();
        own
    }

    /// Starts it again, after [`OwnBao::stop`].
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let line = format!(
            "bao server -dev -dev-no-store-token -dev-listen-address=127.0.0.1:{} -config=bao.hcl & \
             cat >/dev/null; kill $!; wait",
            self.port
        );
        let server = Command::new("sh")
            .args(["-c", &line])
            .current_dir(self.folder.path())
            .env("PATH", &SANDBOX.path)
            .env("BAO_DEV_ROOT_TOKEN_ID", &self.bao.root)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap());
        wait("the store runs", || {
            self.log().contains("Root Token")
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        wait("its engine is there", || {
            let mount = "sys/internal/ui/mounts/secret";
            let (status, answer) = self.bao.request(&self.bao.root, "GET", mount, &Value::Null);
            status == 200 && answer["data"]["options"]["version"] == "2"
        });
    }

    /// Stops it.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            server.wait().unwrap();
        }
    }

    /// Seals it; gives the key that unseals it.
    pub fn seal(&self) -> String {
        self.bao.expect("PUT", "sys/seal", &Value::Null);
        let log = self.log();
        let key = log
            .lines()
            .find_map(|line| line.strip_prefix("Unseal Key: "));
        key.expect("a key").trim().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for OwnBao {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Space {
    /// The environment of an operator of the store with this token.
    pub fn operator(&self, token: &str) -> [(&'static str, String); 2] {
        [
            ("BAO_ADDR", BAO.address.clone()),
            ("BAO_TOKEN", token.to_owned()),
        ]
    }

    /// A ClusterSecretStore named as the namespace, for OpenBao with this token, kept in a Secret
    /// `store-token` of the namespace; waits until the operator has judged it.
    pub fn cluster_store(&self, token: &str) -> String {
        self.store_at("ClusterSecretStore", &BAO.address, token);
        self.namespace.clone()
    }

    /// A store of this kind, named as the namespace, at this address.
    pub fn store_at(&self, kind: &str, address: &str, token: &str) {
        self.create_secret("store-token", &[("token", token)], &json!({}));
        let mut reference = json!({ "name": "store-token", "key": "token" });
        if kind == "ClusterSecretStore" {
            reference["namespace"] = json!(self.namespace);
        }
        let provider = json!({ "vault": {
            "server": address, "path": "secret", "version": "v2",
            "auth": { "tokenSecretRef": reference },
        } });
        self.store_of(kind, &provider);
    }

    /// A store of this kind, named as the namespace, of this provider.
    pub fn store_of(&self, kind: &str, provider: &Value) {
        let object = json!({
            "apiVersion": "external-secrets.io/v1",
            "kind": kind,
            "metadata": { "name": self.namespace },
            "spec": { "provider": provider },
        });
        let path = self.store_path(kind);
        let (place, _) = path.rsplit_once('/').unwrap();
        SANDBOX.expect("POST", place, &object);
        wait("the store is judged", || {
            let store = SANDBOX.expect("GET", &path, &Value::Null);
            store["status"]["conditions"][0]["type"] == "Ready"
        });
    }

    /// The path of the store of this kind.
    pub fn store_path(&self, kind: &str) -> String {
        let name = &self.namespace;
        match kind {
            "ClusterSecretStore" => format!("{GROUP}/clustersecretstores/{name}"),
            _ => format!("{GROUP}/namespaces/{name}/secretstores/{name}"),
        }
    }

    /// The path of an ExternalSecret of this namespace.
    pub fn external_secret_path(&self, name: &str) -> String {
        format!(
            "{GROUP}/namespaces/{}/externalsecrets/{name}",
            self.namespace
        )
    }

    /// An ExternalSecret that makes `target` from an entry of the ClusterSecretStore, once the
    /// operator has tried it.
    pub fn extract(&self, name: &str, target: &str, entry: &str) {
        self.create_external_secret(&self.namespace, name, target, entry);
        self.wait_for_reason(name, |reason| !reason.is_empty());
    }

    /// The same, once the operator has synchronized it.
    pub fn synchronize(&self, name: &str, target: &str, entry: &str) {
        self.synchronize_from(&self.namespace, name, target, entry);
    }

    /// The same from another ClusterSecretStore.
    pub fn synchronize_from(&self, store: &str, name: &str, target: &str, entry: &str) {
        self.create_external_secret(store, name, target, entry);
        // A first attempt may fail where the machine is busy: the operator tries again.
        self.wait_for_reason(name, |reason| reason == "SecretSynced");
    }

    fn wait_for_reason(&self, name: &str, holds: impl Fn(&str) -> bool) {
        let path = self.external_secret_path(name);
        wait("the ExternalSecret has a condition", || {
            let found = SANDBOX.expect("GET", &path, &Value::Null);
            let reason = found["status"]["conditions"][0]["reason"].as_str();
            holds(reason.unwrap_or_default())
        });
    }

    fn create_external_secret(&self, store: &str, name: &str, target: &str, entry: &str) {
        let object = json!({
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": { "name": name },
            "spec": {
                "refreshInterval": "30s",
                "secretStoreRef": { "kind": "ClusterSecretStore", "name": store },
                "target": {
                    "name": target, "creationPolicy": "Owner", "deletionPolicy": "Retain",
                    "template": { "metadata": {} },
                },
                "dataFrom": [{ "extract": { "key": entry } }],
            },
        });
        let path = self.external_secret_path(name);
        let (place, _) = path.rsplit_once('/').unwrap();
        SANDBOX.expect("POST", place, &object);
    }
}

#[test]
fn the_operator_copies_an_entry_into_a_secret() {
    let space = Space::new();
    let prefix = &space.namespace;
    let entry = format!("{prefix}/embeddings");
    BAO.put(&entry, &[("POSTGRES_URL", "postgres://u:p@db/brain")]);
    space.cluster_store(&BAO.token(prefix, &["read"]));
    space.synchronize(
        "agentibrain-embeddings-secrets",
        "embeddings-secrets",
        &entry,
    );
    assert_eq!(space.data("embeddings-secrets"), BAO.fields(&entry));
}
