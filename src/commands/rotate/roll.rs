//! Restarts of a rotation: by us and by Reloader, or by hand.

use super::Run;
use super::look::Look;
use crate::commands::rolling::{Aim, Rolling, hangs, late, roll};
use crate::domain::bundles::{EMBEDDINGS, Origin, ROUTER};
use crate::domain::rotation::edits::{At, Edit};
use crate::domain::rotation::rollouts::{Who, WorkloadRef, pending, role};
use crate::domain::rotation::{Phase, Rotation, WRITTEN};
use crate::domain::workloads::Workload;
use crate::error::Failure;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause between two looks at what a person does.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells whether a key is a list of tokens.
fn is_list(key: &str) -> bool {
    let mut keys = [&ROUTER, &EMBEDDINGS].into_iter().flat_map(|it| it.keys);
    keys.any(|it| it.name == key && matches!(it.origin, Origin::TokenList(..)))
}

impl Run<'_> {
    /// Restarts these workloads, or has somebody do it, and waits until they have rolled out.
    ///
    /// # Errors
    /// Those that do not roll out in time, with the reason; a server that refuses (exit code 3).
    pub(super) async fn roll(
        &self,
        look: &Look,
        rotation: &Rotation,
        workloads: &[WorkloadRef],
        rolling: &mut Rolling,
    ) -> Result<(), Failure> {
        let rolled = match self.rotate.no_restart {
            true => self.wait_for_hands(rotation, workloads, rolling).await,
            false => {
                let row = rotation.phase.row();
                let good = |workload: &Workload| {
                    let role = role(rotation, workload);
                    let server_only = row.both && role.server && !row.clients;
                    rotation.marks(workload.mark.as_deref(), server_only)
                };
                let aim = Aim {
                    mark: rotation.mark(),
                    good: &good,
                    now: &self.now(look),
                    grace: self.rotate.reloader_grace.0.unwrap_or_default(),
                    limit: self.rotate.timeout.0,
                };
                roll(&self.cluster, self.ui, workloads, &aim, rolling).await
            }
        };
        rolled.map_err(|failure| {
            failure
                .cause(format!("the rotation stays in {}", rotation.phase))
                .hint(format!(
                    "mend that, then carry it on: {}",
                    self.reach.carry_on()
                ))
        })
    }

    /// The servers that read a list which this rotation has written before and which these edits
    /// write again while both tokens are accepted: one that was restarted for the first list may have
    /// started since without our entry, and its template does not tell.
    pub(super) fn relisted(
        &self,
        look: &Look,
        rotation: &Rotation,
        edits: &[Edit],
    ) -> Vec<WorkloadRef> {
        let again = edits.iter().filter(|edit| {
            let lists = edit.set.keys().any(|key| is_list(key));
            // Whoever restarts by hand is asked again: their pods are told by their age.
            let ours = lists && !self.rotate.no_restart;
            ours && rotation.phase.row().both && self.has_written(look, rotation, &edit.at)
        });
        let servers = again.flat_map(|edit| {
            look.workloads().filter(|workload| {
                let here = match &edit.at {
                    At::Secret(at) => at.namespace == workload.namespace,
                    At::Entry(_) | At::Hand(_) => true,
                };
                let read = workload.spec.references().into_iter();
                let mut read = read.map(|it| it.secret);
                let list = look.targets.iter().find(|target| target.at == edit.at);
                let reads = list.is_some_and(|list| read.any(|it| it == list.bundle.secret));
                here && reads && role(rotation, workload).server
            })
        });
        servers.map(WorkloadRef::of).collect()
    }

    /// Tells whether this rotation has written a place before. Of an entry only its phase tells.
    fn has_written(&self, look: &Look, rotation: &Rotation, at: &At) -> bool {
        let At::Secret(at) = at else {
            return rotation.phase != Phase::Open;
        };
        let place = look.facts.places.get(&at.namespace);
        let live = place.and_then(|place| place.live(at.name));
        let mark = live.and_then(|live| live.annotations.get(WRITTEN));
        mark.and_then(|mark| mark.split_once('.'))
            .is_some_and(|(id, _)| id == rotation.id)
    }

    /// Restarts servers whatever their templates say, and waits until they have rolled out.
    ///
    /// # Errors
    /// As those of [`Run::roll`].
    pub(super) async fn roll_again(
        &self,
        look: &Look,
        rotation: &Rotation,
        servers: BTreeSet<WorkloadRef>,
        rolling: &mut Rolling,
    ) -> Result<(), Failure> {
        let servers: Vec<_> = servers.into_iter().collect();
        let mark = format!("{}.{}", rotation.mark(), look.facts.now);
        let good = |workload: &Workload| workload.mark.as_ref() == Some(&mark);
        let aim = Aim {
            mark: mark.clone(),
            good: &good,
            now: &self.now(look),
            grace: Duration::ZERO,
            limit: self.rotate.timeout.0,
        };
        self.ui
            .story("  a list had lost an entry of this rotation: its servers restart once more");
        roll(&self.cluster, self.ui, &servers, &aim, rolling).await
    }

    /// Prints the commands that restart, and waits until they have been run.
    async fn wait_for_hands(
        &self,
        rotation: &Rotation,
        workloads: &[WorkloadRef],
        rolling: &mut Rolling,
    ) -> Result<(), Failure> {
        let mut untold = workloads.to_vec();
        untold.retain(|at| rolling.leave(&rotation.mark(), at));
        if !untold.is_empty() {
            // Who restarts at once would do so within the second of the write, and then nobody
            // could tell what a pod started with.
            sleep(PAUSE).await;
        }
        for at in untold {
            let kind = at.kind.as_str().to_lowercase();
            self.ui.story(&format!(
                "  restart it: {} -n {} rollout restart {kind}/{}",
                self.reach.kubectl, at.namespace, at.name
            ));
        }
        let limit = self.rotate.timeout.0;
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            sleep(PAUSE).await;
            let look = self.look().await?;
            let same = look.state.as_ref().is_some_and(|it| it.is_as(rotation));
            let waiting: Vec<_> = pending(rotation, &look.facts, Who::Everybody)
                .into_iter()
                .map(WorkloadRef::of)
                .filter(|at| workloads.contains(at))
                .collect();
            if !same || waiting.is_empty() {
                return Ok(());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let mut unrun = Vec::new();
                for at in waiting {
                    let found = look.workloads().find(|it| WorkloadRef::of(it) == at);
                    let unready = found.filter(|it| !it.rollout.is_complete(it.kind));
                    let why = match unready {
                        Some(workload) => hangs(&self.cluster, workload).await?,
                        None => Failure::unable("nobody has restarted it yet"),
                    };
                    unrun.push((at, why));
                }
                return late(workloads.len(), unrun);
            }
        }
    }
}
