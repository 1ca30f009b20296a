//! Lines of `KEY=value`, as the tokens file and an env-file hold them.
//!
//! Both are read by one strict grammar: `KEY=v`, `KEY="v"`, `KEY='v'`, an optional `export` before,
//! comments and blank lines. Nothing is expanded or run; what a shell would expand or run when it
//! sources the file is an error. Errors name the line and never its content.

use super::secret_value::SecretValue;

/// Which characters a value without quotes may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file that people source: only what every shell takes literally.
    Sourced,
    /// A dotenv file: everything but white space and what dotenv readers expand.
    Dotenv,
}

/// What a shell takes as white space within a line.
const BLANK: [char; 2] = [' ', '\t'];

/// A line of the file.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line as it stands, without its end.
    pub text: SecretValue,
    /// What it sets; `None` for a comment or a blank line.
    pub assignment: Option<Assignment>,
}

/// What a line sets.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Its value, without quotes.
    pub value: SecretValue,
    /// What stands before the name: white space and `export`.
    before: String,
    /// What stands behind the value: white space and a comment.
    after: SecretValue,
}

impl Assignment {
    /// The line with another value in it, in double quotes; for values that need no escape there.
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

/// A line that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither an assignment nor a comment.
    #[error("is neither KEY=value nor a comment")]
    NoAssignment,
    /// The part before `=` is no variable name.
    #[error("has no variable name directly before '='")]
    BadName,
    /// A quote without its partner.
    #[error("has a quote that is not closed")]
    OpenQuote,
    /// Text after the value.
    #[error("has text after the value")]
    Trailing,
    /// `$`, a backtick or a backslash where a shell would act on it.
    #[error("has '$', '`' or '\\', which a shell would act on: put the value in single quotes")]
    Active,
    /// A character that needs quotes.
    #[error("has a character that needs quotes: put the value in single quotes")]
    NeedsQuotes,
    /// A control character: a carriage return, NUL, ...
    #[error("has a control character (a Windows line ending?)")]
    Control,
}

/// Reads the lines of a file.
///
/// # Errors
/// The first line that is not of the grammar.
pub fn parse(text: &str, dialect: Dialect) -> Result<Vec<Line>, LineError> {
    // Not `str::lines`: it drops a carriage return that a shell would keep in the value.
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
        Some('\'') => quoted(&rest[1..], '\'')?,
        Some('"') => {
            let (value, after) = quoted(&rest[1..], '"')?;
            if value.contains(['$', '`', '\\']) {
                return Err(Problem::Active);
            }
            (value, after)
        }
        _ => bare(rest, dialect)?,
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

/// Reads up to the closing quote; gives the value and what is behind it, which may be a comment.
fn quoted(rest: &str, quote: char) -> Result<(&str, &str), Problem> {
    let (value, after) = rest.split_once(quote).ok_or(Problem::OpenQuote)?;
    only_comment(after)?;
    Ok((value, after))
}

/// Reads a value without quotes; gives it and what is behind it, which may be a comment.
fn bare(rest: &str, dialect: Dialect) -> Result<(&str, &str), Problem> {
    let end = rest.find(BLANK).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    only_comment(after)?;
    if value.contains(['$', '`', '\\']) {
        return Err(Problem::Active);
    }
    let literal = match dialect {
        Dialect::Sourced => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._~+/=:@%,-".contains(c);
            // A shell expands a tilde at the start and after a colon.
            value.chars().all(plain) && !value.starts_with('~') && !value.contains(":~")
        }
        Dialect::Dotenv => !value.contains(['"', '\'']),
    };
    if literal {
        Ok((value, after))
    } else {
        Err(Problem::NeedsQuotes)
    }
}

fn only_comment(after: &str) -> Result<(), Problem> {
    let text = after.trim_start_matches(BLANK);
    let comment = text.starts_with('#') && text.len() < after.len();
    if text.is_empty() || comment {
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
    fn the_forms_of_an_assignment() {
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
    fn what_a_shell_would_act_on_is_an_error() {
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
        fn any_text_is_read_or_refused_without_losing_a_line(text in "[ -~\n\t\r]{0,80}|\\PC{0,40}") {
            for dialect in [Dialect::Sourced, Dialect::Dotenv] {
                if let Ok(lines) = parse(&text, dialect) {
                    let joined: String = lines.iter().map(|l| format!("{}\n", l.text.expose())).collect();
                    prop_assert_eq!(joined.trim_end_matches('\n'), text.trim_end_matches('\n'));
                }
            }
        }

        #[test]
        fn a_single_quoted_value_comes_back(v in "[ -&(-~]{0,60}") {
            let line = format!("K='{v}'");
            prop_assert_eq!(value(&line, Dialect::Sourced), Ok(v.clone()));
            prop_assert_eq!(value(&line, Dialect::Dotenv), Ok(v));
        }
    }
}
