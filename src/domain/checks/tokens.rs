//! `tokens.*` and `age.token`: each token has one value in the tokens file, the Secrets, the lists
//! and the copies that operators keep.

use super::case::Case;
use super::check::{Check, Id, conclude};
use super::words::{some_of, span};
use super::{rotation, settle};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue, Observed};
use crate::domain::cluster::snapshot::{CopyRef, FileState};
use crate::domain::rotation::stored_state;
use crate::domain::table::{BUNDLES, Bundle, Key, Origin, Presence, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{TokenName, fingerprint};
use std::collections::BTreeMap;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let home = case.cluster.home_place();
    let router = home.live(ROUTER.secret);
    let mut checks = Vec::new();
    for name in TokenName::ALL {
        checks.push(matches(case, name, router));
        checks.push(age(case, name, router));
    }
    checks.extend(pairs(case));
    checks.extend(copies(case));
    checks
}

fn matches(case: &Case<'_>, name: TokenName, router: Option<&LiveSecret>) -> Check {
    let id = Id::TokensMatch;
    let home = &case.cluster.home;
    let live = router
        .and_then(|router| router.text(name.as_str()))
        .filter(|value| !value.is_empty());
    let skip = |why: &str| Check::skip(id, format!("{name} is not compared: {why}"));
    let check = match (case.filed_token(name), live) {
        (None, _) => skip(match &case.file.state {
            FileState::Absent => "tokens file not found",
            FileState::Unusable(_) => "the tokens file is not valid",
            FileState::Read { .. } => "the tokens file does not hold it",
        }),
        (Some(_), None) if router.is_none() => match case.unread_at_home(id, &ROUTER) {
            Some(denied) => denied,
            None => skip("Secret not found"),
        },
        (Some(_), None) => skip("the Secret does not hold it"),
        (Some(token), Some(live)) if token.is(live) => Check::pass(
            id,
            format!(
                "{name} is the same in the tokens file ({})",
                fingerprint(live)
            ),
        ),
        (Some(token), Some(live)) => match rotation::side_of(case, name, token.value(), live) {
            Some(side) => Check::pass(
                id,
                format!(
                    "{name} is being rotated: the tokens file has the {} value",
                    side.as_str()
                ),
            ),
            None => Check::fail(
                id,
                format!(
                    "{name} differs: the tokens file has {}, the Secret has {}",
                    fingerprint(token.value()),
                    fingerprint(live)
                ),
            )
            .hint(settle::apply(case)),
        },
    };
    check.at(home, "Secret", ROUTER.secret)
}

/// One check for each token list in the home namespace and the fleet.
fn pairs(case: &Case<'_>) -> Vec<Check> {
    let id = Id::TokensPair;
    let tokens = case.home_tokens();
    let mut checks = Vec::new();
    for (namespace, place) in &case.cluster.places {
        for bundle in BUNDLES {
            let Some(observed) = place.secrets.get(bundle.secret) else {
                continue;
            };
            let lists = bundle.keys.iter().filter_map(|key| match key.origin {
                Origin::TokenList(token, _) => Some((key, token)),
                _ => None,
            });
            for (key, token) in lists {
                let Some(live) = &observed.live else { continue };
                if let (Some(list), Some(value)) = (live.text(key.name), tokens.get(token)) {
                    checks.push(pair(
                        case,
                        (namespace, bundle, observed),
                        (key, list, live),
                        (token, value),
                    ));
                }
            }
        }
    }
    let unread = BUNDLES
        .iter()
        .filter(|bundle| bundle.holds_tokens())
        .filter_map(|bundle| case.unread_at_home(id, bundle));
    checks.extend(unread);
    if checks.is_empty() {
        checks.push(Check::skip(id, "no token list found"));
    }
    checks
}

fn pair(
    case: &Case<'_>,
    (namespace, bundle, observed): (&Namespace, &Bundle, &Observed),
    (key, list, live): (&Key, &SecretValue, &LiveSecret),
    (token, value): (TokenName, &SecretValue),
) -> Check {
    let id = Id::TokensPair;
    let list_name = key.name;
    // brain-api uses the token alone if its list is empty.
    let optional = key.origin == Origin::TokenList(token, Presence::IfFound);
    let is_empty = list.entries().next().is_none();
    let check = match is_empty {
        true if optional => Check::skip(id, format!("list {list_name} is empty")),
        _ if list.lists(value) => Check::pass(id, format!("{token} is in list {list_name}")),
        _ => Check::fail(
            id,
            format!(
                "{token} ({}) is not in list {list_name} ({}){}",
                fingerprint(value),
                describe_entries(list),
                settle::managed_by(live, list_name)
            ),
        )
        .hint(settle::apply(case))
        .unless_owned(observed.owner.as_ref()),
    };
    check.at(namespace, "Secret", bundle.secret)
}

/// The fingerprints of the entries of a list.
fn describe_entries(list: &SecretValue) -> String {
    let fingerprints: Vec<_> = list
        .entries()
        .map(|entry| fingerprint(&SecretValue::from(entry)))
        .collect();
    if fingerprints.is_empty() {
        "empty".to_owned()
    } else {
        some_of(&fingerprints)
    }
}

