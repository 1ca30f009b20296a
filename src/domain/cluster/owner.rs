//! Who owns a Secret, told by owner references, labels and annotations.
//!
//! The name of a field manager alone is never ownership, only a possible conflict (see
//! [`manager_of`]).

use std::collections::BTreeMap;
use std::fmt;

/// The field manager under which this program writes data.
pub const FIELD_MANAGER: &str = "k8s-bootstrap";
/// The field manager of a rotation: of its annotations, and of the restarts that it asks for. It
/// owns no data, so that no time at which data changed is its own.
pub const ROTATION_MANAGER: &str = "k8s-bootstrap-rotation";

/// What kind of thing owns a Secret.
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
    /// Any other controller named by an owner reference.
    Controller,
}

/// Who owns a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// What it is called, in words that stand alone: `ExternalSecret brain-api`.
    pub name: String,
    /// Where it is, if it says so; else with what it owns.
    pub namespace: Option<Box<str>>,
}

impl Owner {
    /// The ExternalSecret of that name.
    pub fn external_secret(name: &str) -> Self {
        Self {
            kind: OwnerKind::ExternalSecret,
            name: format!("ExternalSecret {name}"),
            namespace: None,
        }
    }

    /// What a person does instead of letting this program write.
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

/// The parts of an object's metadata that tell who owns it.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// `metadata.labels`.
    pub labels: &'a BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: &'a BTreeMap<String, String>,
    /// Kind and name of each owner reference, with whether it is the controller.
    pub owner_references: &'a [(String, String, bool)],
}

/// Tells who owns an object, if somebody does.
///
/// An owner reference outranks labels and annotations: External Secrets Operator copies those of
/// its ExternalSecret onto the Secret, marks of Helm and Argo CD among them.
pub fn owner_of(marks: Marks<'_>) -> Option<Owner> {
    let reference = marks
        .owner_references
        .iter()
        .find(|(kind, _, controller)| kind == "ExternalSecret" || *controller);
    if let Some((kind, name, _)) = reference {
        return Some(match kind.as_str() {
            "ExternalSecret" => Owner::external_secret(name),
            _ => Owner {
                kind: OwnerKind::Controller,
                name: format!("{kind} {name}").replace(char::is_control, "?"),
                namespace: None,
            },
        });
    }
    let label = |key: &str| marks.labels.get(key);
    let annotation = |key: &str| marks.annotations.get(key);
    let owner = |kind, what: &str, name: Option<&String>| Owner {
        kind,
        name: name.map_or_else(
            || what.to_owned(),
            |name| format!("{what} {}", name.replace(char::is_control, "?")),
        ),
        namespace: match kind {
            OwnerKind::Helm => annotation("meta.helm.sh/release-namespace"),
            OwnerKind::Flux if what.ends_with("HelmRelease") => {
                label("helm.toolkit.fluxcd.io/namespace")
            }
            OwnerKind::Flux => label("kustomize.toolkit.fluxcd.io/namespace"),
            OwnerKind::ExternalSecret | OwnerKind::ArgoCd | OwnerKind::Controller => None,
        }
        .map(|namespace| namespace.as_str().into()),
    };
    // Flux's helm-controller installs through Helm and leaves the marks of both.
    if let Some(name) = label("helm.toolkit.fluxcd.io/name") {
        Some(owner(OwnerKind::Flux, "Flux HelmRelease", Some(name)))
    } else if let Some(name) = label("kustomize.toolkit.fluxcd.io/name") {
        Some(owner(OwnerKind::Flux, "Flux Kustomization", Some(name)))
    } else if let Some(id) = annotation("argocd.argoproj.io/tracking-id") {
        let application = id.split(':').next().unwrap_or(id).to_owned();
        Some(owner(
            OwnerKind::ArgoCd,
            "Argo CD application",
            Some(&application),
        ))
    } else if let Some(name) = label("argocd.argoproj.io/instance") {
        Some(owner(OwnerKind::ArgoCd, "Argo CD application", Some(name)))
    } else if annotation("meta.helm.sh/release-name").is_some()
        || label("app.kubernetes.io/managed-by").is_some_and(|by| by == "Helm")
    {
        Some(owner(
            OwnerKind::Helm,
            "Helm release",
            annotation("meta.helm.sh/release-name"),
        ))
    } else {
        None
    }
}

/// Whose a field manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// This program.
    Ours,
    /// What a person leaves behind who used kubectl.
    Person,
    /// A controller or another tool.
    Foreign,
}

/// Tells whose a field manager is by its name.
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
        owner_of(Marks {
            labels: &map(labels),
            annotations: &map(annotations),
            owner_references: &references,
        })
        .map(|owner| owner.name)
    }

    #[test]
    fn each_owner_is_told_by_its_mark() {
        let helm = ("app.kubernetes.io/managed-by", "Helm");
        let release = ("meta.helm.sh/release-name", "brain");
        for (labels, annotations, references, expected) in [
            (&[][..], &[][..], &[][..], None),
            (&[("app.kubernetes.io/managed-by", "me")], &[], &[], None),
            (&[("app.kubernetes.io/instance", "brain")], &[], &[], None),
            (&[helm], &[], &[], Some("Helm release")),
            (&[helm], &[release], &[], Some("Helm release brain")),
            // Anybody who may annotate can write to the terminal otherwise.
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
    fn managers_are_told_by_name() {
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
