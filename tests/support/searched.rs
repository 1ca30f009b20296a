//! Runs whose whole output is searched for values.

use crate::space::{Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Every input, each a sentinel.
pub const INPUTS: [(&str, &str); 6] = [
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
pub const OTHERS: [(&str, &str); 6] = [
    ("POSTGRES_URL", "postgres://s3ntinel:another@db/s3ntinel"),
    ("LLM_API_KEY", "another-s3ntinel-llm-key"),
    ("LLM_API_BASE", "https://another-s3ntinel.example"),
    ("LLM_EMBED_MODEL", "another-s3ntinel-model"),
    ("ANTHROPIC_API_KEY", "another-s3ntinel-anthropic"),
    ("GITHUB_TOKEN", "another-s3ntinel-github"),
];
/// From the env-file only. Its value is one of five words, so it is not searched for.
pub const LOG_LEVEL: (&str, &str) = ("LOG_LEVEL", "DEBUG");
/// Tokens in the file.
pub const FILED: [(&str, &str); 2] = [
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
pub const STRANGERS: [(&str, &str); 2] = [
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
pub struct Searched {
    pub space: Space,
    /// `-vv` and the format.
    pub options: Vec<&'static str>,
    /// Texts that must not be seen.
    pub hidden: RefCell<BTreeSet<String>>,
}

impl Searched {
    pub fn new(options: &[&'static str]) -> Self {
        let space = Space::new();
        // So that the program asks git about the file.
        git_init(space.folder.path());
        let searched = Self {
            space,
            options: options.to_vec(),
            hidden: RefCell::default(),
        };
        for (_, value) in INPUTS.iter().chain(&OTHERS) {
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
    pub fn hide(&self, value: &str) {
        let mut hidden = self.hidden.borrow_mut();
        hidden.insert(value.to_owned());
        let encoded = STANDARD.encode(value);
        hidden.insert(encoded.trim_end_matches('=').to_owned());
    }

    /// Hides the tokens that are in the file now: minted or adopted ones.
    pub fn hide_filed(&self) {
        for value in self.space.filed().values() {
            self.hide(value);
        }
    }

    #[track_caller]
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str], code: i32) -> Ran {
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
    pub fn run(&self, arguments: &[&str], code: i32) -> Ran {
        self.run_with(&INPUTS, arguments, code)
    }

    #[track_caller]
    pub fn search(&self, text: &str, arguments: &[&str]) {
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
pub const FORMATS: [&[&str]; 2] = [&["-vv"], &["-vv", "-o", "json"]];
