//! Keys of the table with a literal credential as their value. References, encrypted values and
//! names of Secrets are not credentials; other keys than those of the table are not judged.

use super::yaml::{Finding, Node, Value};
use crate::domain::table;
use crate::domain::values::defects::is_elsewhere;
use crate::domain::values::secret_value::SecretValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::collections::BTreeSet;

/// A setting, and no credential but for a password in it.
const LLM_API_BASE: &str = "LLM_API_BASE";
/// What is judged beside the credentials of the table: keys of the charts mcp and brain-ops.
const OTHERS: [&str; 3] = [LLM_API_BASE, "MCP_PROXY_API_KEY", "INFERENCE_API_KEY"];
/// The lines where a key of the table has a literal value.
pub(super) fn find(objects: &[&Node]) -> BTreeSet<Finding> {
    let names = table::credentials().map(|key| key.name).chain(OTHERS);
    let mut search = Search {
        keys: names.map(|name| (canonical(name), name)).collect(),
        ..Search::default()
    };
    for object in objects {
        search.in_secret = object.kind() == Some("Secret");
        search.node(object);
    }
    search.found
}

/// A name without what charts spell in different ways: `POSTGRES_URL` and `postgresUrl` are equal.
/// A long one is cut: it is none of ours.
pub(super) fn canonical(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).take(64);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[derive(Default)]
struct Search {
    /// The keys that are judged, with their canonical form.
    keys: Vec<(String, &'static str)>,
    /// The keys down to the current node, in canonical form.
    path: Vec<String>,
    /// Whether the object is a Secret, with base64 under `data`.
    in_secret: bool,
    found: BTreeSet<Finding>,
}

impl Search {
    fn node(&mut self, node: &Node) {
        match &node.value {
            Value::Text(text) | Value::Plain(text) => self.text(node.line, text),
            Value::List(items) => items.iter().for_each(|item| self.node(item)),
            Value::Map(entries) => entries
                .iter()
                .for_each(|(key, value)| self.entry(node, key, value)),
        }
    }

    fn entry(&mut self, map: &Node, key: &str, value: &Node) {
        let step = if key == "value" {
            // `name: POSTGRES_URL, value: ...`, or `POSTGRES_URL: {value: ...}`.
            let name = map.text_at(&["name"]).map(|(_, name)| canonical(name));
            let name = name.filter(|name| self.spelled(name).is_some());
            name.unwrap_or_default()
        } else {
            canonical(key)
        };
        let names_only = ["encrypteddata", "valuefrom", "existingsecret", "secretkeys"];
        if !names_only.contains(&&*step) && !step.ends_with("ref") {
            self.path.push(step);
            self.node(value);
            self.path.pop();
        }
    }

    fn text(&mut self, line: u64, text: &SecretValue) {
        // The end of the path spells a key in one word or in several.
        let mut end = String::new();
        let key = self.path.iter().rev().find_map(|step| {
            end.insert_str(0, step);
            self.spelled(&end)
        });
        let is_base64 = self.in_secret && self.path.first().is_some_and(|first| first == "data");
        let decoded = if is_base64 { decode(text) } else { None };
        let value = decoded.as_ref().unwrap_or(text).expose();
        if let Some(key) = key.filter(|key| is_literal(key, value)) {
            let what = "has a literal value: move it to the Secret or the store, and rotate it if \
                        the file was ever shared";
            self.found.insert((line, format!("{key} {what}")));
        }
    }

    fn spelled(&self, name: &str) -> Option<&'static str> {
        let mut keys = self.keys.iter();
        keys.find(|(key, _)| key == name).map(|(_, key)| *key)
    }
}

fn decode(base64: &SecretValue) -> Option<SecretValue> {
    let bytes = STANDARD.decode(base64.expose().trim()).ok()?;
    String::from_utf8(bytes).ok().map(SecretValue::from)
}

/// Tells whether the value of a key holds a credential; of a connection string that is its password.
fn is_literal(key: &str, text: &str) -> bool {
    let passwords = passwords(text);
    if key == LLM_API_BASE || !passwords.is_empty() {
        passwords.into_iter().any(is_plain)
    } else {
        !is_elsewhere(text.trim()) && text.split(',').any(is_plain)
    }
}

/// The passwords of URLs and connection strings in a text.
fn passwords(text: &str) -> Vec<&str> {
    let of_url = text.split("://").skip(1).filter_map(|rest| {
        let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
        Some(user.split_once(':')?.1)
    });
    let of_parameter = text.split("password=").skip(1);
    let of_parameter = of_parameter.filter_map(|rest| rest.split(['&', ' ']).next());
    of_url.chain(of_parameter).collect()
}

/// Tells whether a text is a value itself: not empty, encrypted, a reference, a name or a path.
fn is_plain(text: &str) -> bool {
    // The innermost default of `${A:-${B:-default}}`.
    let default = text.rsplit_once(":-").filter(|_| text.contains("${"));
    let text = default.map_or(text, |(_, default)| default.trim_end_matches('}'));
    let text = text.trim();
    let is_word = |text: &str, others: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
        !text.is_empty() && text.chars().all(is_part)
    };
    let mut brackets = ["${", "$(", "{{", "}}"].iter();
    let is_template = brackets.any(|bracket| text.contains(bracket));
    let is_variable = text.strip_prefix('$').is_some_and(|it| is_word(it, "_"));
    let is_placeholder = text.starts_with('<') && text.ends_with('>');
    // Base64 can begin with a slash, too.
    let is_path = ["/", "./", "../", "~/"]
        .iter()
        .any(|it| text.starts_with(it))
        && text.rfind('/') > Some(0)
        && is_word(text, "/._-~");
    let is_key = |name: &str| table::credentials().any(|key| key.name == name);
    let is_name = text.ends_with("-secrets") || OTHERS.contains(&text) || is_key(text);
    let is_reference = is_template || is_variable || is_placeholder || is_path;
    let is_nothing = ["", "true", "false"].contains(&text);
    !is_nothing && !is_name && !is_reference && !is_elsewhere(text)
}
