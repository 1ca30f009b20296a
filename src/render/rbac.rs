//! The smallest Role for a command: one table of rights, and the Roles and bindings from it.

use super::yaml::to_yaml;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::{CopyRef, KNOWN_COPIES};
use crate::domain::cluster::workload::{self, BRAIN_API, first_pod};
use crate::domain::eso::objects::temporary_name;
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, ROUTER};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The API group of External Secrets Operator.
const ESO: &str = "external-secrets.io";

/// The commands that need a Role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes the Secrets.
    Apply,
    /// Reads the Secrets.
    Diff,
    /// Reads the Secrets that hold tokens.
    Recover,
    /// Reads the Secrets, as a source for the store.
    Populate {
        /// True if it writes through External Secrets Operator.
        via_eso: bool,
    },
    /// Reads the Secrets and the workloads that read them.
    Verify {
        /// True if it also sends requests to the services.
        live: bool,
    },
    /// Refreshes the ExternalSecrets.
    Sync,
    /// Changes the owner of the Secrets to an ExternalSecret, and back.
    Migrate,
    /// Replaces the tokens and restarts the workloads that read them.
    Rotate {
        /// True if it also sends requests to the services.
        live: bool,
    },
}

/// The objects that a right is restricted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// All objects: their names are unknown, or Kubernetes cannot restrict the verb by name.
    All,
    /// The Secrets of the command.
    Secrets,
    /// The ExternalSecrets with the names that the charts use.
    ExternalSecrets,
    /// The temporary objects of `migrate`.
    Proofs,
    /// The temporary objects of `populate`.
    Pushes,
    /// The namespace itself; in a ClusterRole all namespaces.
    Namespace,
    /// The first pods of the services.
    Pods,
    /// Other Secrets that hold copies of the tokens.
    Copies,
}

/// An API group and resources of it.
type Resources = (&'static str, &'static [&'static str]);

/// A row of the table.
struct Right {
    resources: Resources,
    whose: Whose,
    verbs: &'static [&'static str],
    /// The verbs in the ClusterRole for a fleet that is selected by labels.
    everywhere: &'static [&'static str],
}

