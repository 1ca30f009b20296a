//! Finds what prevents a rotation from beginning, or from including further namespaces.
//!
//! It reads a snapshot only and must not write.

use super::edits::{PlaceRef, TokenPlace, has_rotating_token};
use super::gate::{OldTokenUser, holders_outside};
use super::workloads::{is_server, reads_list};
use super::{Change, Phase, Rotation, STATE, Side, is_retired, leftovers};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observed};
use crate::domain::cluster::owner::{Owner, OwnerKind};
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef};
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::refusal::Refusal;
use crate::domain::plan::{FiledTokens, Plan, Wish};
use crate::domain::table::{BUNDLES, EMBEDDINGS, ROUTER};
use crate::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use crate::domain::values::tokens_file::Held;
use std::collections::{BTreeMap, BTreeSet};

/// A condition that a person has to change before the rotation can begin.
#[derive(Clone, Debug)]
pub enum Obstacle {
    /// `--apply` would refuse too.
    Plan(Refusal),
    NoToken(TokenName),
    NoNamespace(Namespace),
    NoRouterSecret(Namespace),
    Owned {
        at: SecretRef,
        owner: Owner,
    },
    Immutable(SecretRef),
    Managed {
        at: SecretRef,
        key: &'static str,
        managers: Vec<String>,
    },
    /// A server that reads single keys instead of a list.
    OneToken {
        server: String,
        token: TokenName,
    },
    /// Keys and annotations of a rotation whose state is lost. Servers would accept its old token
    /// forever.
    Leftovers {
        at: SecretRef,
        what: Vec<String>,
    },
    /// A previous token in the tokens file, from a rotation whose state is lost.
    PreviousToken(TokenName),
    /// A namespace that is not selected has the token.
    NotSelected {
        at: CopyRef,
        side: Side,
    },
    /// Another namespace has the same tokens and a rotation of its own.
    OtherHome(Namespace),
}

/// The texts that the messages and hints of obstacles need.
pub struct Words<'a> {
    pub reach: &'a HintContext,
    /// This command with its options, without `--apply`.
    pub command: &'a str,
    /// The tokens file, quoted for a shell.
    pub file: &'a str,
}

impl Obstacle {
    pub fn message(&self, words: &Words<'_>) -> String {
        match self {
            Self::Plan(refusal) => refusal.message(),
            Self::NoToken(name) => {
                format!("{name} is missing in the home namespace, or is not a token")
            }
            Self::NoNamespace(name) => {
                format!("fleet namespace {name} does not exist or is being deleted")
            }
            Self::NoRouterSecret(namespace) => {
                format!("Secret {namespace}/{} not found", ROUTER.secret)
            }
            Self::Owned { at, owner } => format!("{at} is owned by {owner}"),
            Self::Immutable(at) => format!("{at} is immutable"),
            Self::Managed { at, key, managers } => {
                format!("{at}: {key} is managed by {}", managers.join(", "))
            }
            Self::OneToken { server, token } => format!(
                "{server} does not read a list of accepted tokens, so it cannot accept the old and \
                 the new {token} at once"
            ),
            Self::Leftovers { at, what } => format!(
                "{at} has {} of a rotation whose state is gone",
                what.join(" and ")
            ),
            Self::PreviousToken(name) => format!(
                "{} has a previous {name}, of a rotation whose state is gone",
                words.file
            ),
            Self::NotSelected { at, side } => format!(
                "Secret {at} has the {} token, but namespace {} is not selected",
                side.as_str(),
                at.namespace
            ),
            Self::OtherHome(namespace) => format!(
                "a rotation is open in home namespace {namespace}, which has the same tokens"
            ),
        }
    }

