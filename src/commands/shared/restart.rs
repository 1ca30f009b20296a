//! `--apply --update KEY --restart`: who reads what was changed restarts, and is waited for.

use super::rollout_wait::{RolloutGoal, RolloutTracker, roll};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::cluster::workload::Workload;
use crate::domain::rotation::workloads::{WorkloadRef, is_fresh_since};
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::FleetScope;
use crate::ui::Ui;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long Reloader may take to restart what it looks after.
const GRACE: Duration = Duration::from_secs(5);
/// How long the readers may take to roll out.
const LIMIT: Duration = Duration::from_secs(300);

/// The workloads of home, before the Secrets are written: what changes by itself after that is
/// Reloader's work.
///
/// # Errors
/// What cannot be read (exit code 3).
pub async fn before(cluster: &Cluster, home: &Namespace) -> Result<RolloutTracker, Failure> {
    let facts = look(cluster, home).await?;
    let mut rolling = RolloutTracker::default();
    rolling.written(facts.home_place().workloads.iter());
    Ok(rolling)
}

/// Restarts the readers of these keys that run on older values, and waits for them.
///
/// # Errors
/// Workloads that may not be seen, or do not roll out in time (exit code 3).
pub async fn readers(
    cluster: &Cluster,
    home: &Namespace,
    keys: &BTreeSet<&'static str>,
    mut rolling: RolloutTracker,
    ui: Ui,
) -> Result<(), Failure> {
    // One Secret after the other; again where Reloader has done its part too early to tell.
    for _ in 0..2 * BUNDLES.len() {
        let facts = look(cluster, home).await?;
        let place = facts.home_place();
        let mut marks = BTreeMap::new();
        for workload in &place.workloads {
            if let Some((mark, changed)) = read(place, workload, keys)
                && !is_right(place, workload, &mark, changed)
            {
                marks.insert(WorkloadRef::of(workload), mark);
            }
        }
        let Some(mark) = marks.values().max().cloned() else {
            return Ok(());
        };
        let of_it = marks.into_iter().filter(|(_, of)| *of == mark);
        let workloads: Vec<_> = of_it.map(|(at, _)| at).collect();
        let now = jiff::Timestamp::from_second(facts.now).unwrap_or_default();
        let good = |workload: &Workload| workload.mark.as_ref() == Some(&mark);
        let aim = RolloutGoal {
            mark: mark.clone(),
            good: &good,
            now: &now.to_string(),
            grace: GRACE,
            limit: Some(LIMIT),
        };
        roll(cluster, ui, &workloads, &aim, &mut rolling).await?;
    }
    Err(
        Failure::unable("who reads what was changed keeps being restarted by others").hint(
            format!(
                "see who: {} -n {home} get statefulsets,deployments,daemonsets",
                cluster.reach().kubectl
            ),
        ),
    )
}

async fn look(cluster: &Cluster, home: &Namespace) -> Result<ClusterSnapshot, Failure> {
    let facts = cluster
        .inspect(home, &FleetScope::default(), &BTreeSet::new())
        .await?;
    let blind = facts.unlistable_workloads().next().map(ToString::to_string);
    match blind {
        None => Ok(facts),
        Some(denied) => Err(
            Failure::unable("--restart cannot see who reads the Secrets")
                .cause(denied)
                .hint(
                    "have an administrator give you what `rbac rotate` prints, or restart by hand",
                ),
        ),
    }
}

/// The mark of the newest state of what a workload reads of these keys, and when that last changed.
fn read(
    place: &NamespaceSnapshot,
    workload: &Workload,
    keys: &BTreeSet<&'static str>,
) -> Option<(String, Option<i64>)> {
    if matches!(workload.kind, WorkloadKind::CronJob | WorkloadKind::Pod) {
        return None;
    }
    let references = workload.spec.references();
    let read = BUNDLES.iter().filter_map(|bundle| {
        let named = bundle.keys.iter().map(|key| key.name);
        let named: Vec<_> = named.filter(|name| keys.contains(name)).collect();
        let reads = references
            .iter()
            .any(|it| it.secret == bundle.secret && it.key.is_none_or(|key| named.contains(&key)));
        place
            .live(bundle.secret)
            .filter(|_| reads && !named.is_empty())
    });
    let newest: &LiveSecret = read.max_by_key(|live| live.changed)?;
    let mark = format!("{}.update", newest.resource_version);
    Some((mark, newest.changed))
}

fn is_right(
    place: &NamespaceSnapshot,
    workload: &Workload,
    mark: &str,
    changed: Option<i64>,
) -> bool {
    let marked = workload.mark.as_deref() == Some(mark);
    let fresh = marked || is_fresh_since(place, workload, changed);
    fresh && workload.rollout.is_complete(workload.kind)
}