impl Right {
    fn new(resources: Resources, whose: Whose, verbs: &'static [&'static str]) -> Self {
        Self {
            resources,
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

const SECRETS: Resources = ("", &["secrets"]);
const NAMESPACES: Resources = ("", &["namespaces"]);
const EVENTS: Resources = ("", &["events"]);
const PODS: Resources = ("", &["pods"]);
const PORTS: Resources = ("", &["pods/portforward"]);
/// The workloads that `rotate` restarts.
const RESTARTED: Resources = ("apps", &["statefulsets", "deployments", "daemonsets"]);
const CRON_JOBS: Resources = ("batch", &["cronjobs"]);
const EXTERNAL_SECRETS: Resources = (ESO, &["externalsecrets"]);
const TEMPORARIES: Resources = (ESO, &["externalsecrets", "pushsecrets"]);
const STORES: Resources = (ESO, &["secretstores"]);
const CLUSTER_STORES: Resources = (ESO, &["clustersecretstores"]);

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

    /// THE TABLE: the rights of a command in a namespace. If the fleet is selected by labels, the
    /// command lists across all namespaces what it gets by name otherwise.
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
                right(TEMPORARIES, Pushes, &["get", "delete", "patch"]),
                right(TEMPORARIES, All, &["create"]),
                right(STORES, All, &["get"]),
                right(EVENTS, All, &["list"]),
            ],
            Self::Verify { live } => {
                let mut rights = vec![read(), namespace()];
                if live {
                    rights.push(right(PORTS, Pods, &["get", "create"]).everywhere(&[]));
                }
                // Events of failed objects and stores are of Path 2.
                let lists = [EXTERNAL_SECRETS, RESTARTED, CRON_JOBS, PODS, EVENTS];
                rights.extend(lists.map(|listed| right(listed, All, &["list"])));
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
                    right(RESTARTED, All, &["list", "patch"]),
                    right(CRON_JOBS, All, &["list"]),
                    right(PODS, All, &["list"]),
                    right(EVENTS, All, &["list"]),
                ];
                if live {
                    rights.push(right(PORTS, Pods, &["get", "create"]));
                }
                // Path 2: the state is an annotation of an ExternalSecret, which is also refreshed.
                rights.push(right(EXTERNAL_SECRETS, All, &["list", "get"]));
                rights.push(right(EXTERNAL_SECRETS, ExternalSecrets, &["patch"]));
                rights.push(right(STORES, All, &["get"]));
                rights
            }
            Self::Migrate => vec![
                right(SECRETS, Secrets, &["get", "update"]).everywhere(&["list", "get", "update"]),
                right(SECRETS, Proofs, &["get", "delete"]),
                // The rollback recreates a Secret that was deleted with its ExternalSecret.
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

    /// The verbs on a ClusterSecretStore; empty if the command reads no store.
    fn cluster_store_verbs(self) -> &'static [&'static str] {
        match self {
            Self::Apply | Self::Diff | Self::Recover | Self::Populate { .. } => &[],
            Self::Verify { .. } | Self::Migrate | Self::Rotate { .. } => &["get"],
            Self::Sync => &["get", "patch"],
        }
    }

    /// True if the command reads stores.
    pub fn reads_stores(self) -> bool {
        !self.cluster_store_verbs().is_empty()
    }

    /// The bundles of the command in the home namespace.
    fn bundles(self) -> Vec<&'static Bundle> {
        match self {
            Self::Recover | Self::Rotate { .. } => vec![&ROUTER, &EMBEDDINGS],
            _ => BUNDLES.to_vec(),
        }
    }

    /// The rules of the Role in a namespace, or of the ClusterRole without one.
    fn rules(self, namespace: Option<&Namespace>, grant: &Grant<'_>) -> Vec<Value> {
        let rule = |right: Right| {
            let verbs = match namespace {
                Some(_) => right.verbs,
                None => right.everywhere,
            };
            let names = self.names(right.whose, namespace, grant);
            // The ClusterRole already has a right without names.
            let is_redundant = grant.selected && namespace.is_some() && names.is_none();
            // An empty resourceNames would mean all objects.
            let is_empty = verbs.is_empty() || names.as_ref().is_some_and(Vec::is_empty);
            (!is_redundant && !is_empty).then(|| rule(right.resources, verbs, names.as_deref()))
        };
        self.rights().into_iter().filter_map(rule).collect()
    }

    /// The resourceNames of a rule; `None` is all objects.
    fn names(
        self,
        whose: Whose,
        namespace: Option<&Namespace>,
        grant: &Grant<'_>,
    ) -> Option<Vec<String>> {
        let home = namespace == Some(grant.home);
        let bundles = if home { self.bundles() } else { vec![&ROUTER] };
        let owned = |name: &str| name.to_owned();
        let copies = || {
            namespace
                .map(|place| grant.copies_in(place))
                .unwrap_or_default()
        };
        let temporaries = |kinds: &[&str]| {
            let of = |kind| bundles.iter().map(move |it| temporary_name(kind, it));
            kinds.iter().flat_map(|kind| of(*kind)).collect()
        };
        match (whose, namespace) {
            (Whose::All, _) | (Whose::Namespace, None) => None,
            (Whose::Namespace, Some(namespace)) => Some(vec![namespace.to_string()]),
            (Whose::Secrets, _) => {
                let mut names: Vec<_> = bundles.iter().map(|it| owned(it.secret)).collect();
                if let (Self::Verify { .. }, Some(_)) = (self, namespace) {
                    names.extend(KNOWN_COPIES.map(owned));
                }
                if !matches!(self, Self::Rotate { .. }) {
                    names.extend(copies());
                }
                Some(names)
            }
            (Whose::Copies, _) => {
                let mut names: Vec<_> = KNOWN_COPIES.map(owned).into();
                names.extend(copies());
                Some(names)
            }
            (Whose::ExternalSecrets, _) => {
                Some(bundles.iter().map(|it| owned(it.external_secret)).collect())
            }
            (Whose::Proofs, _) => Some(temporaries(&["proof"])),
            (Whose::Pushes, _) => Some(temporaries(&["proof", "push"])),
            (Whose::Pods, _) => {
                let services: &[&str] = match (home, self) {
                    (true, _) => &[BRAIN_API, workload::EMBEDDINGS],
                    // A fleet namespace may run its own brain-api.
                    (false, Self::Rotate { .. }) => &[BRAIN_API],
                    (false, _) => &[],
                };
                Some(services.iter().map(|service| first_pod(service)).collect())
            }
        }
    }
}

