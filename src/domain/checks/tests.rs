//! Cases that are hard to build in a cluster: many namespaces, odd owners, missing permissions.

use super::check::{Check, Id, Status};
use super::words::some_of;
use super::{Case, findings, healthy, sees_nothing};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::observed_secret::{
    LiveSecret, LiveValue, NamespaceState, OPAQUE, Observed,
};
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::snapshot::{
    ClusterSnapshot, CopyRef, Denied, FileFacts, FilePath, FileState, Keeping, NamespaceSnapshot,
};
use crate::domain::cluster::workload::{Container, Pod, PodSpec, Whole, Workload};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::PerToken;
use std::collections::{BTreeMap, BTreeSet};

const TOKEN: &str = "a-router-token-that-is-long-enough";
const KEY: &str = "an-embeddings-key-that-is-long-enough";

pub(super) fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn secret(data: &[(&str, &str)]) -> Observed {
    let value = |value: &str| LiveValue::encode(&SecretValue::from(value));
    Observed {
        live: Some(LiveSecret {
            type_: OPAQUE.to_owned(),
            data: data
                .iter()
                .map(|(key, text)| ((*key).to_owned(), value(text)))
                .collect(),
            created: Some(0),
            changed: Some(0),
            ..LiveSecret::default()
        }),
        ..Observed::default()
    }
}

pub(super) fn router() -> Observed {
    secret(&[("KB_ROUTER_TOKEN", TOKEN), ("EMBEDDINGS_API_KEY", KEY)])
}

pub(super) fn place(secrets: &[(&'static str, Observed)]) -> NamespaceSnapshot {
    NamespaceSnapshot {
        state: NamespaceState::Active,
        secrets: secrets.iter().cloned().collect(),
        ..NamespaceSnapshot::default()
    }
}

fn get_secret(name: &str, at: &str) -> Denied {
    Denied::secret(&namespace(at), name)
}

pub(super) fn list(resource: &str, at: &str) -> Denied {
    Denied {
        verb: "list",
        resource: resource.to_owned(),
        namespace: Some(namespace(at)),
        why: None,
    }
}

/// Owns what a [`Case`] borrows.
pub(super) struct Facts {
    file: FileFacts,
    pub(super) cluster: ClusterSnapshot,
    reach: HintContext,
    live: bool,
    copies: Vec<CopyRef>,
}

impl Facts {
    /// A healthy home namespace `brain` with all three Secrets.
    pub(super) fn new() -> Self {
        let embeddings = secret(&[
            ("POSTGRES_URL", "postgres://h/d"),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "m"),
            ("EMBEDDINGS_API_KEYS", KEY),
        ]);
        let agenticore = secret(&[("ANTHROPIC_API_KEY", "sk"), ("GITHUB_TOKEN", "")]);
        let secrets = [router(), embeddings, agenticore];
        let names = BUNDLES.iter().map(|bundle| bundle.secret);
        let home = place(&names.zip(secrets).collect::<Vec<_>>());
        Self {
            file: FileFacts {
                path: FilePath::default(),
                state: FileState::Read {
                    tokens: PerToken::default(),
                    loose: false,
                },
                keeping: Keeping::Away,
            },
            cluster: ClusterSnapshot {
                server: String::new(),
                version: None,
                now: 1_000_000,
                home: namespace("brain"),
                places: [(namespace("brain"), home)].into(),
                nothing_selected: false,
                copies: BTreeMap::new(),
                absent: BTreeSet::new(),
                denied: BTreeSet::new(),
                probes: Vec::new(),
                path2: None,
            },
            reach: HintContext {
                home: "brain".to_owned(),
                program: "k8s-bootstrap -n brain --context c".to_owned(),
                apply: "k8s-bootstrap -n brain --context c --apply".to_owned(),
                tokens_file: "local/.k8s-tokens".to_owned(),
                fleet: " --fleet-selector 'team in (a,b)'".to_owned(),
                kubectl: "kubectl --context c".to_owned(),
                helm: " --kube-context c".to_owned(),
            },
            live: false,
            copies: Vec::new(),
        }
    }

    pub(super) fn home(&mut self) -> &mut NamespaceSnapshot {
        let home = self.cluster.home.clone();
        self.cluster.places.get_mut(&home).unwrap()
    }

    /// Makes a Secret of the home namespace unreadable.
    fn hide(&mut self, name: &str) {
        self.home().secrets.remove(name);
        self.cluster.denied.insert(get_secret(name, "brain"));
    }

    pub(super) fn case(&self) -> Case<'_> {
        Case {
            file: &self.file,
            cluster: &self.cluster,
            reach: &self.reach,
            rotation: Ok(None),
            since: None,
            max_age: i64::MAX,
            max_overlap: i64::MAX,
            live: self.live,
            copies: &self.copies,
            settlement: Default::default(),
        }
    }

    /// The status and message of each check with an id.
    fn describe(&self, id: Id) -> Vec<(Status, String)> {
        let checks = findings(&self.case()).into_iter();
        let of_id = checks.filter(|check| check.id == id);
        of_id.map(|check| (check.status, check.message)).collect()
    }
}

