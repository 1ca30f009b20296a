//! The smallest Role for a command.

use super::yaml::to_yaml;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::snapshot::{CopyRef, KNOWN_COPIES};
use crate::domain::cluster::workload::{self, BRAIN_API, first_pod};
use crate::domain::eso::objects::temporary_name;
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, ROUTER};
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
        /// Whether it writes through the operator.
        via_eso: bool,
    },
    /// Reads the Secrets and who reads them.
    Verify {
        /// Whether it also asks the services.
        live: bool,
    },
    /// Has the operator refresh the Secrets.
    Sync,
    /// Hands the Secrets over to the operator, and takes them back.
    Migrate,
    /// Exchanges the tokens and restarts who reads them.
    Rotate {
        /// Whether it also asks the services.
        live: bool,
    },
}

/// Which objects a right is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// All of them: their names are not known, or Kubernetes does not look at them.
    All,
    /// The Secrets that the command is about.
    Secrets,
    /// The ExternalSecrets that make them, as the charts call them.
    ExternalSecrets,
    /// What `migrate` makes for a moment.
    Proofs,
    /// What `populate` makes for a moment.
    Pushes,
    /// The namespace itself; in all namespaces, each.
    Namespace,
    /// The first pods of the services.
    Pods,
    /// Other Secrets that hold copies of the tokens.
    Copies,
}

/// A row of the table: a right in a namespace.
struct Right {
    group: &'static str,
    resources: Vec<&'static str>,
    whose: Whose,
    verbs: &'static [&'static str],
    /// The verbs in all namespaces, where the fleet is selected by labels.
    everywhere: &'static [&'static str],
}

impl Right {
    fn new(
        (group, resource): (&'static str, &'static str),
        whose: Whose,
        verbs: &'static [&'static str],
    ) -> Self {
        Self {
            group,
            resources: vec![resource],
            whose,
            verbs,
            everywhere: verbs,
        }
    }

    fn everywhere(self, verbs: &'static [&'static str]) -> Self {
        Self {
            everywhere: verbs,
            ..self
        }
    }
}