fn rule((group, resources): Resources, verbs: &[&str], names: Option<&[String]>) -> Value {
    let mut rule = json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    if let Some(names) = names {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// The namespaces, copies and service account of the Roles.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    pub home: &'a Namespace,
    /// The fleet namespaces that are given by name.
    pub named: &'a BTreeSet<Namespace>,
    /// True if a label selector selects more fleet namespaces, so that their names are unknown.
    pub selected: bool,
    /// The Secrets of `--copy`.
    pub copies: &'a [CopyRef],
    /// True if a store is a ClusterSecretStore.
    pub cluster_store: bool,
    /// The namespace and name of the service account that is bound.
    pub account: Option<(&'a Namespace, &'a str)>,
}

impl Grant<'_> {
    fn copies_in(&self, place: &Namespace) -> Vec<String> {
        let here = self.copies.iter().filter(|copy| copy.namespace == *place);
        here.map(|copy| copy.name.clone()).collect()
    }
}

/// The Roles and, for a service account, their bindings: the home namespace, each named fleet
/// namespace, then the namespaces of other copies; with a selector also a ClusterRole.
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
        // Events of cluster-scoped objects are in namespace default.
        others.insert(&default);
    }
    for place in others.into_iter().filter(|place| !places.contains(place)) {
        let copies = grant.copies_in(place);
        let mut rules = Vec::new();
        if !copies.is_empty() {
            rules.push(rule(SECRETS, &["get"], Some(&copies)));
        }
        if events && *place == default {
            rules.push(rule(EVENTS, &["list"], None));
        }
        objects.extend(pair(access, Some(place), &rules, grant));
    }
    let mut everywhere = if grant.selected {
        access.rules(None, grant)
    } else {
        Vec::new()
    };
    if grant.cluster_store {
        let verbs = access.cluster_store_verbs();
        everywhere.push(rule(CLUSTER_STORES, verbs, None));
    }
    if !everywhere.is_empty() {
        objects.extend(pair(access, None, &everywhere, grant));
    }
    objects
}

/// A Role and its binding or, without a namespace, a ClusterRole and its binding.
fn pair(
    access: Access,
    namespace: Option<&Namespace>,
    rules: &[Value],
    grant: &Grant<'_>,
) -> Vec<Value> {
    // Two home namespaces in a cluster must not overwrite each other's Roles.
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

/// The objects as YAML. Comments say what RBAC cannot express.
pub fn yaml(access: Access, objects: &[Value]) -> String {
    let comment = match access {
        Access::Apply => {
            "# Kubernetes cannot restrict `create` by name, so this Role may create any Secret here.\n\
             # --create-namespace also needs a ClusterRole that may create namespaces.\n"
        }
        Access::Verify { .. } => {
            "# verify finds copies of the tokens in namespaces where this identity may list Secrets. That\n\
             # gives it all values there; or name the copies: rbac verify --copy NS/NAME.\n"
        }
        Access::Populate { via_eso: false } => {
            "# For populate --from-cluster; without it populate needs the store only.\n"
        }
        Access::Populate { via_eso: true } => {
            "# The first rule is for --from-cluster only. Kubernetes cannot restrict `create` by name:\n\
             # with an ExternalSecret this Role can read everything that the operator may read for this\n\
             # namespace. To see earlier why a ClusterSecretStore does not work, also grant get on\n\
             # clustersecretstores, and list on events in namespace default.\n"
        }
        Access::Rotate { .. } => {
            "# rotate finds copies of the tokens in namespaces where this identity may list Secrets, and\n\
             # other namespaces with the same tokens if it may list Secrets in the whole cluster; or name\n\
             # the copies: rbac rotate --copy NS/NAME. To probe a brain-api in a fleet namespace, --live\n\
             # needs pods/portforward there.\n"
        }
        Access::Migrate => {
            "# Kubernetes cannot restrict `create` by name, so this Role may create any Secret and any\n\
             # ExternalSecret here. With an ExternalSecret it can read what the stores here may read.\n"
        }
        Access::Diff | Access::Recover | Access::Sync => "",
    };
    let names = match access {
        Access::Sync | Access::Migrate | Access::Rotate { .. } => {
            "# An ExternalSecret with another name than in the charts has to be added to resourceNames.\n"
        }
        _ => "",
    };
    let documents: Vec<_> = objects.iter().map(to_yaml).collect();
    format!("{comment}{names}{}", documents.join("---\n"))
}
