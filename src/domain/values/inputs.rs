//! The inputs: the values of the table that an operator provides and that are not tokens.
//!
//! An error must not show a value.

use super::defects::defect;
use super::secret_value::SecretValue;
use crate::domain::table::{self, InputRule};
use crate::domain::word_enum::word_enum;
use std::collections::BTreeMap;

word_enum! {
    /// The source of an input.
    pub enum Place {
        Environment = "the environment",
        /// The file of `--env-file`.
        EnvFile = "the env-file",
    }
}

/// An input with an invalid value, which the error does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} from {place} {problem}")]
pub struct BadInput {
    pub name: &'static str,
    pub place: Place,
    pub problem: &'static str,
}

/// The inputs that have a value, by name.
#[derive(Clone, Debug, Default)]
pub struct Inputs(BTreeMap<&'static str, (SecretValue, Place)>);

impl Inputs {
    /// Reads the inputs of the table from both sources. The env-file has priority over the
    /// environment, even with an empty value. Other variables are ignored, including tokens.
    ///
    /// # Errors
    /// The first value that a service could not use.
    pub fn gather(
        environment: &BTreeMap<String, SecretValue>,
        env_file: &BTreeMap<String, SecretValue>,
    ) -> Result<Self, BadInput> {
        let mut inputs = BTreeMap::new();
        for (name, rule) in table::inputs() {
            let from_environment = match rule {
                InputRule::EnvFileOnly => None,
                _ => environment
                    .get(name)
                    .map(|value| (value, Place::Environment)),
            };
            let from_file = env_file.get(name).map(|value| (value, Place::EnvFile));
            if let Some((value, place)) = from_file.or(from_environment) {
                if let Some(problem) = defect(name, value) {
                    return Err(BadInput {
                        name,
                        place,
                        problem,
                    });
                }
                if !value.is_empty() {
                    inputs.insert(name, (value.clone(), place));
                }
            }
        }
        Ok(Self(inputs))
    }

    /// Inputs that are not checked.
    #[cfg(test)]
    pub fn unchecked(pairs: &[(&'static str, &str)]) -> Self {
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        Self(
            given
                .map(|(name, value)| (*name, ((*value).into(), Place::EnvFile)))
                .collect(),
        )
    }

    /// With some value for each required input, to show what would be written with it.
    pub fn completed(&self) -> Self {
        let required = table::inputs().filter(|(_, rule)| *rule == InputRule::Required);
        let mut inputs = self.0.clone();
        for (name, _) in required {
            let value = (SecretValue::from("?"), Place::Environment);
            inputs.entry(name).or_insert(value);
        }
        Self(inputs)
    }

    /// Returns `None` for an input that is not set or empty.
    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.0.get(name).map(|(value, _)| value)
    }

    /// The names of the inputs from one source, in alphabetical order.
    pub fn names_from(&self, wanted: Place) -> impl Iterator<Item = &'static str> {
        self.0
            .iter()
            .filter(move |(_, (_, place))| *place == wanted)
            .map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretValue> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), SecretValue::from(*v)))
            .collect()
    }

    #[test]
    fn the_env_file_has_priority_and_empty_means_unset() {
        let environment = map(&[
            ("POSTGRES_URL", "host=env"),
            ("LLM_API_KEY", "env"),
            ("GITHUB_TOKEN", ""),
        ]);
        let env_file = map(&[("POSTGRES_URL", "host=file"), ("LLM_API_KEY", "")]);
        let inputs = Inputs::gather(&environment, &env_file).unwrap();
        assert_eq!(
            inputs.get("POSTGRES_URL"),
            Some(&SecretValue::from("host=file"))
        );
        assert_eq!(inputs.get("LLM_API_KEY"), None);
        assert_eq!(inputs.get("GITHUB_TOKEN"), None);
    }

    #[test]
    fn other_variables_are_ignored_and_log_level_is_read_from_the_file_only() {
        let pairs = map(&[
            ("KB_ROUTER_TOKEN", "x"),
            ("LOG_LEVEL", "DEBUG"),
            ("PATH", " "),
        ]);
        let inputs = Inputs::gather(&pairs, &BTreeMap::new()).unwrap();
        assert_eq!(inputs.get("KB_ROUTER_TOKEN"), None);
        assert_eq!(inputs.get("LOG_LEVEL"), None);
        let inputs = Inputs::gather(&BTreeMap::new(), &pairs).unwrap();
        assert_eq!(
            inputs.names_from(Place::EnvFile).collect::<Vec<_>>(),
            ["LOG_LEVEL"]
        );
    }

    #[test]
    fn an_invalid_value_is_an_error_with_its_name() {
        for value in ["a\nb", "a\rb", "a\0b", " a", "a ", "\ta", "a\n"] {
            let error =
                Inputs::gather(&map(&[("POSTGRES_URL", value)]), &BTreeMap::new()).unwrap_err();
            assert_eq!(
                (error.name, error.place),
                ("POSTGRES_URL", Place::Environment)
            );
        }
    }
}
