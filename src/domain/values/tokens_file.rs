//! Parses and edits the text of the tokens file.
//!
//! A shell can source the file: it has `KEY="value"` lines. An edit must keep unknown keys and
//! comments. An error must not quote a value.

use super::dotenv::{self, Assignment, Dialect, Line, LineError};
use super::secret_value::SecretValue;
use super::token::{OddToken, PerToken, Token, TokenName};
use std::fmt::Write;

const HEADER: &str =
    "# Tokens of agentibrain-kernel, kept by k8s-bootstrap. Keep this file out of git.";
const APPLIED_TO: &str = "# k8s-bootstrap: last applied to ";

/// The value of a token in a line: the current one or, while a rotation is open, the next or the
/// previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Current,
    Next,
    Previous,
}

impl Slot {
    const ALL: [Self; 3] = [Self::Current, Self::Next, Self::Previous];

    /// The suffix of the variable after the name of the token.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Next => "_NEXT",
            Self::Previous => "_PREVIOUS",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct TokensFile {
    lines: Vec<Line>,
    held: Held,
}

/// The tokens in a tokens file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub current: PerToken<Option<Token>>,
    /// The new tokens of a rotation before clients use them.
    pub next: PerToken<Option<Token>>,
    /// The old tokens of a rotation while servers accept them.
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

    /// The name of the variable that holds a value.
    pub fn variable_of(&self, value: &SecretValue) -> Option<String> {
        let (name, slot) = variables().find(|(name, slot)| {
            let token = self.slot(*slot).get(*name).as_ref();
            token.is_some_and(|token| token.is(value))
        })?;
        Some(format!("{name}{}", slot.suffix()))
    }

    /// All values of a token that are in the file.
    pub fn all(&self, name: TokenName) -> impl Iterator<Item = &Token> {
        Slot::ALL
            .into_iter()
            .filter_map(move |slot| self.slot(slot).get(name).as_ref())
    }
}

/// The cluster and home namespace of the last `--apply`, from a comment in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedTo {
    /// The URL of the API server.
    pub server: String,
    pub namespace: String,
}

/// A text is not a valid tokens file. Line numbers start at 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokensFile {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("line {line}: {token} {why}")]
    OddToken {
        line: usize,
        token: TokenName,
        why: OddToken,
    },
    #[error("line {line}: {token} is set a second time")]
    Twice {
        /// The second of the two lines.
        line: usize,
        token: TokenName,
    },
}

impl TokensFile {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// The first invalid line.
    pub fn parse(text: &str) -> Result<Self, BadTokensFile> {
        let lines = dotenv::parse(text, Dialect::Sourced)?;
        let mut seen = Vec::new();
        let mut held = Held::default();
        for (index, found) in lines.iter().enumerate() {
            let Some((variable, assignment)) = variable_of_line(found) else {
                continue;
            };
            let line = index + 1;
            let (token, slot) = variable;
            // An empty line before the token is allowed: a shell takes the last assignment.
            if seen.contains(&variable) {
                return Err(BadTokensFile::Twice { line, token });
            }
            if !assignment.value.is_empty() {
                seen.push(variable);
                let value = Token::parse(&assignment.value)
                    .map_err(|why| BadTokensFile::OddToken { line, token, why })?;
                *held.slot_mut(slot).get_mut(token) = Some(value);
            }
        }
        Ok(Self { lines, held })
    }

    /// The current tokens; `None` for a token that is absent or empty.
    pub fn tokens(&self) -> &PerToken<Option<Token>> {
        &self.held.current
    }

    pub fn held(&self) -> &Held {
        &self.held
    }

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

    /// The text of the file with these current tokens, and with `place` in the comment. All other
    /// lines are unchanged.
    pub fn text_with_tokens(
        &self,
        tokens: &PerToken<Option<Token>>,
        place: Option<&AppliedTo>,
    ) -> SecretValue {
        let held = Held {
            current: tokens.clone(),
            ..self.held.clone()
        };
        self.text_with(&held, place)
    }

    /// The text of the file with these values. A current token that is not given stays. A next or
    /// previous token that is not given is removed.
    pub fn text_with(&self, held: &Held, place: Option<&AppliedTo>) -> SecretValue {
        let mut missing: Vec<_> = variables().collect();
        let mut text = String::new();
        if self.lines.is_empty() {
            push_line(&mut text, HEADER);
        }
        let has_comment = self
            .lines
            .iter()
            .any(|line| line.text.expose().starts_with(APPLIED_TO));
        if let Some(place) = place.filter(|_| !has_comment) {
            push_line(&mut text, &applied_line(place));
        }
        for (index, line) in self.lines.iter().enumerate() {
            let Some((variable, assignment)) = variable_of_line(line) else {
                match place {
                    Some(place) if line.text.expose().starts_with(APPLIED_TO) => {
                        push_line(&mut text, &applied_line(place));
                    }
                    _ => push_line(&mut text, line.text.expose()),
                }
                continue;
            };
            let (name, slot) = variable;
            match held.slot(slot).get(name) {
                None if slot != Slot::Current => {}
                // Only the last line of a variable counts. An empty line before it stays.
                Some(token) if self.last_line_of(variable) == Some(index) => {
                    missing.retain(|other| *other != variable);
                    if token.is(&assignment.value) {
                        push_line(&mut text, line.text.expose());
                    } else {
                        push_line(&mut text, assignment.with_value(token.value()).expose());
                    }
                }
                _ => push_line(&mut text, line.text.expose()),
            }
        }
        for (name, slot) in missing {
            if let Some(token) = held.slot(slot).get(name) {
                push_token(&mut text, name, slot, token);
            }
        }
        SecretValue::from(text)
    }

