//! No value shows: not on stdout or stderr, not on any argv, in no format, at no verbosity.

mod failures;
mod path2;
mod populate;
mod processes;
mod store;
mod verify;
mod via_eso;

use self::processes::{instead, quoted, recording};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use crate::stub::{account_token, kubeconfig, plug_in, sandbox, with_kubeconfig};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every input, each a sentinel.
const INPUTS: [(&str, &str); 6] = [
    (
        "POSTGRES_URL",
        "postgres://s3ntinel:s3ntinel-in@db/s3ntinel",
    ),
    ("LLM_API_KEY", "s3ntinel-llm-key"),
    ("LLM_API_BASE", "https://s3ntinel-base.example"),
    ("LLM_EMBED_MODEL", "s3ntinel-model"),
    ("ANTHROPIC_API_KEY", "s3ntinel-anthropic"),
    ("GITHUB_TOKEN", "s3ntinel-github"),
];
/// The same inputs with other values.
const OTHERS: [(&str, &str); 6] = [
    ("POSTGRES_URL", "postgres://s3ntinel:another@db/s3ntinel"),
    ("LLM_API_KEY", "another-s3ntinel-llm-key"),
    ("LLM_API_BASE", "https://another-s3ntinel.example"),
    ("LLM_EMBED_MODEL", "another-s3ntinel-model"),
    ("ANTHROPIC_API_KEY", "another-s3ntinel-anthropic"),
    ("GITHUB_TOKEN", "another-s3ntinel-github"),
];
/// From the env-file only.
const LOG_LEVEL: (&str, &str) = ("LOG_LEVEL", "s3ntinel-level");
/// Tokens in the file.
const FILED: [(&str, &str); 2] = [
    (
        "KB_ROUTER_TOKEN",
        "s3ntinel-router-token-that-is-long-enough-to-compare",
    ),
    (
        "EMBEDDINGS_API_KEY",
        "s3ntinel-embeddings-key-that-is-long-enough-to-compare",
    ),
];
/// Tokens that disagree with those.
const STRANGERS: [(&str, &str); 2] = [
    (
        "KB_ROUTER_TOKEN",
        "another-s3ntinel-router-token-that-is-long-enough",
    ),
    (
        "EMBEDDINGS_API_KEY",
        "another-s3ntinel-embeddings-key-that-is-long-enough",
    ),
];

/// A space whose runs are all searched.
struct Searched {
    space: Space,
    /// `-vv` and the format.
    options: Vec<&'static str>,
    /// Texts that must not be seen.
    hidden: RefCell<BTreeSet<String>>,
}

impl Searched {
    fn new(options: &[&'static str]) -> Self {
        let space = Space::new();
        // So that the program asks git about the file.
        git_init(space.folder.path());
        let searched = Self {
            space,
            options: options.to_vec(),
            hidden: RefCell::default(),
        };
        for (_, value) in INPUTS.iter().chain(&OTHERS).chain([&LOG_LEVEL]) {
            searched.hide(value);
            let digest = Sha256::digest(value.as_bytes());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            searched.hidden.borrow_mut().insert(digest[..12].to_owned());
        }
        for (_, value) in FILED.iter().chain(&STRANGERS) {
            searched.hide(value);
        }
        let text = format!("{}={}\n", LOG_LEVEL.0, LOG_LEVEL.1);
        std::fs::write(searched.space.folder.path().join("brain.env"), text).unwrap();
        searched
    }

    /// A value that must not be seen, plain or as base64.
    fn hide(&self, value: &str) {
        let mut hidden = self.hidden.borrow_mut();
        hidden.insert(value.to_owned());
        let encoded = STANDARD.encode(value);
        hidden.insert(encoded.trim_end_matches('=').to_owned());
    }

    /// Hides the tokens that are in the file now: minted or adopted ones.
    fn hide_filed(&self) {
        for value in self.space.filed().values() {
            self.hide(value);
        }
    }

    #[track_caller]
    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str], code: i32) -> Ran {
        let all = [arguments, &self.options].concat();
        let ran = self.space.run_with(environment, &all);
        if self.space.file().is_file() {
            self.hide_filed_if_readable();
        }
        self.search(&format!("{}\n{}", ran.out, ran.err), &all);
        ran.exits(code)
    }

    fn hide_filed_if_readable(&self) {
        let text = std::fs::read(self.space.file()).unwrap_or_default();
        if String::from_utf8(text).is_ok() {
            self.hide_filed();
        }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        self.run_with(&INPUTS, arguments, code)
    }

    #[track_caller]
    fn search(&self, text: &str, arguments: &[&str]) {
        for hidden in self.hidden.borrow().iter() {
            assert!(
                !text.contains(hidden),
                "{arguments:?} shows {hidden}:\n{text}"
            );
        }
        assert!(
            !text.contains("s3ntinel"),
            "{arguments:?} shows a part:\n{text}"
        );
    }
}

