//! What can be wrong with a value: a service would not start with it, or would not mean it. The same
//! rules hold for inputs and for live values. No message shows the value.

use super::secret_value::SecretValue;

/// Words that people write instead of a value.
const PLACEHOLDERS: [&str; 12] = [
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "placeholder",
    "todo",
    "tbd",
    "fixme",
    "xxx",
    "xxxx",
];
/// How references to another place begin (1Password, vals, Vault), and how encrypted values do (SOPS,
/// ansible-vault, age, PGP).
const REFERENCES: [&str; 7] = [
    "op://",
    "ref+",
    "vault:",
    "ENC[",
    "$ANSIBLE_VAULT;",
    "-----BEGIN",
    "file:",
];
/// The levels of Python's logging, which the services read.
const LOG_LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/// What is wrong with a token or an input, as the end of a sentence. An empty value is not judged.
pub fn defect(key: &str, value: &SecretValue) -> Option<&'static str> {
    let text = value.expose();
    let quote = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if text.is_empty() {
        None
    } else if text.contains(['\n', '\r']) {
        Some("has a line break")
    } else if text.contains('\0') {
        Some("has a NUL character")
    } else if text.trim() != text {
        Some("begins or ends with white space")
    } else if quote('"') || quote('\'') {
        Some("is in quotes, which would be part of the value")
    } else if is_placeholder(text) {
        Some("is a placeholder")
    } else if is_elsewhere(text) {
        Some("is a reference or an encrypted value, which nothing would resolve")
    } else {
        match key {
            "POSTGRES_URL" => defect_of_postgres_url(text),
            "LOG_LEVEL" if !LOG_LEVELS.contains(&text) => {
                Some("is not one of DEBUG, INFO, WARNING, ERROR and CRITICAL")
            }
            _ => None,
        }
    }
}

/// What is wrong with a list of tokens. One empty entry, or white space in one, makes newer services
/// drop the whole list.
pub fn defect_of_list(list: &SecretValue) -> Option<&'static str> {
    let mut entries = list.expose().split(',');
    if list.entries().any(is_placeholder) {
        Some("contains a placeholder")
    } else if entries.any(|entry| entry.is_empty() || entry.contains(char::is_whitespace)) {
        Some("has an empty entry, or white space in one")
    } else {
        None
    }
}

/// Whether a text is encrypted, or refers to a value in another place.
pub fn is_elsewhere(text: &str) -> bool {
    REFERENCES.iter().any(|start| text.starts_with(start))
}

fn is_placeholder(text: &str) -> bool {
    let between = |start: &str, end: &str| {
        text.len() > start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
    };
    PLACEHOLDERS.contains(&text.to_lowercase().as_str())
        || between("<", ">")
        || between("__", "__")
        || between("${", "}")
        || between("{{", "}}")
}

/// What libpq would not accept, or would read as something else.
fn defect_of_postgres_url(text: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        // A keyword DSN: `host=db dbname=brain`.
        let is_dsn = text.contains('=') && !text.starts_with('=');
        return (!is_dsn).then_some("is not a PostgreSQL URL (postgresql://...) or DSN (host=...)");
    };
    let scheme_of_driver = scheme.split_once('+').map(|(scheme, _)| scheme);
    if matches!(scheme_of_driver, Some("postgres" | "postgresql")) {
        return Some("has a driver in its scheme: the service needs postgresql://");
    }
    let is_postgres = matches!(scheme, "postgres" | "postgresql");
    if !is_postgres || rest.is_empty() || rest.contains(char::is_whitespace) {
        return Some("is not a PostgreSQL URL (postgresql://...) or DSN (host=...)");
    }
    if has_bad_percent(rest) {
        return Some("has a % without two hex digits: write %25 for a % in the password");
    }
    // libpq looks for the end of the user and the password: the first @ before the first slash.
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority
        .split_once('@')
        .map_or(authority, |(_, host)| host);
    let path = path.split('?').next().unwrap_or_default();
    let is_cut = !authority.contains('@') && path.contains('@');
    (is_cut || host.contains('@'))
        .then_some("has a / or @ in its user or password: write %2F or %40")
}