    fn last_line_of(&self, variable: (TokenName, Slot)) -> Option<usize> {
        self.lines
            .iter()
            .rposition(|line| variable_of_line(line).is_some_and(|(other, _)| other == variable))
    }
}

/// All variables of a tokens file, in the order in which new lines are added.
fn variables() -> impl Iterator<Item = (TokenName, Slot)> {
    Slot::ALL
        .into_iter()
        .flat_map(|slot| TokenName::ALL.map(|name| (name, slot)))
}

/// The variable of a line with its assignment; `None` for a line that sets no token.
fn variable_of_line(line: &Line) -> Option<((TokenName, Slot), &Assignment)> {
    let assignment = line.assignment.as_ref()?;
    let variable = Slot::ALL.into_iter().find_map(|slot| {
        let name = assignment.name.strip_suffix(slot.suffix())?;
        Some((TokenName::parse(name)?, slot))
    })?;
    Some((variable, assignment))
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
    fn a_new_file_has_a_header_the_last_place_and_both_tokens() {
        let place = AppliedTo {
            server: "https://s:6443".into(),
            namespace: "brain".into(),
        };
        let text =
            TokensFile::default().text_with_tokens(&tokens(token(A), token(B)), Some(&place));
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
    fn a_file_of_the_former_script_is_parsed_and_unchanged() {
        let text = format!("KB_ROUTER_TOKEN=\"{A}\"\nEMBEDDINGS_API_KEY=\"{B}\"\n");
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), token(B)));
        assert_eq!(file.applied_to(), None);
        assert_eq!(file.text_with_tokens(file.tokens(), None).expose(), text);
    }

    #[test]
    fn an_edit_keeps_all_other_lines() {
        let text = format!(
            "# mine\nexport OTHER='x y'\n  export EMBEDDINGS_API_KEY= # todo\n\nKB_ROUTER_TOKEN='{A}' # c"
        );
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), None));
        let rewritten = file.text_with_tokens(&tokens(token(A), token(B)), None);
        assert_eq!(
            rewritten.expose(),
            format!(
                "# mine\nexport OTHER='x y'\n  export EMBEDDINGS_API_KEY=\"{B}\" # todo\n\nKB_ROUTER_TOKEN='{A}' # c\n"
            )
        );
    }

    #[test]
    fn an_empty_assignment_before_the_token_stays_and_does_not_count() {
        let text = format!("KB_ROUTER_TOKEN=\nKB_ROUTER_TOKEN={A}\n");
        let file = TokensFile::parse(&text).unwrap();
        assert_eq!(file.tokens(), &tokens(token(A), None));
        let rewritten = file.text_with_tokens(&tokens(token(B), None), None);
        assert_eq!(
            rewritten.expose(),
            format!("KB_ROUTER_TOKEN=\nKB_ROUTER_TOKEN=\"{B}\"\n")
        );
    }

    #[test]
    fn invalid_and_repeated_tokens_are_errors_with_a_line() {
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
    fn the_values_of_a_rotation_are_added_and_removed() {
        let start = format!("# mine\nexport KB_ROUTER_TOKEN='{A}' # c\nOTHER=x\n");
        let file = TokensFile::parse(&start).unwrap();
        let mut held = file.held().clone();
        held.next = tokens(token(B), None);
        let opened = file.text_with(&held, None);
        assert_eq!(
            opened.expose(),
            format!("{start}KB_ROUTER_TOKEN_NEXT=\"{B}\"\n")
        );
        let file = TokensFile::parse(opened.expose()).unwrap();
        assert_eq!(file.held(), &held);
        // Commands other than rotate keep the values of a rotation.
        assert_eq!(
            file.text_with_tokens(file.tokens(), None).expose(),
            opened.expose()
        );
        let switched = Held {
            current: tokens(token(B), None),
            next: tokens(None, None),
            previous: tokens(token(A), None),
        };
        let text = file.text_with(&switched, None);
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
        let text = file.text_with(&closed, None);
        assert_eq!(
            text.expose(),
            format!("# mine\nexport KB_ROUTER_TOKEN=\"{B}\" # c\nOTHER=x\n")
        );
    }

    proptest! {
        #[test]
        fn tokens_are_parsed_as_they_were_written(
            before in "(# [ -~]{0,20}\n|OTHER='[ -&(-~]{0,20}'\n|\n){0,4}",
            router in proptest::option::of("[A-Za-z0-9._~+/=-]{16,80}"),
            embeddings in proptest::option::of("[A-Za-z0-9._~+/=-]{16,80}"),
        ) {
            prop_assume!(before.matches("OTHER").count() <= 1);
            let file = TokensFile::parse(&before).unwrap();
            let wanted = tokens(router.as_deref().and_then(token), embeddings.as_deref().and_then(token));
            let text = file.text_with_tokens(&wanted, None);
            prop_assert!(text.expose().contains(&before));
            let back = TokensFile::parse(text.expose()).unwrap();
            prop_assert_eq!(back.tokens(), &wanted);
            let repeated = back.text_with_tokens(&wanted, None);
            prop_assert_eq!(repeated.expose(), text.expose());
        }
    }
}
