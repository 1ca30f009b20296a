//! The smallest Role for a command.

use super::yaml::to_yaml;
use crate::domain::bundles::{BUNDLES, EMBEDDINGS, ROUTER};
use crate::domain::external_secrets::temporary_name;
use crate::domain::facts::{CopyRef, KNOWN_COPIES};
use crate::domain::names::Namespace;
use crate::domain::workloads::{self, BRAIN_API, Kind, first_pod};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The group of External Secrets Operator.
const ESO: &str = "external-secrets.io";

/// What a command does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes the Secrets.
    Apply,
    /// Reads the Secrets.
    Diff,
    /// Reads the Secrets that hold tokens.
    Recover,
    /// Reads the Secrets, to fill the store from them.
    Populate {
        /// Whether it fills a store through the operator.
        via_eso: bool,
    },
    /// Reads the Secrets and who reads them.
    Verify {
        /// Whether it also asks the services.
        live: bool,
        /// Whether it also looks at stores of the whole cluster.
        cluster_store: bool,
    },
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "k8s-bootstrap-apply",
            Self::Diff => "k8s-bootstrap-diff",
            Self::Recover => "k8s-bootstrap-recover",
            Self::Populate { .. } => "k8s-bootstrap-populate",
            Self::Verify { .. } => "k8s-bootstrap-verify",
        }
    }

    /// What the command does with these Secrets in a namespace or, where the fleet is selected by
    /// labels, across all of them: there it lists what it gets elsewhere.
    fn rules(
        self,
        namespace: Option<&Namespace>,
        secrets: &[&str],
        grant: &Grant<'_>,
    ) -> Vec<Value> {
        let read = if namespace.is_some() { "get" } else { "list" };
        let verbs: &[&str] = match self {
            Self::Apply => &[read, "patch"],
            Self::Diff | Self::Recover | Self::Populate { .. } | Self::Verify { .. } => &[read],
        };
        let mut rules = vec![rule("", &["secrets"], verbs, Some(secrets))];
        match self {
            Self::Recover | Self::Populate { via_eso: false } => return rules,
            Self::Populate { via_eso: true } => {
                rules.extend(via_eso());
                return rules;
            }
            _ => {}
        }
        if self == Self::Apply {
            rules.push(rule("", &["secrets"], &["create"], None));
        }
        let name = namespace.map(|name| [name.as_str()]);
        let name = name.as_ref().map(|name| &name[..]);
        rules.push(rule("", &["namespaces"], &[read], name));
        let mut lists = vec![(ESO, vec!["externalsecrets"])];
        let mut more = Vec::new();
        if let Self::Verify { live, .. } = self {
            // On Path 2 it looks at the stores, and at the events of what is not well.
            more.push(rule("", &["events"], &["list"], None));
            more.push(rule(ESO, &["secretstores"], &["get"], None));
            let groups = Kind::ALL.chunk_by(|one, next| one.group() == next.group());
            lists.extend(groups.map(|kinds| {
                let resources = kinds.iter().map(|kind| kind.resource()).collect();
                (kinds[0].group(), resources)
            }));
            // It lists them everywhere at once.
            if grant.selected && namespace.is_some() {
                lists.clear();
                more.clear();
            }
            if live && namespace == Some(grant.home) {
                let pods = [BRAIN_API, workloads::EMBEDDINGS].map(first_pod);
                let pods = pods.each_ref().map(String::as_str);
                let verbs = ["get", "create"];
                rules.push(rule("", &["pods/portforward"], &verbs, Some(&pods)));
            }
        }
        let list = |(group, resources): (_, Vec<_>)| rule(group, &resources, &["list"], None);
        rules.extend(lists.into_iter().map(list));
        rules.extend(more);
        rules
    }

    fn reads_cluster_stores(self) -> bool {
        matches!(
            self,
            Self::Verify {
                cluster_store: true,
                ..
            }
        )
    }

    fn secrets(self) -> Vec<&'static str> {
        match self {
            Self::Recover => vec![ROUTER.secret, EMBEDDINGS.secret],
            _ => BUNDLES.iter().map(|bundle| bundle.secret).collect(),
        }
    }
}

