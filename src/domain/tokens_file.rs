//! The text of the tokens file: reading it, and changing it without losing what else is in it.
//!
//! The file is `source`-able: `KEY="value"` lines. Unknown keys and comments survive a rewrite.

use super::assignments::{self, Dialect, Line, LineError};
use super::tokens::{OddToken, PerToken, Token, TokenName};
use super::value::SecretValue;
use std::fmt::Write;

const HEADER: &str =
    "# Tokens of agentibrain-kernel, kept by k8s-bootstrap. Keep this file out of git.";
const APPLIED_TO: &str = "# k8s-bootstrap: last applied to ";

/// What is in a tokens file.
#[derive(Clone, Debug, Default)]
pub struct TokensFile {
    lines: Vec<Line>,
    tokens: PerToken<Option<Token>>,
}

/// Where the tokens were last applied, as a comment in the file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedTo {
    /// The API server's URL.
    pub server: String,
    /// The home namespace.
    pub namespace: String,
}

/// Why a text is no tokens file. It names no part of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokensFile {
    /// A line that cannot be read.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A token in a form that is not accepted.
    #[error("line {line}: {token} {why}")]
    OddToken {
        /// The line's number, from 1.
        line: usize,
        /// Which token.
        token: TokenName,
        /// What is odd about it.
        why: OddToken,
    },
    /// A token that is set twice.
    #[error("line {line}: {token} is set a second time")]
    Twice {
        /// The second line's number, from 1.
        line: usize,
        /// Which token.
        token: TokenName,
    },
}

impl TokensFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first line that is not accepted.
    pub fn parse(text: &str) -> Result<Self, BadTokensFile> {
        let lines = assignments::parse(text, Dialect::Sourced)?;
        let mut seen: PerToken<bool> = PerToken::default();
        let mut tokens: PerToken<Option<Token>> = PerToken::default();
        for (index, found) in lines.iter().enumerate() {
            let Some((name, value)) = token_of(found) else {
                continue;
            };
            let line = index + 1;
            // An empty one may stand before: whoever sources the file gets the last one.
            if std::mem::replace(seen.get_mut(name), !value.is_empty()) {
                return Err(BadTokensFile::Twice { line, token: name });
            }
            if !value.is_empty() {
                let token = Token::parse(value).map_err(|why| BadTokensFile::OddToken {
                    line,
                    token: name,
                    why,
                })?;
                *tokens.get_mut(name) = Some(token);
            }
        }
        Ok(Self { lines, tokens })
    }

    /// The tokens in it; one that is absent or empty is `None`.
    pub fn tokens(&self) -> &PerToken<Option<Token>> {
        &self.tokens
    }

    /// Where it was last applied.
    pub fn applied_to(&self) -> Option<AppliedTo> {
        let comment = self
            .lines
            .iter()
            .find_map(|line| line.text.expose().strip_prefix(APPLIED_TO))?;
        let (server, namespace) = comment.split_once(" namespace ")?;
        Some(AppliedTo {
            server: server.to_owned(),
            namespace: namespace.to_owned(),
        })
    }

    /// Gives the text of the file with these tokens in it, and this place as the last one.
    ///
    /// Every other line stays as it is.
    pub fn rewritten(
        &self,
        tokens: &PerToken<Option<Token>>,
        place: Option<&AppliedTo>,
    ) -> SecretValue {
        let mut missing: Vec<TokenName> = TokenName::ALL.to_vec();
        let mut text = String::new();
        if self.lines.is_empty() {
            push_line(&mut text, HEADER);
        }
        let stated = self
            .lines
            .iter()
            .any(|line| line.text.expose().starts_with(APPLIED_TO));
        if let (false, Some(place)) = (stated, place) {
            push_line(&mut text, &applied_line(place));
        }
        for (index, line) in self.lines.iter().enumerate() {
            // Only the last line of a token counts; an empty one before it stays.
            let known = line.assignment.as_ref().and_then(|assignment| {
                let name = TokenName::parse(&assignment.name)?;
                (self.last_line_of(name) == Some(index)).then_some(())?;
                Some((name, assignment, tokens.get(name).as_ref()?))
            });
            if let Some((name, assignment, token)) = known {
                missing.retain(|other| *other != name);
                if self.tokens.get(name).as_ref() == Some(token) {
                    push_line(&mut text, line.text.expose());
                } else {
                    push_line(&mut text, assignment.with_value(token.value()).expose());
                }
            } else if let (true, Some(place)) = (line.text.expose().starts_with(APPLIED_TO), place)
            {
                push_line(&mut text, &applied_line(place));
            } else {
                push_line(&mut text, line.text.expose());
            }
        }
        for name in missing {
            if let Some(token) = tokens.get(name) {
                push_token(&mut text, name, token);
            }
        }
        SecretValue::from(text)
    }

    fn last_line_of(&self, name: TokenName) -> Option<usize> {
        self.lines
            .iter()
            .rposition(|line| token_of(line).is_some_and(|(other, _)| other == name))
    }
}

