//! A value that must not be shown: a token, a password, a connection string.
//!
//! [`SecretValue::expose`] is the only access to the text, so that a search for `expose` finds every
//! use of it.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// A text that is erased from memory when dropped. `Debug` does not show it, and there is no
/// `Display` and no `Serialize`.
#[derive(Clone)]
pub struct SecretValue(SecretString);

impl SecretValue {
    /// The text itself, for the few places that send or write it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// True if this value, as a comma list, is not empty.
    pub fn has_entries(&self) -> bool {
        self.entries().next().is_some()
    }

    /// True if this value, as a comma list, contains `entry`.
    pub fn lists(&self, entry: &Self) -> bool {
        self.entries().any(|listed| listed == entry.expose())
    }

    /// The trimmed entries of this value as a comma list, without empty ones.
    ///
    /// The services parse `EMBEDDINGS_API_KEYS`, `API_KEYS` and `KB_ROUTER_TOKENS` this way.
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
    fn entries_are_trimmed_and_empty_entries_are_skipped() {
        let list = SecretValue::from(" a,, b ,c,");
        assert_eq!(list.entries().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(SecretValue::from(" ,").entries().count(), 0);
    }
}
