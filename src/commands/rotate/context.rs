//! What a run of `rotate` works with: its options, the cluster, the store; and the commands that its
//! hints name.

use crate::cli::{Global, Rotate};
use crate::commands::shared::options::fleet;
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::edits::{Odd, PlaceRef};
use crate::domain::rotation::{Phase, Rotation, Side};
use crate::domain::values::tokens_file::AppliedTo;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::store::Store;
use crate::ui::Ui;
use std::cell::OnceCell;

/// Who restarts by hand does so to the end.
const NO_RESTART: &str = " --no-restart";

/// A run.
pub(super) struct RotateRun<'a> {
    pub(super) global: &'a Global,
    pub(super) rotate: &'a Rotate,
    pub(super) reach: HintContext,
    pub(super) cluster: Cluster,
    pub(super) ui: Ui,
    /// A way of our own to the store, once it was needed.
    pub(super) store: OnceCell<Store>,
}

impl RotateRun<'_> {
    /// Where the tokens are applied, for the tokens file.
    pub(super) fn place(&self) -> AppliedTo {
        AppliedTo {
            server: self.cluster.server.clone(),
            namespace: self.global.namespace.to_string(),
        }
    }

    /// A rotation with what the options say of its places.
    pub(super) fn with_places(&self, rotation: &Rotation) -> Rotation {
        let fleet = fleet(&self.rotate.fleet);
        rotation.with_places(&fleet.named, fleet.selector.as_ref(), &self.rotate.copy)
    }

    /// This command with what it is about, without `--apply`.
    pub(super) fn command(&self) -> String {
        let tokens = self
            .rotate
            .token
            .iter()
            .map(|name| format!(" --token {name}"));
        let copies = self
            .rotate
            .copy
            .iter()
            .map(|copy| format!(" --copy {copy}"));
        let until = self.rotate.until.map(|until| {
            let until = Phase::from(until);
            format!(" --until {until}")
        });
        let switches = [
            (self.rotate.immediate, " --immediate"),
            (self.rotate.abort, " --abort"),
            (self.rotate.no_restart, NO_RESTART),
            (self.rotate.close_anyway, " --close-anyway"),
        ];
        let switches = switches.into_iter().filter(|(given, _)| *given);
        let switches = switches.map(|(_, option)| option.to_owned());
        let options: String = tokens.chain(copies).chain(until).chain(switches).collect();
        format!("{}{options}", self.reach.command("rotate"))
    }

    /// Carries on the rotation that is open, restarting by the same hands.
    pub(super) fn carry_on(&self) -> String {
        match self.rotate.no_restart {
            true => format!("{}{NO_RESTART}", self.reach.carry_on()),
            false => self.reach.carry_on(),
        }
    }

    /// Has an administrator give what is needed.
    pub(super) fn role(&self) -> String {
        format!(
            "have an administrator run: {} --service-account NAMESPACE:NAME | {} apply -f -",
            self.reach.command("rbac rotate"),
            self.reach.kubectl
        )
    }

    /// A rotation that cannot go on as things are.
    pub(super) fn odd(&self, rotation: &Rotation, odd: &[Odd]) -> Failure {
        let mut failure = Failure::no("the rotation cannot go on: a person has to decide");
        for one in odd {
            failure = failure.cause(one.to_string());
            failure = match one {
                Odd::Neither { at, key } => failure.hint(self.put_back(at, key)),
                Odd::Lost { side, .. } if *side == Side::New && rotation.phase.abort_phase().is_some() => {
                    failure.hint(format!(
                        "go back to the old token: {} rotate --abort --apply",
                        self.reach.program
                    ))
                }
                Odd::Lost { .. } => failure.hint(
                    "name the tokens file of who began the rotation with --tokens-file: it has both",
                ),
            };
        }
        failure.hint(format!("then carry it on: {}", self.carry_on()))
    }

    /// Puts a value of the rotation back where another one is. No value is on a command line.
    pub(super) fn put_back(&self, at: &PlaceRef, key: &str) -> String {
        let (home, file) = (&self.global.namespace, &self.reach.tokens_file);
        match at {
            PlaceRef::Secret(at) if at.namespace != *home => {
                let (kubectl, name) = (&self.reach.kubectl, at.name);
                format!(
                    "put home's there: {kubectl} -n {home} get secret {name} -o \
                     go-template='{{\"data\":{{\"{key}\":\"{{{{index .data \"{key}\"}}}}\"}}}}' | {kubectl} -n \
                     {} patch secret {name} --patch-file /dev/stdin",
                    at.namespace
                )
            }
            at => format!("put the old or the new {key} back into {at}: {file} has both"),
        }
    }

    /// The turn that the options ask for, where there is one to take.
    pub(super) fn turn(&self, rotation: &Rotation) -> Result<Option<Phase>, Failure> {
        match (self.rotate.abort, self.rotate.immediate, rotation.phase) {
            (true, _, phase) => Ok(phase.abort_phase()),
            (_, true, Phase::Open | Phase::Switch | Phase::Back) => Ok(Some(Phase::Immediate)),
            (_, true, Phase::Undo) => Err(Failure::no(
                "an abort is open, and servers have begun to forget the new token",
            )
            .hint(format!(
                "finish it, then exchange the token at once: {} && {} --apply",
                self.carry_on(),
                self.command()
            ))),
            _ => Ok(None),
        }
    }
}
