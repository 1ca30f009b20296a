//! Inputs from the process environment and an env-file, and the random bytes and the time of the
//! operating system. It must not print a value.

use super::text_file::{self, BadFile};
use crate::domain::table::{self, InputRule};
use crate::domain::values::dotenv::{self, Dialect};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::Token;
use crate::error::Failure;
use rand::rngs::SysRng;
use rustix::process::{Resource, Rlimit};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest env-file that is read, in MiB.
const LARGEST_ENV_FILE: u64 = 1;

/// Reads the inputs of the table from the environment and, if given, from the env-file (`-` is
/// stdin).
///
/// # Errors
/// An unreadable file (exit code 3), or a malformed file or value (2).
pub fn inputs(env_file: Option<&Path>) -> Result<Inputs, Failure> {
    let from_file = env_file.map(read_env_file).transpose()?.unwrap_or_default();
    let environment = process_environment(&from_file)?;
    Inputs::gather(&environment, &from_file).map_err(|bad| {
        Failure::usage(bad.to_string()).hint(format!(
            "set {} to its real value, in one line, or unset it",
            bad.name
        ))
    })
}

/// Reads inputs from the environment, except those that the env-file sets and those that only an
/// env-file may set.
fn process_environment(
    from_file: &BTreeMap<String, SecretValue>,
) -> Result<BTreeMap<String, SecretValue>, Failure> {
    let mut found = BTreeMap::new();
    let is_read =
        |name: &str, rule| rule != InputRule::EnvFileOnly && !from_file.contains_key(name);
    for (name, _) in table::inputs().filter(|(name, rule)| is_read(name, *rule)) {
        let Some(value) = std::env::var_os(name) else {
            continue;
        };
        let value = value.into_string().map_err(|_| {
            Failure::usage(format!("{name} from the environment is not UTF-8"))
                .hint(format!("set {name} to plain text"))
        })?;
        found.insert(name.to_owned(), SecretValue::from(value));
    }
    Ok(found)
}

fn read_env_file(path: &Path) -> Result<BTreeMap<String, SecretValue>, Failure> {
    let shown = match path.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path.display().to_string(),
    };
    let unreadable = |error: std::io::Error| {
        Failure::unable(format!("cannot read the env-file {shown}"))
            .because(error)
            .hint("name a readable file of KEY=value lines, or - for stdin")
    };
    let malformed = |what: String| {
        Failure::usage(format!("the env-file {shown} is malformed: {what}"))
            .hint("each line is KEY=value, KEY=\"value\", KEY='value' or a comment")
    };
    let text = text_file::read(path, LARGEST_ENV_FILE).map_err(|bad| match bad {
        BadFile::Unreadable(error) => unreadable(error),
        BadFile::NotUtf8(_) => malformed("it is not UTF-8".to_owned()),
        BadFile::TooLarge(_) => malformed(format!("it is {bad}")),
    })?;
    // Some editors put a byte order mark before the text.
    let text = text.expose();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = dotenv::parse(text, Dialect::Dotenv).map_err(|bad| malformed(bad.to_string()))?;
    let mut found = BTreeMap::new();
    for (index, line) in lines.into_iter().enumerate() {
        let Some(assignment) = line.assignment else {
            continue;
        };
        let is_input = table::inputs().any(|(name, _)| name == assignment.name);
        let name = assignment.name.clone();
        if found.insert(assignment.name, assignment.value).is_some() && is_input {
            return Err(malformed(format!(
                "line {}: {name} is set a second time",
                index + 1
            )));
        }
    }
    Ok(found)
}

/// The command for hints. `local/k8s-bootstrap.sh` sets `K8S_BOOTSTRAP_NAME` to its own path, because
/// the program may not be in PATH.
pub fn program() -> String {
    std::env::var("K8S_BOOTSTRAP_NAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "k8s-bootstrap".to_owned())
}

/// Disables core files, because the memory of this process holds values.
pub fn forbid_core_files() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // A failure is ignored: the program works without this protection.
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Mints a token from the random bytes of the operating system.
///
/// # Errors
/// A random generator that fails (exit code 3).
pub fn mint() -> Result<Token, Failure> {
    Token::mint(&mut SysRng).map_err(|_| {
        Failure::unable("the operating system gives no random bytes")
            .hint("check that /dev/urandom exists and getrandom(2) is allowed")
    })
}

/// The time in seconds since 1970.
pub fn seconds_since_1970() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The time in RFC 3339 format, without fractions of a second.
pub fn now() -> String {
    rfc3339(seconds_since_1970())
}

/// A time in seconds since 1970, in RFC 3339 format.
pub fn rfc3339(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds);
    time.unwrap_or_default().to_string()
}

/// The seconds since 1970 of a time in RFC 3339 format; `None` if the text is not one.
pub fn seconds(rfc3339: &str) -> Option<i64> {
    let time: jiff::Timestamp = rfc3339.parse().ok()?;
    Some(time.as_second())
}
