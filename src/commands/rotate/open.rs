//! The beginning of a rotation: what a person has to decide first, the new tokens into the file, and
//! the one write that opens it.

use super::look::Look;
use super::{Run, file};
use crate::domain::bundles::{Origin, ROUTER};
use crate::domain::facts::CopyRef;
use crate::domain::live::{NamespaceState, Observations, Observed};
use crate::domain::manifest::MINTED_AT;
use crate::domain::names::SecretRef;
use crate::domain::ownership::OwnerKind;
use crate::domain::plan::{FiledTokens, Plan, Wish};
use crate::domain::resolve::Filed;
use crate::domain::rotation::edits::{At, Odd, Part, edit};
use crate::domain::rotation::holders::{Holder, strangers};
use crate::domain::rotation::{Change, Phase, Rotation, Side, Values, is_retired};
use crate::domain::tokens::{PerToken, Token, TokenName, fingerprint};
use crate::domain::tokens_file::Held;
use crate::domain::workloads::Kind;
use crate::error::Failure;
use crate::io::cluster::Written;
use crate::io::environment;
use std::collections::BTreeSet;

impl Run<'_> {
    /// The tokens that are to rotate.
    pub fn chosen(&self) -> BTreeSet<TokenName> {
        match self.rotate.token.is_empty() {
            true => TokenName::ALL.into(),
            false => self.rotate.token.iter().copied().collect(),
        }
    }

    /// Refuses what a person has to decide before a rotation can begin.
    ///
    /// # Errors
    /// All of it (exit code 1), or what cannot be seen and has to be (3).
    pub fn check(&self, look: &Look, held: &Held) -> Result<(), Failure> {
        self.check_sight(look)?;
        let mut failure = Failure::undecided();
        self.check_plan(look, held, &mut failure);
        self.check_secrets(look, &mut failure);
        self.check_strangers(look, &mut failure);
        match failure.causes.is_empty() {
            true => Ok(()),
            false => Err(failure),
        }
    }

    /// Who may not see workloads and pods cannot know when a phase is over.
    pub fn check_sight(&self, look: &Look) -> Result<(), Failure> {
        let needed = Kind::ALL.map(Kind::resource);
        let denied = look.facts.denied.iter().filter(|denied| {
            let seen = denied.verb == "list" && needed.contains(&denied.resource.as_str());
            let secret = denied.verb == "get" && denied.resource.starts_with("secrets/");
            let copies = self.rotate.copy.iter();
            let copy = copies
                .map(|copy| format!("secrets/{}", copy.name))
                .any(|it| it == denied.resource);
            let ours = denied.resource.ends_with(ROUTER.secret)
                || denied.resource.ends_with("embeddings-secrets");
            seen || secret && (ours || copy)
        });
        let mut failure = Failure::unable("what a rotation depends on may not be seen");
        for denied in denied {
            failure = failure.cause(denied.to_string());
        }
        match failure.causes.is_empty() {
            true => Ok(()),
            false => Err(failure.hint(format!(
                "have an administrator run: {} rbac rotate{} --service-account NAMESPACE:NAME | {} \
                 apply -f -",
                self.reach.program, self.reach.fleet, self.reach.kubectl
            ))),
        }
    }

    /// Every place has to agree before: what `--apply` would refuse is refused here too.
    fn check_plan(&self, look: &Look, held: &Held, failure: &mut Failure) {
        let wish = Wish {
            home: look.facts.home.clone(),
            fleet: look.facts.fleet().map(|(name, _)| name.clone()).collect(),
            inputs: Default::default(),
            update: BTreeSet::new(),
            prefer: None,
            force_conflicts: true,
            with_api_keys: false,
        };
        let filed = FiledTokens {
            exists: true,
            tokens: PerToken::from_fn(|name| match held.current.get(name) {
                Some(token) => Filed::Found(token.clone()),
                None => Filed::Absent,
            }),
        };
        let mut observed = Observations::new();
        for (namespace, place) in &look.facts.places {
            for (name, found) in &place.secrets {
                let at = SecretRef {
                    namespace: namespace.clone(),
                    name,
                };
                observed.insert(at, found.clone());
            }
        }
        let plan = Plan::new(&wish, &filed, &observed);
        let mut told = std::mem::replace(failure, Failure::undecided());
        for refusal in &plan.refusals {
            told = told
                .cause(refusal.message())
                .hint(refusal.hint(&self.reach));
        }
        for (namespace, place) in look.facts.fleet() {
            let gone =
                place.state != NamespaceState::Active && place.state != NamespaceState::Forbidden;
            if gone {
                told = told
                    .cause(format!(
                        "fleet namespace {namespace} is not there, or going away"
                    ))
                    .hint("leave it out");
            } else if place.live(ROUTER.secret).is_none() {
                told = told
                    .cause(format!("Secret {namespace}/{} is not there", ROUTER.secret))
                    .hint(format!("make it first: {}", self.reach.apply));
            }
        }
        let home = look.home();
        for name in self.chosen() {
            if home.get(name).is_none() && plan.refusals.is_empty() {
                told = told
                    .cause(format!("{name} is not there, or is no token"))
                    .hint(format!("make it first: {}", self.reach.apply));
            }
        }
        *failure = told;
    }

    /// Refuses Secrets that cannot be written, or that somebody else would write again.
    fn check_secrets(&self, look: &Look, failure: &mut Failure) {
        let mut told = std::mem::replace(failure, Failure::undecided());
        for (namespace, place) in &look.facts.places {
            for (name, observed) in &place.secrets {
                let tokens = crate::domain::bundles::BUNDLES
                    .into_iter()
                    .find(|bundle| bundle.secret == *name && bundle.holds_tokens());
                let (Some(bundle), Some(live)) = (tokens, &observed.live) else {
                    continue;
                };
                let at = format!("Secret {namespace}/{name}");
                let of_store = look
                    .targets
                    .iter()
                    .any(|target| !matches!(target.at, At::Secret(_)) && target.bundle == bundle);
                if let Some(owner) = &observed.owner {
                    if of_store && owner.kind == OwnerKind::ExternalSecret {
                        continue;
                    }
                    told = told
                        .cause(format!("{at} belongs to {owner}"))
                        .hint(format!("{at}: {}", owner.instead()));
                    continue;
                }
                if live.immutable {
                    told = told
                        .cause(format!("{at} is immutable"))
                        .hint("make it anew without immutable: true");
                }
                for key in bundle.keys {
                    let of_token = !matches!(key.origin, Origin::Input(_));
                    let managers = live.foreign_managers(key.name);
                    if of_token && !managers.is_empty() {
                        told = told
                            .cause(format!(
                                "{at}: {} is managed by {}",
                                key.name,
                                managers.join(", ")
                            ))
                            .hint(format!("have it let go of {}, or rotate there", key.name));
                    }
                }
            }
        }
        *failure = told;
    }

    /// Refuses where another namespace has the same tokens and is not of the selection.
    fn check_strangers(&self, look: &Look, failure: &mut Failure) {
        let Some(outside) = &look.outside else { return };
        let home = look.home();
        let nothing = "sha256:000000000000".to_owned();
        let change = |token: &Token| Change {
            old: fingerprint(token.value()),
            new: nothing.clone(),
            minted: None,
        };
        let changes = PerToken::from_fn(|name| {
            let chosen = self.chosen().contains(&name);
            home.get(name).as_ref().filter(|_| chosen).map(change)
        });
        let rotation = Rotation::new(String::new(), Phase::Open, "", changes);
        let mut told = std::mem::replace(failure, Failure::undecided());
        for holder in strangers(&rotation, Side::Old, outside) {
            if let Holder::Secret { at, .. } = holder {
                told = told
                    .cause(format!(
                        "Secret {at} has the same tokens, and namespace {} is not of the selection",
                        at.namespace
                    ))
                    .hint(format!("add --fleet-namespace {}", at.namespace));
            }
        }
        *failure = told;
    }

    /// What could not be seen and may matter.
    pub fn unseen(look: &Look) -> Vec<String> {
        let mut unseen: Vec<String> = Vec::new();
        if look.outside.is_none() {
            unseen.push(
                "other namespaces with the same tokens: you may not list Secrets across the cluster"
                    .to_owned(),
            );
        }
        let lists = look.facts.denied.iter();
        unseen.extend(
            lists
                .filter(|denied| denied.verb == "list" && denied.resource == "secrets")
                .map(|denied| format!("copies of the tokens: {denied}")),
        );
        unseen.push("other clusters, and whoever was given a token by hand".to_owned());
        unseen
    }

    /// Opens a rotation: the new tokens into the file, then one write with the state and every new
    /// value. [`Written::Stale`] where somebody else wrote first.
    ///
    /// # Errors
    /// No random bytes, a file that cannot be written, a server that refuses (exit code 3).
    pub async fn open(&self, look: &Look) -> Result<Written, Failure> {
        let phase = match self.rotate.immediate {
            true => Phase::Immediate,
            false => Phase::Open,
        };
        let home = look.home();
        let chosen = self.chosen();
        let retired = look.retired.as_deref();
        let mut new: PerToken<Option<Token>> = PerToken::default();
        // A value that a killed run left in the file and that nobody has seen is as good as new.
        file::change(&self.global.tokens_file, &self.place(), self.ui, |held| {
            for name in &chosen {
                let left = held.next.get(*name).clone().filter(|left| {
                    Some(left) != home.get(*name).as_ref()
                        && !is_retired(retired, *name, left.value())
                });
                let token = match left {
                    Some(left) => left,
                    None => environment::mint()?,
                };
                *new.get_mut(*name) = Some(token);
            }
            Ok(Held {
                current: home.clone(),
                next: new.clone(),
                previous: PerToken::default(),
            })
        })?;
        let router = look.router();
        let changes = PerToken::from_fn(|name| {
            let (old, new) = (home.get(name).as_ref()?, new.get(name).as_ref()?);
            let minted = router
                .and_then(|live| live.annotations.get(&format!("{MINTED_AT}{name}")))
                .cloned();
            Some(Change {
                old: fingerprint(old.value()),
                new: fingerprint(new.value()),
                minted,
            })
        });
        let id = fingerprint(environment::mint()?.value());
        let id = id.trim_start_matches("sha256:").chars().take(8).collect();
        let mut rotation = Rotation::new(id, phase, &self.now(look), changes);
        let fleet = super::super::fleet(&self.rotate.fleet);
        rotation.fleet = fleet.named.iter().map(ToString::to_string).collect();
        rotation.selector = fleet.selector;
        let mut values = Values::default();
        for name in chosen {
            for (side, tokens) in [(Side::Old, &home), (Side::New, &new)] {
                if let Some(token) = tokens.get(name) {
                    values.put(name, side, token.clone());
                }
            }
        }
        if phase == Phase::Immediate {
            let held = rotation.held(&values, &home);
            file::change(&self.global.tokens_file, &self.place(), self.ui, |_| {
                Ok(held)
            })?;
        }
        let target = look.targets.iter().find(|target| target.home);
        let Some(target) = target else {
            return Err(Failure::unable("the home router Secret is gone").hint("run it again"));
        };
        let edit = edit(&rotation, &values, target, Part::All, true)
            .map_err(|odd| super::odd(&[odd], &self.reach))?;
        let Some(edit) = edit else {
            return Err(
                Failure::unable("there is nothing to write that would open a rotation")
                    .hint("run it again"),
            );
        };
        // An entry of the store has no annotation to say so.
        rotation.made = edit.made && !matches!(edit.at, At::Secret(_));
        if let At::Hand(_) = edit.at {
            // The edits are asked for when the state says what they are for.
            let text = rotation.text();
            return self
                .cluster
                .keep_state(&look.keeper, Some(&text), None)
                .await;
        }
        self.write(look, &rotation, &edit, Some(&rotation.text()))
            .await
    }
}

/// The Secrets of `--copy` that are not there.
pub fn absent_copies(look: &Look) -> Vec<&CopyRef> {
    let copies = look.facts.copies.iter();
    copies
        .filter(|(_, observed): &(_, &Observed)| observed.live.is_none())
        .map(|(at, _)| at)
        .collect()
}

/// In words, what a rotation cannot go on with.
pub fn told(odd: &Odd) -> String {
    match odd {
        Odd::Neither { at, key } => {
            format!("{at}: {key} is neither the old nor the new token of this rotation")
        }
        Odd::Lost { token, side } => format!(
            "the {} {token} is nowhere: not in the cluster, and not in the tokens file",
            side.as_str()
        ),
    }
}