#[test]
fn some_of_names_three_and_counts_the_rest() {
    let none: [&str; 0] = [];
    assert_eq!(some_of(&none), "");
    assert_eq!(some_of(&["a"]), "a");
    assert_eq!(some_of(&["a", "b", "c"]), "a, b, c");
    assert_eq!(some_of(&["a", "b", "c", "d"]), "a, b, c and 1 more");
    let many: Vec<_> = (0..1000).collect();
    assert_eq!(some_of(&many), "0, 1, 2 and 997 more");
}

fn is_of_path2(id: Id) -> bool {
    matches!(id.group(), "eso" | "store")
}

fn is_of_lint(id: Id) -> bool {
    id.group() == "values"
}

#[test]
fn a_healthy_home_has_a_result_for_every_check() {
    let facts = Facts::new();
    let checks = findings(&facts.case());
    let missing: Vec<_> = Id::ALL
        .iter()
        .copied()
        .filter(|id| checks.iter().all(|check| check.id != *id))
        .filter(|id| !is_of_path2(*id) && !is_of_lint(*id))
        .collect();
    assert_eq!(missing, []);
    assert!(checks.iter().all(|check| !is_of_path2(check.id)));
    assert!(checks.iter().all(|check| !is_of_lint(check.id)));
    assert!(checks.is_sorted_by_key(|check| check.id));
    assert!(healthy(&checks));
    assert!(!sees_nothing(&facts.cluster));
    let needs_hint = |check: &Check| matches!(check.status, Status::Warn | Status::Fail);
    assert!(
        checks
            .iter()
            .all(|check| !needs_hint(check) || !check.hint.is_empty())
    );
}

#[test]
fn a_permission_missing_in_many_namespaces_is_one_line() {
    let mut facts = Facts::new();
    for index in 0..1000 {
        let name = format!("agents-{index:04}");
        facts.cluster.places.insert(namespace(&name), place(&[]));
        for denied in [get_secret(ROUTER.secret, &name), list("pods", &name)] {
            facts.cluster.denied.insert(denied);
        }
    }
    let places = "agents-0000, agents-0001, agents-0002 and 997 more";
    let router = format!(
        "not checked: you may not get secrets/{} in {places}",
        ROUTER.secret
    );
    assert_eq!(facts.describe(Id::TokensFleet), [(Status::Skip, router)]);
    let pods = format!("not checked: you may not list pods in {places}");
    for id in [Id::WorkloadWired, Id::WorkloadFresh, Id::WorkloadWaiting] {
        let found = facts.describe(id);
        assert!(
            found.contains(&(Status::Skip, pods.clone())),
            "{id}: {found:?}"
        );
    }
    // The checks of the home namespace do not report it.
    let of_home = [
        Id::TokensMatch,
        Id::TokensPair,
        Id::AgeToken,
        Id::SecretPresent,
    ];
    for (id, found) in of_home.map(|id| (id, facts.describe(id))) {
        let blames = found
            .iter()
            .any(|(_, message)| message.contains("you may not"));
        assert!(!blames, "{id}: {found:?}");
    }
    let [(status, access)] = facts.describe(Id::ClusterAccess).try_into().unwrap();
    assert_eq!(status, Status::Skip);
    assert!(access.ends_with(" and 1997 more"), "{access}");
    assert!(findings(&facts.case()).len() < 100);
}

