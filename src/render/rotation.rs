//! The text output of `rotate`: preview, status and result.

use crate::domain::checks::words::span;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::gate::OldTokenUser;
use crate::domain::rotation::outcome::Outcome;
use crate::domain::rotation::workloads::{WorkloadRef, role, sends};
use crate::domain::rotation::{Phase, Rotation, Side};
use crate::error::Failure;
use crate::ui::{Mark, Palette};
use std::fmt::Write;

/// The workloads that a rotation would restart.
#[derive(Debug)]
pub struct Forecast {
    tokens: String,
    phases: Vec<Phase>,
    pub(super) workloads: Vec<Restarts>,
    named: Vec<String>,
    pub(super) unseen: Vec<String>,
    /// The command line without `--apply`.
    command: String,
}

/// The restarts of a workload.
#[derive(Debug)]
pub(super) struct Restarts {
    pub(super) at: WorkloadRef,
    pub(super) phases: Vec<Phase>,
    pub(super) reloaded: bool,
    trouble: Option<&'static str>,
    role: &'static str,
}

impl Forecast {
    /// Counts the restarts from the current phase on.
    pub fn new(
        rotation: &Rotation,
        facts: &ClusterSnapshot,
        unseen: Vec<String>,
        command: String,
    ) -> Self {
        let mut phases = vec![rotation.phase];
        while let Some(next) = phases.last().and_then(|phase| phase.row().next) {
            phases.push(next);
        }
        let mut workloads = Vec::new();
        let mut named = Vec::new();
        for place in facts.places.values() {
            for workload in &place.workloads {
                let role = role(rotation, workload);
                if !role.server && !role.client {
                    continue;
                }
                if workload.kind == WorkloadKind::CronJob {
                    named.push(format!("{workload}: its next pods get the new token"));
                    continue;
                }
                let restarts = |phase: &Phase| {
                    let row = phase.row();
                    role.server && row.servers || role.client && row.clients
                };
                workloads.push(Restarts {
                    at: WorkloadRef::of(workload),
                    phases: if workload.reloaded {
                        // Reloader restarts it after every change of a Secret that it reads.
                        phases.clone()
                    } else {
                        phases.iter().copied().filter(restarts).collect()
                    },
                    reloaded: workload.reloaded,
                    trouble: workload.rollout.blocker(workload.kind),
                    role: match (role.server, role.client) {
                        (true, true) => "server and client",
                        (true, false) => "server",
                        _ => "client",
                    },
                });
            }
            let bare_pods = place.pods.iter().filter(|pod| {
                !place.workloads.iter().any(|it| pod.belongs_to(it))
                    && rotation
                        .changes()
                        .any(|(token, _)| sends(&pod.spec, None, token))
            });
            named.extend(bare_pods.map(|pod| {
                format!(
                    "Pod {}/{} is not restarted: close waits until it has ended or is recreated",
                    pod.namespace, pod.name
                )
            }));
        }
        Self {
            tokens: rotation.names(),
            phases,
            workloads,
            named,
            unseen,
            command,
        }
    }
}

/// What a phase does, for progress messages.
pub const fn describe(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "open: the servers accept the old and the new token",
        Phase::Switch => "switch: the clients get the new token",
        Phase::Close => "close: the servers reject the old token",
        Phase::Back => "back: the clients get the old token again",
        Phase::Undo => "undo: the servers reject the new token",
        Phase::Immediate => {
            "immediate: servers and clients get the new token, and the old one is rejected"
        }
    }
}

fn list(phases: &[Phase]) -> String {
    let names: Vec<_> = phases.iter().map(|phase| phase.as_str()).collect();
    names.join(", ")
}

/// What clients send and servers accept in the phases of a rotation that is not aborted. docs/rotate.md
/// has the same table.
const TIME_LINE: &str = "              clients send   servers accept   restarts   when it is over
before        old            old
1. open       old            old and new      servers    both tokens are accepted
2. switch     new            old and new      clients    no visible pod or Secret has the old token
3. close      new            new              servers    requests with the old token get 401
";

