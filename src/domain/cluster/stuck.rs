//! Explains why the rollout of a workload does not complete, from pods and events already read.

use super::names::WorkloadKind;
use super::workload::{Missing, Pod, Workload};

/// How many pods are named for one reason.
const MAX_NAMES: usize = 3;
/// The reasons of the kubelet for an image that it cannot pull.
const IMAGE_REASONS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// A warning about a workload or one of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningCause {
    /// A ResourceQuota prevents the creation of pods.
    Quota,
    /// Pods cannot be created for another reason.
    NotMade,
    /// A volume of a pod cannot be mounted.
    NotMounted,
}

/// An event of type Warning, with the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub what: WarningCause,
    /// The kind of the object.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// When it last occurred, in seconds since 1970, if known.
    pub at: Option<i64>,
}

impl Warning {
    /// True if it says that the workload cannot create its pods, and if it is not older than the
    /// last restart.
    fn prevents_pods_of(&self, workload: &Workload) -> bool {
        /// How far the clocks of two machines may be apart, in seconds.
        const SKEW: i64 = 60;
        let is_about_it = match (workload.kind, self.kind.as_str()) {
            // The name of a ReplicaSet is that of its Deployment with a hash.
            (WorkloadKind::Deployment, "ReplicaSet") => {
                let rest = self.name.strip_prefix(&workload.name);
                let hash = rest.and_then(|rest| rest.strip_prefix('-'));
                hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
            }
            (kind, of) => kind.as_str() == of && workload.name == self.name,
        };
        let is_old = self
            .at
            .zip(workload.rollout.restarted)
            .is_some_and(|(at, restarted)| at < restarted - SKEW);
        is_about_it && !is_old && self.what != WarningCause::NotMounted
    }
}

/// The pods and events around a workload.
#[derive(Clone, Copy, Debug)]
pub struct StuckFacts<'a> {
    /// The pods of the namespace that have not ended and are not being deleted.
    pub pods: &'a [Pod],
    /// The pods that are being deleted and have not ended.
    pub leaving: &'a [Pod],
    /// `None` if events may not be listed.
    pub warnings: Option<&'a [Warning]>,
}

/// Lists the reasons why the rollout of a workload does not complete. `describe` is the command that
/// shows more.
pub fn why_stuck(workload: &Workload, seen: StuckFacts<'_>, describe: &str) -> Vec<String> {
    let rollout = &workload.rollout;
    let warnings = seen.warnings.unwrap_or_default();
    let lacks_pods = rollout.updated < rollout.wanted;
    let mut lines: Vec<_> = rollout
        .blocker(workload.kind)
        .map(str::to_owned)
        .into_iter()
        .collect();
    let causes: Vec<_> = warnings
        .iter()
        .filter(|warning| lacks_pods && warning.prevents_pods_of(workload))
        .map(|warning| warning.what)
        .collect();
    if causes.contains(&WarningCause::Quota) {
        lines.push("a ResourceQuota prevents the creation of its pods".to_owned());
    } else if !causes.is_empty() {
        lines.push(format!("its pods cannot be created: see {describe}"));
    }
    let mut reasons = Reasons::default();
    let belongs_to_it = |pod: &&Pod| pod.belongs_to(workload);
    for pod in seen.pods.iter().filter(belongs_to_it) {
        for why in why_not_ready(pod, warnings) {
            reasons.add(pod, why);
        }
        // A StatefulSet waits for one pod after the other, also for pods of the old template.
        let is_old = workload.mark.is_some() && pod.mark != workload.mark;
        if workload.kind == WorkloadKind::StatefulSet && is_old && !pod.ready {
            reasons.add(pod, "old template, not ready: delete it".to_owned());
        }
    }
    for pod in seen.leaving.iter().filter(belongs_to_it) {
        reasons.add(pod, "being deleted, still running".to_owned());
    }
    lines.extend(reasons.describe());
    if seen.warnings.is_none() && lacks_pods {
        lines.push("you may not list events there".to_owned());
    }
    lines
}

/// The reasons why pods are not ready, each with its pods.
#[derive(Default)]
struct Reasons<'a>(Vec<(String, Vec<&'a str>)>);

impl<'a> Reasons<'a> {
    fn add(&mut self, pod: &'a Pod, why: String) {
        match self.0.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, pods)) => pods.push(&pod.name),
            None => self.0.push((why, vec![&pod.name])),
        }
    }

    fn describe(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(why, pods)| {
            let names = pods[..pods.len().min(MAX_NAMES)].join(", ");
            match pods.len().saturating_sub(MAX_NAMES) {
                0 if pods.len() == 1 => format!("pod {names}: {why}"),
                0 => format!("pods {names}: {why}"),
                rest => format!("pods {names} and {rest} more: {why}"),
            }
        })
    }
}

/// The reasons why a pod is not ready; empty for a ready pod.
fn why_not_ready(pod: &Pod, warnings: &[Warning]) -> Vec<String> {
    let mut found = Vec::new();
    if pod.unschedulable {
        found.push("unschedulable: no node fits".to_owned());
    }
    let has_mount_warning = warnings.iter().any(|warning| {
        warning.what == WarningCause::NotMounted
            && warning.kind == "Pod"
            && warning.name == pod.name
    });
    if has_mount_warning && pod.started.is_empty() {
        found.push("one of its volumes cannot be mounted".to_owned());
    }
    for (container, reason) in &pod.stuck {
        let missing = pod.waiting.get(container).and_then(Option::as_ref);
        found.push(match missing {
            Some(missing) => format!("{container} waits for {}", describe_missing(missing)),
            None if IMAGE_REASONS.contains(&reason.as_str()) => {
                format!("the image of {container} cannot be pulled ({reason})")
            }
            None if reason == "CrashLoopBackOff" => {
                format!("{container} keeps crashing ({reason}): see its log")
            }
            None => format!("{container} waits ({reason})"),
        });
    }
    if found.is_empty() && !pod.ready {
        found.push("not ready".to_owned());
    }
    found
}

/// Describes the key or the object that a container waits for.
fn describe_missing(missing: &Missing) -> String {
    let object = match &missing.secret {
        Some(name) => format!("Secret {name}"),
        None => "a ConfigMap".to_owned(),
    };
    match &missing.key {
        Some(key) => format!("{key} of {object}"),
        None => object,
    }
}
