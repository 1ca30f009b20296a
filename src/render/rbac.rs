//! The smallest Role for a command.

use super::yaml::to_yaml;
use crate::domain::bundles::{BUNDLES, EMBEDDINGS, ROUTER};
use crate::domain::names::Namespace;
use serde_json::{Value, json};

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

    fn rules(self, namespace: &Namespace) -> Vec<Value> {
        let secrets: Vec<_> = match self {
            Self::Apply | Self::Diff => BUNDLES.iter().map(|bundle| bundle.secret).collect(),
            Self::Recover => vec![ROUTER.secret, EMBEDDINGS.secret],
        };
        let verbs = match self {
            Self::Apply => vec!["get", "patch"],
            Self::Diff | Self::Recover => vec!["get"],
        };
        let mut rules = vec![rule("", "secrets", &verbs, Some(secrets))];
        if self == Self::Apply {
            rules.push(rule("", "secrets", &["create"], None));
        }
        rules.push(rule(
            "",
            "namespaces",
            &["get"],
            Some(vec![namespace.as_str()]),
        ));
        rules.push(rule(
            "external-secrets.io",
            "externalsecrets",
            &["list"],
            None,
        ));
        rules
    }
}

fn rule(group: &str, resource: &str, verbs: &[&str], names: Option<Vec<&str>>) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
    if let Some(names) = names {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// The Role and, for a service account (namespace and name), its RoleBinding.
pub fn objects(
    access: Access,
    namespace: &Namespace,
    account: Option<(&Namespace, &str)>,
) -> Vec<Value> {
    let metadata = json!({ "name": access.name(), "namespace": namespace.as_str() });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": access.rules(namespace),
    });
    let binding = account.map(|(account_namespace, name)| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": access.name(),
            },
            "subjects": [{
                "kind": "ServiceAccount", "name": name, "namespace": account_namespace.as_str(),
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