/// What is restarted.
const RESTARTED: [WorkloadKind; 3] = [
    WorkloadKind::StatefulSet,
    WorkloadKind::Deployment,
    WorkloadKind::DaemonSet,
];
const SECRETS: (&str, &str) = ("", "secrets");
const NAMESPACES: (&str, &str) = ("", "namespaces");
const EVENTS: (&str, &str) = ("", "events");
const PODS: (&str, &str) = ("", "pods");
const PORTS: (&str, &str) = ("", "pods/portforward");
const EXTERNAL_SECRETS: (&str, &str) = (ESO, "externalsecrets");
const STORES: (&str, &str) = (ESO, "secretstores");
const CLUSTER_STORES: (&str, &str) = (ESO, "clustersecretstores");

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "k8s-bootstrap-apply",
            Self::Diff => "k8s-bootstrap-diff",
            Self::Recover => "k8s-bootstrap-recover",
            Self::Populate { .. } => "k8s-bootstrap-populate",
            Self::Verify { .. } => "k8s-bootstrap-verify",
            Self::Sync => "k8s-bootstrap-sync",
            Self::Migrate => "k8s-bootstrap-migrate",
            Self::Rotate { .. } => "k8s-bootstrap-rotate",
        }
    }

    /// THE TABLE: what the command does in a namespace. Where the fleet is selected by labels it
    /// lists across all of them what it gets elsewhere.
    fn rights(self) -> Vec<Right> {
        use Whose::{All, Copies, ExternalSecrets, Namespace, Pods, Proofs, Pushes, Secrets};
        let right = Right::new;
        let namespace = || right(NAMESPACES, Namespace, &["get"]).everywhere(&["list"]);
        let read = || right(SECRETS, Secrets, &["get"]).everywhere(&["list"]);
        match self {
            Self::Apply => vec![
                right(SECRETS, Secrets, &["get", "patch"]).everywhere(&["list", "patch"]),
                right(SECRETS, All, &["create"]),
                namespace(),
                right(EXTERNAL_SECRETS, All, &["list"]),
            ],
            Self::Diff => vec![read(), namespace(), right(EXTERNAL_SECRETS, All, &["list"])],
            Self::Recover | Self::Populate { via_eso: false } => vec![read()],
            Self::Populate { via_eso: true } => vec![
                read(),
                right(SECRETS, Pushes, &["get", "delete", "patch"]),
                right(SECRETS, All, &["create"]),
                Right {
                    resources: vec!["externalsecrets", "pushsecrets"],
                    ..right((ESO, ""), Pushes, &["get", "delete", "patch"])
                },
                Right {
                    resources: vec!["externalsecrets", "pushsecrets"],
                    ..right((ESO, ""), All, &["create"])
                },
                right(STORES, All, &["get"]),
                right(EVENTS, All, &["list"]),
            ],
            Self::Verify { live } => {
                let mut rights = vec![read(), namespace()];
                if live {
                    rights.push(right(PORTS, Pods, &["get", "create"]).everywhere(&[]));
                }
                rights.push(right(EXTERNAL_SECRETS, All, &["list"]));
                let groups = WorkloadKind::ALL.chunk_by(|one, next| one.group() == next.group());
                rights.extend(groups.map(|kinds| Right {
                    resources: kinds.iter().map(|kind| kind.resource()).collect(),
                    ..right((kinds[0].group(), ""), All, &["list"])
                }));
                // On Path 2 it looks at the stores, and at the events of what is not well.
                rights.push(right(EVENTS, All, &["list"]));
                rights.push(right(STORES, All, &["get"]));
                rights
            }
            Self::Sync => vec![
                right(SECRETS, Secrets, &["get"]).everywhere(&["list", "get"]),
                namespace(),
                right(EXTERNAL_SECRETS, All, &["list", "get"]),
                right(EXTERNAL_SECRETS, ExternalSecrets, &["patch"]),
                right(EVENTS, All, &["list"]),
                right(STORES, All, &["get", "patch"]),
            ],
            Self::Rotate { live } => {
                let mut rights = vec![
                    right(SECRETS, Secrets, &["get", "patch"]).everywhere(&["list", "patch"]),
                    right(SECRETS, Copies, &["get"]).everywhere(&[]),
                    namespace(),
                    Right {
                        resources: RESTARTED.map(WorkloadKind::resource).to_vec(),
                        ..right(("apps", ""), All, &["list", "get", "patch", "watch"])
                    },
                    right(("batch", WorkloadKind::CronJob.resource()), All, &["list"]),
                    right(PODS, All, &["list"]),
                    right(EVENTS, All, &["list"]),
                ];
                if live {
                    rights.push(right(PORTS, Pods, &["get", "create"]));
                }
                // On Path 2 the state is on an ExternalSecret, and the operator is to refresh.
                rights.push(right(EXTERNAL_SECRETS, All, &["list", "get"]));
                rights.push(right(EXTERNAL_SECRETS, ExternalSecrets, &["patch"]));
                rights.push(right(STORES, All, &["get"]));
                rights
            }
            Self::Migrate => vec![
                right(SECRETS, Secrets, &["get", "update"]).everywhere(&["list", "get", "update"]),
                right(SECRETS, Proofs, &["get", "delete"]),
                // A Secret that is lost on the way back is made again.
                right(SECRETS, All, &["create"]),
                namespace(),
                right(EXTERNAL_SECRETS, All, &["list", "get", "create"]),
                right(EXTERNAL_SECRETS, ExternalSecrets, &["patch", "delete"]),
                right(EXTERNAL_SECRETS, Proofs, &["patch", "delete"]),
                right(EVENTS, All, &["list"]),
                right(PODS, All, &["list"]),
                right(STORES, All, &["get"]),
            ],
        }
    }

    /// What it does with a store of the whole cluster; nothing where it looks at none.
    fn of_cluster_stores(self) -> &'static [&'static str] {
        match self {
            Self::Apply | Self::Diff | Self::Recover | Self::Populate { .. } => &[],
            Self::Verify { .. } | Self::Migrate | Self::Rotate { .. } => &["get"],
            Self::Sync => &["get", "patch"],
        }
    }

    /// Tells whether it looks at stores.
    pub fn reads_stores(self) -> bool {
        !self.of_cluster_stores().is_empty()
    }

    /// What it is about at home.
    fn bundles(self) -> Vec<&'static Bundle> {
        match self {
            Self::Recover | Self::Rotate { .. } => vec![&ROUTER, &EMBEDDINGS],
            _ => BUNDLES.to_vec(),
        }
    }

    /// The rules in a namespace or, where the fleet is selected by labels, across all of them.
    fn rules(self, namespace: Option<&Namespace>, grant: &Grant<'_>) -> Vec<Value> {
        let rule = |right: Right| {
            let verbs = match namespace {
                Some(_) => right.verbs,
                None => right.everywhere,
            };
            let names = self.names(right.whose, namespace, grant);
            // A right on everything in all namespaces is not needed in one of them again.
            let again = grant.selected && namespace.is_some() && names.is_none();
            // An empty list of names would mean all of them.
            let none = verbs.is_empty() || names.as_ref().is_some_and(Vec::is_empty);
            (!again && !none).then(|| rule(right.group, &right.resources, verbs, names.as_deref()))
        };
        self.rights().into_iter().filter_map(rule).collect()
    }

    /// The names of the objects; `None` is all of them.
    fn names(
        self,
        whose: Whose,
        namespace: Option<&Namespace>,
        grant: &Grant<'_>,
    ) -> Option<Vec<String>> {
        let home = namespace == Some(grant.home);
        let bundles = match home {
            true => self.bundles(),
            false => vec![&ROUTER],
        };
        let owned = |name: &str| name.to_owned();
        match (whose, namespace) {
            (Whose::All, _) | (Whose::Namespace, None) => None,
            (Whose::Namespace, Some(namespace)) => Some(vec![namespace.to_string()]),
            (Whose::Secrets, _) => {
                let mut names: Vec<_> = bundles.iter().map(|it| owned(it.secret)).collect();
                if let (Self::Verify { .. }, Some(_)) = (self, namespace) {
                    names.extend(KNOWN_COPIES.map(owned));
                }
                if !matches!(self, Self::Rotate { .. }) {
                    names.extend(
                        namespace
                            .into_iter()
                            .flat_map(|place| grant.copies_in(place)),
                    );
                }
                Some(names)
            }
            (Whose::Copies, _) => {
                let mut names: Vec<_> = KNOWN_COPIES.map(owned).into();
                let named = namespace.into_iter();
                names.extend(named.flat_map(|place| grant.copies_in(place)));
                Some(names)
            }
            (Whose::ExternalSecrets, _) => {
                Some(bundles.iter().map(|it| owned(it.external_secret)).collect())
            }
            (Whose::Proofs, _) => Some(
                bundles
                    .iter()
                    .map(|it| temporary_name("proof", it))
                    .collect(),
            ),
            (Whose::Pushes, _) => {
                let kinds = ["proof", "push"].into_iter();
                let of = |kind| bundles.iter().map(move |it| temporary_name(kind, it));
                Some(kinds.flat_map(of).collect())
            }
            (Whose::Pods, _) => {
                let services: &[&str] = match (home, self) {
                    (true, _) => &[BRAIN_API, workload::EMBEDDINGS],
                    // A fleet namespace may have a brain-api of its own.
                    (false, Self::Rotate { .. }) => &[BRAIN_API],
                    (false, _) => &[],
                };
                Some(services.iter().map(|service| first_pod(service)).collect())
            }
        }
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str], names: Option<&[String]>) -> Value {
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
    /// Whether a store is one of the whole cluster.
    pub cluster_store: bool,
    /// The service account that gets the rights: its namespace and name.
    pub account: Option<(&'a Namespace, &'a str)>,
}

