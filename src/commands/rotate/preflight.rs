//! What a person has to decide before a rotation begins, or is carried on.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{NamespaceState, Observed};
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::plan::{FiledTokens, Plan, Wish};
use crate::domain::rotation::edits::{PlaceRef, concerns};
use crate::domain::rotation::gate::{OldTokenUser, strangers};
use crate::domain::rotation::workloads::{is_server, reads_list};
use crate::domain::rotation::{
    Change, Phase, Rotation, STATE, STORE_STATE, Side, is_retired, leftovers,
};
use crate::domain::table::{BUNDLES, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values::token::{PerToken, Token, fingerprint};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::render::rotation as rendered;
use crate::render::script::quote;
use std::collections::BTreeSet;

impl RotateRun<'_> {
    /// Refuses what a person has to decide before a rotation can begin.
    ///
    /// # Errors
    /// All of it (exit code 1), or what cannot be seen and has to be (3).
    pub fn check(&self, look: &Snapshot, held: &Held) -> Result<(), Failure> {
        self.check_sight(look)?;
        let failure = self.check_plan(look, held, Failure::undecided());
        let coming = self.coming(look);
        let failure = check_secrets(look, &coming, failure);
        let failure = self.check_servers(look, &coming, failure);
        let failure = self.check_leftovers(look, held, failure);
        let failure = self.check_strangers(look, &coming, &[Side::Old], failure);
        failure.if_any()
    }

    /// Who may not see workloads and pods cannot know when a phase is over.
    fn check_sight(&self, look: &Snapshot) -> Result<(), Failure> {
        let secrets = look.facts.denied.iter().filter(|denied| {
            let name = denied.resource.strip_prefix("secrets/");
            name.filter(|_| denied.verb == "get").is_some_and(|name| {
                let ours = [ROUTER.secret, EMBEDDINGS.secret].contains(&name);
                ours || self.rotate.copy.iter().any(|copy| copy.name == name)
            })
        });
        let denied = look.facts.blind().chain(secrets);
        let mut failure = Failure::unable("what a rotation depends on may not be seen");
        for denied in denied {
            failure = failure.cause(denied.to_string());
        }
        failure
            .if_any()
            .map_err(|failure| failure.hint(self.role()))
    }

    /// Every place has to agree before: what `--apply` would refuse is refused here too.
    fn check_plan(&self, look: &Snapshot, held: &Held, failure: Failure) -> Failure {
        let fleet = look.facts.fleet().map(|(name, _)| name.clone());
        let wish = Wish {
            force_conflicts: true,
            ..Wish::of_tokens(look.facts.home.clone(), fleet.collect())
        };
        let filed = FiledTokens::found(true, |name| held.current.get(name).clone());
        let plan = Plan::new(&wish, &filed, &look.facts.observations());
        let mut told = failure;
        for refusal in &plan.refusals {
            told = told
                .cause(refusal.message())
                .hint(refusal.hint(&self.reach));
        }
        let home = look.home();
        for name in self.chosen() {
            if home.get(name).is_none() && plan.refusals.is_empty() {
                told = told
                    .cause(format!("{name} is not there, or is not a token"))
                    .hint(format!("make it first: {}", self.reach.apply));
            }
        }
        self.check_fleet(look, told)
    }

    /// Every namespace of the fleet has to be there with its Secret.
    fn check_fleet(&self, look: &Snapshot, failure: Failure) -> Failure {
        let mut told = failure;
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
        told
    }

    /// What would rotate, of what is there now: its new values are those of nobody.
    pub(super) fn coming(&self, look: &Snapshot) -> Rotation {
        let home = look.home();
        let chosen = self.chosen();
        let change = |token: &Token| Change {
            old: fingerprint(token.value()),
            new: "sha256:000000000000".to_owned(),
            minted: None,
        };
        let changes = PerToken::from_fn(|name| {
            let token = home.get(name).as_ref();
            token.filter(|_| chosen.contains(&name)).map(change)
        });
        let phase = match self.rotate.immediate {
            true => Phase::Immediate,
            false => Phase::Open,
        };
        Rotation::new(String::new(), phase, "", changes)
    }

    /// Refuses to carry on what does not fit the options, or is not what this run worked on before.
    ///
    /// # Errors
    /// What a person has to decide (exit code 1), or what cannot be seen and has to be (3).
    pub fn check_carried_on(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        before: Option<&Rotation>,
    ) -> Result<(), Failure> {
        if let Some(before) = before.filter(|it| it.id != rotation.id) {
            return Err(Failure::no(format!(
                "rotation {} is over, and somebody has begun another one",
                before.id
            ))
            .hint(format!(
                "see where it stands: {} rotate --status",
                self.reach.program
            )));
        }
        if let Some(view) = &look.store
            && rotation.phase.row().both
            && !view.has_state_of(rotation)
        {
            let what = look.keeper.object();
            return Err(Failure::no(format!(
                "the store tells nothing of rotation {}: somebody else has finished it, from another \
                 cluster that reads the same entry, or has written the entry anew",
                rotation.id
            ))
            .hint(format!(
                "if it is finished, let this cluster forget it: {kubectl} -n {home} annotate {what} \
                 {STATE}-; {}; {kubectl} -n {home} rollout restart statefulset,deployment",
                self.reach.command("sync"),
                kubectl = self.reach.kubectl,
                home = self.global.namespace,
            ))
            .hint(format!(
                "if not, put its field {STORE_STATE} back: it is the annotation {STATE} of {}",
                look.keeper.what
            )));
        }
        let rotating: BTreeSet<_> = rotation.changes().map(|(name, _)| name).collect();
        if !self.rotate.token.is_empty() && self.chosen() != rotating {
            let chosen: Vec<_> = self.chosen().iter().map(|name| name.as_str()).collect();
            return Err(Failure::no(format!(
                "the rotation that is open is of {}, not of {}",
                rendered::names(rotation),
                chosen.join(" and ")
            ))
            .hint(format!("carry it on first: {}", self.carry_on())));
        }
        if self.rotate.abort && rotation.phase.aborted().is_none() && !rotation.phase.is_back() {
            return Err(Failure::no(format!(
                "the rotation is in {}: servers have begun to forget the old token, and there is \
                 no way back",
                rotation.phase
            ))
            .hint(format!("finish it: {}", self.carry_on())));
        }
        if before.is_some() {
            return Ok(());
        }
        self.check_sight(look)?;
        let mut failure = Failure::undecided();
        if self.with_places(rotation) != *rotation {
            // A place that comes in on the way has to be as one that was there from the start.
            failure = self.check_fleet(look, failure);
            failure = check_secrets(look, rotation, failure);
            failure = self.check_servers(look, rotation, failure);
        }
        // Who goes back brings nobody the old token.
        let sides: &[Side] = match self.rotate.abort {
            true => &[Side::New],
            false => &[Side::Old, Side::New],
        };
        let failure = self.check_strangers(look, rotation, sides, failure);
        match failure.if_any() {
            Err(failure) if self.rotate.close_anyway => {
                self.ui
                    .warn(&format!("--close-anyway: {}", failure.causes.join("; ")));
                Ok(())
            }
            checked => checked,
        }
    }

    /// A tokens file that knows neither value belongs to something else.
    ///
    /// # Errors
    /// Such a one (exit code 1).
    pub fn check_file(&self, rotation: &Rotation, held: &Held) -> Result<(), Failure> {
        for (name, change) in rotation.changes() {
            let current = held.current.get(name).as_ref();
            if current.is_some_and(|token| change.side(token.value()).is_none()) {
                let path = quote(&self.global.tokens_file.display().to_string());
                return Err(Failure::no(format!(
                    "{name} in {path} is neither the old nor the new token of the rotation that is \
                     open"
                ))
                .hint(format!(
                    "if that file is of another installation, name the right one with \
                     --tokens-file; else move it away and run this again: the values are in the \
                     cluster (mv -- {path} {path}.stale)"
                )));
            }
        }
        Ok(())
    }
}

