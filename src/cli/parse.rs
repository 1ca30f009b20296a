//! Parsers for the values of options. No error repeats the value.

use crate::domain::cluster::names::{Namespace, is_object_name};
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::table;
use crate::domain::values::token::TokenName;
use std::path::PathBuf;
use std::time::Duration;

/// `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(pub Option<Duration>);

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub i64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    pub namespace: Namespace,
    pub name: String,
}

/// A name without control characters, since scripts and comments repeat it.
pub(super) fn printable(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("is empty or has a control character".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    printable(text).map(PathBuf::from)
}

pub(super) fn input_name(text: &str) -> Result<&'static str, String> {
    table::inputs()
        .map(|(name, _)| name)
        .find(|name| *name == text)
        .ok_or_else(|| {
            let names: Vec<_> = table::inputs().map(|(name, _)| name).collect();
            format!(
                "takes names of inputs, without values: {}",
                names.join(", ")
            )
        })
}

pub(super) fn token_name(text: &str) -> Result<TokenName, String> {
    TokenName::parse(text).ok_or_else(|| {
        let names = TokenName::ALL.map(TokenName::as_str);
        format!("takes the name of a token: {}", names.join(", "))
    })
}

pub(super) fn timeout(text: &str) -> Result<Timeout, String> {
    let wrong = || "is not a time: 30, 30s, 2m, 1m30s or 0".to_owned();
    let limit = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            Duration::try_from(span).map_err(|_| wrong())?
        }
    };
    Ok(Timeout((!limit.is_zero()).then_some(limit)))
}

pub(super) fn age(text: &str) -> Result<Age, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let seconds = span.and_then(|span| {
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        span.to_duration(days)
    });
    match seconds {
        Ok(age) if !age.is_negative() => Ok(Age(age.as_secs())),
        _ => Err("is not an age: 90d, 720h, 1d12h".to_owned()),
    }
}

/// A path in the store. Its characters need no quotes in a shell or in YAML.
pub(super) fn store_path(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !word.is_empty() && word.chars().all(is_allowed) && word.chars().any(|c| c != '.')
    };
    if !text.split('/').all(is_word) {
        return Err(
            "is not a path: words of letters, digits, '-', '_', '.' with '/' between".into(),
        );
    }
    Ok(text.to_owned())
}

pub(super) fn entry_path(text: &str) -> Result<(&'static str, String), String> {
    let (entry, path) = text.split_once('=').ok_or("is not ENTRY=PATH")?;
    let entries = table::BUNDLES.map(|bundle| bundle.entry);
    let entry = entries
        .into_iter()
        .find(|known| *known == entry)
        .ok_or_else(|| format!("does not name an entry: {}", entries.join(", ")))?;
    Ok((entry, store_path(path)?))
}

pub(super) fn object_name(text: &str) -> Result<String, String> {
    if !is_object_name(text) {
        return Err("is not the name of an object: lower-case letters, digits, '-' and '.'".into());
    }
    Ok(text.to_owned())
}

pub(super) fn copy(text: &str) -> Result<CopyRef, String> {
    let wrong = |()| "is not a Secret in a namespace: NAMESPACE/NAME".to_owned();
    text.parse().map_err(wrong)
}

pub(super) fn service_account(text: &str) -> Result<ServiceAccount, String> {
    let wrong = || "is not a service account: NAMESPACE:NAME".to_owned();
    let (namespace, name) = text.split_once(':').ok_or_else(wrong)?;
    if !is_object_name(name) {
        return Err(wrong());
    }
    Ok(ServiceAccount {
        namespace: namespace.parse().map_err(|_| wrong())?,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_in_days_of_24_hours() {
        let of = |text: &str| age(text).map(|age| age.0).ok();
        assert_eq!(of("90d"), Some(90 * 24 * 60 * 60));
        assert_eq!(of("1d12h"), of("36h"));
        assert_eq!(of("2w"), of("14d"));
        assert_eq!(of("0s"), Some(0));
        for bad in ["", "90", "-1d", "1mo", "1y", "soon"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timeout_is_read_as_kubectl_does() {
        let of = |text: &str| timeout(text).map(|limit| limit.0.map(|limit| limit.as_millis()));
        assert_eq!(of("30"), Ok(Some(30_000)));
        assert_eq!(of("30s"), Ok(Some(30_000)));
        assert_eq!(of("1m30s"), Ok(Some(90_000)));
        assert_eq!(of("500ms"), Ok(Some(500)));
        assert_eq!(of("0"), Ok(None));
        assert_eq!(of("0s"), Ok(None));
        for bad in ["", "s", "-1", "-1s", "soon"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
