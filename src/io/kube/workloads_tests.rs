//! Tests of the conversion of workloads and pods.

use super::workloads::{PodBody, Stays, WorkloadBody};
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::workload::{Missing, Pod, Workload};
use serde_json::{Value, json};

fn read(kind: WorkloadKind, spec: Value, status: Value) -> Workload {
    let body = json!({
        "metadata": {
            "name": "api", "namespace": "brain", "resourceVersion": "17", "generation": 4,
        },
        "spec": spec,
        "status": status,
    });
    let body: WorkloadBody = serde_json::from_value(body).unwrap();
    body.workload(kind).unwrap()
}

fn template() -> Value {
    json!({
        "metadata": { "annotations": {
            "k8s-bootstrap/rotation": "id.open",
            "kubectl.kubernetes.io/restartedAt": "1970-01-01T00:01:00+00:00",
        } },
        "spec": { "containers": [] },
    })
}

/// The rollout that all kinds below have.
fn rollout() -> Rollout {
    Rollout {
        resource_version: "17".to_owned(),
        generation: 4,
        observed: 3,
        wanted: 3,
        replicas: 4,
        updated: 2,
        ready: 1,
        available: 1,
        same_revision: true,
        restarted: Some(60),
        ..Rollout::default()
    }
}

#[test]
fn a_deployment_has_the_counts_of_its_rollout() {
    let spec = json!({ "replicas": 3, "paused": true, "template": template() });
    let status = json!({
        "observedGeneration": 3, "replicas": 4, "updatedReplicas": 2, "readyReplicas": 1,
        "availableReplicas": 1, "unavailableReplicas": 3, "conditions": [],
    });
    let deployment = read(WorkloadKind::Deployment, spec, status);
    assert_eq!(deployment.mark.as_deref(), Some("id.open"));
    let expected = Rollout {
        paused: true,
        ..rollout()
    };
    assert_eq!(deployment.rollout, expected);
}

#[test]
fn a_stateful_set_has_revisions_and_a_strategy() {
    let status = json!({
        "observedGeneration": 3, "replicas": 4, "updatedReplicas": 2, "readyReplicas": 1,
        "availableReplicas": 1, "currentRevision": "api-1", "updateRevision": "api-2",
    });
    let rolling = |partition: Value| json!({ "type": "RollingUpdate", "rollingUpdate": partition });
    for (strategy, on_delete, partitioned) in [
        (rolling(json!({ "partition": 0 })), false, false),
        (rolling(json!({ "partition": 2 })), false, true),
        (rolling(json!({ "partition": null })), false, false),
        (rolling(Value::Null), false, false),
        (json!({ "type": "OnDelete" }), true, false),
        (Value::Null, false, false),
    ] {
        let spec = json!({ "replicas": 3, "updateStrategy": strategy, "template": template() });
        let expected = Rollout {
            same_revision: false,
            on_delete,
            partitioned,
            ..rollout()
        };
        let set = read(WorkloadKind::StatefulSet, spec, status.clone());
        assert_eq!(set.rollout, expected, "{strategy}");
    }
    let mut complete = status;
    complete["currentRevision"] = json!("api-2");
    // A spec without replicas wants one pod.
    let set = read(
        WorkloadKind::StatefulSet,
        json!({ "template": template() }),
        complete,
    );
    assert_eq!(
        set.rollout,
        Rollout {
            wanted: 1,
            ..rollout()
        }
    );
}

#[test]
fn a_daemon_set_has_other_names_for_its_counts() {
    let spec = json!({
        "template": template(),
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
    });
    let status = json!({
        "observedGeneration": 3, "desiredNumberScheduled": 3, "currentNumberScheduled": 4,
        "updatedNumberScheduled": 2, "numberReady": 1, "numberAvailable": 1,
        "numberMisscheduled": 0,
    });
    assert_eq!(
        read(WorkloadKind::DaemonSet, spec, status).rollout,
        rollout()
    );
}

