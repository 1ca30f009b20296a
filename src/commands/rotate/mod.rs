//! `rotate`: new tokens, and no request is refused on the way.
//!
//! Each round looks at everything, has `domain::rotation` say what comes next, and does that. What a
//! killed run, another operator or a person did in between is seen at the next look.

mod manual_store;
mod preflight;
mod probe;
mod restart;
mod run;
mod snapshot;
mod start;
mod tokens_file;
mod write_secrets;
mod write_store;

pub use self::run::Ended;

use self::snapshot::Look;
use super::shared::hint_context::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Rotate};
use crate::domain::hint_context::Reach;
use crate::domain::rotation::edits::{At, Odd};
use crate::domain::rotation::gate::holders;
use crate::domain::rotation::workloads::{Who, WorkloadRef, pending};
use crate::domain::rotation::{Phase, Rotation, Side};
use crate::domain::values::tokens_file::AppliedTo;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::store::Store;
use crate::render::json::Body;
use crate::render::rotation as rendered;
use crate::render::rotation::{Forecast, Standing};
use crate::render::rotation_document as document;
use crate::ui::Ui;
use std::cell::OnceCell;

/// Rotates, or shows what would be done, or where a rotation stands.
///
/// # Errors
/// What a person has to decide, and what could not be done; the rotation can be carried on.
pub async fn run(global: &Global, rotate: &Rotate, ui: Ui) -> Result<Answer, Failure> {
    let given = Given {
        fleet: Some(&rotate.fleet),
        ..Given::default()
    };
    let reach = reach(global, given);
    let cluster = super::connect(global, ui, "rotate", &reach).await?;
    let run = Run {
        global,
        rotate,
        reach,
        cluster,
        ui,
        store: OnceCell::new(),
    };
    match (rotate.status, rotate.apply) {
        (true, _) => run.status().await,
        (false, true) => run.apply().await,
        (false, false) => run.preview().await,
    }
}

/// Who restarts by hand does so to the end.
const NO_RESTART: &str = " --no-restart";

/// A run.
pub struct Run<'a> {
    global: &'a Global,
    rotate: &'a Rotate,
    reach: Reach,
    cluster: Cluster,
    ui: Ui,
    /// A way of our own to the store, once it was needed.
    store: OnceCell<Store>,
}

impl Run<'_> {
    /// Where the tokens are applied, for the tokens file.
    fn place(&self) -> AppliedTo {
        AppliedTo {
            server: self.cluster.server.clone(),
            namespace: self.global.namespace.to_string(),
        }
    }

    /// The server's time, as RFC 3339.
    fn now(&self, look: &Look) -> String {
        jiff::Timestamp::from_second(look.facts.now)
            .unwrap_or_else(|_| jiff::Timestamp::now())
            .to_string()
    }

    /// A rotation with what the options say of its places.
    fn knowing(&self, rotation: &Rotation) -> Rotation {
        let fleet = super::fleet(&self.rotate.fleet);
        rotation.knowing(&fleet.named, fleet.selector.as_ref(), &self.rotate.copy)
    }

    /// This command with what it is about, without `--apply`.
    fn command(&self) -> String {
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
    fn carry_on(&self) -> String {
        match self.rotate.no_restart {
            true => format!("{}{NO_RESTART}", self.reach.carry_on()),
            false => self.reach.carry_on(),
        }
    }

    /// Has an administrator give what is needed.
    fn role(&self) -> String {
        format!(
            "have an administrator run: {} --service-account NAMESPACE:NAME | {} apply -f -",
            self.reach.command("rbac rotate"),
            self.reach.kubectl
        )
    }

    /// A rotation that cannot go on as things are.
    fn odd(&self, rotation: &Rotation, odd: &[Odd]) -> Failure {
        let mut failure = Failure::no("the rotation cannot go on: a person has to decide");
        for one in odd {
            failure = failure.cause(start::told(one));
            failure = match one {
                Odd::Neither { at, key } => failure.hint(self.put_back(at, key)),
                Odd::Lost { side, .. } if *side == Side::New && rotation.phase.aborted().is_some() => {
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
    fn put_back(&self, at: &At, key: &str) -> String {
        let (home, file) = (&self.global.namespace, &self.reach.tokens_file);
        match at {
            At::Secret(at) if at.namespace != *home => {
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

    /// Where a rotation stands.
    async fn status(&self) -> Result<Answer, Failure> {
        let look = self.look().await?;
        let standing = look.state.as_ref().map(|rotation| {
            let side = rotation.phase.leaves();
            Standing {
                rotation,
                open_for: age(&rotation.since, look.facts.now),
                holders: holders(rotation, side, &look.facts, &look.outside()),
                pending: pending(rotation, &look.facts, Who::of(rotation.phase))
                    .into_iter()
                    .map(WorkloadRef::of)
                    .collect(),
                unseen: Self::unseen(&look),
            }
        });
        Ok(Answer {
            text: rendered::status(standing.as_ref(), &self.reach),
            next: None,
            body: Body::Rotation(document::of_status(standing.as_ref(), &self.reach)),
            verdict: Verdict::Yes,
        })
    }

    /// What would be done.
    async fn preview(&self) -> Result<Answer, Failure> {
        let look = self.look().await?;
        if let Some(rotation) = &look.state {
            let turn = self.turn(rotation)?;
            let mut answer = self.status().await?;
            if let Some(phase) = turn {
                answer
                    .text
                    .push_str(&rendered::turned(phase, &self.command()));
            }
            return Ok(answer);
        }
        if self.rotate.abort {
            return Err(
                Failure::no("no rotation is open, so there is nothing to abort")
                    .hint(format!("see it: {} rotate --status", self.reach.program)),
            );
        }
        if self.rotate.carry_on {
            return self.status().await;
        }
        let held = tokens_file::read(&self.global.tokens_file)?;
        self.check(&look, &held)?;
        // The preview mints nothing: what it shows does not depend on values.
        let rotation = self.coming(&look);
        let forecast = Forecast::new(&rotation, &look.facts, Self::unseen(&look), self.command());
        Ok(Answer {
            text: rendered::preview(&forecast),
            next: None,
            body: Body::Rotation(document::of_preview(&forecast)),
            verdict: Verdict::Yes,
        })
    }
}

/// How many seconds ago that was.
fn age(since: &str, now: i64) -> i64 {
    let since: Option<jiff::Timestamp> = since.parse().ok();
    since.map_or(0, |since| (now - since.as_second()).max(0))
}
