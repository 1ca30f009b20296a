//! `tokens.fleet`: the fleet namespaces have the tokens of the home namespace.

use super::case::Case;
use super::check::{Check, Id};
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
        match compare(case, namespace, place) {
            Some(failed) if failed.is_empty() => in_step += 1,
            Some(failed) => checks.extend(failed),
            // Reported below, once for all namespaces.
            None => {}
        }
    }
    if case.cluster.nothing_selected {
        checks.push(
            Check::warn(ID, "the fleet selector matches no namespace").hint(format!(
                "{} get namespaces --show-labels",
                case.reach.kubectl
            )),
        );
    }
    if in_step > 0 {
        checks.push(Check::pass(
            ID,
            match in_step {
                _ if rotation::open_rotation(case).is_some() => format!(
                    "{in_step} of the fleet namespaces have the tokens of the home namespace or of \
                     the open rotation"
                ),
                1 => "1 fleet namespace has the tokens of the home namespace".to_owned(),
                _ => format!("{in_step} fleet namespaces have the tokens of the home namespace"),
            },
        ));
    }
    let unread = case
        .cluster
        .fleet()
        .filter_map(|(namespace, _)| case.unread(namespace, ROUTER.secret));
    checks.extend(case.skips(ID, unread));
    checks.extend(case.denials(ID, "list", &["namespaces"]));
    if case.cluster.fleet().next().is_some() {
        checks.extend(nothing_to_compare(case));
    }
    if checks.is_empty() {
        checks.push(Check::skip(ID, "no fleet namespace is given"));
    }
    checks
}

/// Skipped checks for tokens that the home namespace lacks or that may not be read.
fn nothing_to_compare(case: &Case<'_>) -> Vec<Check> {
    if let Some(unread) = case.unread_at_home(ID, &ROUTER) {
        return vec![unread];
    }
    let skip = |name| {
        let message = format!("the home namespace has no {name} to compare with");
        Check::skip(ID, message)
    };
    case.home_tokens()
        .iter()
        .filter(|(_, token)| token.is_none())
        .map(|(name, _)| skip(name))
        .collect()
}

/// The failed checks of a fleet namespace; `None` if Secrets could not be read.
fn compare(
    case: &Case<'_>,
    namespace: &Namespace,
    place: &NamespaceSnapshot,
) -> Option<Vec<Check>> {
    let absent = |message: &str| {
        let check = Check::fail(ID, message).hint(settle::apply(case));
        Some(vec![at(check, namespace)])
    };
    match place.state {
        NamespaceState::Absent => return absent("the namespace does not exist"),
        NamespaceState::Terminating => return absent("the namespace is being deleted"),
        NamespaceState::Active | NamespaceState::Forbidden => {}
    }
    let observed = place.secrets.get(ROUTER.secret)?;
    let fail = |message: &str| {
        Check::fail(ID, message)
            .hint(settle::apply(case))
            .unless_owned(observed.owner.as_ref())
    };
    let Some(live) = &observed.live else {
        let check = fail("Secret not found in the fleet namespace");
        return Some(vec![at(check, namespace)]);
    };
    let home = case.home_tokens();
    let compared = home.iter().all(|(_, token)| token.is_some());
    let failed = |name: TokenName| {
        let key = name.as_str();
        let found = live.data.get(key).map(|value| value.text.as_ref());
        let message = match (found, home.get(name)) {
            (None, _) => format!("{name} is missing"),
            (Some(None), _) => {
                let message = format!("{name} is not text (base64 of UTF-8)");
                // --apply refuses a value that is not text.
                let check = Check::fail(ID, message).see(Id::SecretValue);
                return Some(check.unless_owned(observed.owner.as_ref()));
            }
            (Some(Some(value)), _) if value.is_empty() => format!("{name} is empty"),
            (Some(Some(value)), Some(token)) if value == token => return None,
            (Some(Some(value)), Some(token))
                if rotation::side_of(case, name, value, token).is_some() =>
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
        Some(fail(&format!("{message}{managed}")))
    };
    let failed: Vec<_> = TokenName::ALL
        .into_iter()
        .filter_map(failed)
        .map(|check| at(check, namespace))
        .collect();
    (compared || !failed.is_empty()).then_some(failed)
}

fn at(check: Check, namespace: &Namespace) -> Check {
    check.at(namespace, "Secret", ROUTER.secret)
}