/// The preview.
pub fn preview(forecast: &Forecast) -> String {
    let mut text = format!("A rotation of {}:\n\n", forecast.tokens);
    match forecast.phases.as_slice() {
        [Phase::Open, ..] => text.push_str(TIME_LINE),
        phases => {
            for phase in phases {
                let _ = writeln!(text, "{}", describe(*phase));
            }
        }
    }
    let _ = writeln!(text, "\nRestarts:");
    for one in &forecast.workloads {
        let count = one.phases.len();
        let how_often = if count == 1 {
            "once".to_owned()
        } else {
            format!("{count} times")
        };
        let reloader = if one.reloaded {
            " (it asks for Reloader, which restarts it after each change of a Secret that it reads)"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "  {} ({}): {how_often}: {}{reloader}",
            one.at,
            one.role,
            list(&one.phases)
        );
        if let Some(trouble) = one.trouble {
            let _ = writeln!(text, "    its rollout will not finish: {trouble}");
        }
    }
    if forecast.workloads.is_empty() {
        let _ = writeln!(
            text,
            "  none: no workload in these namespaces reads these tokens"
        );
    }
    let immediate = forecast.phases == [Phase::Immediate];
    if !immediate && forecast.workloads.iter().any(|one| one.reloaded) {
        let _ = writeln!(
            text,
            "If Reloader runs, it also restarts clients in open; they start again with the old token."
        );
    }
    if immediate {
        let _ = writeln!(text, "Clients get 401 until all workloads have restarted.");
    } else {
        let _ = writeln!(
            text,
            "No request is answered 401 or 403 because of the rotation. A server with one replica is \
             unavailable for a moment while its pod restarts."
        );
    }
    for line in &forecast.named {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\nNot visible from here:");
    for line in &forecast.unseen {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(
        text,
        "\nNothing has been changed. To do it: {} --apply",
        forecast.command
    );
    text
}

/// The preview of `--abort` or `--immediate` for an open rotation.
pub fn turn_preview(phase: Phase, command: &str) -> String {
    let cost = match phase {
        Phase::Immediate => {
            "All workloads get the new token of this rotation. Clients get 401 until all workloads \
             have restarted.\n"
        }
        _ => "",
    };
    format!(
        "\nThe rotation would go to the phase {}.\n{cost}Nothing has been changed. To do it: {command} --apply\n",
        describe(phase)
    )
}

/// The status of an open rotation.
#[derive(Debug)]
pub struct Standing<'a> {
    pub rotation: &'a Rotation,
    /// In seconds.
    pub open_for: i64,
    /// The Secrets and pods with the token that the phase removes.
    pub holders: Vec<OldTokenUser>,
    /// The workloads that have not rolled out yet.
    pub pending: Vec<WorkloadRef>,
    /// What could not be checked, and why.
    pub unseen: Vec<String>,
}

/// The output of `--status`.
pub fn status(standing: Option<&Standing<'_>>, reach: &HintContext) -> String {
    let Some(standing) = standing else {
        return "no rotation is open\n".to_owned();
    };
    let rotation = standing.rotation;
    let mut text = format!(
        "rotation {} of {}: in {} since {}, open since {} ({})\n",
        rotation.id,
        rotation.names(),
        rotation.phase,
        rotation.at,
        rotation.since,
        span(standing.open_for)
    );
    let _ = writeln!(text, "  {}", describe(rotation.phase));
    for (name, change) in rotation.changes() {
        let _ = writeln!(text, "  {name}: old {}, new {}", change.old, change.new);
    }
    for at in &standing.pending {
        let _ = writeln!(text, "  waits for {at} to roll out");
    }
    let side = rotation.phase.removed_side().as_str();
    for holder in &standing.holders {
        let _ = writeln!(
            text,
            "  still on the {side} token: {}",
            describe_holder(holder)
        );
    }
    if standing.holders.is_empty() {
        let _ = writeln!(
            text,
            "  no Secret or pod that can be seen is still on the {side} token"
        );
    }
    for line in &standing.unseen {
        let _ = writeln!(text, "  not seen: {line}");
    }
    let _ = writeln!(text, "continue: {}", reach.carry_on());
    if rotation.phase.abort_phase().is_some() {
        let _ = writeln!(
            text,
            "return to the old token: {} rotate --abort --apply",
            reach.program
        );
    }
    text
}

/// A Secret with its keys, or a pod with its owner and tokens.
pub fn describe_holder(holder: &OldTokenUser) -> String {
    match holder {
        OldTokenUser::Secret { at, keys, .. } => {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| key.replace(char::is_control, "?"))
                .collect();
            format!("Secret {at} ({})", keys.join(", "))
        }
        OldTokenUser::Pod {
            namespace,
            name,
            owner,
            leaving,
            tokens,
        } => {
            let tokens: Vec<_> = tokens.iter().map(|token| token.as_str()).collect();
            let owner = match owner {
                Some((kind, owner)) => format!(" of {kind} {owner}"),
                None => String::new(),
            };
            let leaving = if *leaving {
                ", which is being deleted"
            } else {
                ""
            };
            format!(
                "Pod {namespace}/{name}{owner} ({}){leaving}",
                tokens.join(", ")
            )
        }
    }
}