#[test]
fn a_token_missing_at_home_is_one_line_for_the_fleet() {
    let mut facts = Facts::new();
    let half = secret(&[("EMBEDDINGS_API_KEY", KEY)]);
    facts.home().secrets.insert(ROUTER.secret, half);
    for index in 0..1000 {
        let member = place(&[(ROUTER.secret, router())]);
        let name = namespace(&format!("agents-{index}"));
        facts.cluster.places.insert(name, member);
    }
    let message = "the home namespace has no KB_ROUTER_TOKEN to compare with";
    let expected = [(Status::Skip, message.to_owned())];
    assert_eq!(facts.describe(Id::TokensFleet), expected);

    facts.hide(ROUTER.secret);
    let message = format!(
        "not checked: you may not get secrets/{} in brain",
        ROUTER.secret
    );
    let expected = [(Status::Skip, message)];
    assert_eq!(facts.describe(Id::TokensFleet), expected);
}

#[test]
fn an_unreadable_fleet_namespace_is_skipped_and_the_others_pass() {
    let mut facts = Facts::new();
    let member = place(&[(ROUTER.secret, router())]);
    facts.cluster.places.insert(namespace("a"), member);
    facts.cluster.places.insert(namespace("b"), place(&[]));
    facts.cluster.denied.insert(get_secret(ROUTER.secret, "b"));
    let found = facts.describe(Id::TokensFleet);
    let statuses: Vec<_> = found.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [Status::Pass, Status::Skip], "{found:?}");
    assert!(
        found[0].1.starts_with("1 fleet namespace has "),
        "{found:?}"
    );
}

/// A pod that reads these Secrets into its environment and started at that time.
fn pod(name: &str, secrets: &[&str], started: i64) -> Pod {
    let whole = |secret: &&str| Whole {
        prefix: String::new(),
        secret: Some((*secret).to_owned()),
        optional: false,
    };
    let container = Container {
        name: "main".to_owned(),
        env_from: secrets.iter().map(whole).collect(),
        ..Container::default()
    };
    Pod {
        namespace: namespace("brain"),
        name: name.to_owned(),
        owner: None,
        spec: PodSpec {
            containers: vec![container],
            volumes: Vec::new(),
        },
        ready: true,
        started: [("main".to_owned(), started)].into(),
        waiting: BTreeMap::new(),
        stuck: BTreeMap::new(),
        unschedulable: false,
        mark: None,
    }
}

#[test]
fn a_pod_with_an_unreadable_secret_is_neither_fresh_nor_stale() {
    let mut facts = Facts::new();
    let embeddings = "embeddings-secrets";
    facts.home().pods = vec![
        pod("seen", &[ROUTER.secret], 10),
        pod("same-second", &[ROUTER.secret], 0),
        pod("half-seen", &[ROUTER.secret, embeddings], 10),
        pod("another", &["of-somebody-else"], 10),
    ];
    let count = |facts: &Facts| facts.describe(Id::WorkloadFresh)[0].1.clone();
    assert_eq!(count(&facts), "3 pods run with current values");
    facts.hide(embeddings);
    let found = facts.describe(Id::WorkloadFresh);
    let skip = format!("not checked: you may not get secrets/{embeddings} in brain");
    assert_eq!(found[0].1, "2 pods run with current values");
    assert_eq!(found[1..], [(Status::Skip, skip.clone())]);

    // The Secret that was read still makes the pod stale.
    facts.home().pods = vec![pod("half-seen", &[ROUTER.secret, embeddings], -1)];
    let statuses: Vec<_> = facts
        .describe(Id::WorkloadFresh)
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    assert_eq!(statuses, [Status::Warn, Status::Skip]);

    // workload.reloader does not pass either.
    let spec = facts.home().pods[0].spec.clone();
    facts.home().pods.clear();
    facts.home().workloads = vec![Workload {
        kind: WorkloadKind::Deployment,
        namespace: namespace("brain"),
        name: "reads".to_owned(),
        spec,
        reloaded: true,
        mark: None,
        rollout: Rollout::default(),
    }];
    assert_eq!(facts.describe(Id::WorkloadReloader), [(Status::Skip, skip)]);
}

