//! Tests of the progress of a rollout, and of the reasons why it does not complete.

use super::names::WorkloadKind;
use super::rollout::Rollout;
use super::stuck::{StuckFacts, Warning, WarningCause, why_stuck};
use super::workload::{Missing, Pod, PodSpec, Workload};

/// A rollout of three pods of the second generation.
fn counts(observed: i64, [replicas, updated, ready, available]: [i64; 4]) -> Rollout {
    Rollout {
        generation: 2,
        observed,
        wanted: 3,
        replicas,
        updated,
        ready,
        available,
        same_revision: true,
        ..Rollout::default()
    }
}

#[test]
fn a_rollout_is_complete_when_every_pod_is_updated_and_ready() {
    use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
    for (kind, observed, pods, complete, progress) in [
        (StatefulSet, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        // The controller has not seen the change yet.
        (StatefulSet, 1, [3, 3, 3, 3], false, "not started"),
        (StatefulSet, 0, [3, 3, 3, 3], false, "not started"),
        (StatefulSet, 2, [3, 1, 3, 3], false, "1 of 3 pods updated"),
        (StatefulSet, 2, [3, 3, 2, 2], false, "2 of 3 pods ready"),
        (StatefulSet, 2, [0, 0, 0, 0], false, "0 of 3 pods updated"),
        (Deployment, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        (Deployment, 1, [3, 3, 3, 3], false, "not started"),
        (Deployment, 2, [4, 2, 3, 3], false, "2 of 3 pods updated"),
        (
            Deployment,
            2,
            [4, 3, 4, 4],
            false,
            "1 old pod still running",
        ),
        (
            Deployment,
            2,
            [5, 3, 4, 4],
            false,
            "2 old pods still running",
        ),
        (Deployment, 2, [3, 3, 3, 2], false, "2 of 3 pods ready"),
        (DaemonSet, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        (DaemonSet, 1, [3, 3, 3, 3], false, "not started"),
        (DaemonSet, 2, [3, 2, 3, 3], false, "2 of 3 pods updated"),
        (DaemonSet, 2, [3, 3, 3, 0], false, "0 of 3 pods ready"),
        (
            WorkloadKind::CronJob,
            0,
            [0; 4],
            true,
            "nothing to wait for",
        ),
        (WorkloadKind::Pod, 0, [0; 4], true, "nothing to wait for"),
    ] {
        let rollout = counts(observed, pods);
        assert_eq!(rollout.is_complete(kind), complete, "{kind:?} {pods:?}");
        assert_eq!(rollout.progress(kind), progress, "{kind:?} {pods:?}");
        assert_eq!(rollout.blocker(kind), None);
    }
}

#[test]
fn a_stateful_set_with_two_revisions_is_not_complete() {
    let changed = |change: fn(&mut Rollout)| {
        let mut rollout = counts(2, [3, 3, 3, 3]);
        rollout.same_revision = false;
        change(&mut rollout);
        rollout
    };
    let rolling = changed(|_| ());
    assert!(!rolling.is_complete(WorkloadKind::StatefulSet));
    // `kubectl rollout status` calls this complete.
    let partitioned = changed(|rollout| {
        rollout.partitioned = true;
        rollout.updated = 2;
    });
    assert!(!partitioned.is_complete(WorkloadKind::StatefulSet));
    // With OnDelete the revision stays when all pods are deleted and replaced.
    let on_delete = changed(|rollout| rollout.on_delete = true);
    assert!(on_delete.is_complete(WorkloadKind::StatefulSet));
    let without_pods = changed(|rollout| {
        *rollout = Rollout {
            wanted: 0,
            same_revision: true,
            ..counts(2, [0; 4])
        };
    });
    for kind in [
        WorkloadKind::StatefulSet,
        WorkloadKind::Deployment,
        WorkloadKind::DaemonSet,
    ] {
        assert!(without_pods.is_complete(kind), "{kind:?}");
    }
}

#[test]
fn a_rollout_that_cannot_complete_has_a_blocker() {
    let all = Rollout {
        paused: true,
        on_delete: true,
        partitioned: true,
        ..Rollout::default()
    };
    let partitioned = Rollout {
        on_delete: false,
        ..all.clone()
    };
    for (rollout, kind, word) in [
        (&all, WorkloadKind::Deployment, Some("paused")),
        (&all, WorkloadKind::StatefulSet, Some("OnDelete")),
        (&all, WorkloadKind::DaemonSet, Some("OnDelete")),
        (&partitioned, WorkloadKind::StatefulSet, Some("partition")),
        (&partitioned, WorkloadKind::DaemonSet, None),
        (&all, WorkloadKind::CronJob, None),
        (&all, WorkloadKind::Pod, None),
    ] {
        let blocker = rollout.blocker(kind).unwrap_or_default();
        assert_eq!(blocker.is_empty(), word.is_none(), "{kind:?}");
        assert!(blocker.contains(word.unwrap_or_default()));
    }
}

fn workload(kind: WorkloadKind) -> Workload {
    Workload {
        kind,
        namespace: "brain".parse().unwrap(),
        name: "api".to_owned(),
        spec: PodSpec::default(),
        reloaded: false,
        mark: Some("7.switch".to_owned()),
        rollout: Rollout {
            restarted: Some(1000),
            ..counts(2, [3, 1, 1, 1])
        },
    }
}

fn pod(name: &str, of: WorkloadKind) -> Pod {
    Pod {
        namespace: "brain".parse().unwrap(),
        name: name.to_owned(),
        owner: Some((of.as_str().to_owned(), "api".to_owned())),
        spec: PodSpec::default(),
        ready: false,
        started: Default::default(),
        waiting: Default::default(),
        stuck: Default::default(),
        unschedulable: false,
        mark: Some("7.switch".to_owned()),
    }
}

fn warning(what: WarningCause, kind: &str, name: &str, at: Option<i64>) -> Warning {
    Warning {
        what,
        kind: kind.to_owned(),
        name: name.to_owned(),
        at,
    }
}

fn stuck(workload: &Workload, pods: &[Pod], warnings: &[Warning]) -> Vec<String> {
    let seen = StuckFacts {
        pods,
        leaving: &[],
        warnings: Some(warnings),
    };
    why_stuck(workload, seen, "`describe`")
}

#[test]
fn pods_with_the_same_reason_are_listed_together() {
    let kind = WorkloadKind::StatefulSet;
    let waits = |name: &str, reason: &str| Pod {
        stuck: [("main".to_owned(), reason.to_owned())].into(),
        ..pod(name, kind)
    };
    let lacks = |name: &str, secret: Option<&str>, key: Option<&str>| {
        let missing = Missing {
            secret: secret.map(str::to_owned),
            key: key.map(str::to_owned),
        };
        Pod {
            waiting: [("main".to_owned(), Some(missing))].into(),
            ..waits(name, "CreateContainerConfigError")
        }
    };
    let ready = Pod {
        ready: true,
        ..pod("api-1", kind)
    };
    let unschedulable = Pod {
        unschedulable: true,
        ..pod("api-2", kind)
    };
    let of_another_owner = Pod {
        owner: None,
        ..pod("other", kind)
    };
    let old = Pod {
        mark: None,
        ..pod("api-0", kind)
    };
    for (pods, expected) in [
        (vec![ready.clone(), of_another_owner], vec![]),
        (vec![pod("api-0", kind)], vec!["pod api-0: not ready"]),
        (
            vec![unschedulable, ready],
            vec!["pod api-2: unschedulable: no node fits"],
        ),
        (
            vec![waits("a", "ErrImagePull"), waits("b", "ErrImagePull")],
            vec!["pods a, b: the image of main cannot be pulled (ErrImagePull)"],
        ),
        (
            ["a", "b", "c", "d", "e"]
                .map(|name| waits(name, "CrashLoopBackOff"))
                .into(),
            vec!["pods a, b, c and 2 more: main keeps crashing (CrashLoopBackOff): see its log"],
        ),
        (
            vec![lacks("a", Some("s"), Some("K"))],
            vec!["pod a: main waits for K of Secret s"],
        ),
        (
            vec![lacks("a", Some("s"), None), lacks("b", None, None)],
            vec![
                "pod a: main waits for Secret s",
                "pod b: main waits for a ConfigMap",
            ],
        ),
        (
            vec![waits("a", "CreateContainerConfigError")],
            vec!["pod a: main waits (CreateContainerConfigError)"],
        ),
        (
            vec![old],
            vec![
                "pod api-0: not ready",
                "pod api-0: old template, not ready: delete it",
            ],
        ),
    ] {
        assert_eq!(stuck(&workload(kind), &pods, &[]), expected);
    }
}

#[test]
fn warnings_count_for_their_object_and_after_the_last_restart() {
    use WarningCause::{NotMade, NotMounted, Quota};
    let quota = "a ResourceQuota prevents the creation of its pods";
    let other = "its pods cannot be created: see `describe`";
    let (set, deployment) = (WorkloadKind::StatefulSet, WorkloadKind::Deployment);
    for (kind, warning, expected) in [
        (set, warning(Quota, "StatefulSet", "api", None), Some(quota)),
        (
            set,
            warning(NotMade, "StatefulSet", "api", Some(1001)),
            Some(other),
        ),
        (set, warning(Quota, "StatefulSet", "api", Some(900)), None),
        (set, warning(Quota, "StatefulSet", "api-2", None), None),
        (set, warning(Quota, "ReplicaSet", "api-5d9c", None), None),
        (
            deployment,
            warning(Quota, "ReplicaSet", "api-5d9c", None),
            Some(quota),
        ),
        (
            deployment,
            warning(NotMade, "Deployment", "api", None),
            Some(other),
        ),
        (
            deployment,
            warning(Quota, "ReplicaSet", "api-b-5d9c", None),
            None,
        ),
        (deployment, warning(Quota, "ReplicaSet", "api-", None), None),
        (set, warning(NotMounted, "Pod", "api-0", None), None),
    ] {
        let mut workload = workload(kind);
        let expected: Vec<_> = expected.into_iter().collect();
        let warnings = [warning];
        assert_eq!(stuck(&workload, &[], &warnings), expected);
        // All pods exist.
        workload.rollout.updated = 3;
        assert_eq!(stuck(&workload, &[], &warnings), Vec::<String>::new());
    }
    let mounts = [warning(NotMounted, "Pod", "api-0", None)];
    assert_eq!(
        stuck(&workload(set), &[pod("api-0", set)], &mounts),
        ["pod api-0: one of its volumes cannot be mounted"]
    );
}

#[test]
fn missing_permissions_are_listed() {
    let mut workload = workload(WorkloadKind::Deployment);
    workload.rollout.paused = true;
    let leaving = [pod("api-1", WorkloadKind::Deployment)];
    let seen = StuckFacts {
        pods: &[],
        leaving: &leaving,
        warnings: None,
    };
    assert_eq!(
        why_stuck(&workload, seen, ""),
        [
            "it is paused (spec.paused)",
            "pod api-1: being deleted, still running",
            "you may not list events there",
        ]
    );
}
