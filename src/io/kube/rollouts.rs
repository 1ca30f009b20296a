//! Restarts of workloads, and the events about rollouts.
//!
//! A restart changes an annotation of the pod template, as `kubectl rollout restart` does. Messages of
//! events are searched for known words and must not be printed, because they may quote an object.

use super::client::Cluster;
use super::observe::PAGE;
use super::snapshot::api_of;
use super::wire::last_seen;
use super::workloads::RESTARTED_AT;
use crate::domain::cluster::names::{Namespace, WorkloadKind, is_object_name};
use crate::domain::cluster::stuck::{Warning, WarningCause};
use crate::domain::cluster::workload::{ROTATION_MARK, Workload};
use crate::error::Failure;
use crate::io::written::Written;
use kube::core::params::ListParams;
use serde_json::{Value, json};

impl Cluster {
    /// Restarts a workload and sets the rotation mark, unless it has changed since it was read. `now`
    /// is the time of the server's clock, in RFC 3339 format.
    ///
    /// # Errors
    /// A server that refuses, or a CronJob or pod, which cannot be restarted (exit code 3).
    pub async fn restart(
        &self,
        workload: &Workload,
        mark: &str,
        now: &str,
    ) -> Result<Written, Failure> {
        let path = match workload.kind {
            // A CronJob has the template of a Job, and a pod has none.
            WorkloadKind::CronJob | WorkloadKind::Pod => {
                return Err(Failure::unable(format!("{workload} cannot be restarted"))
                    .hint("replace its pods yourself"));
            }
            kind => path_of(kind, &workload.namespace, &workload.name),
        };
        let Some(path) = path else {
            return Ok(Written::Stale);
        };
        let patch = restart_patch(workload, mark, now);
        self.merge(&path, &patch, workload.to_string(), &workload.namespace)
            .await
    }

    /// Lists the warnings about rollouts in a namespace; `None` if events may not be listed.
    ///
    /// # Errors
    /// A list that cannot be read (exit code 3).
    pub async fn rollout_warnings(
        &self,
        namespace: &Namespace,
    ) -> Result<Option<Vec<Warning>>, Failure> {
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let params = ListParams::default().limit(PAGE).fields("type=Warning");
        self.list_mapped(&path, params, "events", |event: Value| warning(&event))
            .await
    }
}

/// The API path of an object; `None` if the name is not valid.
fn path_of(kind: WorkloadKind, namespace: &Namespace, name: &str) -> Option<String> {
    let (api, resource) = (api_of(kind), kind.resource());
    is_object_name(name).then(|| format!("{api}/namespaces/{namespace}/{resource}/{name}"))
}

fn restart_patch(workload: &Workload, mark: &str, now: &str) -> Value {
    json!({
        "metadata": { "resourceVersion": workload.rollout.resource_version },
        "spec": { "template": { "metadata": { "annotations": {
            RESTARTED_AT: now, ROTATION_MARK: mark,
        } } } },
    })
}

/// Makes a warning of an event; `None` if the reason is not about a rollout. The message is searched
/// only.
fn warning(event: &Value) -> Option<Warning> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = match event["reason"].as_str()? {
        "FailedCreate" | "ReplicaSetCreateError" => {
            if text(&event["message"]).contains("exceeded quota") {
                WarningCause::Quota
            } else {
                WarningCause::NotMade
            }
        }
        "FailedMount" => WarningCause::NotMounted,
        _ => return None,
    };
    Some(Warning {
        what,
        kind: text(&event["involvedObject"]["kind"]),
        name: text(&event["involvedObject"]["name"]),
        at: last_seen(event),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::rollout::Rollout;
    use crate::domain::cluster::workload::PodSpec;

    fn workload(kind: WorkloadKind, name: &str, version: &str) -> Workload {
        Workload {
            kind,
            namespace: "brain".parse().unwrap(),
            name: name.to_owned(),
            spec: PodSpec::default(),
            reloaded: false,
            mark: None,
            rollout: Rollout {
                resource_version: version.to_owned(),
                ..Rollout::default()
            },
        }
    }

    #[test]
    fn an_invalid_name_has_no_path() {
        let namespace = "brain".parse().unwrap();
        for (kind, name, path) in [
            (
                WorkloadKind::StatefulSet,
                "api",
                Some("/apis/apps/v1/namespaces/brain/statefulsets/api"),
            ),
            (
                WorkloadKind::CronJob,
                "a.b-1",
                Some("/apis/batch/v1/namespaces/brain/cronjobs/a.b-1"),
            ),
            (WorkloadKind::Deployment, "", None),
            (WorkloadKind::Deployment, "..", None),
            (WorkloadKind::Deployment, "a/b", None),
            (WorkloadKind::Deployment, "a?b", None),
            (WorkloadKind::Deployment, "a b", None),
            (WorkloadKind::Deployment, "a\n", None),
        ] {
            assert_eq!(path_of(kind, &namespace, name).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn a_restart_changes_two_annotations_of_the_version_that_was_read() {
        let workload = workload(WorkloadKind::Deployment, "api", "7");
        assert_eq!(
            restart_patch(&workload, "id.open", "2026-01-02T03:04:05Z"),
            json!({
                "metadata": { "resourceVersion": "7" },
                "spec": { "template": { "metadata": { "annotations": {
                    "kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z",
                    "k8s-bootstrap/rotation": "id.open",
                } } } },
            })
        );
    }

    #[test]
    fn events_become_warnings_by_reason_and_message() {
        let read = |event: Value| warning(&event);
        let event = |reason: &str, message: &str| {
            json!({
                "metadata": { "name": "api.17" },
                "involvedObject": { "kind": "StatefulSet", "name": "api", "uid": "u" },
                "reason": reason, "message": message, "type": "Warning", "eventTime": null,
                "firstTimestamp": "1970-01-01T00:00:01Z",
                "lastTimestamp": "1970-01-01T00:01:00Z", "count": 3,
            })
        };
        for (reason, message, what) in [
            (
                "FailedCreate",
                "pods \"api-0\" is forbidden: exceeded quota: q",
                Some(WarningCause::Quota),
            ),
            ("FailedCreate", "denied", Some(WarningCause::NotMade)),
            (
                "ReplicaSetCreateError",
                "denied",
                Some(WarningCause::NotMade),
            ),
            (
                "FailedMount",
                "secret not found",
                Some(WarningCause::NotMounted),
            ),
            ("BackOff", "exceeded quota", None),
        ] {
            let expected = what.map(|what| Warning {
                what,
                kind: "StatefulSet".to_owned(),
                name: "api".to_owned(),
                at: Some(60),
            });
            assert_eq!(read(event(reason, message)), expected, "{reason}");
        }
        // The format of newer event recorders.
        let newer = read(json!({
            "involvedObject": { "kind": "Pod", "name": "api-0" },
            "reason": "FailedMount", "lastTimestamp": null,
            "eventTime": "1970-01-01T00:00:01.000000Z",
            "series": { "count": 2, "lastObservedTime": "1970-01-01T00:02:00.000000Z" },
        }));
        assert_eq!(newer.and_then(|warning| warning.at), Some(120));
        assert_eq!(read(json!({ "involvedObject": {} })), None);
    }
}
