//! Helm values files and rendered manifests, judged without a cluster: is the ExternalSecret
//! wired, and does a key of the table carry a literal credential?
//!
//! A message holds no text of a file, only names that are known beforehand.

mod literals;
#[cfg(test)]
mod tests;
mod wiring;
#[cfg(test)]
mod wiring_tests;
mod yaml;

use super::checks::check::{Check, Id};
use super::values::secret_value::SecretValue;
use std::collections::BTreeSet;
use yaml::{Finding, Node};

/// What is wrong with the manifests and values of a file.
type Find = fn(&[&Node]) -> BTreeSet<Finding>;

/// The command that opens a file.
const EDIT: &str = "${EDITOR:-vi}";

/// A file, or stdin.
#[derive(Debug)]
pub struct Source {
    /// The name as it may be shown.
    pub name: String,
    /// The path, quoted for a shell; `None` for stdin.
    pub quoted: Option<String>,
    /// The content, or why it cannot be read, in words that quote nothing of it.
    pub text: Result<SecretValue, String>,
}

impl Source {
    fn hint(&self, command: &str) -> String {
        let hint = |path| format!("{command} {path}");
        self.quoted.as_ref().map(hint).unwrap_or_default()
    }
}

/// What was found in all files.
#[derive(Debug)]
pub struct Judgement {
    /// At least one for each of the four ids.
    pub checks: Vec<Check>,
    /// The names of the files that cannot be read or do not parse.
    pub broken: Vec<String>,
}

/// Judges each file by itself.
pub fn judge(sources: &[Source]) -> Judgement {
    let (mut read, mut parsed, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        match parse(source) {
            Ok(roots) => read.push((source, roots)),
            Err(message) => {
                let command = if source.text.is_ok() { EDIT } else { "ls -ld" };
                let hint = source.hint(command);
                parsed.push(Check::fail(Id::ValuesParsed, message).hint(hint));
                broken.push(source.name.clone());
            }
        }
    }
    let judged = |id, good, find: Find| {
        let failures: Vec<_> = read
            .iter()
            .flat_map(|(source, roots)| failures(id, source, roots, find))
            .collect();
        if !failures.is_empty() {
            failures
        } else if broken.is_empty() {
            vec![Check::pass(id, good)]
        } else {
            vec![Check::skip(
                id,
                format!("not judged: {}", broken.join(", ")),
            )]
        }
    };
    if parsed.is_empty() {
        parsed.push(Check::pass(Id::ValuesParsed, "each file is valid YAML"));
    }
    let no_literal = "no key of the table has a literal value";
    let has_store = "each ExternalSecret names its store and its path";
    let has_reader = "each ExternalSecret makes the Secret that the pods read";
    let checks = [
        parsed,
        judged(Id::ValuesCredentials, no_literal, literals::find),
        judged(Id::ValuesStore, has_store, wiring::without_store),
        judged(Id::ValuesTarget, has_reader, wiring::without_reader),
    ];
    Judgement {
        checks: checks.concat(),
        broken,
    }
}

fn failures(id: Id, source: &Source, roots: &[Node], find: Find) -> Vec<Check> {
    let objects: Vec<_> = roots.iter().flat_map(Node::objects).collect();
    let fail = |(line, what)| {
        let message = format!("{}:{line}: {what}", source.name);
        Check::fail(id, message).hint(source.hint(EDIT))
    };
    find(&objects).into_iter().map(fail).collect()
}

fn parse(source: &Source) -> Result<Vec<Node>, String> {
    let name = &source.name;
    let text = source.text.as_ref();
    let text = text.map_err(|why| format!("cannot read {name}: {why}"))?;
    yaml::parse(text).map_err(|(line, why)| format!("{name}:{line}: {why}"))
}
