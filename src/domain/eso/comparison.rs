//! Whether a Secret holds what External Secrets Operator makes of the fields of its store entry.

use super::store_entry::Fields;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// What a Secret is to hold, by key.
pub type SecretData = BTreeMap<String, SecretValue>;

/// What the operator makes of a whole entry (`dataFrom.extract`): it renames fields whose names
/// cannot be keys, and writes a field that is not text as JSON.
pub fn secret_data(fields: &Fields) -> SecretData {
    let mut data = SecretData::new();
    for (name, field) in fields {
        let key = key_of_field(name);
        if data.insert(key.clone(), field.copied()).is_some() {
            // The operator refuses that: no Secret can be equal to it.
            data.insert(format!("{key} (twice)"), field.copied());
        }
    }
    data
}

/// The key that the operator gives to a field, as its function for `conversionStrategy: Default`
/// does.
pub fn key_of_field(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let chars = name.chars();
    chars.map(|c| if good(c) { c } else { '_' }).collect()
}

/// The keys in which a Secret differs from what it is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Both have the key, with different values, or the value in the Secret is not text.
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
        let gained = data.keys().filter(|key| !live.data.contains_key(*key));
        found.only_in_store.extend(gained.cloned());
        found
    }

    /// All of the keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let all = [&self.differing, &self.only_in_secret, &self.only_in_store];
        let keys: BTreeSet<_> = all.into_iter().flatten().cloned().collect();
        keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::observed_secret::LiveValue;
    use crate::domain::eso::store_entry::Field;

    #[test]
    fn a_secret_differs_from_an_entry_in_these_keys() {
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
