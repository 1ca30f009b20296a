//! Decides what a workload needs that has to roll out: a restart, or time. It must not wait: the
//! caller has the clock.

use super::workloads::WorkloadRef;
use crate::domain::cluster::workload::Workload;

/// A workload that has to roll out.
pub struct Due<'a> {
    pub workload: &'a Workload,
    /// The value for the restart annotation of the pod template.
    pub mark: String,
    /// Whether the template has this mark, or an equivalent one.
    pub is_marked: bool,
}

impl Due<'_> {
    pub fn at(&self) -> WorkloadRef {
        WorkloadRef::of(self.workload)
    }
}

/// What Reloader may do for a workload.
#[derive(Clone, Copy, Debug)]
pub struct Reloader {
    /// The generation of the workload before the Secrets were written, if known.
    pub generation_before: Option<i64>,
    pub is_grace_over: bool,
}

/// What a workload needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    Restart,
    /// Reloader may be about to restart it.
    Grace,
    /// Its rollout takes time. The text is its progress.
    Rollout(String),
    /// Reloader has restarted it. Whether that was late enough shows in its pods.
    Reloaded,
}

/// Decides what a workload needs. `reloader` is `None` if Reloader is not waited for.
pub fn need(due: &Due<'_>, reloader: Option<Reloader>) -> Need {
    let Workload { kind, rollout, .. } = due.workload;
    let progress = rollout.progress(*kind);
    if due.is_marked {
        return Need::Rollout(progress);
    }
    let Some(reloader) = reloader.filter(|_| due.workload.reloaded) else {
        return Need::Restart;
    };
    let is_complete = rollout.is_complete(*kind);
    let has_changed = reloader
        .generation_before
        .is_some_and(|before| rollout.generation > before);
    if has_changed && is_complete {
        Need::Reloaded
    } else if has_changed || !is_complete {
        Need::Rollout(format!("is restarted by Reloader, {progress}"))
    } else if reloader.is_grace_over {
        Need::Restart
    } else {
        Need::Grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::names::WorkloadKind;
    use crate::domain::cluster::rollout::Rollout;
    use crate::domain::cluster::workload::PodSpec;

    /// The need of a Deployment of generation 2 with one pod.
    fn need_of(is_complete: bool, is_marked: bool, reloader: Option<Reloader>) -> Need {
        let workload = Workload {
            kind: WorkloadKind::Deployment,
            namespace: "brain".parse().unwrap(),
            name: "api".to_owned(),
            spec: PodSpec::default(),
            reloaded: true,
            mark: None,
            rollout: Rollout::example(is_complete),
        };
        let due = Due {
            workload: &workload,
            mark: "id.open".to_owned(),
            is_marked,
        };
        need(&due, reloader)
    }

    fn reloader(generation_before: i64, is_grace_over: bool) -> Option<Reloader> {
        Some(Reloader {
            generation_before: Some(generation_before),
            is_grace_over,
        })
    }

    #[test]
    fn a_workload_without_the_mark_is_restarted_unless_reloader_is_waited_for() {
        assert_eq!(need_of(true, false, None), Need::Restart);
        assert_eq!(need_of(false, false, None), Need::Restart);
        assert_eq!(need_of(true, false, reloader(2, false)), Need::Grace);
        assert_eq!(need_of(true, false, reloader(2, true)), Need::Restart);
    }

    #[test]
    fn a_rollout_that_something_else_began_is_waited_for() {
        let own = Need::Rollout("0 of 1 pod updated".to_owned());
        assert_eq!(need_of(false, true, None), own);
        assert_eq!(need_of(false, true, reloader(2, true)), own);
        let theirs = Need::Rollout("is restarted by Reloader, 0 of 1 pod updated".to_owned());
        assert_eq!(need_of(false, false, reloader(1, true)), theirs);
        assert_eq!(need_of(false, false, reloader(2, true)), theirs);
        assert_eq!(need_of(true, false, reloader(1, false)), Need::Reloaded);
    }
}
