//! A value that must not be shown: a token, a password, a connection string.
//!
//! [`SecretValue::expose`] is the one way out, so that every place where a value leaves can be
//! found by searching for that word.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A text that is wiped from memory when dropped and that `Debug` does not show.
///
/// It has no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct SecretValue(SecretString);

impl SecretValue {
    /// Gives the text itself, for the few places where it has to leave the program.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Tells whether the comma list has this entry.
    pub fn lists(&self, entry: &Self) -> bool {
        self.entries().any(|listed| listed == entry.expose())
    }

    /// Reads the value as a comma list: entries trimmed, empty ones left out.
    ///
    /// The services read `EMBEDDINGS_API_KEYS`, `API_KEYS` and `KB_ROUTER_TOKENS` this way.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.expose()
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl From<&str> for SecretValue {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretValue {}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_trimmed_and_empty_ones_left_out() {
        let list = SecretValue::from(" a,, b ,c,");
        assert_eq!(list.entries().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(SecretValue::from(" ,").entries().count(), 0);
    }
}
