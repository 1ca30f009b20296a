//! Tokens: their names, their format, minting and fingerprints. The source of randomness is an
//! argument: this module must not choose one.

use super::secret_value::SecretValue;
use crate::domain::word_enum::word_enum;
use rand::TryCryptoRng;
use sha2::{Digest, Sha256};

/// The minimum length of a token, in characters.
pub const SHORTEST: usize = 16;
/// The maximum length of a token, in characters.
pub const LONGEST: usize = 512;
/// The number of random bytes in a minted token. Its text has twice as many hex digits.
const MINTED_BYTES: usize = 32;

word_enum! {
    pub enum TokenName {
        /// brain-api checks it, every agent pod sends it.
        KbRouterToken = "KB_ROUTER_TOKEN",
        /// The embeddings service checks it, its clients send it.
        EmbeddingsApiKey = "EMBEDDINGS_API_KEY",
    }
}

/// One value for each token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerToken<T> {
    pub kb_router_token: T,
    pub embeddings_api_key: T,
}

impl<T> PerToken<T> {
    pub fn get(&self, name: TokenName) -> &T {
        match name {
            TokenName::KbRouterToken => &self.kb_router_token,
            TokenName::EmbeddingsApiKey => &self.embeddings_api_key,
        }
    }

    pub fn get_mut(&mut self, name: TokenName) -> &mut T {
        match name {
            TokenName::KbRouterToken => &mut self.kb_router_token,
            TokenName::EmbeddingsApiKey => &mut self.embeddings_api_key,
        }
    }

    /// # Errors
    /// The first error of `make`.
    pub fn try_from_fn<E>(mut make: impl FnMut(TokenName) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            kb_router_token: make(TokenName::KbRouterToken)?,
            embeddings_api_key: make(TokenName::EmbeddingsApiKey)?,
        })
    }

    pub fn from_fn(mut make: impl FnMut(TokenName) -> T) -> Self {
        Self {
            kb_router_token: make(TokenName::KbRouterToken),
            embeddings_api_key: make(TokenName::EmbeddingsApiKey),
        }
    }

    /// Both values in display order.
    pub fn iter(&self) -> impl Iterator<Item = (TokenName, &T)> {
        TokenName::ALL
            .into_iter()
            .map(|name| (name, self.get(name)))
    }
}

/// A text is not a token. The error must not quote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddToken {
    #[error("is shorter than {SHORTEST} characters")]
    TooShort,
    #[error("is longer than {LONGEST} characters")]
    TooLong,
    /// It has a character outside `A-Za-z0-9._~+/=-`.
    #[error("has white space or a character outside A-Z a-z 0-9 . _ ~ + / = -")]
    BadCharacter,
}

/// A token in the valid format: `[A-Za-z0-9._~+/=-]{16,512}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token(SecretValue);

impl Token {
    /// Mints a token: 32 bytes of `rng` as 64 lower-case hex digits.
    ///
    /// # Errors
    /// The error of the generator.
    pub fn mint<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut bytes = [0; MINTED_BYTES];
        rng.try_fill_bytes(&mut bytes)?;
        Ok(Self(SecretValue::from(hex(&bytes))))
    }

    /// Checks the format of an existing token.
    ///
    /// # Errors
    /// The text is too short or too long, or has an invalid character.
    pub fn parse(value: &SecretValue) -> Result<Self, OddToken> {
        let text = value.expose();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._~+/=-".contains(c);
        if !text.chars().all(allowed) {
            Err(OddToken::BadCharacter)
        } else if text.len() < SHORTEST {
            Err(OddToken::TooShort)
        } else if text.len() > LONGEST {
            Err(OddToken::TooLong)
        } else {
            Ok(Self(value.clone()))
        }
    }

    pub fn value(&self) -> &SecretValue {
        &self.0
    }

    /// True if `value` is this token.
    pub fn is(&self, value: &SecretValue) -> bool {
        self.0 == *value
    }

    /// True if this token is an entry of the comma list.
    pub fn is_on(&self, list: &SecretValue) -> bool {
        list.lists(&self.0)
    }
}

/// Identifies a value without showing it: 12 hex digits of its SHA-256. A value with less than 16
/// characters (128 bits) gets a fixed text instead: it could be guessed from its hash.
pub fn fingerprint(value: &SecretValue) -> String {
    if value.is_empty() {
        return "empty".to_owned();
    }
    if value.expose().len() < SHORTEST {
        return "a value too short to fingerprint".to_owned();
    }
    let digest = Sha256::digest(value.expose().as_bytes());
    format!("sha256:{}", &hex(&digest)[..12])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::TryRng;
    use std::convert::Infallible;

    /// Yields the bytes 0, 1, 2, ... for a predictable token.
    struct Counting(u8);

    impl TryRng for Counting {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            for byte in out {
                *byte = self.0;
                self.0 += 1;
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Counting {}

    #[test]
    fn a_minted_token_is_64_lower_case_hex_digits_of_the_generator() {
        let token = Token::mint(&mut Counting(0)).unwrap();
        assert_eq!(
            token.value().expose(),
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
        );
    }

    #[test]
    fn the_format_of_a_token_is_checked() {
        let parse = |text: &str| Token::parse(&SecretValue::from(text)).map(|_| ());
        assert_eq!(parse("abcdefghijklmnop"), Ok(()));
        assert_eq!(parse("Az09._~+/=-Az09._~+/=-"), Ok(()));
        assert_eq!(parse("abcdefghijklmno"), Err(OddToken::TooShort));
        assert_eq!(parse(&"a".repeat(512)), Ok(()));
        assert_eq!(parse(&"a".repeat(513)), Err(OddToken::TooLong));
        for bad in [
            "with space and more",
            "with,comma,and,more",
            "new\nline-and-more-of-it",
            "ünïcödé-and-some-more",
        ] {
            assert_eq!(parse(bad), Err(OddToken::BadCharacter), "{bad}");
        }
    }

    #[test]
    fn only_long_values_have_a_fingerprint() {
        let of = |text: &str| fingerprint(&SecretValue::from(text));
        // echo -n abcdefghijklmnop | sha256sum
        assert_eq!(of("abcdefghijklmnop"), "sha256:f39dac6cbaba");
        assert_eq!(of("abcdefghijklmno"), "a value too short to fingerprint");
        assert_eq!(of(""), "empty");
    }
}