#[test]
fn a_cron_job_has_its_template_in_the_job_and_no_rollout() {
    let spec = json!({ "jobTemplate": { "spec": { "template": template() } } });
    let status = json!({ "lastScheduleTime": "1970-01-01T00:01:00Z" });
    let job = read(WorkloadKind::CronJob, spec, status);
    assert_eq!(job.mark.as_deref(), Some("id.open"));
    assert!(job.rollout.is_complete(job.kind));
}

#[test]
fn a_workload_needs_no_mark_and_no_status() {
    let bare = json!({ "template": { "spec": { "containers": [] } } });
    let read = read(WorkloadKind::StatefulSet, bare, json!({}));
    assert_eq!((read.mark, read.rollout.restarted), (None, None));
    assert!(!read.rollout.is_complete(WorkloadKind::StatefulSet));
}

fn pod(metadata: Value, status: Value) -> Option<(Pod, Stays)> {
    let mut body = json!({
        "metadata": { "name": "api-0", "namespace": "brain" },
        "spec": { "containers": [] },
        "status": status,
    });
    let more = metadata.as_object().cloned().unwrap_or_default();
    body["metadata"].as_object_mut().unwrap().extend(more);
    serde_json::from_value::<PodBody>(body).unwrap().pod()
}

#[test]
fn a_deleted_pod_counts_until_it_has_ended() {
    let deleted = json!({ "deletionTimestamp": "1970-01-01T00:01:00Z" });
    for (metadata, phase, stays) in [
        (json!({}), "Running", Some(Stays::Yes)),
        (json!({}), "Succeeded", None),
        (deleted.clone(), "Running", Some(Stays::Leaves)),
        (deleted.clone(), "Pending", Some(Stays::Leaves)),
        (deleted, "Failed", None),
    ] {
        let found = pod(metadata, json!({ "phase": phase }));
        assert_eq!(found.map(|(_, stays)| stays), stays, "{phase}");
    }
}

#[test]
fn a_pod_has_the_reasons_why_it_does_not_run() {
    let metadata = json!({ "annotations": { "k8s-bootstrap/rotation": "id.open" } });
    let waits = |name: &str, reason: &str, message: &str| json!({ "name": name, "state": { "waiting": { "reason": reason, "message": message } } });
    let status = json!({
        "phase": "Pending",
        "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable" },
            { "type": "Ready", "status": "False", "reason": null },
        ],
        "initContainerStatuses": [waits("before", "ErrImagePull", "pull of secret/image")],
        "containerStatuses": [
            waits("main", "CreateContainerConfigError", "couldn't find key K in Secret brain/s"),
            waits("odd", "a \u{1b}[2Jword!", ""),
            waits("normal", "PodInitializing", ""),
            waits("silent", "", ""),
            { "name": "runs", "state": { "running": { "startedAt": "1970-01-01T00:01:00Z" } } },
        ],
    });
    let (pod, _) = pod(metadata, status).unwrap();
    assert_eq!(pod.mark.as_deref(), Some("id.open"));
    assert!(pod.unschedulable && !pod.ready);
    let stuck = [
        ("before", "ErrImagePull"),
        ("main", "CreateContainerConfigError"),
        ("odd", "a2Jword"),
    ];
    assert_eq!(
        pod.stuck,
        stuck
            .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
            .into()
    );
    let missing = Missing {
        secret: Some("s".to_owned()),
        key: Some("K".to_owned()),
    };
    assert_eq!(pod.waiting, [("main".to_owned(), Some(missing))].into());
    assert_eq!(pod.started, [("runs".to_owned(), 60)].into());
}

#[test]
fn a_pod_with_a_scheduling_gate_is_not_unschedulable() {
    let gated = json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" });
    let (pod, _) = pod(
        json!({}),
        json!({ "phase": "Pending", "conditions": [gated] }),
    )
    .unwrap();
    assert!(!pod.unschedulable);
}