/// Copies of tokens in Secrets that are not in the table.
fn copies(case: &Case<'_>) -> Vec<Check> {
    let id = Id::TokensCopies;
    let tokens = case.home_tokens();
    let router = case.cluster.home_place().secrets.get(ROUTER.secret);
    let retired = |value: &SecretValue| {
        let mut names = TokenName::ALL.into_iter();
        names.find(|name| stored_state::is_retired_in(router, *name, value))
    };
    let others = case.cluster.places.iter().flat_map(|(namespace, place)| {
        place.others.iter().map(move |(name, observed)| {
            let (namespace, name) = (namespace.clone(), name.clone());
            (CopyRef { namespace, name }, observed)
        })
    });
    let requested = case.cluster.copies.iter();
    let requested = requested.map(|(at, observed)| (at.clone(), observed));
    let found: BTreeMap<CopyRef, &Observed> = requested.chain(others).collect();
    let mut checks = Vec::new();
    let mut in_step = Vec::new();
    for (at, observed) in &found {
        let is_requested = case.cluster.copies.contains_key(at);
        let Some(live) = &observed.live else {
            if is_requested {
                checks.push(absent_copy(case, at));
            }
            continue;
        };
        for (key, value) in &live.data {
            let text = value.text.as_ref();
            let name = TokenName::parse(key).or_else(|| retired(text?));
            let token = name.and_then(|name| Some((name, tokens.get(name).as_ref()?)));
            if let Some((name, token)) = token.filter(|(_, token)| text != Some(token)) {
                checks.push(stale_copy(at, observed, (key, name), (token, value)));
            }
        }
        let holds = |value: &SecretValue| {
            tokens
                .iter()
                .any(|(_, token)| token.as_ref().is_some_and(|token| value.lists(token)))
        };
        let keys: Vec<_> = live
            .data
            .iter()
            .filter(|(_, value)| value.text.as_ref().is_some_and(holds))
            .map(|(key, _)| key.as_str())
            .collect();
        if !keys.is_empty() {
            in_step.push(format!("{at} ({})", keys.join(", ")));
        }
    }
    let mut unread: Vec<_> = case
        .cluster
        .denied
        .iter()
        .filter(|denied| denied.verb == "get" && is_of_copy(&denied.resource))
        .map(|denied| case.denied(id, denied))
        .collect();
    unread.extend(case.unread_at_home(id, &ROUTER));
    let skipped = unlisted(case).into_iter().chain(unread).collect();
    let in_step = (!in_step.is_empty())
        .then(|| Check::pass(id, format!("up-to-date copies: {}", some_of(&in_step))));
    let nothing = if tokens.iter().any(|(_, token)| token.is_some()) {
        Check::pass(id, "no other Secret in these namespaces holds a copy")
    } else {
        Check::skip(id, "the home namespace has no token to search for")
    };
    conclude(checks, in_step, skipped, nothing)
}

/// The skipped check if `list secrets` is forbidden. No Role of `rbac` grants it, since it reads
/// every Secret, so there is no hint.
fn unlisted(case: &Case<'_>) -> Option<Check> {
    let denied: Vec<_> = case
        .cluster
        .denied
        .iter()
        .filter(|denied| denied.verb == "list" && denied.resource == "secrets")
        .collect();
    let message = match denied.as_slice() {
        [] => return None,
        [one] => one.to_string(),
        many => {
            let places = many.iter().filter_map(|denied| denied.namespace.as_ref());
            let places = some_of(&places.collect::<Vec<_>>());
            format!("you may not list secrets in {places}")
        }
    };
    Some(Check::skip(
        Id::TokensCopies,
        format!("only copies given with --copy were checked: {message}"),
    ))
}

/// True if a denied resource is a Secret that is not in the table.
fn is_of_copy(resource: &str) -> bool {
    let name = resource.strip_prefix("secrets/");
    name.is_some_and(|name| BUNDLES.iter().all(|bundle| bundle.secret != name))
}

fn absent_copy(case: &Case<'_>, at: &CopyRef) -> Check {
    let what = match case.cluster.absent.contains(&at.namespace) {
        true => "namespace not found",
        false => "Secret not found",
    };
    let check = Check::warn(Id::TokensCopies, format!("--copy {at}: {what}"));
    check.at(&at.namespace, "Secret", &at.name)
}

fn stale_copy(
    at: &CopyRef,
    observed: &Observed,
    (key, name): (&str, TokenName),
    (token, stale): (&SecretValue, &LiveValue),
) -> Check {
    let check = Check::warn(
        Id::TokensCopies,
        format!(
            "{key} is a stale copy of {name}: it has {}, the home namespace has {}",
            stale
                .text
                .as_ref()
                .map_or("a value that is not text".to_owned(), fingerprint),
            fingerprint(token)
        ),
    );
    check
        .unless_owned(observed.owner.as_ref())
        .at(&at.namespace, "Secret", &at.name)
}

fn age(case: &Case<'_>, name: TokenName, router: Option<&LiveSecret>) -> Check {
    let id = Id::AgeToken;
    let home = &case.cluster.home;
    let Some(router) = router else {
        let check = case.unread_at_home(id, &ROUTER);
        let absent = || Check::skip(id, format!("Secret {} not found", ROUTER.secret));
        return check
            .unwrap_or_else(absent)
            .at(home, "Secret", ROUTER.secret);
    };
    let key = name.as_str();
    let minted = router.minted.get(key).copied();
    let since = minted.or(router.created);
    let check = match since {
        _ if router.text(key).is_none_or(SecretValue::is_empty) => {
            Check::skip(id, format!("{name} is not in the Secret"))
        }
        None => Check::skip(id, format!("the age of {name} is unknown")),
        Some(since) => {
            let old = (case.cluster.now - since).max(0);
            let message = match minted {
                Some(_) => format!("{name} is {} old", span(old)),
                None => format!("{name} is at least {} old", span(old)),
            };
            if old > case.max_age {
                Check::warn(
                    id,
                    format!("{message}, over the limit of {}", span(case.max_age)),
                )
                .hint(settle::rotate(case, name))
            } else {
                Check::pass(id, message)
            }
        }
    };
    check.at(home, "Secret", ROUTER.secret)
}
