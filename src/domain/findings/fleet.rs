//! The fleet has the tokens of the home namespace.

use super::check::{Check, Id};
use super::{Case, tokens};
use crate::domain::bundles::ROUTER;
use crate::domain::facts::Place;
use crate::domain::live::NamespaceState;
use crate::domain::names::Namespace;
use crate::domain::tokens::{TokenName, fingerprint};

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
    let home = tokens::of_home(case);
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

fn of(case: &Case<'_>, namespace: &Namespace, place: &Place) -> Found {
    let fail = |message: String, hint: String| {
        Check::fail(ID, message, hint).at(namespace, "Secret", ROUTER.secret)
    };
    match place.state {
        NamespaceState::Absent => {
            return Found::Wrong(vec![fail(
                "the namespace does not exist".to_owned(),
                format!(
                    "{} create namespace {namespace} && {}",
                    case.reach.kubectl, case.reach.apply
                ),
            )]);
        }
        NamespaceState::Terminating => {
            return Found::Wrong(vec![fail(
                "the namespace is being deleted".to_owned(),
                format!(
                    "{kubectl} wait --for=delete namespace/{namespace} --timeout=5m && {kubectl} \
                     create namespace {namespace} && {}",
                    case.reach.apply,
                    kubectl = case.reach.kubectl
                ),
            )]);
        }
        NamespaceState::Active | NamespaceState::Forbidden => {}
    }
    let Some(observed) = place.secrets.get(ROUTER.secret) else {
        return Found::Unseen;
    };
    let mend = |options: &str| match &observed.owner {
        Some(owner) => case.ask_owner(namespace, owner),
        None => case.apply_with(&[], options),
    };
    let Some(live) = &observed.live else {
        return Found::Wrong(vec![fail(
            "the fleet namespace has no such Secret".to_owned(),
            mend(""),
        )]);
    };
    let home = tokens::of_home(case);
    let mut wrong = Vec::new();
    let mut compared = true;
    for name in TokenName::ALL {
        let value = live.text(name.as_str()).filter(|value| !value.is_empty());
        match (home.get(name), value) {
            (_, None) => wrong.push(fail(format!("{name} is missing"), mend(""))),
            (Some(token), Some(value)) if token == value => {}
            (Some(token), Some(value)) => wrong.push(fail(
                format!(
                    "{name} differs: the fleet namespace has {}, the home namespace has {}",
                    fingerprint(value),
                    fingerprint(token)
                ),
                mend(" --prefer cluster"),
            )),
            (None, Some(_)) => compared = false,
        }
    }
    match wrong.is_empty() {
        true if compared => Found::InStep,
        true => Found::Unseen,
        false => Found::Wrong(wrong),
    }
}