fn git_init(folder: &Path) {
    let status = Command::new("git")
        .arg("init")
        .arg("-q")
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

/// The formats in which every command is run.
const FORMATS: [&[&str]; 2] = [&["-vv"], &["-vv", "-o", "json"]];

#[test]
fn no_value_shows_in_the_whole_life_of_the_secrets() {
    for format in FORMATS {
        for preset in [false, true] {
            let at = Searched::new(format);
            if preset {
                at.space.write_file(&FILED);
            }
            life(&at, preset);
        }
    }
}

fn life(at: &Searched, preset: bool) {
    let from_file = ["--env-file", "brain.env"];
    at.run(&[], 0);
    at.run(&from_file, 0);
    at.run(&["diff"], 1);
    at.run(&[&["--apply"][..], &from_file].concat(), 0);
    assert_eq!(at.space.filed()["KB_ROUTER_TOKEN"] == FILED[0].1, preset);
    assert_eq!(at.space.data(EMBEDDINGS)["LOG_LEVEL"], LOG_LEVEL.1);
    for (name, value) in INPUTS {
        let secret = if value.contains("anthropic") || value.contains("github") {
            AGENTICORE
        } else {
            EMBEDDINGS
        };
        assert_eq!(at.space.data(secret)[name], value);
    }
    at.run(&["--apply"], 0);
    at.run(&[], 0);
    at.run(&["diff"], 0);

    // Other inputs, not named and named.
    at.run_with(&OTHERS, &["diff"], 0);
    at.run_with(&OTHERS, &["--apply"], 0);
    let names = INPUTS.map(|(name, _)| name).join(",");
    at.run_with(&OTHERS, &["diff", "--update", &names], 1);
    at.run_with(&OTHERS, &["--apply", "--update", &names], 0);
    at.run_with(&OTHERS, &["--apply", "--with-api-keys"], 0);

    // A lost file, a lost Secret.
    std::fs::remove_file(at.space.file()).unwrap();
    at.run(&["tokens", "recover"], 0);
    at.run(&["tokens", "recover", "--apply"], 0);
    at.run(&["tokens", "recover", "--apply"], 0);
    at.space.kubectl(&["delete", "secret", ROUTER]);
    at.run(&["diff"], 1);
    at.run(&["--apply"], 0);

    // A disagreement, and both ways out.
    for side in ["cluster", "file"] {
        at.space.write_file(&STRANGERS);
        at.run(&["--apply"], 1);
        at.run(&["diff"], 1);
        at.run(&["tokens", "recover"], 1);
        at.run(&["tokens", "recover", "--apply"], 1);
        at.run(&["diff", "--prefer", side], 1);
        at.run(&["--apply", "--prefer", side], 0);
    }
    assert_eq!(at.space.data(ROUTER)["KB_ROUTER_TOKEN"], STRANGERS[0].1);

    // What somebody else wrote.
    at.space.set_keys(
        EMBEDDINGS,
        &[("POSTGRES_URL", "s3ntinel-of-another")],
        "other",
    );
    at.run(&["--apply", "--update", "POSTGRES_URL"], 1);
    at.run(&["diff", "--update", "POSTGRES_URL"], 1);
    at.run(
        &["--apply", "--update", "POSTGRES_URL", "--force-conflicts"],
        0,
    );
    let odd = "s3ntinel of a token with spaces in it";
    at.hide(odd);
    at.space
        .set_keys(ROUTER, &[("KB_ROUTER_TOKEN", odd)], "kubectl-edit");
    at.run(&["--apply"], 1);
    at.run(&["diff"], 1);
    at.run(&["--apply", "--prefer", "cluster"], 1);
    at.run(&["tokens", "recover"], 1);
    at.space
        .set_keys(ROUTER, &[("KB_ROUTER_TOKEN", "s3ntinel")], "kubectl-edit");
    at.run(&["--apply"], 1);
    let list = "s3ntinel-one-that-is-long-enough,s3ntinel-two-that-is-long-enough";
    at.hide(list);
    at.space
        .set_keys(EMBEDDINGS, &[("EMBEDDINGS_API_KEYS", list)], "kubectl-edit");
    at.run(&["--apply"], 1);
    at.run(&["diff"], 1);
}

#[test]
fn no_value_shows_in_the_help_or_what_is_made_of_it() {
    let at = Searched::new(&[]);
    at.space.write_file(&FILED);
    let commands: [&[&str]; 10] = [
        &[],
        &["verify"],
        &["populate"],
        &["diff"],
        &["tokens"],
        &["tokens", "show"],
        &["tokens", "recover"],
        &["rbac"],
        &["completions"],
        &["man"],
    ];
    for command in commands {
        for help in ["--help", "-h"] {
            let ran = at.run(&[command, &[help]].concat(), 0);
            assert!(ran.out.contains("Usage"), "{}", ran.out);
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        at.run(&["completions", shell], 0);
    }
    at.run(&["man"], 0);
    at.run(&["rbac"], 0);
    at.run(&["rbac", "diff", "-o", "yaml"], 0);
    at.run(&["rbac", "recover", "-o", "json", "-vv"], 0);
    at.run(&["rbac", "populate", "-vv"], 0);
    at.run(&["rbac", "verify", "--live", "--copy=a/b", "-vv"], 0);
    at.run(&["-o", "yaml", "-vv"], 0);
    at.run(&["-o", "yaml", "--with-api-keys"], 0);
    at.run(&["--version"], 0);
}

#[test]
fn tokens_and_show_values_are_made_to_show_them() {
    let at = Searched::new(&[]);
    at.space.write_file(&FILED);
    let commands: [&[&str]; 6] = [
        &["tokens"],
        &["tokens", "show"],
        &["tokens", "--format", "dotenv"],
        &["tokens", "--format", "json"],
        &["tokens", "-o", "json"],
        &["-o", "yaml", "--show-values"],
    ];
    for command in commands {
        let ran = at
            .space
            .run_with(&INPUTS, &[command, &["-vv"]].concat())
            .exits(0);
        let encoded = |value: &str| ran.out.contains(&STANDARD.encode(value));
        let with_inputs = command.contains(&"--show-values");
        let inputs = INPUTS.iter().filter(|_| with_inputs);
        for (name, value) in FILED.iter().chain(inputs) {
            let shown = ran.out.contains(value) || encoded(value);
            assert!(shown, "{command:?} hides {name}");
        }
        // On stdout only, and nothing that was not asked for.
        assert!(!ran.err.contains("s3ntinel"), "{}", ran.err);
        assert_eq!(
            ran.out.contains(INPUTS[0].1),
            with_inputs && !encoded(INPUTS[0].1)
        );
    }
}

/// Of every program on the PATH, with those that these start in turn, and of a credential plug-in.
/// `processes` holds that nothing is started by its path.
#[test]
fn no_value_is_on_the_command_line_of_anything_that_is_executed() {
    let mut at = Searched::new(&[]);
    let token = account_token(&at.space);
    at.hide(&token);
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": { "token": token },
    });
    let file = at.space.folder.path().join("credential");
    std::fs::write(&file, credential.to_string()).unwrap();
    let path = instead(
        &at,
        "plug-in",
        &format!("cat {}\n", quoted(file.as_os_str())),
    );
    let user = plug_in(&PathBuf::from("plug-in"));
    at.space = with_kubeconfig(at.space, &kubeconfig(&sandbox().0, &user));

    let record = at.space.folder.path().join("record");
    let recording = recording(&at, &path, &record);
    let commands: [(&[&str], &[&str]); 5] = [
        (
            &["--apply", "--env-file", "brain.env"],
            &["cat", "git", "plug-in"],
        ),
        (&["--apply"], &["cat", "plug-in"]),
        (&["tokens", "recover", "--apply"], &["cat", "plug-in"]),
        (&["diff"], &["cat", "plug-in"]),
        (
            &["populate", "--prefix=of-argv", "--from-cluster", "--apply"],
            &["cat", "plug-in"],
        ),
    ];
    at.hide(&SANDBOX.bao.root);
    for (arguments, expected) in commands {
        std::fs::write(&record, "").unwrap();
        let mut command = at.space.command(&INPUTS, arguments);
        command.envs(at.space.operator(&SANDBOX.bao.root));
        let output = command.env("PATH", &recording).output();
        Ran::from(output.unwrap()).exits(0);
        at.hide_filed();
        let text = std::fs::read_to_string(&record).unwrap();
        let programs: BTreeSet<_> = text
            .lines()
            .filter_map(|line| Path::new(line).strip_prefix(&recording).ok())
            .filter_map(Path::to_str)
            .collect();
        assert_eq!(Vec::from_iter(programs), expected, "{arguments:?}: {text}");
        at.search(&text, arguments);
    }
}