/// What a person does about a Secret or pod with the removed token.
pub(super) fn remedy(holder: &OldTokenUser, side: Side, reach: &HintContext) -> String {
    let kubectl = &reach.kubectl;
    match holder {
        OldTokenUser::Secret { ours: true, .. } => reach.carry_on(),
        OldTokenUser::Secret { at, .. } => format!(
            "put the {} token into Secret {at} or, if nothing reads it: {kubectl} -n {} delete secret {}",
            side.other().as_str(),
            at.namespace,
            at.name
        ),
        OldTokenUser::Pod {
            namespace,
            name,
            owner,
            leaving,
            ..
        } => match (owner, leaving) {
            (_, true) => format!(
                "wait until it has ended: {kubectl} -n {namespace} wait --for=delete pod/{name}"
            ),
            (Some((kind, _)), _) if kind == "Job" => format!(
                "wait until it has ended, or: {kubectl} -n {namespace} delete pod {name} --wait=false"
            ),
            (Some(_), _) => {
                format!("{kubectl} -n {namespace} delete pod {name} --wait=false")
            }
            (None, _) => format!(
                "{kubectl} -n {namespace} get pod {name} -o yaml | {kubectl} -n {namespace} replace \
                 --force -f -"
            ),
        },
    }
}

/// The failure of the gate: Secrets or pods still have the token that the phase removes.
pub fn holders_failure(holders: &[OldTokenUser], side: Side, reach: &HintContext) -> Failure {
    let mut failure = Failure::no("Secrets or pods still have the token that this phase removes");
    for holder in holders {
        failure = failure
            .cause(describe_holder(holder))
            .hint(remedy(holder, side, reach));
    }
    failure
}

/// The result of a run.
pub fn outcome(outcome: &Outcome, reach: &HintContext, palette: Palette) -> String {
    let ok = palette.mark(Mark::Ok);
    match outcome {
        Outcome::Nothing => "no rotation is open: nothing to do\n".to_owned(),
        Outcome::FinishedByOther => {
            format!("{ok} another run has finished the rotation\n")
        }
        Outcome::Finished(rotation, holders) => {
            let names = rotation.names();
            let (what, everywhere, gone) = if rotation.phase.is_back() {
                (format!("back to the old {names}"), "", "new")
            } else {
                (format!("{names} rotated"), ": one token everywhere", "old")
            };
            if holders.is_empty() {
                return format!("{ok} {what}{everywhere}, the {gone} one is accepted nowhere\n");
            }
            let left: Vec<_> = holders.iter().map(describe_holder).collect();
            format!(
                "{ok} {what}; the {gone} one is accepted nowhere, but still held by {}\n",
                left.join("; ")
            )
        }
        Outcome::Stopped(rotation) => format!(
            "{ok} the rotation of {} has stopped after {}; continue: {}\n",
            rotation.names(),
            rotation.phase,
            reach.carry_on()
        ),
        // The failure lists the holders.
        Outcome::Held(..) => String::new(),
    }
}
