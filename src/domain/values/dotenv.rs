//! Parses the `KEY=value` lines of the tokens file and of an env-file.
//!
//! Both have one strict grammar: `KEY=v`, `KEY="v"` or `KEY='v'`, an optional `export`, comments and
//! blank lines. Text that a shell would expand or run is an error. Errors name the line and must not
//! quote it.

use super::secret_value::SecretValue;

/// The characters that a value without quotes may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file that people source: only characters that every shell takes literally.
    Sourced,
    /// A dotenv file: all characters except white space, quotes and those that parsers expand.
    Dotenv,
}

/// The white space of a shell within a line.
const BLANK: [char; 2] = [' ', '\t'];

#[derive(Clone, Debug)]
pub struct Line {
    /// The line without its line break.
    pub text: SecretValue,
    /// `None` for a comment or a blank line.
    pub assignment: Option<Assignment>,
}

#[derive(Clone, Debug)]
pub struct Assignment {
    pub name: String,
    /// The value without quotes.
    pub value: SecretValue,
    /// The text before the name: white space and `export`.
    before: String,
    /// The text after the value: white space and a comment.
    after: SecretValue,
}

impl Assignment {
    /// The line with another value in double quotes. The value must not need escapes there.
    pub fn with_value(&self, value: &SecretValue) -> SecretValue {
        SecretValue::from(format!(
            "{}{}=\"{}\"{}",
            self.before,
            self.name,
            value.expose(),
            self.after.expose()
        ))
    }
}

/// A line that is not in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The line number, from 1.
    pub line: usize,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("is neither KEY=value nor a comment")]
    NoAssignment,
    #[error("has no variable name directly before '='")]
    BadName,
    #[error("has a quote that is not closed")]
    OpenQuote,
    #[error("has text after the value")]
    Trailing,
    #[error("has '$', '`' or '\\', which a shell would act on: put the value in single quotes")]
    Active,
    #[error("has a character that needs quotes: put the value in single quotes")]
    NeedsQuotes,
    #[error("has a control character (a Windows line ending?)")]
    Control,
}

/// Parses all lines of a file.
///
/// # Errors
/// The first line that is not in the grammar.
pub fn parse(text: &str, dialect: Dialect) -> Result<Vec<Line>, LineError> {
    // `str::lines` would drop a carriage return, which a shell keeps in the value.
    text.split_terminator('\n')
        .enumerate()
        .map(|(index, line)| {
            let assignment = parse_line(line, dialect).map_err(|problem| LineError {
                line: index + 1,
                problem,
            })?;
            Ok(Line {
                text: SecretValue::from(line),
                assignment,
            })
        })
        .collect()
}

fn parse_line(line: &str, dialect: Dialect) -> Result<Option<Assignment>, Problem> {
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Problem::Control);
    }
    let text = line.trim_start_matches(BLANK);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(BLANK) => rest.trim_start_matches(BLANK),
        _ => text,
    };
    let before = &line[..line.len() - text.len()];
    let (name, rest) = text.split_once('=').ok_or(Problem::NoAssignment)?;
    if !is_name(name) {
        return Err(Problem::BadName);
    }
    let (value, after) = match rest.chars().next() {
        Some('\'') => split_quoted(&rest[1..], '\'')?,
        Some('"') => {
            let (value, after) = split_quoted(&rest[1..], '"')?;
            if value.contains(['$', '`', '\\']) {
                return Err(Problem::Active);
            }
            (value, after)
        }
        _ => split_unquoted(rest, dialect)?,
    };
    Ok(Some(Assignment {
        name: name.to_owned(),
        value: SecretValue::from(value),
        before: before.to_owned(),
        after: SecretValue::from(after),
    }))
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits at the closing quote into the value and the text after it.
fn split_quoted(rest: &str, quote: char) -> Result<(&str, &str), Problem> {
    let (value, after) = rest.split_once(quote).ok_or(Problem::OpenQuote)?;
    check_after_value(after)?;
    Ok((value, after))
}

/// Splits into a value without quotes and the text after it.
fn split_unquoted(rest: &str, dialect: Dialect) -> Result<(&str, &str), Problem> {
    let end = rest.find(BLANK).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    check_after_value(after)?;
    if value.contains(['$', '`', '\\']) {
        return Err(Problem::Active);
    }
    let is_literal = match dialect {
        Dialect::Sourced => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._~+/=:@%,-".contains(c);
            // A shell expands a tilde at the start and after a colon.
            value.chars().all(is_plain) && !value.starts_with('~') && !value.contains(":~")
        }
        Dialect::Dotenv => !value.contains(['"', '\'']),
    };
    if is_literal {
        Ok((value, after))
    } else {
        Err(Problem::NeedsQuotes)
    }
}

