//! The options and clients of a run of `rotate`, its tokens file, and the commands in its hints. It
//! must not read or write the cluster.

use crate::cli::{Global, Rotate};
use crate::commands::shared::options::fleet;
use crate::commands::shared::tokens_file::warn_unless_ignored;
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::edits::{Odd, PlaceRef};
use crate::domain::rotation::{Phase, Rotation, Side};
use crate::domain::values::token::TokenName;
use crate::domain::values::tokens_file::{AppliedTo, Held};
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::local::tokens_file::{self, Locked};
use crate::io::store::Store;
use crate::ui::Ui;
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// Kept when a rotation is continued: the operator restarts the workloads of all phases.
const NO_RESTART: &str = " --no-restart";

pub(super) struct RotateRun<'a> {
    pub(super) global: &'a Global,
    pub(super) rotate: &'a Rotate,
    pub(super) reach: HintContext,
    pub(super) cluster: Cluster,
    pub(super) ui: Ui,
    /// The direct connection to the store; empty until the first read of the store.
    pub(super) store: OnceCell<Store>,
}

impl RotateRun<'_> {
    /// The tokens in the tokens file; none if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be read or parsed (exit code 3).
    pub(super) fn held(&self) -> Result<Held, Failure> {
        let loaded = tokens_file::read(&self.global.tokens_file)?;
        let file = loaded.map(|loaded| loaded.file).unwrap_or_default();
        Ok(file.held().clone())
    }

    /// Replaces the tokens in the tokens file by the result of `decide`. An unchanged file is not
    /// written. The file is locked during the change only, not during a rollout.
    ///
    /// # Errors
    /// The file or its folder cannot be used (exit code 3), or `decide` fails.
    pub(super) fn change_tokens_file(
        &self,
        decide: impl FnOnce(&Held) -> Result<Held, Failure>,
    ) -> Result<(), Failure> {
        let path = &self.global.tokens_file;
        let locked = Locked::new(path, &self.ui)?;
        let loaded = locked.read(&self.ui)?;
        let file = loaded.map(|loaded| loaded.file).unwrap_or_default();
        let wanted = decide(file.held())?;
        if *file.held() != wanted {
            let applied_to = AppliedTo {
                server: self.cluster.server.clone(),
                namespace: self.global.namespace.to_string(),
            };
            locked.write(&file.text_with(&wanted, Some(&applied_to)))?;
            warn_unless_ignored(path, self.ui);
        }
        Ok(())
    }

    /// The tokens of `--token`; all of them without the option.
    pub(super) fn chosen_tokens(&self) -> BTreeSet<TokenName> {
        if self.rotate.token.is_empty() {
            TokenName::ALL.into()
        } else {
            self.rotate.token.iter().copied().collect()
        }
    }

    /// The same for messages.
    pub(super) fn chosen_names(&self) -> String {
        let chosen = self.chosen_tokens();
        let names: Vec<_> = chosen.iter().map(|name| name.as_str()).collect();
        names.join(" and ")
    }

    pub(super) fn first_phase(&self) -> Phase {
        if self.rotate.immediate {
            Phase::Immediate
        } else {
            Phase::Open
        }
    }

    /// The rotation, with the fleet namespaces and copies of the options added.
    pub(super) fn with_places(&self, rotation: &Rotation) -> Rotation {
        let fleet = fleet(&self.rotate.fleet);
        rotation.with_places(&fleet.named, fleet.selector.as_ref(), &self.rotate.copy)
    }

    /// This command with its options, without `--apply`.
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
        let switches = switches
            .into_iter()
            .filter(|(is_given, _)| *is_given)
            .map(|(_, option)| option.to_owned());
        let options: String = tokens.chain(copies).chain(until).chain(switches).collect();
        format!("{}{options}", self.reach.command("rotate"))
    }

    /// The command that continues the open rotation. It keeps `--no-restart`.
    pub(super) fn carry_on_command(&self) -> String {
        let option = if self.rotate.no_restart {
            NO_RESTART
        } else {
            ""
        };
        format!("{}{option}", self.reach.carry_on())
    }

    /// The hint for missing permissions.
    pub(super) fn role_hint(&self) -> String {
        format!(
            "have an administrator run: {} --service-account NAMESPACE:NAME | {} apply -f -",
            self.reach.command("rbac rotate"),
            self.reach.kubectl
        )
    }

    /// The failure when the edit of a place cannot be computed.
    pub(super) fn odd_failure(&self, rotation: &Rotation, odd: &[Odd]) -> Failure {
        let mut failure = Failure::no("the rotation cannot continue");
        for reason in odd {
            failure = failure.cause(reason.to_string());
            failure = match reason {
                Odd::Neither { at, key } => failure.hint(self.put_back_hint(at, key)),
                Odd::Lost {
                    side: Side::New, ..
                } if rotation.phase.abort_phase().is_some() => {
                    failure.hint(format!(
                        "go back to the old token: {} rotate --abort --apply",
                        self.reach.program
                    ))
                }
                Odd::Lost { .. } => failure.hint(
                    "pass --tokens-file with the tokens file of the run that began the rotation: it \
                     has both tokens",
                ),
            };
        }
        failure.hint(format!("then continue it: {}", self.carry_on_command()))
    }

    /// The hint that restores a value of the rotation in a place. It never contains a value.
    pub(super) fn put_back_hint(&self, at: &PlaceRef, key: &str) -> String {
        let (home, file) = (&self.global.namespace, &self.reach.tokens_file);
        match at {
            PlaceRef::Secret(at) if at.namespace != *home => {
                let (kubectl, name) = (&self.reach.kubectl, at.name);
                format!(
                    "copy it from the home namespace: {kubectl} -n {home} get secret {name} -o \
                     go-template='{{\"data\":{{\"{key}\":\"{{{{index .data \"{key}\"}}}}\"}}}}' | \
                     {kubectl} -n {} patch secret {name} --patch-file /dev/stdin",
                    at.namespace
                )
            }
            at => format!("put the old or the new {key} back into {at}: both are in {file}"),
        }
    }

    /// The phase that `--abort` or `--immediate` begins now; `None` if the rotation continues as it
    /// is.
    ///
    /// # Errors
    /// `--immediate` in undo (exit code 1).
    pub(super) fn requested_phase(&self, rotation: &Rotation) -> Result<Option<Phase>, Failure> {
        if self.rotate.abort {
            return Ok(rotation.phase.abort_phase());
        }
        if !self.rotate.immediate {
            return Ok(None);
        }
        match rotation.phase {
            Phase::Open | Phase::Switch | Phase::Back => Ok(Some(Phase::Immediate)),
            Phase::Undo => Err(Failure::no(
                "an abort is open, and some servers no longer accept the new token",
            )
            .hint(format!(
                "finish it, then replace the token in one step: {} && {} --apply",
                self.carry_on_command(),
                self.command()
            ))),
            Phase::Close | Phase::Immediate => Ok(None),
        }
    }
}
