//! A temporary folder in which the program runs, and what it leaves there.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_k8s-bootstrap");
/// What every secret value of these tests holds, so that output can be searched for it.
pub const SENTINEL: &str = "s3ntinel";
/// A value for each input that the environment gives.
pub const INPUTS: [(&str, &str); 6] = [
    ("POSTGRES_URL", "postgres://u:s3ntinel@db/brain"),
    ("LLM_API_KEY", "sk-s3ntinel-llm"),
    ("LLM_API_BASE", "https://s3ntinel.example/v1"),
    ("LLM_EMBED_MODEL", "s3ntinel-model"),
    ("ANTHROPIC_API_KEY", "sk-ant-s3ntinel"),
    ("GITHUB_TOKEN", "ghp_s3ntinel"),
];
/// Two tokens, each with the sentinel in it.
pub const TOKENS: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "s3ntinel-router-0123456789abcdef"),
    ("EMBEDDINGS_API_KEY", "s3ntinel-embeddings-0123456789abcdef"),
];
/// The longest that a run may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder to run in, with a home beside it.
pub struct Folder {
    place: TempDir,
}

/// How a run ended, with what changes from run to run replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The exit code; -1 where it was killed.
    pub code: i32,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

impl Folder {
    /// Makes an empty one.
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        for name in ["work", "home", "bin"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        Self { place }
    }

    /// Makes one with a tokens file that has both tokens.
    pub fn with_tokens() -> Self {
        let folder = Self::new();
        let text: String = TOKENS
            .iter()
            .map(|(k, v)| format!("{k}=\"{v}\"\n"))
            .collect();
        folder.write("local/.k8s-tokens", text);
        folder
    }

    /// The path of something in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("work").join(name)
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// Writes a file with mode 0600, and its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.set_mode(name, 0o600);
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Sets the mode of a file.
    pub fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// The mode of a file, without its type.
    pub fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    /// Puts a shell script onto the PATH.
    pub fn tool(&self, name: &str, script: &str) {
        let path = self.place.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// The folder of the tools, which comes first on the PATH.
    pub fn tools(&self) -> PathBuf {
        self.place.path().join("bin")
    }

    /// Runs the program without an input.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.end(self.command(PROGRAM).args(arguments))
    }

    /// Runs the program with an input of each name.
    pub fn run_with_inputs(&self, arguments: &[&str]) -> Run {
        self.end(self.command(PROGRAM).envs(INPUTS).args(arguments))
    }

    /// Runs a text in sh, with `$PROGRAM` and an input of each name.
    pub fn sh(&self, text: &str) -> Run {
        let mut command = self.command("sh");
        self.end(
            command
                .envs(INPUTS)
                .env("PROGRAM", PROGRAM)
                .args(["-c", text]),
        )
    }

    /// A command with this folder's environment and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.tools().display());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home())
            .current_dir(self.path(""));
        command
    }

    /// Runs a command without an input and takes what it said.
    pub fn end(&self, command: &mut Command) -> Run {
        self.end_with_input(command, "")
    }

    /// Runs a command that reads an input and takes what it said.
    pub fn end_with_input(&self, command: &mut Command, input: impl Into<Vec<u8>>) -> Run {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.into());
        // The command may end without reading it.
        thread::spawn(move || stdin.write_all(&input));
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            kill_process(pid, Signal::KILL).ok();
            panic!("{command:?} did not end within {PATIENCE:?}");
        };
        self.of(&output.unwrap())
    }

    /// Puts what a command said into the form that is compared.
    pub fn of(&self, output: &Output) -> Run {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let place = self.place.path().display().to_string();
            without_tokens(&text.replace(&place, "<folder>"))
        };
        Run {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Everything in the folder and the home: mode, time of change, and content.
    pub fn everything(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.path(""), self.home()];
        while let Some(path) = todo.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_dir() {
                todo.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                Vec::new()
            } else if metadata.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let facts = (
                metadata.mode(),
                metadata.ctime(),
                metadata.ctime_nsec(),
                content,
            );
            found.insert(path, facts);
        }
        found
    }

    /// The names of everything in the folder, in order.
    pub fn names(&self) -> Vec<String> {
        let root = self.path("");
        let within = self.everything().into_keys();
        let names = within.filter_map(|path| {
            let name = path.strip_prefix(&root).ok()?.display().to_string();
            (!name.is_empty()).then_some(name)
        });
        names.collect()
    }
}

/// Replaces each run of 64 hex digits.
fn without_tokens(text: &str) -> String {
    let mut plain = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() || ('a'..='f').contains(&c) {
            digits.push(c);
            continue;
        }
        plain.push_str(if digits.len() == 64 {
            "<token>"
        } else {
            &digits
        });
        digits.clear();
        plain.push(c);
    }
    plain.pop();
    plain
}

impl Run {
    /// A run that said nothing but this answer.
    pub fn answered(out: &str) -> Self {
        Self {
            code: 0,
            out: out.to_owned(),
            err: String::new(),
        }
    }

    /// A run that only failed.
    pub fn failed(code: i32, err: &str) -> Self {
        Self {
            code,
            out: String::new(),
            err: err.to_owned(),
        }
    }

    /// Fails where a value is shown, or a failure has no remedy.
    #[track_caller]
    pub fn check(self) -> Self {
        assert!(!self.shows(SENTINEL), "a value is shown:\n{self}");
        let lines = |start| {
            self.err
                .lines()
                .filter(|line| line.starts_with(start))
                .count()
        };
        let remedied = lines("error: ") <= lines("  hint: ");
        assert!(remedied, "no hint:\n{self}");
        self
    }

    /// Tells whether a text is anywhere in what it said.
    pub fn shows(&self, text: &str) -> bool {
        self.out.contains(text) || self.err.contains(text)
    }

    /// Parses stdout, which has to be exactly one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}\n{self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.out, self.err
        )
    }
}

/// Makes a FIFO.
pub fn make_fifo(path: &Path) {
    let status = std::process::Command::new("mkfifo")
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}