/// Allows nothing but white space and a comment.
fn check_after_value(after: &str) -> Result<(), Problem> {
    let text = after.trim_start_matches(BLANK);
    let is_comment = text.starts_with('#') && text.len() < after.len();
    if text.is_empty() || is_comment {
        Ok(())
    } else {
        Err(Problem::Trailing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(line: &str, dialect: Dialect) -> Result<String, Problem> {
        parse_line(line, dialect).map(|found| found.unwrap().value.expose().to_owned())
    }

    #[test]
    fn all_forms_of_an_assignment_are_parsed() {
        for (line, expected) in [
            ("K=v", "v"),
            ("K=", ""),
            ("K=\"v w\"", "v w"),
            ("K='v $w `x` \\ \"'", "v $w `x` \\ \""),
            ("export K=v", "v"),
            ("  export\tK=v  ", "v"),
            ("K=v # comment", "v"),
            ("K=\"v\"\t# comment", "v"),
            ("K='' # comment", ""),
            ("K= # comment", ""),
            ("K=a=b", "a=b"),
            ("_k1=v", "v"),
        ] {
            for dialect in [Dialect::Sourced, Dialect::Dotenv] {
                assert_eq!(value(line, dialect).as_deref(), Ok(expected), "{line}");
            }
        }
        for line in ["", "   ", "# K=$(v)", "\t# comment"] {
            assert!(
                parse_line(line, Dialect::Sourced).unwrap().is_none(),
                "{line}"
            );
        }
    }

    #[test]
    fn text_that_a_shell_would_expand_or_run_is_an_error() {
        for (line, problem) in [
            ("K=$(id)", Problem::Active),
            ("K=`id`", Problem::Active),
            ("K=$HOME", Problem::Active),
            ("K=\"$HOME\"", Problem::Active),
            ("K=\"`id`\"", Problem::Active),
            ("K=\"a\\\"b\"", Problem::Trailing),
            ("K=\"a\\b\"", Problem::Active),
            ("K=a;id", Problem::NeedsQuotes),
            ("K=a&", Problem::NeedsQuotes),
            ("K=a|b", Problem::NeedsQuotes),
            ("K=~root", Problem::NeedsQuotes),
            ("K=a:~root", Problem::NeedsQuotes),
            ("K=a#b", Problem::NeedsQuotes),
            ("K=v id", Problem::Trailing),
            ("K=\"v\"id", Problem::Trailing),
            ("K=\"v\"#c", Problem::Trailing),
            ("K=\"v", Problem::OpenQuote),
            ("K='v", Problem::OpenQuote),
            ("K = v", Problem::BadName),
            ("1K=v", Problem::BadName),
            ("=v", Problem::BadName),
            ("K-L=v", Problem::BadName),
            ("id", Problem::NoAssignment),
            ("export K", Problem::NoAssignment),
            ("K=v\r", Problem::Control),
            ("K=\0", Problem::Control),
        ] {
            assert_eq!(value(line, Dialect::Sourced), Err(problem), "{line}");
        }
    }

    #[test]
    fn a_dotenv_value_needs_fewer_quotes() {
        let url = "postgres://u:p#w@h:5432/d?a=1&b=(2);3";
        assert_eq!(
            value(&format!("K={url}"), Dialect::Dotenv).as_deref(),
            Ok(url)
        );
        assert_eq!(value("K=p$w", Dialect::Dotenv), Err(Problem::Active));
        assert_eq!(value("K=it's", Dialect::Dotenv), Err(Problem::NeedsQuotes));
    }

    #[test]
    fn an_error_names_the_line_and_not_its_content() {
        let error = parse("# one\nK=v\nSECRET=$(hidden)\n", Dialect::Sourced).unwrap_err();
        assert_eq!(error.line, 3);
        assert!(!error.to_string().contains("hidden") && !error.to_string().contains("SECRET"));
    }

    proptest! {
        #[test]
        fn any_text_is_rejected_or_parsed_without_losing_a_line(text in "[ -~\n\t\r]{0,80}|\\PC{0,40}") {
            for dialect in [Dialect::Sourced, Dialect::Dotenv] {
                if let Ok(lines) = parse(&text, dialect) {
                    let joined: String = lines.iter().map(|l| format!("{}\n", l.text.expose())).collect();
                    prop_assert_eq!(joined.trim_end_matches('\n'), text.trim_end_matches('\n'));
                }
            }
        }

        #[test]
        fn a_single_quoted_value_is_parsed_unchanged(v in "[ -&(-~]{0,60}") {
            let line = format!("K='{v}'");
            prop_assert_eq!(value(&line, Dialect::Sourced), Ok(v.clone()));
            prop_assert_eq!(value(&line, Dialect::Dotenv), Ok(v));
        }
    }
}