impl RotateRun<'_> {
    /// Refuses servers that could not accept two tokens.
    fn check_servers(&self, look: &Snapshot, rotation: &Rotation, failure: Failure) -> Failure {
        let mut told = failure;
        if !rotation.phase.row().both {
            return told;
        }
        for (token, _) in rotation.changes() {
            let servers = look
                .workloads()
                .filter(|workload| is_server(workload, token) && !reads_list(workload, token));
            for server in servers {
                told = told
                    .cause(format!(
                        "{server} does not read a list of accepted tokens, so it cannot accept the \
                         old and the new {token} at once"
                    ))
                    .hint(format!(
                        "have it read the whole Secret by envFrom, as the chart does; or exchange \
                         the token in one step: {} --immediate --apply",
                        self.command()
                    ));
            }
        }
        told
    }

    /// Refuses where something is left of a rotation that nothing is known of any more: another one
    /// would leave its old token accepted for good.
    fn check_leftovers(&self, look: &Snapshot, held: &Held, failure: Failure) -> Failure {
        let (mut told, kubectl) = (failure, &self.reach.kubectl);
        for (namespace, place) in &look.facts.places {
            for name in [ROUTER.secret, EMBEDDINGS.secret] {
                let left = place.live(name).map(leftovers).unwrap_or_default();
                if !left.is_empty() {
                    told = told
                        .cause(format!(
                            "Secret {namespace}/{name} has {} of a rotation whose state is gone",
                            left.join(" and ")
                        ))
                        .hint(format!(
                            "take that off, and what is old on the lists: {kubectl} -n {namespace} \
                             edit secret {name}"
                        ));
                }
            }
        }
        let retired = look.retired.as_deref();
        for name in self.chosen() {
            let previous = held.previous.get(name).as_ref();
            if previous.is_some_and(|token| !is_retired(retired, name, token.value())) {
                let file = quote(&self.global.tokens_file.display().to_string());
                told = told
                    .cause(format!(
                        "{file} has a previous {name}, of a rotation whose state is gone"
                    ))
                    .hint(format!(
                        "take that value off the lists that have it, then its line out of the file: \
                         \"${{EDITOR:-vi}}\" {file}"
                    ));
            }
        }
        told
    }
}

