//! The secret store of Path 2: where the bundles are in it, and what is there.

use crate::domain::table::{BUNDLES, Bundle};
use crate::domain::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The default of `LOG_LEVEL` in the store, whose embeddings entry has six fields. It is the
/// service's own.
pub const LOG_LEVEL_DEFAULT: &str = "INFO";

/// Where each bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
    renamed: BTreeMap<&'static str, String>,
}

impl Layout {
    /// Bundles below a prefix, except those that have a path of their own, by the name of their
    /// entry. `None` where two would be in one place.
    pub fn new(prefix: &str, renamed: BTreeMap<&'static str, String>) -> Option<Self> {
        let layout = Self {
            prefix: prefix.to_owned(),
            renamed,
        };
        let paths = BTreeSet::from(BUNDLES.map(|bundle| layout.path(bundle)));
        (paths.len() == BUNDLES.len()).then_some(layout)
    }

    /// The options that say so. Paths need no quotes.
    pub fn options(&self) -> String {
        let renamed = self.renamed.iter();
        let renamed: String = renamed
            .map(|(entry, path)| format!(" --path {entry}={path}"))
            .collect();
        format!("--prefix {}{renamed}", self.prefix)
    }

    /// The path of a bundle, without the mount.
    pub fn path(&self, bundle: &Bundle) -> String {
        match self.renamed.get(bundle.entry) {
            Some(path) => path.clone(),
            None => format!("{}/{}", self.prefix, bundle.entry),
        }
    }
}

/// An entry of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The version that was read, the precondition of a write; 0 where there never was one.
    pub version: u64,
    /// Its fields; `None` where there is no entry, or its newest version is deleted.
    pub fields: Option<Fields>,
}

/// The fields of an entry, by name.
pub type Fields = BTreeMap<String, Field>;

impl Entry {
    /// The text of a field; `None` where it is absent or no text.
    pub fn text(&self, key: &str) -> Option<&SecretValue> {
        self.fields.as_ref()?.get(key)?.text.as_ref()
    }

    /// Tells whether it has a field.
    pub fn has(&self, key: &str) -> bool {
        self.fields
            .as_ref()
            .is_some_and(|fields| fields.contains_key(key))
    }
}

/// A field of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As JSON, so that it can be sent back unchanged.
    pub json: SecretValue,
    /// Its text; `None` where it is a number, an object, anything but text.
    pub text: Option<SecretValue>,
}

impl Field {
    /// What External Secrets Operator copies into a Secret.
    pub fn copied(&self) -> SecretValue {
        let is_null = self.text.is_none() && self.json == SecretValue::from("null");
        if is_null {
            return SecretValue::from("");
        }
        self.text.as_ref().unwrap_or(&self.json).clone()
    }

    /// A field that holds a text.
    pub fn of_text(text: &SecretValue) -> Self {
        Self {
            json: SecretValue::from(serde_json::Value::from(text.expose()).to_string()),
            text: Some(text.clone()),
        }
    }
}

/// Every entry that was read, by path.
pub type Entries = BTreeMap<String, Entry>;

/// How a person writes to the store: OpenBao's program or Vault's, with the options that lead
/// there. The default is a store that only the operator reaches, whose program nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReach {
    /// `bao` or `vault`; empty where it is not known.
    pub program: &'static str,
    /// The mount of the KV engine; empty where there is none.
    pub mount: String,
}

impl StoreReach {
    /// An entry, for words: its path with the mount.
    pub fn shown(&self, path: &str) -> String {
        match self.mount.as_str() {
            "" => path.to_owned(),
            mount => format!("{mount}/{path}"),
        }
    }

    /// Brings a deleted version of an entry back, or lets go of it for good.
    pub fn undelete(&self, path: &str, version: u64) -> String {
        let (program, mount, path) = (self.program, quoted(&self.mount), quoted(path));
        format!(
            "bring it back with `{program} kv undelete -mount={mount} -versions={version} {path}`, or \
             let go of it with `{program} kv metadata delete -mount={mount} {path}`"
        )
    }

    /// Takes fields out of an entry.
    pub fn remove(&self, path: &str, keys: &[String]) -> String {
        let keys: String = keys
            .iter()
            .map(|key| format!(" -remove-data={}", quoted(key)))
            .collect();
        format!(
            "{} kv patch -mount={}{keys} {}",
            self.program,
            quoted(&self.mount),
            quoted(path)
        )
    }

    /// Prints one field of an entry, as it is.
    pub fn get(&self, path: &str, key: &str) -> String {
        format!(
            "{} kv get -mount={} -field={} {}",
            self.program,
            quoted(&self.mount),
            quoted(key),
            quoted(path)
        )
    }

    /// Sets one field of an entry to what stands on stdin: no value is on the command line.
    pub fn patch(&self, path: &str, key: &str) -> String {
        format!(
            "{} kv patch -mount={} {} {}=-",
            self.program,
            quoted(&self.mount),
            quoted(path),
            quoted(key)
        )
    }

    /// How to set one field of an entry, after a colon.
    pub fn set(&self, path: &str, key: &str) -> String {
        match self.program {
            "" => format!("{key} of {path}, with the store's own program"),
            _ => format!("`{}`", self.patch(path, key)),
        }
    }
}

/// A word for a shell: a mount that the cluster names, or a field of the store, can be anything.
pub fn quoted(word: &str) -> String {
    let word = word.replace(char::is_control, "?");
    shlex::try_quote(&word).map_or_else(|_| "?".to_owned(), |word| word.into_owned())
}
