//! What a person has to decide before a rotation begins, or is carried on.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::domain::rotation::preflight::{Obstacle, Preflight, Words};
use crate::domain::rotation::{Phase, Rotation, STATE, STORE_STATE, Side};
use crate::domain::table::{EMBEDDINGS, ROUTER};
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
        let obstacles = self.with_preflight(look, |preflight| {
            let rotation = preflight.rotation(self.first_phase());
            preflight.begin(&rotation, held, look.retired.as_deref())
        });
        self.failure_of(&obstacles).if_any()
    }

    fn with_preflight<T>(&self, look: &Snapshot, ask: impl FnOnce(&Preflight<'_>) -> T) -> T {
        ask(&Preflight {
            facts: &look.facts,
            targets: &look.targets,
            outside: &look.outside(),
            home: &look.home(),
            chosen: &self.chosen(),
        })
    }

    /// The rotation that would begin with what is there now.
    pub(super) fn coming(&self, look: &Snapshot) -> Rotation {
        self.with_preflight(look, |preflight| preflight.rotation(self.first_phase()))
    }

    fn first_phase(&self) -> Phase {
        if self.rotate.immediate {
            Phase::Immediate
        } else {
            Phase::Open
        }
    }

    fn failure_of(&self, obstacles: &[Obstacle]) -> Failure {
        let words = Words {
            reach: &self.reach,
            command: &self.command(),
            file: &quote(&self.global.tokens_file.display().to_string()),
        };
        let undecided = Failure::undecided();
        obstacles.iter().fold(undecided, |failure, obstacle| {
            failure
                .cause(obstacle.message(&words))
                .hint(obstacle.hint(&words))
        })
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
        let denied = look.facts.unlistable_workloads().chain(secrets);
        let mut failure = Failure::unable("what a rotation depends on may not be seen");
        for denied in denied {
            failure = failure.cause(denied.to_string());
        }
        failure
            .if_any()
            .map_err(|failure| failure.hint(self.role()))
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
        if self.rotate.abort && rotation.phase.abort_phase().is_none() && !rotation.phase.is_back()
        {
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
        let obstacles = self.with_preflight(look, |preflight| {
            let mut found = Vec::new();
            if self.with_places(rotation) != *rotation {
                // A place that comes in later has to be like one that was there from the start.
                found = preflight.places(rotation);
            }
            // An abort gives nobody the old token.
            let sides: &[Side] = if self.rotate.abort {
                &[Side::New]
            } else {
                &[Side::Old, Side::New]
            };
            found.extend(preflight.namespaces_outside(rotation, sides));
            found
        });
        let failure = self.failure_of(&obstacles);
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
