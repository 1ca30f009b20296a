//! How far a rollout has come, and why it does not end.

use super::names::WorkloadKind;
use super::rollout::Rollout;
use super::stuck::{StuckFacts, Warning, WarningCause, why_stuck};
use super::workload::{Missing, Pod, PodSpec, Workload};

/// A rollout of three pods with these counts: how many there are, are updated, ready and
/// available; of the second generation.
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
fn a_rollout_is_complete_when_every_pod_is_new_and_serves() {
    use WorkloadKind::{DaemonSet, Deployment, StatefulSet};
    for (kind, observed, pods, complete, progress) in [
        (StatefulSet, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        // Right after the change the status is still the old one.
        (StatefulSet, 1, [3, 3, 3, 3], false, "not begun"),
        (StatefulSet, 0, [3, 3, 3, 3], false, "not begun"),
        (StatefulSet, 2, [3, 1, 3, 3], false, "1 of 3 pods made anew"),
        (StatefulSet, 2, [3, 3, 2, 2], false, "2 of 3 pods ready"),
        (StatefulSet, 2, [0, 0, 0, 0], false, "0 of 3 pods made anew"),
        (Deployment, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        (Deployment, 1, [3, 3, 3, 3], false, "not begun"),
        (Deployment, 2, [4, 2, 3, 3], false, "2 of 3 pods made anew"),
        (Deployment, 2, [4, 3, 4, 4], false, "1 old pod still there"),
        (Deployment, 2, [5, 3, 4, 4], false, "2 old pods still there"),
        (Deployment, 2, [3, 3, 3, 2], false, "2 of 3 pods ready"),
        (DaemonSet, 2, [3, 3, 3, 3], true, "3 of 3 pods ready"),
        (DaemonSet, 1, [3, 3, 3, 3], false, "not begun"),
        (DaemonSet, 2, [3, 2, 3, 3], false, "2 of 3 pods made anew"),
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
        assert_eq!(rollout.trouble(kind), None);
    }
}

#[test]
fn a_revision_that_is_not_the_current_one_is_not_complete() {
    let changed = |change: fn(&mut Rollout)| {
        let mut rollout = counts(2, [3, 3, 3, 3]);
        rollout.same_revision = false;
        change(&mut rollout);
        rollout
    };
    let rolling = changed(|_| ());
    assert!(!rolling.is_complete(WorkloadKind::StatefulSet));
    // kubectl calls this done.
    let partitioned = changed(|rollout| {
        rollout.partitioned = true;
        rollout.updated = 2;
    });
    assert!(!partitioned.is_complete(WorkloadKind::StatefulSet));
    // Somebody has deleted each pod.
    let by_hand = changed(|rollout| rollout.on_delete = true);
    assert!(by_hand.is_complete(WorkloadKind::StatefulSet));
    let none = changed(|rollout| {
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
        assert!(none.is_complete(kind), "{kind:?}");
    }
}

#[test]
fn what_never_ends_by_itself_is_told() {
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
        let told = rollout.trouble(kind);
        assert_eq!(told.is_some(), word.is_some(), "{kind:?}");
        assert!(told.unwrap_or_default().contains(word.unwrap_or_default()));
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
        pods: Some(pods),
        leaving: &[],
        warnings: Some(warnings),
    };
    why_stuck(workload, seen, "`describe`")
}

#[test]
fn pods_that_do_not_serve_say_why_and_alike_together() {
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
    let serves = Pod {
        ready: true,
        ..pod("api-1", kind)
    };
    let lost = Pod {
        unschedulable: true,
        ..pod("api-2", kind)
    };
    let elsewhere = Pod {
        owner: None,
        ..pod("other", kind)
    };
    let old = Pod {
        mark: None,
        ..pod("api-0", kind)
    };
    for (pods, told) in [
        (vec![serves.clone(), elsewhere], vec![]),
        (vec![pod("api-0", kind)], vec!["pod api-0: not ready"]),
        (vec![lost, serves], vec!["pod api-2: no node takes it"]),
        (
            vec![waits("a", "ErrImagePull"), waits("b", "ErrImagePull")],
            vec!["pods a, b: the image of main cannot be pulled (ErrImagePull)"],
        ),
        (
            ["a", "b", "c", "d", "e"]
                .map(|name| waits(name, "CrashLoopBackOff"))
                .into(),
            vec![
                "pods a, b, c and 2 more: main ends again and again (CrashLoopBackOff): see \
                 its log",
            ],
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
                "pod api-0: of the old template and not ready: delete it",
            ],
        ),
    ] {
        assert_eq!(stuck(&workload(kind), &pods, &[]), told);
    }
}

#[test]
fn warnings_count_for_what_they_are_about_and_while_they_matter() {
    use WarningCause::{NotMade, NotMounted, Quota};
    let quota = "a ResourceQuota does not let its pods be made";
    let unmade = "its pods cannot be made: see `describe`";
    let (set, deployment) = (WorkloadKind::StatefulSet, WorkloadKind::Deployment);
    for (kind, warned, told) in [
        (set, warning(Quota, "StatefulSet", "api", None), Some(quota)),
        (
            set,
            warning(NotMade, "StatefulSet", "api", Some(1001)),
            Some(unmade),
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
            Some(unmade),
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
        let expected: Vec<_> = told.into_iter().collect();
        let warned = [warned];
        assert_eq!(stuck(&workload, &[], &warned), expected);
        // All of them have been made.
        workload.rollout.updated = 3;
        assert_eq!(stuck(&workload, &[], &warned), Vec::<String>::new());
    }
    let mounts = [warning(NotMounted, "Pod", "api-0", None)];
    assert_eq!(
        stuck(&workload(set), &[pod("api-0", set)], &mounts),
        ["pod api-0: one of its volumes cannot be mounted"]
    );
}

#[test]
fn what_was_not_seen_is_said() {
    let mut workload = workload(WorkloadKind::Deployment);
    workload.rollout.paused = true;
    let leaving = [pod("api-1", WorkloadKind::Deployment)];
    let seen = StuckFacts {
        pods: None,
        leaving: &leaving,
        warnings: None,
    };
    assert_eq!(
        why_stuck(&workload, seen, ""),
        [
            "it is paused (spec.paused)",
            "pod api-1: being deleted, and has not ended",
            "you may not list pods there",
            "you may not list events there",
        ]
    );
}
