//! The three programs that are compared, and what each of them is asked to do.

use crate::measure::timed;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The Secrets, in the order in which they are written.
pub const SECRETS: [&str; 3] = [
    "agentibrain-router-secrets",
    "agenticore-secrets",
    "embeddings-secrets",
];

/// What the operator gives.
const INPUTS: [(&str, &str); 2] = [
    ("POSTGRES_URL", "postgresql://brain:pw@postgres:5432/brain"),
    ("ANTHROPIC_API_KEY", "sk-ant-benchmark"),
];

/// The namespace in which the requests are learned and the second runs happen.
pub const SETTLED: &str = "settled";

/// The sides, in a folder of their own and with an environment of their own.
pub struct Sides {
    /// Our program.
    pub program: PathBuf,
    /// The plain kubectl.
    pub kubectl: PathBuf,
    kubeconfig: PathBuf,
    server: String,
    /// With certificates in files, and what is to be reported.
    curl_options: Vec<OsString>,
    /// A folder in a git repository, as the one that a person works in.
    work: tempfile::TempDir,
    /// What `--apply` sent in a fresh namespace.
    pub first: Vec<Sent>,
    /// What it sent there again.
    pub second: Vec<Sent>,
    /// The Secrets that it made.
    pub secrets: Vec<Value>,
}

/// A request that `--apply` has sent.
pub struct Sent {
    method: String,
    uri: String,
    status: String,
}

impl Sides {
    /// Prepares the folder, and learns from two runs which requests curl has to send.
    pub fn new(program: PathBuf, kubectl: PathBuf, kubeconfig: PathBuf) -> Result<Self> {
        let work = tempfile::Builder::new()
            .prefix("apply-bench.")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Without git there is nothing to ask, and nothing is asked.
        if let Ok(git) = Command::new("git")
            .arg("init")
            .arg("-q")
            .arg(work.path())
            .status()
        {
            ensure!(git.success(), "git init failed");
            std::fs::write(work.path().join(".gitignore"), "local/\n")?;
        }
        let (server, curl_options) = curl_options(&kubeconfig, work.path())?;
        let mut sides = Self {
            program,
            kubectl,
            kubeconfig,
            curl_options,
            server,
            work,
            first: Vec::new(),
            second: Vec::new(),
            secrets: Vec::new(),
        };
        sides.learn()?;
        Ok(sides)
    }

    /// Runs `--apply` twice and takes note of what it sends.
    fn learn(&mut self) -> Result<()> {
        self.make_namespaces(&[SETTLED.to_owned()])?;
        self.first = self.watched()?;
        self.second = self.watched()?;
        for (what, sent, writes) in [("first", &self.first, 3), ("second", &self.second, 0)] {
            let sent_writes = self::writes(sent);
            ensure!(
                sent_writes == writes && sent.len() > writes,
                "the {what} run sent {sent_writes} writes and {} requests in all, see -v",
                sent.len()
            );
        }
        for name in SECRETS {
            let mut get = self.kubectl(SETTLED);
            let (_, output) = timed(get.args(["get", "secret", name, "-o", "json"]), &[0])?;
            self.secrets.push(serde_json::from_slice(&output.stdout)?);
        }
        Ok(())
    }

    /// Runs `--apply` and gives what it sent.
    fn watched(&self) -> Result<Vec<Sent>> {
        let (_, output) = timed(self.ours(SETTLED)?.arg("-v"), &[0])?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(log.lines().filter_map(Sent::parse).collect())
    }

    /// A command without the caller's environment, in the working folder.
    pub fn clean(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(INPUTS);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // kubectl keeps its cache there.
        command.env("HOME", self.work.path());
        command.env("KUBECONFIG", &self.kubeconfig);
        command.current_dir(self.work.path());
        command
    }

    /// kubectl in a namespace.
    pub fn kubectl(&self, namespace: &str) -> Command {
        let mut command = self.clean(&self.kubectl);
        command.args(["-n", namespace]);
        command
    }

    /// Gets a Secret with kubectl, which has to end with this code.
    pub fn kubectl_get(&self, namespace: &str, name: &str, code: i32) -> Result<Duration> {
        let mut command = self.kubectl(namespace);
        Ok(timed(command.args(["get", "secret", name]), &[code])?.0)
    }

    /// `--apply`, in a folder of the namespace's own, so that its tokens file is there or is not.
    pub fn ours(&self, namespace: &str) -> Result<Command> {
        let folder = self.work.path().join(namespace);
        std::fs::create_dir_all(&folder)?;
        let mut command = self.clean(&self.program);
        command
            .current_dir(folder)
            .args(["--apply", "-n", namespace]);
        Ok(command)
    }

    /// Runs `--apply`.
    pub fn apply_once(&self, namespace: &str) -> Result<Duration> {
        Ok(timed(&mut self.ours(namespace)?, &[0])?.0)
    }

