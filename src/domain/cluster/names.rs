//! Names of objects in a cluster.

use std::{fmt, str::FromStr};

/// A text is not the name of a namespace. The error must not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the name of a namespace: 1 to 63 lower-case letters, digits and '-', with a letter or digit at both ends (RFC 1123)"
)]
pub struct BadName;

/// The name of a namespace: an RFC 1123 label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// `default`, which also has the events of cluster-scoped objects.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_label = (1..=63).contains(&text.len())
            && text.bytes().all(is_allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if is_label {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName)
        }
    }
}

/// True for an RFC 1123 subdomain: the name of a Secret or of most other objects.
pub fn is_object_name(text: &str) -> bool {
    let is_label = |label: &str| label.parse::<Namespace>().is_ok();
    text.len() <= 253 && text.split('.').all(is_label)
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Secret of the table in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretRef {
    pub namespace: Namespace,
    pub name: &'static str,
}

impl SecretRef {
    pub fn new(namespace: &Namespace, name: &'static str) -> Self {
        Self {
            namespace: namespace.clone(),
            name,
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.namespace, self.name)
    }
}

/// The kind of an object that creates pods, or a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// apps/v1
    StatefulSet,
    /// apps/v1
    Deployment,
    /// apps/v1
    DaemonSet,
    /// batch/v1
    CronJob,
    /// A bare pod, or a pod whose owner is of another kind.
    Pod,
}

impl WorkloadKind {
    /// All kinds, ordered by API group.
    pub const ALL: [Self; 5] = [
        Self::StatefulSet,
        Self::Deployment,
        Self::DaemonSet,
        Self::CronJob,
        Self::Pod,
    ];

    /// `kind` of the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StatefulSet => "StatefulSet",
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
            Self::Pod => "Pod",
        }
    }

    /// The API group; empty for the core group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::StatefulSet | Self::Deployment | Self::DaemonSet => "apps",
            Self::CronJob => "batch",
            Self::Pod => "",
        }
    }

    /// The resource in RBAC rules.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::StatefulSet => "statefulsets",
            Self::Deployment => "deployments",
            Self::DaemonSet => "daemonsets",
            Self::CronJob => "cronjobs",
            Self::Pod => "pods",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_names_follow_rfc_1123() {
        let longest = "a".repeat(63);
        for good in ["a", "brain", "brain-2", "0", longest.as_str()] {
            assert!(good.parse::<Namespace>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "-a",
            "a-",
            "Brain",
            "a.b",
            "a_b",
            "a b",
            "ä",
            too_long.as_str(),
        ] {
            assert_eq!(bad.parse::<Namespace>(), Err(BadName), "{bad}");
        }
    }
}
