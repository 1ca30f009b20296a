//! The JSON documents of `rotate`.

use super::rotation::{Forecast, Standing, describe_holder, remedy};
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::gate::OldTokenUser;
use crate::domain::rotation::outcome::Outcome;
use crate::domain::rotation::{Change, Rotation, Side};
use crate::domain::values::token::TokenName;
use serde::Serialize;
use std::collections::BTreeMap;

/// The document of `rotate`.
#[derive(Debug, Serialize)]
pub struct RotationBody {
    outcome: &'static str,
    rotation: Option<StateBody>,
    workloads: Vec<WorkloadBody>,
    holders: Vec<HolderBody>,
    unseen: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StateBody {
    id: String,
    phase: &'static str,
    since: String,
    phase_since: String,
    tokens: BTreeMap<&'static str, PrintBody>,
}

#[derive(Debug, Serialize)]
struct PrintBody {
    old: String,
    new: String,
}

#[derive(Debug, Serialize)]
struct WorkloadBody {
    namespace: String,
    object: String,
    restarts: Vec<&'static str>,
    reloader: bool,
}

#[derive(Debug, Serialize)]
struct HolderBody {
    namespace: String,
    object: String,
    message: String,
    hint: String,
}

impl From<&Rotation> for StateBody {
    fn from(rotation: &Rotation) -> Self {
        let print = |(name, change): (TokenName, &Change)| {
            let (old, new) = (change.old.clone(), change.new.clone());
            (name.as_str(), PrintBody { old, new })
        };
        Self {
            id: rotation.id.clone(),
            phase: rotation.phase.as_str(),
            since: rotation.since.clone(),
            phase_since: rotation.at.clone(),
            tokens: rotation.changes().map(print).collect(),
        }
    }
}

fn holder_body(holder: &OldTokenUser, side: Side, reach: &HintContext) -> HolderBody {
    let (namespace, object) = match holder {
        OldTokenUser::Secret { at, .. } => {
            (at.namespace.to_string(), format!("Secret/{}", at.name))
        }
        OldTokenUser::Pod {
            namespace, name, ..
        } => (namespace.to_string(), format!("Pod/{name}")),
    };
    HolderBody {
        namespace,
        object,
        message: describe_holder(holder),
        hint: remedy(holder, side, reach),
    }
}

/// The document of a finished run.
pub fn of(outcome: &Outcome, reach: &HintContext) -> RotationBody {
    let side = outcome
        .rotation()
        .map_or(Side::Old, |rotation| rotation.phase.removed_side());
    RotationBody {
        outcome: outcome.as_str(),
        rotation: outcome.rotation().map(StateBody::from),
        workloads: Vec::new(),
        holders: outcome
            .holders()
            .iter()
            .map(|holder| holder_body(holder, side, reach))
            .collect(),
        unseen: Vec::new(),
    }
}

/// The document of `--status`.
pub fn of_status(standing: Option<&Standing<'_>>, reach: &HintContext) -> RotationBody {
    let Some(standing) = standing else {
        return RotationBody {
            outcome: "none",
            rotation: None,
            workloads: Vec::new(),
            holders: Vec::new(),
            unseen: Vec::new(),
        };
    };
    RotationBody {
        outcome: "open",
        rotation: Some(standing.rotation.into()),
        workloads: standing
            .pending
            .iter()
            .map(|at| WorkloadBody {
                namespace: at.namespace.to_string(),
                object: format!("{}/{}", at.kind.as_str(), at.name),
                restarts: vec![standing.rotation.phase.as_str()],
                reloader: false,
            })
            .collect(),
        holders: standing
            .holders
            .iter()
            .map(|holder| holder_body(holder, standing.rotation.phase.removed_side(), reach))
            .collect(),
        unseen: standing.unseen.clone(),
    }
}

/// The document of the preview.
pub fn of_preview(forecast: &Forecast) -> RotationBody {
    let workloads = forecast.workloads.iter().map(|one| WorkloadBody {
        namespace: one.at.namespace.to_string(),
        object: format!("{}/{}", one.at.kind.as_str(), one.at.name),
        restarts: one.phases.iter().map(|phase| phase.as_str()).collect(),
        reloader: one.reloaded,
    });
    RotationBody {
        outcome: "planned",
        rotation: None,
        workloads: workloads.collect(),
        holders: Vec::new(),
        unseen: forecast.unseen.clone(),
    }
}
