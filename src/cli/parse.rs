//! How the values of options are read. No error repeats what was given.

use super::{Age, ServiceAccount, Timeout};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::table;
use crate::domain::values::token::TokenName;
use std::path::PathBuf;
use std::time::Duration;

/// A name that a script and a comment can hold. clap has seen to UTF-8 already.
pub(in crate::cli) fn printable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(char::is_control) {
        true => Err("is empty or has a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(in crate::cli) fn path(text: &str) -> Result<PathBuf, String> {
    printable(text).map(PathBuf::from)
}

pub(in crate::cli) fn input_name(text: &str) -> Result<&'static str, String> {
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

pub(in crate::cli) fn token_name(text: &str) -> Result<TokenName, String> {
    TokenName::parse(text).ok_or_else(|| {
        let names = TokenName::ALL.map(TokenName::as_str);
        format!("takes the name of a token: {}", names.join(", "))
    })
}

pub(in crate::cli) fn timeout(text: &str) -> Result<Timeout, String> {
    let wrong = || "is no time: 30, 30s, 2m, 1m30s or 0".to_owned();
    let limit = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            Duration::try_from(span).map_err(|_| wrong())?
        }
    };
    Ok(Timeout((!limit.is_zero()).then_some(limit)))
}

pub(in crate::cli) fn age(text: &str) -> Result<Age, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let seconds = span.and_then(|span| {
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        span.to_duration(days)
    });
    match seconds {
        Ok(age) if !age.is_negative() => Ok(Age(age.as_secs())),
        _ => Err("is no age: 90d, 720h, 1d12h".to_owned()),
    }
}

/// A path in the store: words with slashes between them, which need no quotes anywhere.
pub(in crate::cli) fn store_path(text: &str) -> Result<String, String> {
    let word = |word: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !word.is_empty() && word.chars().all(good) && word.chars().any(|c| c != '.')
    };
    match text.split('/').all(word) {
        true => Ok(text.to_owned()),
        false => Err("is no path: words of letters, digits, '-', '_', '.' with '/' between".into()),
    }
}

pub(in crate::cli) fn entry_path(text: &str) -> Result<(&'static str, String), String> {
    let (entry, path) = text.split_once('=').ok_or("is not ENTRY=PATH")?;
    let entries = table::BUNDLES.map(|bundle| bundle.entry);
    let entry = entries.into_iter().find(|known| *known == entry);
    let entry = entry.ok_or_else(|| format!("names no entry: {}", entries.join(", ")))?;
    Ok((entry, store_path(path)?))
}

pub(in crate::cli) fn object_name(text: &str) -> Result<String, String> {
    match is_subdomain(text) {
        true => Ok(text.to_owned()),
        false => Err("is no name of an object: lower-case letters, digits, '-' and '.'".into()),
    }
}

pub(in crate::cli) fn copy(text: &str) -> Result<CopyRef, String> {
    let wrong = || "is no Secret in a namespace: NAMESPACE/NAME".to_owned();
    let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
    if !is_subdomain(name) {
        return Err(wrong());
    }
    Ok(CopyRef {
        namespace: namespace.parse().map_err(|_| wrong())?,
        name: name.to_owned(),
    })
}

/// Tells whether a name is a DNS subdomain: labels as those of a namespace, with dots between them.
fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| label.parse::<Namespace>().is_ok();
    name.len() <= 253 && name.split('.').all(label)
}

pub(in crate::cli) fn service_account(text: &str) -> Result<ServiceAccount, String> {
    let wrong = || "is no service account: NAMESPACE:NAME".to_owned();
    let (namespace, name) = text.split_once(':').ok_or_else(wrong)?;
    if !is_subdomain(name) {
        return Err(wrong());
    }
    Ok(ServiceAccount {
        namespace: namespace.parse().map_err(|_| wrong())?,
        name: name.to_owned(),
    })
}