impl Grant<'_> {
    fn copies_in(&self, place: &Namespace) -> Vec<String> {
        let here = self.copies.iter().filter(|copy| copy.namespace == *place);
        here.map(|copy| copy.name.clone()).collect()
    }
}

/// The Roles and, for a service account, their bindings: home, then each named fleet namespace,
/// then those of other copies; with a selector a ClusterRole too.
pub fn objects(access: Access, grant: &Grant<'_>) -> Vec<Value> {
    let fleet = grant.named.iter().filter(|name| *name != grant.home);
    let places: Vec<&Namespace> = std::iter::once(grant.home).chain(fleet).collect();
    let mut objects = Vec::new();
    for place in &places {
        let rules = access.rules(Some(place), grant);
        objects.extend(pair(access, Some(place), &rules, grant));
    }
    let default = Namespace::default();
    let mut others: BTreeSet<_> = grant.copies.iter().map(|copy| &copy.namespace).collect();
    let events = grant.cluster_store && !grant.selected;
    if events {
        // The events of what has no namespace are there.
        others.insert(&default);
    }
    for place in others.into_iter().filter(|place| !places.contains(place)) {
        let copies = grant.copies_in(place);
        let mut rules = Vec::new();
        if !copies.is_empty() {
            rules.push(rule("", &["secrets"], &["get"], Some(&copies)));
        }
        if events && *place == default {
            rules.push(rule("", &["events"], &["list"], None));
        }
        objects.extend(pair(access, Some(place), &rules, grant));
    }
    let mut everywhere = match grant.selected {
        true => access.rules(None, grant),
        false => Vec::new(),
    };
    if grant.cluster_store {
        let ((group, stores), verbs) = (CLUSTER_STORES, access.of_cluster_stores());
        everywhere.push(rule(group, &[stores], verbs, None));
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
        Access::Rotate { .. } => {
            "# Copies of the tokens are found wherever this identity may list Secrets, and other\n\
             # namespaces with the same tokens where it may list them in the whole cluster; name copies\n\
             # otherwise: rbac rotate --copy NS/NAME. Where a brain-api runs in a fleet namespace too,\n\
             # --live asks it only with pods/portforward there.\n"
        }
        Access::Migrate => {
            "# Kubernetes cannot restrict `create` by name, so this Role may create any Secret and any\n\
             # ExternalSecret here; through the latter it reads what the stores here may read.\n"
        }
        Access::Diff | Access::Recover | Access::Sync => "",
    };
    let named = match access {
        Access::Sync | Access::Migrate | Access::Rotate { .. } => {
            "# An ExternalSecret that is called otherwise than the charts call it has to be added to the\n\
             # resourceNames.\n"
        }
        _ => "",
    };
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    format!("{comment}{named}{}", documents.join("---\n"))
}
