//! Why the rollout of a workload does not end.

use super::names::WorkloadKind;
use super::workload::{Missing, Pod, Workload};

/// How many pods are named for one reason.
const NAMED: usize = 3;
/// What a node says about an image that it cannot have.
const NO_IMAGE: [&str; 7] = [
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
    /// A ResourceQuota does not let pods be made.
    Quota,
    /// Pods cannot be made for another reason.
    NotMade,
    /// A volume of a pod cannot be mounted.
    NotMounted,
}

/// A warning, and the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is the matter.
    pub what: WarningCause,
    /// The kind of the object, as it calls itself.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// When it was last said, in seconds since 1970, as far as it says so.
    pub at: Option<i64>,
}

impl Warning {
    /// Tells whether this workload cannot make its pods, and did not only some time ago.
    fn stops(&self, workload: &Workload) -> bool {
        /// How far the clocks of two machines may be apart, in seconds.
        const SKEW: i64 = 60;
        let of = match (workload.kind, self.kind.as_str()) {
            // Its name ends with a hash.
            (WorkloadKind::Deployment, "ReplicaSet") => {
                let rest = self.name.strip_prefix(&workload.name);
                let hash = rest.and_then(|rest| rest.strip_prefix('-'));
                hash.is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
            }
            (kind, of) => kind.as_str() == of && workload.name == self.name,
        };
        let before = match (self.at, workload.rollout.restarted) {
            (Some(at), Some(restarted)) => at < restarted - SKEW,
            _ => false,
        };
        of && !before && self.what != WarningCause::NotMounted
    }
}

/// What was found about a workload whose rollout does not end; `None` for what may not be listed.
#[derive(Clone, Copy, Debug)]
pub struct StuckFacts<'a> {
    /// The pods around it that have not ended.
    pub pods: Option<&'a [Pod]>,
    /// Those that are going away and have not ended either.
    pub leaving: &'a [Pod],
    /// The warnings around it.
    pub warnings: Option<&'a [Warning]>,
}

/// Says why the rollout of a workload does not end, as far as that can be seen; `describe` is the
/// command that tells more.
pub fn why_stuck(workload: &Workload, seen: StuckFacts<'_>, describe: &str) -> Vec<String> {
    let trouble = workload.rollout.trouble(workload.kind);
    let mut words: Vec<_> = trouble.map(str::to_owned).into_iter().collect();
    let warnings = seen.warnings.unwrap_or_default();
    let unmade = workload.rollout.updated < workload.rollout.wanted;
    let stops: Vec<_> = warnings
        .iter()
        .filter(|warning| unmade && warning.stops(workload))
        .map(|warning| warning.what)
        .collect();
    if stops.contains(&WarningCause::Quota) {
        words.push("a ResourceQuota does not let its pods be made".to_owned());
    } else if !stops.is_empty() {
        words.push(format!("its pods cannot be made: see {describe}"));
    }
    let mut reasons = Reasons::default();
    let own = |pod: &&Pod| pod.belongs_to(workload);
    for pod in seen.pods.unwrap_or_default().iter().filter(own) {
        for why in what_stops(pod, warnings) {
            reasons.add(pod, why);
        }
        // It waits for each pod in turn, the old ones too.
        let old = workload.mark.is_some() && pod.mark != workload.mark;
        if workload.kind == WorkloadKind::StatefulSet && old && !pod.ready {
            reasons.add(
                pod,
                "of the old template and not ready: delete it".to_owned(),
            );
        }
    }
    for pod in seen.leaving.iter().filter(own) {
        reasons.add(pod, "being deleted, and has not ended".to_owned());
    }
    words.extend(reasons.describe());
    if seen.pods.is_none() {
        words.push("you may not list pods there".to_owned());
    }
    if seen.warnings.is_none() && unmade {
        words.push("you may not list events there".to_owned());
    }
    words
}

/// Why pods do not serve, each reason with its pods.
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
            let shown = pods[..pods.len().min(NAMED)].join(", ");
            match pods.len().saturating_sub(NAMED) {
                0 if pods.len() == 1 => format!("pod {shown}: {why}"),
                0 => format!("pods {shown}: {why}"),
                rest => format!("pods {shown} and {rest} more: {why}"),
            }
        })
    }
}

/// Why a pod does not serve; nothing where it does.
fn what_stops(pod: &Pod, warnings: &[Warning]) -> Vec<String> {
    let mut found = Vec::new();
    if pod.unschedulable {
        found.push("no node takes it".to_owned());
    }
    let mounts = warnings.iter().any(|warning| {
        warning.what == WarningCause::NotMounted
            && warning.kind == "Pod"
            && warning.name == pod.name
    });
    if mounts && pod.started.is_empty() {
        found.push("one of its volumes cannot be mounted".to_owned());
    }
    for (container, reason) in &pod.stuck {
        let missing = pod.waiting.get(container).and_then(Option::as_ref);
        found.push(match missing {
            Some(missing) => format!("{container} waits for {}", describe_missing(missing)),
            None if NO_IMAGE.contains(&reason.as_str()) => {
                format!("the image of {container} cannot be pulled ({reason})")
            }
            None if reason == "CrashLoopBackOff" => {
                format!("{container} ends again and again ({reason}): see its log")
            }
            None => format!("{container} waits ({reason})"),
        });
    }
    if found.is_empty() && !pod.ready {
        found.push("not ready".to_owned());
    }
    found
}

/// What a container waits for, in words.
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