    pub fn hint(&self, words: &Words<'_>) -> String {
        let (reach, kubectl) = (words.reach, &words.reach.kubectl);
        match self {
            Self::Plan(refusal) => refusal.hint(reach, &StoreReach::default()),
            Self::NoToken(_) | Self::NoRouterSecret(_) => {
                format!("create it first: {}", reach.apply)
            }
            Self::NoNamespace(_) => "remove it from the options".to_owned(),
            Self::Owned { at, owner } => format!("{at}: {}", owner.instead()),
            Self::Immutable(_) => "recreate it without immutable: true".to_owned(),
            Self::Managed { key, .. } => {
                format!("make that field manager release {key}, or rotate the token there")
            }
            Self::OneToken { .. } => format!(
                "make it read the whole Secret with envFrom, as the chart does; or replace the token \
                 in one step: {} --immediate --apply",
                words.command
            ),
            Self::Leftovers { at, .. } => format!(
                "remove these, and the old entries of the lists: {kubectl} -n {} edit secret {}",
                at.namespace, at.name
            ),
            Self::PreviousToken(_) => format!(
                "remove that value from the lists, then its line from the file: \
                 \"${{EDITOR:-vi}}\" {}",
                words.file
            ),
            Self::NotSelected { at, .. } => format!("add --fleet-namespace {}", at.namespace),
            Self::OtherHome(namespace) => format!(
                "see it: {} rotate --status",
                reach.elsewhere(namespace.as_str())
            ),
        }
    }
}

/// The facts in which obstacles are searched.
pub struct Preflight<'a> {
    pub facts: &'a ClusterSnapshot,
    pub targets: &'a [TokenPlace],
    /// The router Secrets of all other namespaces that may be listed.
    pub outside: &'a BTreeMap<Namespace, Observed>,
    /// The tokens of the home namespace.
    pub home: PerToken<Option<Token>>,
    /// The tokens that should rotate.
    pub chosen: BTreeSet<TokenName>,
}

