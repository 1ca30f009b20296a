//! Reaching the cluster, and what stops a command there.

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

/// Connects to the cluster of the options. `command` is what `rbac` calls the command.
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

/// The fleet namespaces that can be worked with. One that goes away and was only selected is left
/// out, and that is said.
///
/// # Errors
/// One that is named and is absent or going away (exit code 3).
pub fn usable_fleet(
    found: &Found,
    fleet: &FleetScope,
    reach: &HintContext,
    ui: Ui,
) -> Result<BTreeSet<Namespace>, Failure> {
    let mut usable = BTreeSet::new();
    for (name, state) in &found.fleet {
        let trouble = match state {
            NamespaceState::Active | NamespaceState::Forbidden => None,
            NamespaceState::Absent => Some("does not exist"),
            NamespaceState::Terminating => Some("is being deleted"),
        };
        match trouble {
            None => drop(usable.insert(name.clone())),
            Some(trouble)
                if fleet.named.contains(name) && *state == NamespaceState::Terminating =>
            {
                return Err(Failure::unable(format!("fleet namespace {name} {trouble}"))
                    .hint("wait until it is gone, or leave it out"));
            }
            Some(trouble) if fleet.named.contains(name) => {
                return Err(
                    Failure::unable(format!("fleet namespace {name} {trouble}")).hint(format!(
                        "create it ({} create namespace {name}), or leave it out",
                        reach.kubectl
                    )),
                );
            }
            Some(trouble) => ui.warn(&format!("fleet namespace {name} {trouble}: left out")),
        }
    }
    Ok(usable)
}

/// The failure of a plan that a person has to decide on.
pub fn refusal(plan: &Plan, reach: &HintContext) -> Failure {
    let mut failure = Failure::undecided();
    for refusal in &plan.refusals {
        failure = failure.cause(refusal.message()).hint(refusal.hint(reach));
    }
    failure
}

/// Refuses while a rotation is open, in the cluster or in the store. `started` tells whether this
/// run has written already.
///
/// # Errors
/// One that is open, and a state that this program did not write (exit code 1; 3 where it has).
pub fn refuse_rotation(
    open: Result<Option<Rotation>, BadState>,
    started: bool,
    reach: &HintContext,
) -> Result<(), Failure> {
    let what = match open {
        Ok(None) => return Ok(()),
        Ok(Some(rotation)) => format!("{} since {}", rotation.describe(), rotation.at),
        Err(bad) => format!("whether a rotation is open is not known: {bad}"),
    };
    let failure = match started {
        false => Failure::no(format!("refused, and nothing has been written: {what}")),
        true => Failure::unable(format!("others wrote while this ran, and now {what}")),
    };
    Err(failure.hint(format!("{} rotate --status", reach.program)))
}

/// The router Secret of the home namespace, among what was found.
pub fn home_router<'a>(found: &'a Observations, home: &Namespace) -> Option<&'a Observed> {
    found.get(&SecretRef {
        namespace: home.clone(),
        name: ROUTER.secret,
    })
}
