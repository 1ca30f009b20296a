//! The text of the tokens file: reading it, and changing it without losing what else is in it.
//!
//! The file is `source`-able: `KEY="value"` lines. Unknown keys and comments survive a rewrite.

use super::dotenv::{self, Dialect, Line, LineError};
use super::secret_value::SecretValue;
use super::token::{OddToken, PerToken, Token, TokenName};
use std::fmt::Write;

const HEADER: &str =
    "# Tokens of agentibrain-kernel, kept by k8s-bootstrap. Keep this file out of git.";
const APPLIED_TO: &str = "# k8s-bootstrap: last applied to ";

/// Which value of a token a line holds: the one in use, or, while a rotation is open, the one that
/// is to come or the one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Current,
    Next,
    Previous,
}

impl Slot {
    const ALL: [Self; 3] = [Self::Current, Self::Next, Self::Previous];

    /// What stands behind the token's name in the variable's.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Next => "_NEXT",
            Self::Previous => "_PREVIOUS",
        }
    }
}

/// What is in a tokens file.
#[derive(Clone, Debug, Default)]
pub struct TokensFile {
    lines: Vec<Line>,
    held: Held,
}

/// The values of the tokens in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Those in use.
    pub current: PerToken<Option<Token>>,
    /// Those that a rotation brings.
    pub next: PerToken<Option<Token>>,
    /// Those that a rotation replaces.
    pub previous: PerToken<Option<Token>>,
}

impl Held {
    fn slot(&self, slot: Slot) -> &PerToken<Option<Token>> {
        match slot {
            Slot::Current => &self.current,
            Slot::Next => &self.next,
            Slot::Previous => &self.previous,
        }
    }

    fn slot_mut(&mut self, slot: Slot) -> &mut PerToken<Option<Token>> {
        match slot {
            Slot::Current => &mut self.current,
            Slot::Next => &mut self.next,
            Slot::Previous => &mut self.previous,
        }
    }

    /// The variable that holds a value.
    pub fn variable_of(&self, value: &SecretValue) -> Option<String> {
        let mut places = Slot::ALL
            .into_iter()
            .flat_map(|slot| TokenName::ALL.map(|name| (name, slot)));
        let holds = |(name, slot): &(TokenName, Slot)| {
            let token = self.slot(*slot).get(*name).as_ref();
            token.is_some_and(|token| token.is(value))
        };
        let (name, slot) = places.find(holds)?;
        Some(format!("{name}{}", slot.suffix()))
    }