/// What `populate --via-eso` does with its temporary objects, and how it learns of causes.
fn via_eso() -> Vec<Value> {
    let group = "external-secrets.io";
    let names = |what| BUNDLES.map(|bundle| temporary_name(what, bundle));
    let (proofs, pushes) = (names("proof"), names("push"));
    let (proofs, pushes) = (
        proofs.each_ref().map(String::as_str),
        pushes.each_ref().map(String::as_str),
    );
    let own = ["get", "delete", "patch"];
    let resources = ["externalsecrets", "pushsecrets"];
    let both = [&proofs[..], &pushes].concat();
    vec![
        rule("", &["secrets"], &["get", "delete", "patch"], Some(&both)),
        rule("", &["secrets"], &["create"], None),
        rule(group, &resources, &own, Some(&both)),
        rule(group, &resources, &["create"], None),
        rule(group, &["secretstores"], &["get"], None),
        rule("", &["events"], &["list"], None),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str], names: Option<&[&str]>) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
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
    /// Other Secrets that are read.
    pub copies: &'a [CopyRef],
    /// The service account that gets the rights: its namespace and name.
    pub account: Option<(&'a Namespace, &'a str)>,
}

/// The Roles and, for a service account, their bindings: home, then each named fleet namespace,
/// then those of other copies; with a selector a ClusterRole too.
pub fn objects(access: Access, grant: &Grant<'_>) -> Vec<Value> {
    let router = [ROUTER.secret];
    let fleet = grant.named.iter().filter(|name| *name != grant.home);
    let places: Vec<&Namespace> = std::iter::once(grant.home).chain(fleet).collect();
    let copies_in = |place: &Namespace| {
        let here = grant.copies.iter().filter(|copy| copy.namespace == *place);
        here.map(|copy| copy.name.as_str()).collect::<Vec<_>>()
    };
    let mut objects = Vec::new();
    for place in &places {
        let home = *place == grant.home;
        let mut secrets = if home {
            access.secrets()
        } else {
            router.to_vec()
        };
        if let Access::Verify { .. } = access {
            secrets.extend(KNOWN_COPIES);
        }
        secrets.extend(copies_in(place));
        let rules = access.rules(Some(place), &secrets, grant);
        objects.extend(pair(access, Some(place), &rules, grant));
    }
    let default = Namespace::default();
    let cluster_store = access.reads_cluster_stores();
    let mut others: BTreeSet<_> = grant.copies.iter().map(|copy| &copy.namespace).collect();
    if cluster_store && !grant.selected {
        // The events of what has no namespace are there.
        others.insert(&default);
    }
    for place in others.into_iter().filter(|place| !places.contains(place)) {
        let copies = copies_in(place);
        let mut rules = Vec::new();
        if !copies.is_empty() {
            rules.push(rule("", &["secrets"], &["get"], Some(&copies)));
        }
        if cluster_store && !grant.selected && *place == default {
            rules.push(rule("", &["events"], &["list"], None));
        }
        objects.extend(pair(access, Some(place), &rules, grant));
    }
    let mut everywhere = match grant.selected {
        true => access.rules(None, &router, grant),
        false => Vec::new(),
    };
    if cluster_store {
        everywhere.push(rule(ESO, &["clustersecretstores"], &["get"], None));
    }
    if !everywhere.is_empty() {
        objects.extend(pair(access, None, &everywhere, grant));
    }
    objects
}

/// A Role with its binding or, without a namespace, a ClusterRole with its.
fn pair(
    access: Access,
    namespace: Option<&Namespace>,
    rules: &[Value],
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
        "rules": rules,
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
        Access::Verify { .. } => {
            "# Copies of the tokens are found wherever this identity may list Secrets, which gives it\n\
             # all of their values; without, name more of them: rbac verify --copy NS/NAME.\n"
        }
        Access::Populate { via_eso: false } => {
            "# For populate --from-cluster; without it populate talks to the store alone.\n"
        }
        Access::Populate { via_eso: true } => {
            "# The first rule is for --from-cluster only. Kubernetes cannot restrict `create` by name:\n\
             # who has this Role can read, by an ExternalSecret, whatever the operator may read for this\n\
             # namespace. A ClusterRole that may get clustersecretstores, and a Role that may list events\n\
             # in namespace default, tell sooner and better why a ClusterSecretStore does not work.\n"
        }
        Access::Diff | Access::Recover => "",
    };
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    format!("{comment}{}", documents.join("---\n"))
}
