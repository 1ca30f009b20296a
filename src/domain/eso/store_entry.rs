//! The secret store of Path 2: the paths of the bundles, their entries, and store commands for hints.
//!
//! A hint must not contain a value.

use crate::domain::table::{BUNDLES, Bundle};
use crate::domain::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The value of `LOG_LEVEL` in a new embeddings entry: the default of the service.
pub const LOG_LEVEL_DEFAULT: &str = "INFO";

/// The paths of the bundles in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
    own_paths: BTreeMap<&'static str, String>,
}

impl Layout {
    /// A layout with all bundles below a prefix, except those in `own_paths`: paths by entry name.
    /// Returns `None` if two bundles would have the same path.
    pub fn new(prefix: &str, own_paths: BTreeMap<&'static str, String>) -> Option<Self> {
        let layout = Self {
            prefix: prefix.to_owned(),
            own_paths,
        };
        let paths = BTreeSet::from(BUNDLES.map(|bundle| layout.path(bundle)));
        (paths.len() == BUNDLES.len()).then_some(layout)
    }

    /// The command line options for this layout. Paths need no quotes.
    pub fn options(&self) -> String {
        let own_paths: String = self
            .own_paths
            .iter()
            .map(|(entry, path)| format!(" --path {entry}={path}"))
            .collect();
        format!("--prefix {}{own_paths}", self.prefix)
    }

    /// The path of a bundle, without the mount.
    pub fn path(&self, bundle: &Bundle) -> String {
        match self.own_paths.get(bundle.entry) {
            Some(path) => path.clone(),
            None => format!("{}/{}", self.prefix, bundle.entry),
        }
    }
}

/// An entry of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The version that was read, the precondition of a write; 0 for an entry that never existed.
    pub version: u64,
    /// `None` if the entry does not exist, or if its newest version is deleted.
    pub fields: Option<Fields>,
}

/// The fields of an entry, by name.
pub type Fields = BTreeMap<String, Field>;

impl Entry {
    /// The text of a field; `None` if the field is absent or not text.
    pub fn text(&self, key: &str) -> Option<&SecretValue> {
        self.fields.as_ref()?.get(key)?.text.as_ref()
    }

    /// True if the entry has the field, with any type.
    pub fn has(&self, key: &str) -> bool {
        self.fields
            .as_ref()
            .is_some_and(|fields| fields.contains_key(key))
    }
}

/// A field of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The original JSON, so that it can be sent back unchanged.
    pub json: SecretValue,
    /// `None` for a number, an object or another JSON type.
    pub text: Option<SecretValue>,
}

impl Field {
    /// The value that External Secrets Operator copies to a Secret; empty for JSON `null`.
    pub fn copied(&self) -> SecretValue {
        let is_null = self.text.is_none() && self.json == SecretValue::from("null");
        if is_null {
            return SecretValue::from("");
        }
        self.text.as_ref().unwrap_or(&self.json).clone()
    }

    pub fn of_text(text: &SecretValue) -> Self {
        Self {
            json: SecretValue::from(serde_json::Value::from(text.expose()).to_string()),
            text: Some(text.clone()),
        }
    }
}

/// The entries that were read, by path.
pub type Entries = BTreeMap<String, Entry>;

/// The store's command line program for hints. The default is a store that only External Secrets
/// Operator can reach, with an unknown program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReach {
    /// `bao` or `vault`; empty if unknown.
    pub program: &'static str,
    /// The mount of the KV engine; empty if there is none.
    pub mount: String,
}

impl StoreReach {
    /// The path of an entry with the mount, for messages.
    pub fn shown(&self, path: &str) -> String {
        match self.mount.as_str() {
            "" => path.to_owned(),
            mount => format!("{mount}/{path}"),
        }
    }

    /// The hint for an entry whose newest version is deleted: two commands to choose from.
    pub fn undelete(&self, path: &str, version: u64) -> String {
        let (program, mount, path) = (self.program, quoted(&self.mount), quoted(path));
        format!(
            "restore it with `{program} kv undelete -mount={mount} -versions={version} {path}`, or \
             remove it for good with `{program} kv metadata delete -mount={mount} {path}`"
        )
    }

    /// The command that removes fields of an entry.
    pub fn remove(&self, path: &str, keys: &[String]) -> String {
        let remove = |key: &String| format!(" -remove-data={}", quoted(key));
        let keys: String = keys.iter().map(remove).collect();
        self.kv("patch", &format!("{keys} {}", quoted(path)))
    }

    /// The command that prints one field of an entry.
    pub fn get(&self, path: &str, key: &str) -> String {
        self.kv("get", &format!(" -field={} {}", quoted(key), quoted(path)))
    }

    /// The command that sets one field of an entry from stdin, so that no value is on the command
    /// line.
    pub fn patch(&self, path: &str, key: &str) -> String {
        self.kv("patch", &format!(" {} {}=-", quoted(path), quoted(key)))
    }

    fn kv(&self, command: &str, arguments: &str) -> String {
        let (program, mount) = (self.program, quoted(&self.mount));
        format!("{program} kv {command} -mount={mount}{arguments}")
    }

    /// The hint that sets one field of an entry, to follow a colon.
    pub fn set(&self, path: &str, key: &str) -> String {
        match self.program {
            "" => format!("{key} of {path}, with the store's own program"),
            _ => format!("`{}`", self.patch(path, key)),
        }
    }
}

/// Quotes a word for a shell. A mount from the cluster or a field of the store can contain any
/// character.
pub fn quoted(word: &str) -> String {
    let word = word.replace(char::is_control, "?");
    shlex::try_quote(&word).map_or_else(|_| "?".to_owned(), |word| word.into_owned())
}
