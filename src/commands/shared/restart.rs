//! `--apply --update KEY --restart`: restarts the workloads that read the changed keys and waits
//! for their rollouts. Writes no Secret.

use super::rollouts::{RolloutTracker, restart_due, timed_out};
use super::wait::Wait;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::cluster::workload::Workload;
use crate::domain::rotation::restart::Due;
use crate::domain::rotation::workloads::is_fresh_since;
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::FleetScope;
use crate::ui::Ui;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long Reloader may take to start a rollout.
const GRACE: Duration = Duration::from_secs(5);
/// How long all rollouts may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Records the workloads of the home namespace before the Secrets are written. A later change that
/// this run did not make is attributed to Reloader.
///
/// # Errors
/// A failed or forbidden read (exit code 3).
pub async fn before(cluster: &Cluster, home: &Namespace) -> Result<RolloutTracker, Failure> {
    let snapshot = read_cluster(cluster, home).await?;
    let mut tracker = RolloutTracker::default();
    tracker.record_write(snapshot.home_place().workloads.iter());
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
    let mut wait = Wait::new(Some(LIMIT));
    loop {
        let snapshot = read_cluster(cluster, home).await?;
        let place = snapshot.home_place();
        let workloads = place.workloads.iter();
        let due: Vec<_> = workloads
            .filter_map(|workload| due(place, workload, keys))
            .collect();
        tracker.report(ui, &snapshot, &due);
        if due.is_empty() {
            return Ok(());
        }
        if wait.is_over() {
            return Err(timed_out(cluster, &snapshot, &due).await?);
        }
        restart_due(
            cluster,
            ui,
            &due,
            snapshot.now,
            GRACE,
            &mut tracker,
            &mut wait,
        )
        .await?;
        wait.pause().await;
    }
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

/// A workload that reads one of these keys and has not rolled out with its newest value. The mark
/// is of the newest Secret with such a key.
fn due<'a>(
    place: &NamespaceSnapshot,
    workload: &'a Workload,
    keys: &BTreeSet<&'static str>,
) -> Option<Due<'a>> {
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
    let is_marked = workload.mark.as_ref() == Some(&mark);
    let is_fresh = is_marked || is_fresh_since(place, workload, newest.changed);
    let is_done = is_fresh && workload.rollout.is_complete(workload.kind);
    (!is_done).then_some(Due {
        workload,
        mark,
        is_marked,
    })
}