#[test]
fn without_readable_secrets_at_home_nothing_passes() {
    let mut facts = Facts::new();
    let names = BUNDLES.map(|bundle| bundle.secret);
    for (index, name) in names.into_iter().enumerate() {
        assert!(!sees_nothing(&facts.cluster), "{index}");
        facts.hide(name);
    }
    assert!(sees_nothing(&facts.cluster));
    let passed = findings(&facts.case()).into_iter();
    let passed: Vec<_> = passed
        .filter(|check| check.status == Status::Pass)
        .map(|check| check.id.group())
        .filter(|group| ["secret", "tokens", "owner", "age"].contains(group))
        .collect();
    assert_eq!(passed, [""; 0]);
}

#[test]
fn the_rbac_hint_has_the_options_of_the_run() {
    let mut facts = Facts::new();
    let (before, after) = (
        "k8s-bootstrap -n brain --context c rbac verify",
        " --fleet-selector 'team in (a,b)' --service-account \"$NAMESPACE:$NAME\" | \
         kubectl --context c apply -f -",
    );
    assert_eq!(facts.case().role_hint(), format!("{before}{after}"));
    facts.live = true;
    facts.copies = ["ops", "mcp.tokens"]
        .map(|name| CopyRef {
            namespace: namespace("tools"),
            name: name.to_owned(),
        })
        .into();
    let more = " --live --copy tools/ops --copy tools/mcp.tokens";
    assert_eq!(facts.case().role_hint(), format!("{before}{more}{after}"));
}

#[test]
fn no_hint_asks_for_list_secrets() {
    let mut facts = Facts::new();
    facts.cluster.denied.insert(list("secrets", "brain"));
    let [(access, _)] = facts.describe(Id::ClusterAccess).try_into().unwrap();
    assert_eq!(access, Status::Pass);
    let checks = findings(&facts.case()).into_iter();
    let [copies] = checks
        .filter(|check| check.id == Id::TokensCopies)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!((copies.status, copies.hint.as_str()), (Status::Skip, ""));
    let end = "you may not list secrets in brain";
    assert!(copies.message.ends_with(end), "{}", copies.message);
}

#[test]
fn a_read_that_timed_out_needs_no_role() {
    let mut facts = Facts::new();
    let mut pods = list("pods", "brain");
    pods.why = Some("GET pods: timed out after 30 s (--request-timeout)".to_owned());
    facts.cluster.denied.insert(pods);
    let checks = findings(&facts.case());
    let skipped = |id| checks.iter().find(|check| check.id == id).unwrap();
    for id in [Id::ClusterAccess, Id::WorkloadFresh] {
        assert_eq!(skipped(id).hint, Id::ClusterReachable.docs_link(), "{id}");
    }
    facts.cluster.denied.insert(list("cronjobs", "brain"));
    let role = facts.case().role_hint();
    let checks = findings(&facts.case());
    let access = checks.iter().find(|check| check.id == Id::ClusterAccess);
    assert_eq!(access.unwrap().hint, role);
}

/// `--apply` refuses while a namespace is being deleted.
#[test]
fn the_hint_is_the_command_that_has_to_come_first() {
    let mut facts = Facts::new();
    facts.home().secrets.remove(ROUTER.secret);
    let absent = Observed::default();
    facts.home().secrets.insert(ROUTER.secret, absent);
    let hint = |facts: &Facts| {
        let checks = findings(&facts.case()).into_iter();
        let mut present = checks.filter(|check| check.id == Id::SecretPresent);
        present.next().unwrap().hint
    };
    assert_eq!(hint(&facts), "k8s-bootstrap -n brain --context c --apply");
    for (state, expected) in [
        (
            NamespaceState::Terminating,
            "kubectl --context c wait --for=delete namespace/agents --timeout=5m",
        ),
        (
            NamespaceState::Absent,
            "kubectl --context c create namespace agents",
        ),
    ] {
        let member = NamespaceSnapshot {
            state,
            ..place(&[])
        };
        facts.cluster.places.insert(namespace("agents"), member);
        assert_eq!(hint(&facts), expected);
    }
}
