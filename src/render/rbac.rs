//! The smallest Role for a command.

use super::yaml::to_yaml;
use crate::domain::bundles::{BUNDLES, EMBEDDINGS, ROUTER};
use crate::domain::names::Namespace;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a command does in the home namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes the Secrets.
    Apply,
    /// Reads the Secrets.
    Diff,
    /// Reads the Secrets that hold tokens.
    Recover,
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "k8s-bootstrap-apply",
            Self::Diff => "k8s-bootstrap-diff",
            Self::Recover => "k8s-bootstrap-recover",
        }
    }

    /// What the command does with these Secrets in a namespace or, where the fleet is selected by
    /// labels, across all of them: there it lists what it gets elsewhere.
    fn rules(self, namespace: Option<&Namespace>, secrets: &[&str]) -> Vec<Value> {
        let read = if namespace.is_some() { "get" } else { "list" };
        let verbs: &[&str] = match self {
            Self::Apply => &[read, "patch"],
            Self::Diff | Self::Recover => &[read],
        };
        let mut rules = vec![rule("", "secrets", verbs, Some(secrets))];
        if self == Self::Recover {
            return rules;
        }
        if self == Self::Apply {
            rules.push(rule("", "secrets", &["create"], None));
        }
        let name = namespace.map(|name| [name.as_str()]);
        rules.push(rule(
            "",
            "namespaces",
            &[read],
            name.as_ref().map(|name| &name[..]),
        ));
        rules.push(rule(
            "external-secrets.io",
            "externalsecrets",
            &["list"],
            None,
        ));
        rules
    }

    fn secrets(self) -> Vec<&'static str> {
        match self {
            Self::Apply | Self::Diff => BUNDLES.iter().map(|bundle| bundle.secret).collect(),
            Self::Recover => vec![ROUTER.secret, EMBEDDINGS.secret],
        }
    }
}

fn rule(group: &str, resource: &str, verbs: &[&str], names: Option<&[&str]>) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
    if let Some(names) = names {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// Where the command works, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The home namespace.
    pub home: &'a Namespace,
    /// The fleet namespaces that are named.
    pub named: &'a BTreeSet<Namespace>,
    /// Whether more of them are selected by labels, so that nobody knows them yet.
    pub selected: bool,
    /// The service account that gets the rights: its namespace and name.
    pub account: Option<(&'a Namespace, &'a str)>,
}

/// The Roles and, for a service account, their bindings: home, then each named fleet namespace;
/// with a selector a ClusterRole too.
pub fn objects(access: Access, grant: &Grant<'_>) -> Vec<Value> {
    let router = [ROUTER.secret];
    let home = pair(access, Some(grant.home), &access.secrets(), grant);
    let named = grant.named.iter().filter(|name| *name != grant.home);
    let fleet = named.flat_map(|name| pair(access, Some(name), &router, grant));
    let everywhere = grant.selected.then(|| pair(access, None, &router, grant));
    home.into_iter()
        .chain(fleet)
        .chain(everywhere.into_iter().flatten())
        .collect()
}

/// A Role with its binding or, without a namespace, a ClusterRole with its.
fn pair(
    access: Access,
    namespace: Option<&Namespace>,
    secrets: &[&str],
    grant: &Grant<'_>,
) -> Vec<Value> {
    // Two installations in a cluster, or in a fleet namespace, must not take each other's rights.
    let name = match namespace {
        Some(namespace) if namespace == grant.home => access.name().to_owned(),
        _ => format!("{}-{}", access.name(), grant.home),
    };
    let (kind, metadata) = match namespace {
        Some(namespace) => (
            "Role",
            json!({ "name": name, "namespace": namespace.as_str() }),
        ),
        None => ("ClusterRole", json!({ "name": name })),
    };
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "rules": access.rules(namespace, secrets),
    });
    let binding = grant.account.map(|(account_namespace, account)| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name,
            },
            "subjects": [{
                "kind": "ServiceAccount", "name": account, "namespace": account_namespace.as_str(),
            }],
        })
    });
    std::iter::once(role).chain(binding).collect()
}

/// The objects as YAML, with what cannot be said in them as comments.
pub fn yaml(access: Access, objects: &[Value]) -> String {
    let comment = match access {
        Access::Apply => {
            "# Kubernetes cannot restrict `create` by name, so this Role may create any Secret here.\n\
             # --create-namespace needs a ClusterRole that may create namespaces besides.\n"
        }
        Access::Diff | Access::Recover => "",
    };
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    format!("{comment}{}", documents.join("---\n"))
}
