//! The JSON documents of `rotate`.

use super::rotation::{Forecast, Standing, describe_holder, remedy};
use crate::domain::cluster::names::Namespace;
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::gate::OldTokenUser;
use crate::domain::rotation::outcome::Outcome;
use crate::domain::rotation::workloads::WorkloadRef;
use crate::domain::rotation::{Change, Phase, Rotation, Side};
use crate::domain::values::token::TokenName;
use serde::Serialize;
use std::collections::BTreeMap;

/// The document of `rotate`.
#[derive(Debug, Default, Serialize)]
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
    phase: Phase,
    since: String,
    phase_since: String,
    tokens: BTreeMap<TokenName, Change>,
}

#[derive(Debug, Serialize)]
struct WorkloadBody {
    namespace: Namespace,
    object: String,
    restarts: Vec<Phase>,
    reloader: bool,
}

#[derive(Debug, Serialize)]
struct HolderBody {
    namespace: Namespace,
    object: String,
    message: String,
    hint: String,
}

impl From<&Rotation> for StateBody {
    fn from(rotation: &Rotation) -> Self {
        let prints = |change: &Change| Change {
            minted: None,
            ..change.clone()
        };
        Self {
            id: rotation.id.clone(),
            phase: rotation.phase,
            since: rotation.since.clone(),
            phase_since: rotation.at.clone(),
            tokens: rotation
                .changes()
                .map(|(name, change)| (name, prints(change)))
                .collect(),
        }
    }
}

impl WorkloadBody {
    fn new(at: &WorkloadRef, restarts: Vec<Phase>, reloader: bool) -> Self {
        Self {
            namespace: at.namespace.clone(),
            object: format!("{}/{}", at.kind.as_str(), at.name),
            restarts,
            reloader,
        }
    }
}

fn holder_bodies(holders: &[OldTokenUser], side: Side, reach: &HintContext) -> Vec<HolderBody> {
    let body = |holder: &OldTokenUser| {
        let (namespace, object) = match holder {
            OldTokenUser::Secret { at, .. } => (&at.namespace, format!("Secret/{}", at.name)),
            OldTokenUser::Pod {
                namespace, name, ..
            } => (namespace, format!("Pod/{name}")),
        };
        HolderBody {
            namespace: namespace.clone(),
            object,
            message: describe_holder(holder),
            hint: remedy(holder, side, reach),
        }
    };
    holders.iter().map(body).collect()
}

/// The document of a finished run.
pub fn of(outcome: &Outcome, reach: &HintContext) -> RotationBody {
    let rotation = outcome.rotation();
    let side = rotation.map_or(Side::Old, |rotation| rotation.phase.removed_side());
    RotationBody {
        outcome: outcome.as_str(),
        rotation: rotation.map(StateBody::from),
        holders: holder_bodies(outcome.holders(), side, reach),
        ..RotationBody::default()
    }
}

/// The document of `--status`.
pub fn of_status(standing: Option<&Standing<'_>>, reach: &HintContext) -> RotationBody {
    let Some(standing) = standing else {
        return RotationBody {
            outcome: "none",
            ..RotationBody::default()
        };
    };
    let phase = standing.rotation.phase;
    let workload = |at| WorkloadBody::new(at, vec![phase], false);
    RotationBody {
        outcome: "open",
        rotation: Some(standing.rotation.into()),
        workloads: standing.pending.iter().map(workload).collect(),
        holders: holder_bodies(&standing.holders, phase.removed_side(), reach),
        unseen: standing.unseen.clone(),
    }
}

/// The document of the preview.
pub fn of_preview(forecast: &Forecast) -> RotationBody {
    let workloads = forecast.workloads.iter();
    RotationBody {
        outcome: "planned",
        workloads: workloads
            .map(|one| WorkloadBody::new(&one.at, one.phases.clone(), one.reloaded))
            .collect(),
        unseen: forecast.unseen.clone(),
        ..RotationBody::default()
    }
}