impl Preflight<'_> {
    /// The rotation that would begin. The fingerprints of its new tokens are placeholders: nothing is
    /// minted yet.
    pub fn rotation(&self, phase: Phase) -> Rotation {
        let change = |token: &Token| Change {
            old: fingerprint(token.value()),
            new: "sha256:000000000000".to_owned(),
            minted: None,
        };
        let changes = PerToken::from_fn(|name| {
            let token = self.home.get(name).as_ref();
            token.filter(|_| self.chosen.contains(&name)).map(change)
        });
        Rotation::new(String::new(), phase, "", changes)
    }

    /// All obstacles to a new rotation. `retired` is the annotation of retired tokens.
    pub fn begin(&self, rotation: &Rotation, held: &Held, retired: Option<&str>) -> Vec<Obstacle> {
        let mut found = self.plan(held);
        found.extend(self.places(rotation));
        found.extend(self.leftovers(held, retired));
        found.extend(self.namespaces_outside(rotation, &[Side::Old]));
        found
    }

    /// The obstacles to including the namespaces of the options in an open rotation.
    pub fn places(&self, rotation: &Rotation) -> Vec<Obstacle> {
        let mut found = self.fleet();
        found.extend(self.secrets(rotation));
        found.extend(self.servers(rotation));
        found
    }

    /// The planner's refusals: all namespaces must hold the same tokens.
    fn plan(&self, held: &Held) -> Vec<Obstacle> {
        let fleet = self.facts.fleet().map(|(name, _)| name.clone());
        let wish = Wish {
            force_conflicts: true,
            ..Wish::of_tokens(self.facts.home.clone(), fleet.collect())
        };
        let filed = FiledTokens::found(true, |name| held.current.get(name).clone());
        let plan = Plan::for_secrets(&wish, &filed, &self.facts.observations());
        if plan.refusals.is_empty() {
            return self
                .chosen
                .iter()
                .filter(|name| self.home.get(**name).is_none())
                .map(|name| Obstacle::NoToken(*name))
                .collect();
        }
        plan.refusals.into_iter().map(Obstacle::Plan).collect()
    }

    fn fleet(&self) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for (namespace, place) in self.facts.fleet() {
            use NamespaceState::{Absent, Terminating};
            if matches!(place.state, Absent | Terminating) {
                found.push(Obstacle::NoNamespace(namespace.clone()));
            } else if place.live(ROUTER.secret).is_none() {
                found.push(Obstacle::NoRouterSecret(namespace.clone()));
            }
        }
        found
    }

    /// Secrets that cannot be written, or that another owner or field manager would overwrite.
    fn secrets(&self, rotation: &Rotation) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for (at, observed) in self.facts.observations() {
            let bundle = BUNDLES
                .into_iter()
                .find(|bundle| bundle.secret == at.name && has_rotating_token(rotation, bundle));
            let (Some(bundle), Some(live)) = (bundle, &observed.live) else {
                continue;
            };
            if let Some(owner) = observed.owner {
                let is_of_store = self.targets.iter().any(|target| {
                    !matches!(target.at, PlaceRef::Secret(_)) && target.bundle == bundle
                });
                if !is_of_store || owner.kind != OwnerKind::ExternalSecret {
                    found.push(Obstacle::Owned { at, owner });
                }
                continue;
            }
            if live.immutable {
                found.push(Obstacle::Immutable(at.clone()));
            }
            for key in bundle.keys {
                let managers = live.foreign_managers(key.name);
                if key.origin.token().is_some() && !managers.is_empty() {
                    found.push(Obstacle::Managed {
                        at: at.clone(),
                        key: key.name,
                        managers: managers.into_iter().map(str::to_owned).collect(),
                    });
                }
            }
        }
        found
    }

    /// Servers that cannot accept two tokens at once.
    fn servers(&self, rotation: &Rotation) -> Vec<Obstacle> {
        if !rotation.phase.row().both {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (token, _) in rotation.changes() {
            for workload in self.facts.workloads() {
                if is_server(workload, token) && !reads_list(workload, token) {
                    found.push(Obstacle::OneToken {
                        server: workload.to_string(),
                        token,
                    });
                }
            }
        }
        found
    }

    fn leftovers(&self, held: &Held, retired: Option<&str>) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for (namespace, place) in &self.facts.places {
            for name in [ROUTER.secret, EMBEDDINGS.secret] {
                let what = place.live(name).map(leftovers).unwrap_or_default();
                if !what.is_empty() {
                    let at = SecretRef::new(namespace, name);
                    found.push(Obstacle::Leftovers { at, what });
                }
            }
        }
        for name in &self.chosen {
            let previous = held.previous.get(*name).as_ref();
            if previous.is_some_and(|token| !is_retired(retired, *name, token.value())) {
                found.push(Obstacle::PreviousToken(*name));
            }
        }
        found
    }

    /// Namespaces outside the selection that hold one of these values, and home namespaces of other
    /// open rotations.
    pub fn namespaces_outside(&self, rotation: &Rotation, sides: &[Side]) -> Vec<Obstacle> {
        let mut found: Vec<_> = self
            .facts
            .fleet()
            .filter(|(_, place)| is_home(place.secrets.get(ROUTER.secret)))
            .map(|(namespace, _)| Obstacle::OtherHome(namespace.clone()))
            .collect();
        for side in sides {
            for user in holders_outside(rotation, *side, self.outside) {
                let OldTokenUser::Secret { at, .. } = user else {
                    continue;
                };
                found.push(if is_home(self.outside.get(&at.namespace)) {
                    Obstacle::OtherHome(at.namespace)
                } else {
                    Obstacle::NotSelected { at, side: *side }
                });
            }
        }
        found
    }
}

/// True if a router Secret has the state of an open rotation. An owned Secret does not count:
/// External Secrets Operator copies annotations to the Secrets that it creates.
fn is_home(observed: Option<&Observed>) -> bool {
    observed
        .filter(|observed| observed.owner.is_none())
        .and_then(|observed| observed.live.as_ref())
        .is_some_and(|live| live.annotations.contains_key(STATE))
}
