//! YAML and JSON as a tree that knows the line of each value. The library resolves aliases and
//! merge keys and bounds depth and size.

use crate::domain::values::secret_value::SecretValue;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Spanned};
use std::fmt;
use std::iter::from_fn;

/// How many nodes a file may have; a large umbrella chart has a tenth of them.
const MOST_NODES: usize = 1_000_000;

/// A line, from 1, and what is wrong there.
pub(super) type Finding = (u64, String);

/// A value, and the line where it is written, from 1.
pub(super) struct Node {
    pub line: u64,
    pub value: Value,
}

pub(super) enum Value {
    Text(SecretValue),
    /// A boolean, a number, or null, which is empty.
    Plain(SecretValue),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Reads the documents of a file. Each is a mapping.
///
/// # Errors
/// The first line that cannot be judged, and why, in words that quote nothing.
pub(super) fn parse(text: &SecretValue) -> Result<Vec<Node>, (u64, &'static str)> {
    let options = serde_saphyr::options! {
        emit_comments: false,
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! {
            max_documents: MOST_NODES,
            max_nodes: MOST_NODES,
            max_events: 3 * MOST_NODES,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_NODES / 10,
        },
    };
    let roots: Result<Vec<Node>, _> =
        serde_saphyr::from_multiple_with_options(text.expose(), options);
    let roots = roots.map_err(|error| {
        let line = error.location().map_or(1, |place| place.line().max(1));
        (line, why(&error))
    })?;
    let is_mapping = |root: &Node| matches!(root.value, Value::Map(_)) || root.text() == Some("");
    match roots.iter().find(|root| !is_mapping(root)) {
        Some(odd) => Err((odd.line, "not a mapping: neither values nor a manifest")),
        None => Ok(roots),
    }
}

fn why(error: &Error) -> &'static str {
    match error {
        Error::DuplicateMappingKey { .. } => "the mapping has this key already",
        Error::Budget { .. }
        | Error::AliasError { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "nested too deep, or too large with its aliases"
        }
        _ => "not valid YAML; a Helm template has to be rendered first (helm template)",
    }
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Plain(text) => Some(text.expose().trim()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether a Helm template takes it for false. Text is true, also "false", unless it is empty.
    pub fn is_false(&self) -> bool {
        match &self.value {
            Value::Plain(text) => ["", "0", "false"].contains(&text.expose()),
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    pub fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// What stands at the end of a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| {
            let entry = node.entries().iter().find(|(found, _)| found == key)?;
            Some(&entry.1)
        })
    }

    /// The line and the text at the end of a path, unless it is blank.
    pub fn text_at(&self, path: &[&str]) -> Option<(u64, &str)> {
        let node = self.at(path)?;
        let text = node.text().filter(|text| !text.is_empty())?;
        Some((node.line, text))
    }

    /// The kind of a manifest.
    pub fn kind(&self) -> Option<&str> {
        self.text_at(&["apiVersion"])?;
        Some(self.text_at(&["kind"])?.1)
    }

    /// The items of a manifest of `kind: List`; itself, where it is another.
    pub fn objects(&self) -> &[Self] {
        let is_list = self.kind().is_some_and(|kind| kind.ends_with("List"));
        let items = self.at(&["items"]).filter(|_| is_list);
        items.map_or(std::slice::from_ref(self), Self::items)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, defined, .. } = Spanned::deserialize(deserializer)?;
        let line = defined.line().max(1);
        Ok(Self { line, value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

/// The methods of a visitor that takes a scalar that is not text.
macro_rules! plain {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E>(self, value: $type) -> Result<Value, E> {
            Ok(Value::Plain(value.to_string().into()))
        }
    )*};
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    plain!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Plain("".into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let items = from_fn(|| seq.next_element().transpose());
        items.collect::<Result<_, _>>().map(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let entries = from_fn(|| map.next_entry().transpose());
        entries.collect::<Result<_, _>>().map(Value::Map)
    }
}
