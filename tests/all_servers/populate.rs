//! `populate` against a real OpenBao server; each test uses the name of its namespace as prefix.

mod access;
mod cluster;
mod fill;
mod races;
mod servers;
mod stale;
mod tokens;

use crate::path2::BAO;
use crate::space::{Data, INPUTS, Ran, Space};
use serde_json::Value;
use std::process::Command;

/// The names of the entries, below the prefix.
const ENTRIES: [&str; 3] = ["router", "embeddings", "agenticore"];

/// An operator of the store: a folder, a namespace and a token.
struct Operator {
    space: Space,
    token: String,
}

impl Operator {
    /// One who may do everything, in a namespace that does not exist.
    fn new() -> Self {
        Self::of(Space::without_namespace())
    }

    fn of(space: Space) -> Self {
        let token = BAO.root.clone();
        Self { space, token }
    }

    /// Another folder for the same prefix.
    fn another(&self) -> Self {
        Self {
            space: self.space.other_operator(),
            token: self.token.clone(),
        }
    }

    /// The same with a token of a policy with these capabilities.
    fn may(mut self, capabilities: &[&str]) -> Self {
        self.token = BAO.token(&self.space.namespace, capabilities);
        self
    }

    fn path(&self, entry: &str) -> String {
        format!("{}/{entry}", self.space.namespace)
    }

    fn fields(&self, entry: &str) -> Data {
        BAO.fields(&self.path(entry))
    }

    fn put(&self, entry: &str, fields: &[(&str, &str)]) {
        BAO.put(&self.path(entry), fields);
    }

    /// The versions of the three entries; 0 where there is none.
    fn versions(&self) -> [u64; 3] {
        ENTRIES.map(|entry| {
            let path = format!("secret/metadata/{}", self.path(entry));
            let (_, found) = BAO.request(&BAO.root, "GET", &path, &Value::Null);
            found["data"]["current_version"].as_u64().unwrap_or(0)
        })
    }

    /// `populate` with these variables besides those that lead to the store.
    fn command(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
        let prefix = ["populate", "--prefix", &self.space.namespace];
        let arguments = [&prefix[..], arguments].concat();
        let mut command = self.space.command(&[], &arguments);
        command.envs(self.space.operator(&self.token));
        command.envs(environment.iter().copied());
        command
    }

    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output = self.command(environment, arguments).output();
        output.unwrap().into()
    }

    /// Runs it with the inputs that make all entries.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&INPUTS, arguments)
    }

    /// Runs it with `--apply`, which has to succeed.
    #[track_caller]
    fn populated(&self) -> Ran {
        self.run(&["--apply"]).exits(0)
    }

    /// Fails unless the tokens of the file are those of the store.
    #[track_caller]
    fn one_set_of_tokens(&self) -> Data {
        let tokens = self.space.filed();
        assert_eq!(tokens.len(), 2);
        assert_eq!(self.fields("router"), tokens);
        let list = &self.fields("embeddings")["EMBEDDINGS_API_KEYS"];
        assert_eq!(*list, tokens["EMBEDDINGS_API_KEY"]);
        assert_eq!(self.space.beside_file(), [".k8s-tokens"]);
        tokens
    }

    /// Fails unless a run with these arguments and the inputs writes nothing.
    #[track_caller]
    fn nothing_is_left_to_do(&self) {
        let (versions, file) = (self.versions(), std::fs::read(self.space.file()).unwrap());
        let ran = self.populated();
        assert_eq!(ran.out.matches(": unchanged").count(), 4, "{}", ran.out);
        assert_eq!(self.versions(), versions);
        assert_eq!(std::fs::read(self.space.file()).unwrap(), file);
    }

    /// Fails unless a run is refused for a person to decide before anything is written; gives the
    /// commands of its hints, and the links.
    #[track_caller]
    fn refused(&self, arguments: &[&str], texts: &[&str]) -> Vec<String> {
        let file = std::fs::read(self.space.file()).ok();
        let versions = self.versions();
        for arguments in [&[&["--apply"], arguments].concat()[..], arguments] {
            let ran = self.run(arguments).exits(1);
            let ran = ran.says(&["nothing has been written"]).says(texts);
            assert_eq!(self.versions(), versions);
            assert_eq!(std::fs::read(self.space.file()).ok(), file);
            if arguments.first() != Some(&"--apply") {
                let hints = ran.err.lines().filter(|line| line.starts_with("  hint:"));
                let commands = hints.flat_map(|line| match line.split_once("see docs/") {
                    Some((_, link)) => vec![format!("see docs/{link}")],
                    None => line
                        .split('`')
                        .skip(1)
                        .step_by(2)
                        .map(str::to_owned)
                        .collect(),
                });
                return commands.collect();
            }
        }
        unreachable!()
    }

    /// Runs a command of a hint as a person would.
    #[track_caller]
    fn follow(&self, hint: &str) -> Ran {
        let mut shell = self.space.shell(hint);
        shell.envs(self.space.operator(&self.token)).envs(INPUTS);
        Ran::from(shell.output().unwrap()).exits(0)
    }
}

/// Keys and values.
fn data(pairs: &[(&str, &str)]) -> Data {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}