    /// The arguments with which curl sends the same requests to another namespace.
    pub fn curl(&self, namespace: &str, requests: &[Sent]) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = ["-q", "--parallel", "--no-progress-meter"]
            .map(Into::into)
            .to_vec();
        let mut secrets = self.secrets.iter();
        for (n, request) in requests.iter().enumerate() {
            if n > 0 {
                arguments.push("--next".into());
            }
            arguments.extend(self.curl_options.iter().cloned());
            if request.method == "POST" {
                let secret = secrets.next().context("more writes than Secrets")?;
                let name = format!("{namespace}-{n}.json");
                let body = self.private(&name, &body_of(secret, namespace).to_string())?;
                let mut data = OsString::from("@");
                data.push(body);
                let header = "content-type: application/json";
                arguments.extend(["-H".into(), header.into(), "--data-binary".into(), data]);
            }
            let uri = request.uri.replace(SETTLED, namespace);
            arguments.push(format!("{}{uri}", self.server).into());
        }
        Ok(arguments)
    }

    /// Runs curl, and checks that its requests did the same over one connection. A read that one of
    /// its own writes has overtaken finds what `--apply` did not.
    pub fn curl_once(&self, arguments: &[OsString], requests: &[Sent]) -> Result<Duration> {
        let (took, output) = timed(self.clean("curl").args(arguments), &[0])?;
        let text = String::from_utf8(output.stdout)?;
        let (mut answers, mut made, mut connections) = (0, 0, 0);
        for line in text.lines() {
            let [status, "2", connects] = line.split(' ').collect::<Vec<_>>()[..] else {
                bail!("curl did not get an answer over HTTP/2: {line}");
            };
            match status {
                "201" => made += 1,
                "200" | "404" => {}
                _ => bail!("curl was answered {status}"),
            }
            answers += 1;
            connections += connects.parse::<usize>()?;
        }
        let writes = requests.iter().filter(|sent| sent.status == "201").count();
        ensure!(
            answers == requests.len() && made == writes && connections == 1,
            "curl got {answers} answers, {made} of them 201, over {connections} connections"
        );
        Ok(took)
    }

    /// Makes empty namespaces.
    pub fn make_namespaces(&self, names: &[String]) -> Result<()> {
        let items: Vec<_> = names
            .iter()
            .map(
                |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            )
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let file = self.private("namespaces.json", &list.to_string())?;
        timed(
            self.kubectl("default").args(["create", "-f"]).arg(file),
            &[0],
        )?;
        Ok(())
    }

    /// The same values for kubectl, as files.
    pub fn env_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for secret in &self.secrets {
            let mut lines = String::new();
            let data = secret["data"]
                .as_object()
                .context("a Secret without data")?;
            for (key, value) in data {
                let value = STANDARD.decode(value.as_str().unwrap_or_default())?;
                lines += &format!("{key}={}\n", String::from_utf8(value)?);
            }
            let name = secret["metadata"]["name"].as_str().unwrap_or_default();
            files.push(self.private(&format!("{name}.env"), &lines)?);
        }
        Ok(files)
    }

    fn private(&self, name: &str, text: &str) -> Result<PathBuf> {
        private(self.work.path(), name, text.as_bytes())
    }
}

impl Sent {
    /// Reads a line of `-v`: `GET /path -> 200 in 3 ms`.
    fn parse(line: &str) -> Option<Self> {
        let (request, answer) = line.split_once(" -> ")?;
        let mut words = request.rsplitn(3, ' ');
        let (uri, method) = (words.next()?, words.next()?);
        Some(Self {
            method: method.to_owned(),
            uri: uri.to_owned(),
            status: answer.split(' ').next()?.to_owned(),
        })
    }
}

/// How many of these requests change something.
pub fn writes(requests: &[Sent]) -> usize {
    requests.iter().filter(|sent| sent.method != "GET").count()
}

/// The body with which a Secret was created.
fn body_of(secret: &Value, namespace: &str) -> Value {
    let mut metadata = json!({"name": secret["metadata"]["name"], "namespace": namespace});
    if let Some(annotations) = secret["metadata"].get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": secret["type"],
        "metadata": metadata, "data": secret["data"],
    })
}

/// The server's URL, and the options with which curl talks to it and reports.
fn curl_options(kubeconfig: &Path, folder: &Path) -> Result<(String, Vec<OsString>)> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let cluster = config
        .clusters
        .first()
        .and_then(|named| named.cluster.as_ref());
    let user = config
        .auth_infos
        .first()
        .and_then(|named| named.auth_info.as_ref());
    let (cluster, user) = cluster.zip(user).context("an empty kubeconfig")?;
    let key = user.client_key_data.as_ref().map(|key| key.expose_secret());
    let mut options: Vec<OsString> = ["-sS", "--http2", "-o", "/dev/null"]
        .map(Into::into)
        .to_vec();
    options.extend(["-w", "%{http_code} %{http_version} %{num_connects}\\n"].map(Into::into));
    for (option, encoded) in [
        ("--cacert", cluster.certificate_authority_data.as_deref()),
        ("--cert", user.client_certificate_data.as_deref()),
        ("--key", key),
    ] {
        let encoded =
            encoded.with_context(|| format!("the kubeconfig has nothing for {option}"))?;
        let file = private(
            folder,
            &format!("curl{option}.pem"),
            &STANDARD.decode(encoded)?,
        )?;
        options.extend([option.into(), file.into()]);
    }
    let server = cluster
        .server
        .clone()
        .context("a kubeconfig without a server")?;
    Ok((server, options))
}

/// Writes a file that nobody else can read.
fn private(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    open.open(&path)?.write_all(bytes)?;
    Ok(path)
}
