//! Finds the owner of a Secret from owner references, labels and annotations.
//!
//! It must not take a field manager as an owner: that is only a possible conflict, see
//! [`manager_of`].

use std::collections::BTreeMap;
use std::fmt;

/// The field manager of the data that this program writes.
pub const FIELD_MANAGER: &str = "k8s-bootstrap";
/// The field manager of a rotation's annotations and restarts. It owns no data, so that its time in
/// `managedFields` is never taken as a change of data.
pub const ROTATION_MANAGER: &str = "k8s-bootstrap-rotation";

/// The kind of the owner of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// External Secrets Operator, through an ExternalSecret.
    ExternalSecret,
    /// A Helm release.
    Helm,
    /// An Argo CD application.
    ArgoCd,
    /// A Flux Kustomization or HelmRelease.
    Flux,
    /// Another controller in an owner reference.
    Controller,
}

/// The owner of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: OwnerKind,
    /// Kind and name for messages: `ExternalSecret brain-api`.
    pub name: String,
}

impl Owner {
    pub fn external_secret(name: &str) -> Self {
        Self {
            kind: OwnerKind::ExternalSecret,
            name: format!("ExternalSecret {name}"),
        }
    }

    /// The hint for a Secret that this program must not write.
    pub fn instead(&self) -> &'static str {
        match self.kind {
            OwnerKind::ExternalSecret => "change the value in the secret store",
            OwnerKind::Helm => "change the values of the Helm release",
            OwnerKind::ArgoCd => "change it in the git repository that Argo CD applies",
            OwnerKind::Flux => "change it in the git repository that Flux applies",
            OwnerKind::Controller => "change the object that owns it",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Finds the owner of an object. An owner reference is given as kind, name and `controller`.
///
/// An owner reference has priority over labels and annotations: External Secrets Operator copies
/// these from the ExternalSecret to the Secret, including those of Helm and Argo CD.
pub fn owner_of(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    owner_references: &[(String, String, bool)],
) -> Option<Owner> {
    let reference = owner_references
        .iter()
        .find(|(kind, _, controller)| kind == "ExternalSecret" || *controller);
    if let Some((kind, name, _)) = reference {
        return Some(match kind.as_str() {
            "ExternalSecret" => Owner::external_secret(name),
            _ => Owner {
                kind: OwnerKind::Controller,
                name: format!("{kind} {name}").replace(char::is_control, "?"),
            },
        });
    }
    let label = |key: &str| labels.get(key).map(String::as_str);
    let annotation = |key: &str| annotations.get(key).map(String::as_str);
    let tracking_id = annotation("argocd.argoproj.io/tracking-id");
    let is_helms = label("app.kubernetes.io/managed-by") == Some("Helm");
    // The helm-controller of Flux installs with Helm, so its objects have the marks of both.
    let (kind, what, name) = if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        (OwnerKind::Flux, "Flux HelmRelease", Some(name))
    } else if let Some(name) = label("kustomize.toolkit.fluxcd.io/name") {
        (OwnerKind::Flux, "Flux Kustomization", Some(name))
    } else if let Some(name) = tracking_id.and_then(|id| id.split(':').next()) {
        (OwnerKind::ArgoCd, "Argo CD application", Some(name))
    } else if let Some(name) = label("argocd.argoproj.io/instance") {
        (OwnerKind::ArgoCd, "Argo CD application", Some(name))
    } else {
        let name = annotation("meta.helm.sh/release-name");
        if name.is_none() && !is_helms {
            return None;
        }
        (OwnerKind::Helm, "Helm release", name)
    };
    let name = name.map(|name| format!(" {}", name.replace(char::is_control, "?")));
    Some(Owner {
        kind,
        name: format!("{what}{}", name.unwrap_or_default()),
    })
}

/// The class of a field manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// This program.
    Ours,
    /// A person with kubectl.
    Person,
    /// A controller or another tool.
    Foreign,
}

/// Classifies a field manager by its name.
pub fn manager_of(name: &str) -> Manager {
    if name == FIELD_MANAGER || name == ROTATION_MANAGER {
        Manager::Ours
    } else if name == "kubectl" || name.starts_with("kubectl-") || name == "before-first-apply" {
        Manager::Person
    } else {
        Manager::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
        references: &[(&str, &str, bool)],
    ) -> Option<String> {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let references: Vec<_> = references
            .iter()
            .map(|(k, n, c)| ((*k).to_owned(), (*n).to_owned(), *c))
            .collect();
        owner_of(&map(labels), &map(annotations), &references).map(|owner| owner.name)
    }

    #[test]
    fn each_owner_is_found_by_its_marks() {
        let helm = ("app.kubernetes.io/managed-by", "Helm");
        let release = ("meta.helm.sh/release-name", "brain");
        for (labels, annotations, references, expected) in [
            (&[][..], &[][..], &[][..], None),
            (&[("app.kubernetes.io/managed-by", "me")], &[], &[], None),
            (&[("app.kubernetes.io/instance", "brain")], &[], &[], None),
            (&[helm], &[], &[], Some("Helm release")),
            (&[helm], &[release], &[], Some("Helm release brain")),
            // An annotation must not send control characters to the terminal.
            (
                &[],
                &[("meta.helm.sh/release-name", "a\u{1b}[2Jb\n")],
                &[],
                Some("Helm release a?[2Jb?"),
            ),
            (
                &[("argocd.argoproj.io/instance", "brain")],
                &[],
                &[],
                Some("Argo CD application brain"),
            ),
            (
                &[],
                &[("argocd.argoproj.io/tracking-id", "brain:/Secret:ns/s")],
                &[],
                Some("Argo CD application brain"),
            ),
            (
                &[("kustomize.toolkit.fluxcd.io/name", "apps")],
                &[],
                &[],
                Some("Flux Kustomization apps"),
            ),
            (
                &[helm, ("helm.toolkit.fluxcd.io/name", "hr")],
                &[],
                &[],
                Some("Flux HelmRelease hr"),
            ),
            (
                &[helm],
                &[release],
                &[("ExternalSecret", "es", true)],
                Some("ExternalSecret es"),
            ),
            (
                &[],
                &[],
                &[("SealedSecret", "s", true)],
                Some("SealedSecret s"),
            ),
            (&[], &[], &[("ConfigMap", "c", false)], None),
        ] {
            assert_eq!(owner(labels, annotations, references).as_deref(), expected);
        }
    }

    #[test]
    fn managers_are_classified_by_name() {
        for ours in ["k8s-bootstrap", "k8s-bootstrap-rotation"] {
            assert_eq!(manager_of(ours), Manager::Ours);
        }
        for person in [
            "kubectl",
            "kubectl-create",
            "kubectl-client-side-apply",
            "before-first-apply",
        ] {
            assert_eq!(manager_of(person), Manager::Person);
        }
        for foreign in [
            "helm",
            "argocd-controller",
            "kubectlx",
            "k8s-bootstrap-rotations",
        ] {
            assert_eq!(manager_of(foreign), Manager::Foreign);
        }
    }
}
