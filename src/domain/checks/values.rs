//! What can be wrong with a value. No message shows the value.

use crate::domain::values::secret_value::SecretValue;

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

/// What is wrong with a token or an input.
pub(super) fn defect(value: &SecretValue) -> Option<&'static str> {
    let text = value.expose();
    if text.contains(['\n', '\r']) {
        Some("has a line break")
    } else if text.trim() != text {
        Some("begins or ends with white space")
    } else if is_placeholder(text) {
        Some("is a placeholder")
    } else {
        None
    }
}

/// What is wrong with an entry of a list. White space around an entry is allowed.
pub(super) fn defect_of_list(list: &SecretValue) -> Option<&'static str> {
    list.entries()
        .any(is_placeholder)
        .then_some("contains a placeholder")
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

/// What is wrong with a PostgreSQL URL.
pub(super) fn defect_of_postgres_url(value: &SecretValue) -> Option<&'static str> {
    let (scheme, rest) = value.expose().split_once("://").unwrap_or(("", ""));
    // SQLAlchemy writes the driver into the scheme: postgresql+asyncpg.
    let scheme = scheme.split('+').next().unwrap_or_default();
    let good = matches!(scheme, "postgres" | "postgresql")
        && !rest.is_empty()
        && !rest.contains(char::is_whitespace);
    (!good).then_some("is not a PostgreSQL URL (postgres://...)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_of_values() {
        for (value, expected) in [
            ("postgres://u:p@h/d", None),
            ("", None),
            ("a b", None),
            ("not-a-placeholder, changeme is only a part of it", None),
            ("a\nb", Some("has a line break")),
            ("a\n", Some("has a line break")),
            ("a\r\nb", Some("has a line break")),
            (" a", Some("begins or ends with white space")),
            ("a\t", Some("begins or ends with white space")),
            ("ChangeMe", Some("is a placeholder")),
            ("CHANGE-ME", Some("is a placeholder")),
            ("<your key>", Some("is a placeholder")),
            ("__GENERATE__", Some("is a placeholder")),
            ("${POSTGRES_URL}", Some("is a placeholder")),
            ("____", None),
            ("todo-list", None),
        ] {
            assert_eq!(defect(&SecretValue::from(value)), expected, "{value}");
        }
    }

    #[test]
    fn a_postgres_url_needs_a_scheme_and_a_host() {
        let is_bad = |text: &str| defect_of_postgres_url(&SecretValue::from(text)).is_some();
        for good in [
            "postgres://u:p@h:5432/d",
            "postgresql://h/d",
            "postgresql+asyncpg://h/d",
            "postgres:///d?host=/run/pg",
        ] {
            assert!(!is_bad(good), "{good}");
        }
        for bad in [
            "",
            "mysql://h/d",
            "h:5432/d",
            "postgres://",
            "postgres://h /d",
        ] {
            assert!(is_bad(bad), "{bad}");
        }
    }

    #[test]
    fn a_list_may_not_contain_a_placeholder() {
        assert_eq!(defect_of_list(&SecretValue::from("a, b")), None);
        assert!(defect_of_list(&SecretValue::from("a,changeme ")).is_some());
    }
}
