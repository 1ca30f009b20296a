//! Connects to the cluster and refuses what stops every command there: an unusable fleet namespace,
//! an open rotation, a refused plan. Writes nothing.

use super::options::selection;
use crate::cli::Global;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{NamespaceState, Observations, Observed};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::Plan;
use crate::domain::rotation::{BadState, Rotation};
use crate::domain::table::ROUTER;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::{FleetScope, Found};
use crate::ui::Ui;
use std::collections::BTreeSet;

/// Connects to the cluster that the options name. `command` is its name for `rbac`, for hints.
pub async fn connect(
    global: &Global,
    ui: Ui,
    command: &'static str,
    reach: &HintContext,
) -> Result<Cluster, Failure> {
    Cluster::connect(
        &selection(global),
        global.request_timeout.0,
        ui,
        command,
        reach.clone(),
    )
    .await
}

/// The fleet namespaces that exist and are not being deleted. A selected namespace that is being
/// deleted is left out with a warning.
///
/// # Errors
/// A namespace given by name that does not exist or is being deleted (exit code 3).
pub fn usable_fleet(
    found: &Found,
    fleet: &FleetScope,
    reach: &HintContext,
    ui: Ui,
) -> Result<BTreeSet<Namespace>, Failure> {
    let mut usable = BTreeSet::new();
    for (name, state) in &found.fleet {
        let problem = match state {
            NamespaceState::Active | NamespaceState::Forbidden => None,
            NamespaceState::Absent => Some("does not exist"),
            NamespaceState::Terminating => Some("is being deleted"),
        };
        match problem {
            None => {
                usable.insert(name.clone());
            }
            Some(problem)
                if fleet.named.contains(name) && *state == NamespaceState::Terminating =>
            {
                return Err(Failure::unable(format!("fleet namespace {name} {problem}"))
                    .hint("wait until it is gone, or leave it out"));
            }
            Some(problem) if fleet.named.contains(name) => {
                return Err(
                    Failure::unable(format!("fleet namespace {name} {problem}")).hint(format!(
                        "create it ({} create namespace {name}), or leave it out",
                        reach.kubectl
                    )),
                );
            }
            Some(problem) => ui.warn(&format!("fleet namespace {name} {problem}: left out")),
        }
    }
    Ok(usable)
}

/// All refusals of a plan as one failure.
pub fn refusal(plan: &Plan, reach: &HintContext) -> Failure {
    let mut failure = Failure::undecided();
    for refusal in &plan.refusals {
        failure = failure.cause(refusal.message()).hint(refusal.hint(reach));
    }
    failure
}

/// Refuses while a rotation is open, in the cluster or in the store. `started` is true if this run
/// has already written something.
///
/// # Errors
/// An open rotation or an unreadable rotation state: exit code 1, or 3 if `started`.
pub fn refuse_rotation(
    open: Result<Option<Rotation>, BadState>,
    started: bool,
    reach: &HintContext,
) -> Result<(), Failure> {
    let what = match open {
        Ok(None) => return Ok(()),
        Ok(Some(rotation)) => format!("{} since {}", rotation.describe(), rotation.at),
        Err(bad) => format!("cannot tell whether a rotation is open: {bad}"),
    };
    let failure = if started {
        Failure::unable(format!(
            "something else wrote while this ran, and now {what}"
        ))
    } else {
        Failure::no(format!("refused, and nothing has been written: {what}"))
    };
    Err(failure.hint(format!("{} rotate --status", reach.program)))
}

/// The router Secret of the home namespace.
pub fn home_router<'a>(found: &'a Observations, home: &Namespace) -> Option<&'a Observed> {
    found.get(&SecretRef::new(home, ROUTER.secret))
}
