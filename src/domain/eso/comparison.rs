//! Compares a Secret with the data that External Secrets Operator creates from its store entry.

use super::store_entry::Fields;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The expected data of a Secret, by key.
pub type SecretData = BTreeMap<String, SecretValue>;

/// The data that the operator creates from a whole entry (`dataFrom.extract`). It renames fields
/// whose names cannot be keys, and writes fields that are not text as JSON.
pub fn secret_data(fields: &Fields) -> SecretData {
    let mut data = SecretData::new();
    for (name, field) in fields {
        let key = key_of_field(name);
        if data.insert(key.clone(), field.copied()).is_some() {
            // The operator rejects two fields with one key: no Secret can match.
            data.insert(format!("{key} (twice)"), field.copied());
        }
    }
    data
}

/// The key for a field, by the rule of the operator for `conversionStrategy: Default`.
pub fn key_of_field(name: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.chars()
        .map(|c| if is_allowed(c) { c } else { '_' })
        .collect()
}

/// The keys in which a Secret differs from its expected data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Both have the key, but the values differ or the value in the Secret is not text.
    pub differing: Vec<String>,
    pub only_in_secret: Vec<String>,
    pub only_in_store: Vec<String>,
}

impl Difference {
    pub fn between(live: &LiveSecret, data: &SecretData) -> Self {
        let mut found = Self::default();
        for key in live.data.keys() {
            match data.get(key) {
                None => found.only_in_secret.push(key.clone()),
                wanted if live.text(key) != wanted => found.differing.push(key.clone()),
                Some(_) => {}
            }
        }
        found.only_in_store = data
            .keys()
            .filter(|key| !live.data.contains_key(*key))
            .cloned()
            .collect();
        found
    }

    /// All differing keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let lists = [&self.differing, &self.only_in_secret, &self.only_in_store];
        let keys: BTreeSet<_> = lists.into_iter().flatten().cloned().collect();
        keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::observed_secret::LiveValue;
    use crate::domain::eso::store_entry::Field;

    #[test]
    fn keys_that_differ_between_secret_and_entry_are_found() {
        let text = |text: &str| SecretValue::from(text);
        let live = LiveSecret {
            data: [
                ("same", "1"),
                ("other", "1"),
                ("od__d", "1"),
                ("lost", "1"),
                ("number", "5"),
                ("null", ""),
                ("a_b", "1"),
                ("null", ""),
            ]
            .map(|(key, value)| (key.to_owned(), LiveValue::encode(&text(value))))
            .into(),
            ..LiveSecret::default()
        };
        let fields = [
            ("same", "1"),
            ("other", "2"),
            ("od~/d", "1"),
            ("gained", "1"),
            ("a/b", "1"),
            ("a_b", "1"),
        ];
        let mut fields: Fields = fields
            .map(|(key, value)| (key.to_owned(), Field::of_text(&text(value))))
            .into();
        for (name, json) in [("number", "5"), ("null", "null")] {
            let field = Field {
                json: text(json),
                text: None,
            };
            fields.insert(name.to_owned(), field);
        }
        let found = Difference::between(&live, &secret_data(&fields));
        assert_eq!(found.differing, ["other"]);
        assert_eq!(found.only_in_secret, ["lost"]);
        assert_eq!(found.only_in_store, ["a_b (twice)", "gained"]);
        assert_eq!(found.keys(), ["a_b (twice)", "gained", "lost", "other"]);
    }
}
