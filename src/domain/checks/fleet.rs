//! The fleet has the tokens of the home namespace.

use super::case::Case;
use super::check::{Check, Id};
use super::hints::remove_keys;
use super::{rotation, settle};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::cluster::snapshot::NamespaceSnapshot;
use crate::domain::table::ROUTER;
use crate::domain::values::token::{TokenName, fingerprint};

const ID: Id = Id::TokensFleet;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut in_step = 0;
    for (namespace, place) in case.cluster.fleet() {
        let found = of(case, namespace, place);
        match found {
            Found::InStep => in_step += 1,
            Found::Wrong(wrong) => checks.extend(wrong),
            // Told below, for all of them at once.
            Found::Unseen => {}
        }
    }
    if case.cluster.nothing_selected {
        checks.push(Check::warn(
            ID,
            "the fleet selector matches no namespace",
            format!("{} get namespaces --show-labels", case.reach.kubectl),
        ));
    }
    if in_step > 0 {
        checks.push(Check::pass(
            ID,
            match in_step {
                _ if rotation::open(case).is_some() => format!(
                    "{in_step} of the fleet namespaces have the tokens of the home namespace, or the \
                     other ones of the rotation"
                ),
                1 => "1 fleet namespace has the tokens of the home namespace".to_owned(),
                _ => format!("{in_step} fleet namespaces have the tokens of the home namespace"),
            },
        ));
    }
    let unread = case.cluster.fleet();
    let unread = unread.filter_map(|(namespace, _)| case.unread(namespace, ROUTER.secret));
    checks.extend(case.skips(ID, unread));
    checks.extend(case.denials(ID, "list", &["namespaces"]));
    if case.cluster.fleet().next().is_some() {
        checks.extend(nothing_to_compare(case));
    }
    if checks.is_empty() {
        checks.push(Check::skip(ID, "no fleet is named"));
    }
    checks
}

/// The tokens that the home namespace lacks or hides.
fn nothing_to_compare(case: &Case<'_>) -> Vec<Check> {
    if let Some(unread) = case.unread_at_home(ID, &ROUTER) {
        return vec![unread];
    }
    let home = case.home_tokens();
    let unknown = home.iter().filter(|(_, token)| token.is_none());
    let skip = |name| {
        Check::skip(
            ID,
            format!("the home namespace has no {name} to compare with"),
        )
    };
    unknown.map(|(name, _)| skip(name)).collect()
}

enum Found {
    InStep,
    Wrong(Vec<Check>),
    Unseen,
}

fn of(case: &Case<'_>, namespace: &Namespace, place: &NamespaceSnapshot) -> Found {
    let mend = || settle::apply(case);
    let absent = |what: &str| Found::Wrong(vec![at(Check::fail(ID, what, mend()), namespace)]);
    match place.state {
        NamespaceState::Absent => return absent("the namespace does not exist"),
        NamespaceState::Terminating => return absent("the namespace is being deleted"),
        NamespaceState::Active | NamespaceState::Forbidden => {}
    }
    let Some(observed) = place.secrets.get(ROUTER.secret) else {
        return Found::Unseen;
    };
    let mend = || match &observed.owner {
        Some(owner) => case.ask_owner(namespace, owner),
        None => mend(),
    };
    let Some(live) = &observed.live else {
        let what = "the fleet namespace has no such Secret";
        return Found::Wrong(vec![at(Check::fail(ID, what, mend()), namespace)]);
    };
    let home = case.home_tokens();
    let compared = home.iter().all(|(_, token)| token.is_some());
    let wrong = |name: TokenName| {
        let key = name.as_str();
        let found = live.data.get(key).map(|value| value.text.as_ref());
        let what = match (found, home.get(name)) {
            (None, _) => format!("{name} is missing"),
            (Some(None), _) => {
                let hint = match &observed.owner {
                    Some(_) => mend(),
                    // --apply speaks of text.
                    None => {
                        let remove = remove_keys(case, namespace, ROUTER.secret, &[key]);
                        format!("{remove} && {}", mend())
                    }
                };
                let what = format!("{name} is not text (base64 of UTF-8)");
                return Some(Check::fail(ID, what, hint));
            }
            (Some(Some(value)), _) if value.is_empty() => format!("{name} is empty"),
            (Some(Some(value)), Some(token)) if value == token => return None,
            (Some(Some(value)), Some(token))
                if rotation::part(case, name, value, token).is_some() =>
            {
                return None;
            }
            (Some(Some(value)), Some(token)) => format!(
                "{name} differs: the fleet namespace has {}, the home namespace has {}",
                fingerprint(value),
                fingerprint(token)
            ),
            (Some(Some(_)), None) => return None,
        };
        let managed = settle::managed_by(live, key);
        Some(Check::fail(ID, format!("{what}{managed}"), mend()))
    };
    let wrong = TokenName::ALL.into_iter().filter_map(wrong);
    let wrong: Vec<_> = wrong.map(|check| at(check, namespace)).collect();
    match wrong.is_empty() {
        true if compared => Found::InStep,
        true => Found::Unseen,
        false => Found::Wrong(wrong),
    }
}

fn at(check: Check, namespace: &Namespace) -> Check {
    check.at(namespace, "Secret", ROUTER.secret)
}