    /// Every value of a token that is there.
    pub fn all(&self, name: TokenName) -> impl Iterator<Item = &Token> {
        Slot::ALL
            .into_iter()
            .filter_map(move |slot| self.slot(slot).get(name).as_ref())
    }
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
        let lines = dotenv::parse(text, Dialect::Sourced)?;
        let mut seen = Vec::new();
        let mut held = Held::default();
        for (index, found) in lines.iter().enumerate() {
            let Some((place, value)) = value_of(found) else {
                continue;
            };
            let line = index + 1;
            let (token, slot) = place;
            // An empty one may stand before: whoever sources the file gets the last one.
            if seen.contains(&place) {
                return Err(BadTokensFile::Twice { line, token });
            }
            if !value.is_empty() {
                seen.push(place);
                let value = Token::parse(value).map_err(|why| BadTokensFile::OddToken {
                    line,
                    token,
                    why,
                })?;
                *held.slot_mut(slot).get_mut(token) = Some(value);
            }
        }
        Ok(Self { lines, held })
    }

    /// The tokens in use; one that is absent or empty is `None`.
    pub fn tokens(&self) -> &PerToken<Option<Token>> {
        &self.held.current
    }

    /// All of its tokens.
    pub fn held(&self) -> &Held {
        &self.held
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
        let held = Held {
            current: tokens.clone(),
            ..self.held.clone()
        };
        self.holding(&held, place)
    }

    /// Gives the text of the file with these values in it: a token in use that is not given stays, a
    /// value of a rotation that is not given goes.
    pub fn holding(&self, held: &Held, place: Option<&AppliedTo>) -> SecretValue {
        let mut missing: Vec<_> = Slot::ALL
            .into_iter()
            .flat_map(|slot| TokenName::ALL.map(|name| (name, slot)))
            .collect();
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
            let found = value_of(line).map(|(place, _)| place);
            let wanted = found.map(|(name, slot)| (slot, held.slot(slot).get(name).as_ref()));
            match (found, wanted, &line.assignment) {
                (Some(found), Some((_, Some(token))), Some(assignment))
                    // Only the last line of a token counts; an empty one before it stays.
                    if self.last_line_of(found) == Some(index) =>
                {
                    missing.retain(|other| *other != found);
                    let (name, slot) = found;
                    if self.held.slot(slot).get(name).as_ref() == Some(token) {
                        push_line(&mut text, line.text.expose());
                    } else {
                        push_line(&mut text, assignment.with_value(token.value()).expose());
                    }
                }
                (_, Some((Slot::Next | Slot::Previous, None)), _) => {}
                _ => match place {
                    Some(place) if line.text.expose().starts_with(APPLIED_TO) => {
                        push_line(&mut text, &applied_line(place));
                    }
                    _ => push_line(&mut text, line.text.expose()),
                },
            }
        }
        for (name, slot) in missing {
            if let Some(token) = held.slot(slot).get(name) {
                push_token(&mut text, name, slot, token);
            }
        }
        SecretValue::from(text)
    }

    fn last_line_of(&self, place: (TokenName, Slot)) -> Option<usize> {
        self.lines
            .iter()
            .rposition(|line| value_of(line).is_some_and(|(other, _)| other == place))
    }
}

/// Which value of which token a line holds.
fn value_of(line: &Line) -> Option<((TokenName, Slot), &SecretValue)> {
    let assignment = line.assignment.as_ref()?;
    let place = Slot::ALL.into_iter().find_map(|slot| {
        let name = assignment.name.strip_suffix(slot.suffix())?;
        Some((TokenName::parse(name)?, slot))
    })?;
    Some((place, &assignment.value))
}

fn applied_line(place: &AppliedTo) -> String {
    format!("{APPLIED_TO}{} namespace {}", place.server, place.namespace)
}

fn push_token(text: &mut String, name: TokenName, slot: Slot, token: &Token) {
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{name}{}=\"{}\"",
        slot.suffix(),
        token.value().expose()
    );
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

    #[test]
    fn the_values_of_a_rotation_come_and_go() {
        let start = format!("# mine\nexport KB_ROUTER_TOKEN='{A}' # c\nOTHER=x\n");
        let file = TokensFile::parse(&start).unwrap();
        let mut held = file.held().clone();
        held.next = tokens(token(B), None);
        let opened = file.holding(&held, None);
        assert_eq!(
            opened.expose(),
            format!("{start}KB_ROUTER_TOKEN_NEXT=\"{B}\"\n")
        );
        let file = TokensFile::parse(opened.expose()).unwrap();
        assert_eq!(file.held(), &held);
        // What does not know of a rotation leaves its values alone.
        assert_eq!(
            file.rewritten(file.tokens(), None).expose(),
            opened.expose()
        );
        let switched = Held {
            current: tokens(token(B), None),
            next: tokens(None, None),
            previous: tokens(token(A), None),
        };
        let text = file.holding(&switched, None);
        assert_eq!(
            text.expose(),
            format!(
                "# mine\nexport KB_ROUTER_TOKEN=\"{B}\" # c\nOTHER=x\n\
                 KB_ROUTER_TOKEN_PREVIOUS=\"{A}\"\n"
            )
        );
        let file = TokensFile::parse(text.expose()).unwrap();
        let closed = Held {
            previous: tokens(None, None),
            ..switched
        };
        let text = file.holding(&closed, None);
        assert_eq!(
            text.expose(),
            format!("# mine\nexport KB_ROUTER_TOKEN=\"{B}\" # c\nOTHER=x\n")
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