fn token_of(line: &Line) -> Option<(TokenName, &SecretValue)> {
    let assignment = line.assignment.as_ref()?;
    Some((TokenName::parse(&assignment.name)?, &assignment.value))
}

fn applied_line(place: &AppliedTo) -> String {
    format!("{APPLIED_TO}{} namespace {}", place.server, place.namespace)
}

fn push_token(text: &mut String, name: TokenName, token: &Token) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{name}=\"{}\"", token.value().expose());
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn token(text: &str) -> Option<Token> {
        Some(Token::parse(&SecretValue::from(text)).unwrap())
    }

    fn tokens(router: Option<Token>, embeddings: Option<Token>) -> PerToken<Option<Token>> {
        PerToken {
            kb_router_token: router,
            embeddings_api_key: embeddings,
        }
    }

    #[test]
    fn a_new_file_has_a_header_the_place_and_both_tokens() {
        let place = AppliedTo {
            server: "https://s:6443".into(),
            namespace: "brain".into(),
        };
        let text = TokensFile::default().rewritten(&tokens(token(A), token(B)), Some(&place));
        assert_eq!(
            text.expose(),
            format!(
                "{HEADER}\n# k8s-bootstrap: last applied to https://s:6443 namespace brain\n\
                 KB_ROUTER_TOKEN=\"{A}\"\nEMBEDDINGS_API_KEY=\"{B}\"\n"
            )
        );
        let back = TokensFile::parse(text.expose()).unwrap();
        assert_eq!(back.tokens(), &tokens(token(A), token(B)));
        assert_eq!(back.applied_to(), Some(place));
    }

    #[test]
    fn a_file_of_the_old_script_is_read_as_it_is() {
        let text = format!("KB_ROUTER_TOKEN=\"{A}\"\nEMBEDDINGS_API_KEY=\"{B}\"\n");
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), token(B)));
        assert_eq!(file.applied_to(), None);
        assert_eq!(file.rewritten(file.tokens(), None).expose(), text);
    }

    #[test]
    fn a_rewrite_keeps_everything_else() {
        let text = format!(
            "# mine\nexport OTHER='x y'\n  export EMBEDDINGS_API_KEY= # todo\n\nKB_ROUTER_TOKEN='{A}' # c"
        );
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), None));
        let rewritten = file.rewritten(&tokens(token(A), token(B)), None);
        assert_eq!(
            rewritten.expose(),
            format!(
                "# mine\nexport OTHER='x y'\n  export EMBEDDINGS_API_KEY=\"{B}\" # todo\n\nKB_ROUTER_TOKEN='{A}' # c\n"
            )
        );
    }

    #[test]
    fn an_empty_line_before_the_token_stays_and_does_not_count() {
        let text = format!("KB_ROUTER_TOKEN=\nKB_ROUTER_TOKEN={A}\n");
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), None));
        let rewritten = file.rewritten(&tokens(token(B), None), None);
        assert_eq!(
            rewritten.expose(),
            format!("KB_ROUTER_TOKEN=\nKB_ROUTER_TOKEN=\"{B}\"\n")
        );
    }

    #[test]
    fn odd_tokens_and_doubles_are_refused_by_line() {
        let error = |text: String| TokensFile::parse(&text).unwrap_err().to_string();
        assert_eq!(
            error("\nKB_ROUTER_TOKEN=short\n".into()),
            "line 2: KB_ROUTER_TOKEN is shorter than 16 characters"
        );
        assert!(error(format!("EMBEDDINGS_API_KEY='{A} {B}'\n")).contains("white space"));
        assert_eq!(
            error(format!("KB_ROUTER_TOKEN={A}\nKB_ROUTER_TOKEN={A}\n")),
            "line 2: KB_ROUTER_TOKEN is set a second time"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            before in "(# [ -~]{0,20}\n|OTHER='[ -&(-~]{0,20}'\n|\n){0,4}",
            router in proptest::option::of("[A-Za-z0-9._~+/=-]{16,80}"),
            embeddings in proptest::option::of("[A-Za-z0-9._~+/=-]{16,80}"),
        ) {
            prop_assume!(before.matches("OTHER").count() <= 1);
            let file = TokensFile::parse(&before).unwrap();
            let wanted = tokens(router.as_deref().and_then(token), embeddings.as_deref().and_then(token));
            let text = file.rewritten(&wanted, None);
            prop_assert!(text.expose().contains(&before));
            let back = TokensFile::parse(text.expose()).unwrap();
            prop_assert_eq!(back.tokens(), &wanted);
            let again = back.rewritten(&wanted, None);
            prop_assert_eq!(again.expose(), text.expose());
        }
    }
}
