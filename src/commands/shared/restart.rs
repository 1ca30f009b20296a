//! `--apply --update KEY --restart`: restarts the workloads that read the changed keys and waits
//! for their rollouts. Writes no Secret.

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

/// How long Reloader may take to start a rollout.
const GRACE: Duration = Duration::from_secs(5);
/// How long one round of rollouts may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Records the workloads of the home namespace before the Secrets are written. A later change that
/// this run did not make is attributed to Reloader.
///
/// # Errors
/// A failed or forbidden read (exit code 3).
pub async fn before(cluster: &Cluster, home: &Namespace) -> Result<RolloutTracker, Failure> {
    let snapshot = read_cluster(cluster, home).await?;
    let mut tracker = RolloutTracker::default();
    tracker.written(snapshot.home_place().workloads.iter());
    Ok(tracker)
}

/// Restarts the workloads that read these keys and started with older values, and waits for them.
///
/// # Errors
/// Workloads that cannot be listed, or whose rollout times out (exit code 3).
pub async fn readers(
    cluster: &Cluster,
    home: &Namespace,
    keys: &BTreeSet<&'static str>,
    mut tracker: RolloutTracker,
    ui: Ui,
) -> Result<(), Failure> {
    // One Secret after the other. A second round per Secret covers workloads that Reloader
    // restarted too early to have the new value.
    for _ in 0..2 * BUNDLES.len() {
        let snapshot = read_cluster(cluster, home).await?;
        let place = snapshot.home_place();
        let mut marks = BTreeMap::new();
        for workload in &place.workloads {
            if let Some((mark, changed)) = required_mark(place, workload, keys)
                && !is_up_to_date(place, workload, &mark, changed)
            {
                marks.insert(WorkloadRef::of(workload), mark);
            }
        }
        let Some(mark) = marks.values().max().cloned() else {
            return Ok(());
        };
        let workloads: Vec<_> = marks
            .into_iter()
            .filter(|(_, other)| *other == mark)
            .map(|(at, _)| at)
            .collect();
        let now = jiff::Timestamp::from_second(snapshot.now).unwrap_or_default();
        let good = |workload: &Workload| workload.mark.as_ref() == Some(&mark);
        let goal = RolloutGoal {
            mark: mark.clone(),
            good: &good,
            now: &now.to_string(),
            grace: GRACE,
            limit: Some(LIMIT),
        };
        roll(cluster, ui, &workloads, &goal, &mut tracker).await?;
    }
    Err(Failure::unable(
        "workloads keep being restarted by something else while --restart waits for \
         them",
    )
    .hint(format!(
        "find out by what: {} -n {home} get statefulsets,deployments,daemonsets",
        cluster.reach().kubectl
    )))
}

/// Reads the cluster, and refuses if workloads or pods cannot be listed.
async fn read_cluster(cluster: &Cluster, home: &Namespace) -> Result<ClusterSnapshot, Failure> {
    let snapshot = cluster
        .inspect(home, &FleetScope::default(), &BTreeSet::new())
        .await?;
    let denied = snapshot
        .unlistable_workloads()
        .next()
        .map(ToString::to_string);
    match denied {
        None => Ok(snapshot),
        Some(denied) => Err(Failure::unable(
            "--restart cannot list the workloads that read the Secrets",
        )
        .cause(denied)
        .hint(
            "have an administrator apply the output of `rbac rotate`, or restart them by \
             hand",
        )),
    }
}

/// The restart mark that a workload needs, and when its Secret last changed (seconds since 1970).
/// Both belong to the newest Secret from which the workload reads one of these keys.
fn required_mark(
    place: &NamespaceSnapshot,
    workload: &Workload,
    keys: &BTreeSet<&'static str>,
) -> Option<(String, Option<i64>)> {
    if matches!(workload.kind, WorkloadKind::CronJob | WorkloadKind::Pod) {
        return None;
    }
    let references = workload.spec.references();
    let secrets = BUNDLES.iter().filter_map(|bundle| {
        let updated: Vec<_> = bundle
            .keys
            .iter()
            .map(|key| key.name)
            .filter(|name| keys.contains(name))
            .collect();
        let is_read = references.iter().any(|reference| {
            reference.secret == bundle.secret
                && reference.key.is_none_or(|key| updated.contains(&key))
        });
        place
            .live(bundle.secret)
            .filter(|_| is_read && !updated.is_empty())
    });
    let newest: &LiveSecret = secrets.max_by_key(|live| live.changed)?;
    let mark = format!("{}.update", newest.resource_version);
    Some((mark, newest.changed))
}

/// True if a workload has rolled out with the newest values.
fn is_up_to_date(
    place: &NamespaceSnapshot,
    workload: &Workload,
    mark: &str,
    changed: Option<i64>,
) -> bool {
    let is_marked = workload.mark.as_deref() == Some(mark);
    let is_fresh = is_marked || is_fresh_since(place, workload, changed);
    is_fresh && workload.rollout.is_complete(workload.kind)
}