/// Refuses Secrets that cannot be written, or that somebody else would write again.
fn check_secrets(look: &Snapshot, rotation: &Rotation, failure: Failure) -> Failure {
    let mut told = failure;
    for (namespace, place) in &look.facts.places {
        for (name, observed) in &place.secrets {
            let tokens = BUNDLES
                .into_iter()
                .find(|bundle| bundle.secret == *name && concerns(rotation, bundle));
            let (Some(bundle), Some(live)) = (tokens, &observed.live) else {
                continue;
            };
            let at = format!("Secret {namespace}/{name}");
            let of_store = look
                .targets
                .iter()
                .any(|target| !matches!(target.at, PlaceRef::Secret(_)) && target.bundle == bundle);
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
    told
}

/// Tells whether a router Secret is the home of a rotation that is open. The operator copies
/// annotations onto the Secrets that it makes.
fn is_home(observed: Option<&Observed>) -> bool {
    let observed = observed.filter(|observed| observed.owner.is_none());
    let live = observed.and_then(|observed| observed.live.as_ref());
    live.is_some_and(|live| live.annotations.contains_key(STATE))
}

impl RotateRun<'_> {
    /// Refuses where another namespace has one of these values and is not of the selection, and where
    /// one that has them is the home of a rotation of its own.
    fn check_strangers(
        &self,
        look: &Snapshot,
        rotation: &Rotation,
        sides: &[Side],
        failure: Failure,
    ) -> Failure {
        let outside = look.outside();
        let mut told = failure;
        let of_its_own = |told: Failure, namespace: &Namespace| {
            told.cause(format!(
                "a rotation is open whose home is namespace {namespace}, which has the same tokens"
            ))
            .hint(format!(
                "see it: {} rotate --status",
                self.reach.elsewhere(namespace.as_str())
            ))
        };
        for (namespace, place) in look.facts.fleet() {
            if is_home(place.secrets.get(ROUTER.secret)) {
                told = of_its_own(told, namespace);
            }
        }
        for side in sides {
            for holder in strangers(rotation, *side, &outside) {
                let OldTokenUser::Secret { at, .. } = holder else {
                    continue;
                };
                told = match is_home(outside.get(&at.namespace)) {
                    true => of_its_own(told, &at.namespace),
                    false => told
                        .cause(format!(
                            "Secret {at} has the {} token, and namespace {} is not of the selection",
                            side.as_str(),
                            at.namespace
                        ))
                        .hint(format!("add --fleet-namespace {}", at.namespace)),
                };
            }
        }
        told
    }
}