fn has_bad_percent(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        let digits = rest.get(..2).unwrap_or_default();
        let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
        digits.len() < 2 || !is_hex || digits == "00"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_of_values() {
        let quotes = Some("is in quotes, which would be part of the value");
        let reference = Some("is a reference or an encrypted value, which nothing would resolve");
        for (value, expected) in [
            ("", None),
            ("a b", None),
            ("not-a-placeholder, changeme is only a part of it", None),
            ("a\nb", Some("has a line break")),
            ("a\n", Some("has a line break")),
            ("a\r\nb", Some("has a line break")),
            ("a\0b", Some("has a NUL character")),
            (" a", Some("begins or ends with white space")),
            ("a\t", Some("begins or ends with white space")),
            ("ChangeMe", Some("is a placeholder")),
            ("CHANGE-ME", Some("is a placeholder")),
            ("<your key>", Some("is a placeholder")),
            ("__GENERATE__", Some("is a placeholder")),
            ("${POSTGRES_URL}", Some("is a placeholder")),
            ("\"quoted\"", quotes),
            ("'quoted'", quotes),
            ("op://vault/item/key", reference),
            ("ref+vault://a#b", reference),
            ("vault:secret/data/a#b", reference),
            ("ENC[AES256_GCM,data:x]", reference),
            ("____", None),
            ("todo-list", None),
            ("it's", None),
        ] {
            assert_eq!(defect("KEY", &value.into()), expected, "{value}");
        }
    }

    /// libpq 18 reads the good ones as they are meant. It refuses the bad ones or splits them elsewhere,
    /// except for an empty URL and white space, which it accepts.
    #[test]
    fn a_postgres_url_is_one_that_libpq_reads_as_it_is_meant() {
        let defect = |text: &str| defect("POSTGRES_URL", &text.into());
        for good in [
            "postgres://u:p@h:5432/d",
            "postgresql://h/d",
            "postgresql://u@h/d",
            "postgres:///d?host=/run/pg",
            "postgres://u:p%40%2F%25@h/d",
            "postgres://u:p#@h/d",
            "postgres://u:p@h/d?application_name=a@b",
            "host=db dbname=brain user=u password=p/w@x",
        ] {
            assert_eq!(defect(good), None, "{good}");
        }
        for (bad, part) in [
            ("mysql://h/d", "is not a PostgreSQL URL"),
            ("h:5432/d", "is not a PostgreSQL URL"),
            ("postgres://", "is not a PostgreSQL URL"),
            ("postgres://h /d", "is not a PostgreSQL URL"),
            ("postgresql+asyncpg://h/d", "has a driver"),
            ("postgres+psycopg2://h/d", "has a driver"),
            ("postgres://u:p@w@h/d", "has a / or @"),
            ("postgres://u:p/w@h/d", "has a / or @"),
            ("postgres://u:100%@h/d", "has a %"),
            ("postgres://u:%zz@h/d", "has a %"),
            ("postgres://u:%00@h/d", "has a %"),
        ] {
            assert!(
                defect(bad).is_some_and(|text| text.starts_with(part)),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_log_level_is_one_of_python() {
        for (level, is_good) in [
            ("INFO", true),
            ("CRITICAL", true),
            ("info", false),
            ("TRACE", false),
        ] {
            assert_eq!(
                defect("LOG_LEVEL", &level.into()).is_none(),
                is_good,
                "{level}"
            );
        }
    }

    #[test]
    fn a_list_has_neither_placeholders_nor_empty_entries() {
        let defect = |list: &str| defect_of_list(&list.into());
        assert_eq!(defect("a,b"), None);
        for (list, part) in [
            ("a,changeme", "contains a placeholder"),
            ("a,,b", "has an empty entry"),
            ("a,", "has an empty entry"),
            ("a, b", "has an empty entry"),
            ("a b", "has an empty entry"),
        ] {
            assert!(
                defect(list).is_some_and(|text| text.starts_with(part)),
                "{list}"
            );
        }
    }
}
