//! The router Secret in the namespaces of agent pods, which are named or selected by labels.

use crate::sandbox::SANDBOX;
use crate::space::{Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space, trials};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Tokens of somebody else.
const STRANGERS: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "a-router-token-of-somebody-else"),
    ("EMBEDDINGS_API_KEY", "an-embeddings-key-of-somebody-else"),
];
/// A label that no namespace has.
const NOBODY: &str = "fleet=nobody";

/// A home namespace, and namespaces with a label that only they have.
struct Fleet {
    home: Space,
    members: Vec<Space>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let mut fleet = Self {
            home: Space::new(),
            members: Vec::new(),
        };
        fleet.grow(count);
        fleet
    }

    /// Adds members.
    fn grow(&mut self, count: usize) {
        for _ in 0..count {
            let member = Space::new();
            self.label(&member);
            self.members.push(member);
        }
    }

    /// Gives a namespace the label of this fleet.
    fn label(&self, space: &Space) {
        let path = format!("/api/v1/namespaces/{}", space.namespace);
        let labels = json!({ "metadata": { "labels": { "fleet": self.home.namespace } } });
        SANDBOX.expect("PATCH", &path, &labels);
    }

    fn selector(&self) -> String {
        format!("fleet={}", self.home.namespace)
    }

    /// Everything, home first.
    fn spaces(&self) -> impl Iterator<Item = &Space> {
        std::iter::once(&self.home).chain(&self.members)
    }

    /// Runs the program with the inputs, and looks for values in what it says.
    fn run(&self, arguments: &[&str]) -> Ran {
        let ran = self.home.run_with(&INPUTS, &[arguments, &["-v"]].concat());
        let filed = self.home.file().exists().then(|| self.home.filed());
        let filed = filed.into_iter().flatten().map(|(_, value)| value);
        let known = INPUTS.iter().chain(&STRANGERS);
        for value in filed.chain(known.map(|(_, value)| (*value).to_owned())) {
            for text in [STANDARD.encode(&value), value] {
                let seen = ran.out.contains(&text) || ran.err.contains(&text);
                assert!(!seen, "a value shows:\n{}\n{}", ran.out, ran.err);
            }
        }
        ran
    }

    /// Runs it with the fleet's selector.
    fn selected(&self, arguments: &[&str]) -> Ran {
        self.run(&[arguments, &["--fleet-selector", &self.selector()]].concat())
    }

    /// Runs it with the name of each member.
    fn named(&self, arguments: &[&str]) -> Ran {
        let mut all = arguments.to_vec();
        for member in &self.members {
            all.extend(["--fleet-namespace", &member.namespace]);
        }
        self.run(&all)
    }

    /// Fails unless home has everything, and all members have home's router Secret and no other.
    #[track_caller]
    fn is_complete(&self) {
        let tokens = self.home.filed();
        assert_eq!(tokens.len(), 2);
        assert_eq!(self.home.versions().len(), 3);
        assert_eq!(
            self.home.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"],
            tokens["EMBEDDINGS_API_KEY"]
        );
        for space in self.spaces() {
            assert_eq!(space.data(ROUTER), tokens, "{}", space.namespace);
        }
        for member in &self.members {
            assert_eq!(names_of_secrets(member), [ROUTER], "{}", member.namespace);
            assert_eq!(member.object(ROUTER).unwrap()["type"], "Opaque");
        }
    }

    /// Fails unless nothing was written: no Secret, no file.
    #[track_caller]
    fn is_untouched(&self) {
        for space in self.spaces() {
            assert_eq!(space.writes(), [""; 0], "{}", space.namespace);
        }
        assert_eq!(self.home.beside_file(), [""; 0]);
    }

    /// The resource versions of all Secrets.
    fn versions(&self) -> Vec<String> {
        self.spaces().flat_map(Space::versions).collect()
    }

    /// The writes of all runs.
    fn writes(&self) -> Vec<String> {
        self.spaces().flat_map(Space::writes).collect()
    }
}

fn names_of_secrets(space: &Space) -> Vec<String> {
    let list = SANDBOX.expect("GET", &space.path(""), &Value::Null);
    let items = list["items"].as_array().unwrap().clone();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

/// Namespace, name and action of each Secret in a document, in its order.
fn actions(ran: &Ran) -> Vec<(String, String, String)> {
    let document = ran.json();
    let secrets = document["secrets"].as_array().unwrap().clone();
    let text = |secret: &Value, field: &str| secret[field].as_str().unwrap().to_owned();
    secrets
        .iter()
        .map(|secret| {
            (
                text(secret, "namespace"),
                text(secret, "name"),
                text(secret, "action"),
            )
        })
        .collect()
}

/// What became of the router Secret of a namespace, which has to be in the document once.
#[track_caller]
fn action_in(ran: &Ran, space: &Space) -> String {
    let all = actions(ran);
    let mut here = all
        .into_iter()
        .filter(|(namespace, name, _)| *namespace == space.namespace && name == ROUTER);
    let (_, _, action) = here.next().expect("it is in the document");
    assert_eq!(here.next(), None);
    action
}

fn fingerprint(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &hex[..12])
}

#[track_caller]
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Deletes a namespace. Nobody finalizes it here, so it stays and is Terminating.
fn terminate(space: &Space) {
    let path = format!("/api/v1/namespaces/{}", space.namespace);
    let gone = SANDBOX.expect("DELETE", &path, &Value::Null);
    assert_eq!(gone["status"]["phase"], "Terminating");
}

#[test]
fn named_namespaces_get_the_router_secret_and_nothing_else() {
    let fleet = Fleet::new(2);
    let [a, b] = [0, 1].map(|index| fleet.members[index].namespace.as_str());
    // Home counts once, and so does one that is named twice.
    let home = fleet.home.namespace.as_str();
    let mut arguments = vec!["--apply", "-o", "json"];
    for name in [b, home, a, b] {
        arguments.extend(["--fleet-namespace", name]);
    }
    let ran = fleet.run(&arguments).exits(0);
    assert_eq!(actions(&ran).len(), 5, "{}", ran.out);
    for space in fleet.spaces() {
        assert_eq!(action_in(&ran, space), "created");
    }
    fleet.is_complete();
    let annotations =
        |space: &Space| space.object(ROUTER).unwrap()["metadata"]["annotations"].clone();
    let of_home = annotations(&fleet.home);
    for token in ["KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY"] {
        assert!(of_home[format!("k8s-bootstrap/minted-at.{token}")].is_string());
    }
    for member in &fleet.members {
        assert_eq!(annotations(member), of_home);
    }
    assert_eq!(fleet.writes().len(), 5);

    let (versions, writes) = (fleet.versions(), fleet.writes());
    let file = std::fs::read(fleet.home.file()).unwrap();
    let ran = fleet.run(&arguments).exits(0);
    assert!(
        actions(&ran)
            .iter()
            .all(|(_, _, action)| action == "unchanged")
    );
    assert_eq!(actions(&ran).len(), 5);
    assert_eq!((fleet.versions(), fleet.writes()), (versions, writes));
    assert_eq!(std::fs::read(fleet.home.file()).unwrap(), file);
}

#[test]
fn selected_namespaces_get_it_likewise_and_no_others() {
    let mut fleet = Fleet::new(2);
    let (stranger, named) = (Space::new(), Space::new());
    // Home matches; one is selected and named, another is only named.
    fleet.label(&fleet.home);
    let both = fleet.members[0].namespace.clone();
    let mut arguments = vec!["--apply", "-o", "json", "--fleet-namespace", &both];
    arguments.extend(["--fleet-namespace", &named.namespace]);
    let ran = fleet.selected(&arguments).exits(0);
    assert_eq!(actions(&ran).len(), 6, "{}", ran.out);
    assert_eq!(action_in(&ran, &named), "created");
    assert_eq!(names_of_secrets(&stranger), [""; 0]);
    fleet.members.push(named);
    fleet.is_complete();
    assert_eq!(fleet.writes().len(), 6);

    let (versions, writes) = (fleet.versions(), fleet.writes());
    let ran = fleet.selected(&arguments).exits(0);
    assert!(
        actions(&ran)
            .iter()
            .all(|(_, _, action)| action == "unchanged")
    );
    assert_eq!((fleet.versions(), fleet.writes()), (versions, writes));
}

#[test]
fn a_namespace_that_joins_later_gets_the_same_tokens() {
    let mut fleet = Fleet::new(1);
    fleet.selected(&["--apply"]).exits(0);
    let (tokens, versions) = (fleet.home.filed(), fleet.versions());
    fleet.grow(1);
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
    assert_eq!(action_in(&ran, &fleet.members[0]), "unchanged");
    assert_eq!(action_in(&ran, &fleet.members[1]), "created");
    assert_eq!(fleet.home.filed(), tokens);
    assert!(fleet.versions().starts_with(&versions));
    fleet.is_complete();
}

#[test]
fn what_is_missing_in_a_fleet_secret_is_added_and_the_rest_stays() {
    let fleet = Fleet::new(3);
    fleet.home.bootstrapped();
    let tokens = fleet.home.filed();
    let router = ("KB_ROUTER_TOKEN", tokens["KB_ROUTER_TOKEN"].as_str());
    let own = ("OF_THE_AGENTS", "stays");
    fleet.members[0].create_secret(ROUTER, &[router, own], &Value::Null);
    fleet.members[1].create_secret(ROUTER, &[("KB_ROUTER_TOKEN", ""), own], &Value::Null);
    let ran = fleet.named(&["--apply", "-o", "json"]).exits(0);
    for (member, action) in fleet
        .members
        .iter()
        .zip(["configured", "configured", "created"])
    {
        assert_eq!(action_in(&ran, member), action);
        let mut wanted = tokens.clone();
        if action == "configured" {
            wanted.insert(own.0.to_owned(), own.1.to_owned());
        }
        assert_eq!(member.data(ROUTER), wanted);
    }
}

/// A kubeconfig for an administrator of that name.
fn administrator(name: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh");
    let output = Command::new(script)
        .args(["user", "--dir"])
        .arg(&SANDBOX.folder)
        .args([name, "system:masters"])
        .output()
        .unwrap();
    let ran = Ran::from(output).exits(0);
    PathBuf::from(ran.out.trim_end())
}

/// The requests of a user, each with its verb.
fn requests_of(user: &str) -> Vec<String> {
    let log = std::fs::read_to_string(SANDBOX.folder.join("audit.log")).unwrap();
    log.lines()
        .filter(|line| line.contains(user))
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["user"]["username"] == *user)
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect()
}

#[test]
fn the_requests_of_a_second_run_do_not_grow_with_the_selected_namespaces() {
    let mut fleet = Fleet::new(2);
    let mut counts = Vec::new();
    for size in [2, 12] {
        fleet.grow(size - fleet.members.len());
        fleet.home.kubeconfig = SANDBOX.kubeconfig.clone();
        fleet.selected(&["--apply"]).exits(0);
        fleet.is_complete();

        let user = format!("counted-{}-{size}", fleet.home.namespace);
        fleet.home.kubeconfig = administrator(&user);
        let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
        let all = actions(&ran);
        assert_eq!(all.len(), 3 + size);
        assert!(all.iter().all(|(_, _, action)| action == "unchanged"));
        let sent = requests_of(&user);
        let reads =
            |request: &&String| request.starts_with("\"get\"") || request.starts_with("\"list\"");
        assert_eq!(sent.iter().filter(reads).count(), sent.len(), "{sent:#?}");
        assert!(!sent.is_empty());
        counts.push(sent);
    }
    assert_eq!(counts[0].len(), counts[1].len(), "{counts:#?}");
}

#[test]
fn another_token_in_a_fleet_namespace_refuses_before_the_first_write() {
    let fleet = Fleet::new(2);
    fleet.home.bootstrapped();
    let tokens = fleet.home.filed();
    let [fresh, other] = [&fleet.members[0], &fleet.members[1]];
    let key = ("EMBEDDINGS_API_KEY", tokens["EMBEDDINGS_API_KEY"].as_str());
    let own = ("OF_THE_AGENTS", "stays");
    other.create_secret(ROUTER, &[STRANGERS[0], key, own], &Value::Null);
    let (versions, writes) = (fleet.versions(), fleet.writes());

    let place = format!("{}/{ROUTER}", other.namespace);
    let (ours, theirs) = (
        fingerprint(&tokens["KB_ROUTER_TOKEN"]),
        fingerprint(STRANGERS[0].1),
    );
    for command in ["--apply", "diff"] {
        for format in ["text", "json"] {
            for ran in [
                fleet.selected(&[command, "-o", format]),
                fleet.named(&[command, "-o", format]),
            ] {
                let words = ["home", &place, &ours, &theirs, "--prefer cluster"];
                let ran = ran.exits(1).says(&words);
                assert!(!ran.err.contains("EMBEDDINGS_API_KEY differs"));
                if format == "json" {
                    assert_eq!(action_in(&ran, other), "refused");
                }
            }
        }
    }
    assert_eq!(
        (fleet.versions(), fleet.writes()),
        (versions.clone(), writes)
    );
    assert_eq!(fleet.home.filed(), tokens);
    assert_eq!(names_of_secrets(fresh), [""; 0]);

    let ran = fleet
        .selected(&["--apply", "--prefer", "cluster", "-o", "json"])
        .exits(0);
    assert_eq!(action_in(&ran, other), "configured");
    assert_eq!(action_in(&ran, fresh), "created");
    assert_eq!(action_in(&ran, &fleet.home), "unchanged");
    let mut wanted = tokens.clone();
    assert_eq!(fresh.data(ROUTER), wanted);
    wanted.insert(own.0.to_owned(), own.1.to_owned());
    assert_eq!(other.data(ROUTER), wanted);
    assert_eq!(fleet.home.filed(), tokens);
    assert_eq!(fleet.home.beside_file(), [".k8s-tokens"]);
    assert!(fleet.versions().starts_with(&versions[..3]));
}

#[test]
fn a_refusal_names_the_tokens_file_where_home_has_nothing() {
    let fleet = Fleet::new(1);
    let filed = ("KB_ROUTER_TOKEN", "a-router-token-that-was-filed");
    fleet.home.write_file(&[filed]);
    fleet.members[0].create_secret(ROUTER, &STRANGERS, &Value::Null);
    let ran = fleet.named(&["--apply"]).exits(1);
    let (ours, theirs) = (fingerprint(filed.1), fingerprint(STRANGERS[0].1));
    let place = format!("{}/{ROUTER}", fleet.members[0].namespace);
    let line = ran
        .err
        .lines()
        .find(|line| line.contains("KB_ROUTER_TOKEN differs"))
        .unwrap();
    for word in ["tokens file", &ours, &place, &theirs] {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    assert!(!line.contains("home has"), "it has none: {line:?}");
    assert_eq!(fleet.writes(), [""; 0]);
}

#[test]
fn a_fleet_namespace_is_never_a_source() {
    let fleet = Fleet::new(2);
    let planted = &fleet.members[0];
    planted.create_secret(ROUTER, &STRANGERS, &Value::Null);
    let place = format!("{}/{ROUTER}", planted.namespace);
    let versions = fleet.versions();
    for command in ["--apply", "diff"] {
        for ran in [fleet.named(&[command]), fleet.selected(&[command])] {
            ran.exits(1)
                .says(&[&place, &fingerprint(STRANGERS[0].1), "never trusted"]);
        }
    }
    fleet.is_untouched();
    assert_eq!(fleet.versions(), versions);
    fleet.run(&["tokens", "recover", "--apply"]).exits(1);
    fleet.is_untouched();

    // Told to, it mints, and the planted ones go.
    let ran = fleet.selected(&["--apply", "--prefer", "cluster"]).exits(0);
    assert!(!ran.out.contains("adopted"), "{}", ran.out);
    fleet.is_complete();
    assert_ne!(fleet.home.filed()["KB_ROUTER_TOKEN"], STRANGERS[0].1);
}

#[test]
fn a_named_namespace_that_is_absent_fails_before_the_first_write() {
    let fleet = Fleet::new(1);
    let absent = Space::without_namespace();
    let name = ["--fleet-namespace", &absent.namespace];
    for command in ["--apply", "diff"] {
        let arguments = [&[command, "-o", "json"][..], &name].concat();
        for ran in [fleet.named(&arguments), fleet.selected(&arguments)] {
            let ran = ran.exits(3).says(&[&absent.namespace, "does not exist"]);
            assert_eq!(ran.json()["ok"], false);
            assert_ne!(ran.json()["error"]["hint"], "");
        }
    }
    fleet.is_untouched();
}

#[test]
fn a_named_namespace_that_is_being_deleted_fails_before_the_first_write() {
    let fleet = Fleet::new(2);
    terminate(&fleet.members[1]);
    for command in ["--apply", "diff"] {
        let ran = fleet.named(&[command]).exits(3);
        let ran = ran.says(&[&fleet.members[1].namespace, "is being deleted"]);
        assert!(
            !ran.err.contains("create namespace"),
            "it exists, so that would fail: {}",
            ran.err
        );
        // Named is stronger than selected.
        let name = ["--fleet-namespace", &fleet.members[1].namespace];
        fleet.selected(&[&[command], &name[..]].concat()).exits(3);
    }
    fleet.is_untouched();
}

#[test]
fn a_selected_namespace_that_is_being_deleted_is_left_out() {
    let mut fleet = Fleet::new(3);
    let leaving = &fleet.members[1];
    terminate(leaving);
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
    let place = format!("warning: fleet namespace {}", leaving.namespace);
    assert_eq!(ran.err.matches(&place).count(), 1, "{}", ran.err);
    assert!(ran.err.contains("left out"), "{}", ran.err);
    assert_eq!(actions(&ran).len(), 5, "{}", ran.out);
    assert_eq!(names_of_secrets(leaving), [""; 0]);
    fleet.members.remove(1);
    fleet.is_complete();
    fleet.selected(&["diff"]).exits(0).says(&["left out"]);
}

#[test]
fn a_selector_that_matches_nothing_warns_and_home_is_done() {
    let fleet = Fleet::new(0);
    for selector in [NOBODY, &fleet.selector()] {
        let ran = fleet.run(&["--apply", "--fleet-selector", selector]);
        ran.exits(0).says(&["warning: ", "matches no namespace"]);
    }
    fleet.is_complete();
    let ran = fleet.run(&["diff", "--fleet-selector", NOBODY]).exits(0);
    ran.says(&["warning: ", "matches no namespace"]);
}

#[test]
fn a_selector_of_home_alone_is_no_reason_to_warn() {
    let fleet = Fleet::new(0);
    fleet.label(&fleet.home);
    let ran = fleet.selected(&["--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.is_complete();
}

#[test]
fn a_selector_that_is_none_is_a_matter_of_usage() {
    let fleet = Fleet::new(0);
    for selector in ["a in (b", "=", "a=b=c", "not a label", "a,,b", "a==-"] {
        for command in ["--apply", "diff"] {
            let ran = fleet.run(&[command, "--fleet-selector", selector, "-o", "json"]);
            let ran = ran.exits(2).says(&["--fleet-selector"]);
            assert_eq!(ran.json()["ok"], false, "{selector}");
        }
    }
    fleet.is_untouched();
}

#[test]
fn selectors_are_those_of_kubectl() {
    let mut fleet = Fleet::new(2);
    let home = fleet.home.namespace.clone();
    let name = fleet.members[1].namespace.clone();
    let key = "kubernetes.io/metadata.name";
    let apart = format!("fleet in ({home}),{key}!={name}");
    let ran = fleet.run(&["--apply", "--fleet-selector", &apart]);
    ran.exits(0);
    let left = fleet.members.pop().unwrap();
    assert_eq!(names_of_secrets(&left), [""; 0]);
    fleet.is_complete();

    let exact = format!("fleet, {key} in ({name}, none)");
    fleet.run(&["--apply", "--fleet-selector", &exact]).exits(0);
    fleet.members.push(left);
    fleet.is_complete();
}

/// What Helm writes on its Secrets.
fn marks_of_helm() -> Value {
    json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "Helm" },
        "annotations": { "meta.helm.sh/release-name": "agents" },
    } })
}

#[test]
fn a_fleet_secret_of_somebody_else_is_skipped_and_the_rest_done() {
    for complete in [false, true] {
        let mut fleet = Fleet::new(3);
        let mut data = Vec::new();
        if complete {
            fleet.home.bootstrapped();
        }
        let tokens = complete.then(|| fleet.home.filed()).unwrap_or_default();
        data.extend(tokens.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let owned = &fleet.members[1];
        owned.create_secret(ROUTER, &data, &marks_of_helm());
        let before = owned.object(ROUTER);

        for _ in 0..2 {
            let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
            assert_eq!(action_in(&ran, owned), "skipped");
            let document = ran.json();
            let secrets = document["secrets"].as_array().unwrap();
            let of_helm: Vec<_> = secrets
                .iter()
                .filter(|secret| !secret["owner"].is_null())
                .collect();
            assert_eq!(of_helm.len(), 1);
            assert_eq!(of_helm[0]["owner"], "Helm release agents");
        }
        assert_eq!(owned.object(ROUTER), before);
        assert_eq!(owned.writes(), [""; 0]);
        fleet
            .named(&["diff"])
            .exits(0)
            .says(&["Helm release agents"]);
        fleet.members.remove(1);
        fleet.is_complete();
    }
}

#[test]
fn another_token_in_a_fleet_secret_of_somebody_else_is_for_its_owner_to_change() {
    let mut fleet = Fleet::new(2);
    let owned = &fleet.members[0];
    owned.create_secret(ROUTER, &STRANGERS, &marks_of_helm());
    let before = owned.object(ROUTER);
    fleet.home.bootstrapped();
    let ran = fleet.named(&["--apply"]).exits(1);
    let hints: Vec<_> = ran
        .err
        .lines()
        .filter(|line| line.contains("hint:"))
        .collect();
    assert!(
        hints.iter().any(|hint| hint.contains("Helm release")),
        "--prefer leaves what is Helm's alone, so the hint has to name the release: {hints:?}"
    );
    assert_eq!(owned.object(ROUTER), before);
    assert_eq!(names_of_secrets(&fleet.members[1]), [""; 0]);

    let ran = fleet
        .named(&["--apply", "--prefer", "cluster", "-o", "json"])
        .exits(0);
    assert_eq!(action_in(&ran, owned), "skipped");
    assert_eq!(owned.object(ROUTER), before);
    fleet.members.remove(0);
    fleet.is_complete();
}

/// Lets nobody create Secrets in these namespaces, until it is removed.
struct Policy<'a>(&'a Space);

impl<'a> Policy<'a> {
    const PATH: &'static str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";

    fn new(space: &'a Space) -> Self {
        let policy = Self(space);
        let object = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": { "name": policy.name() },
                "spec": spec,
            })
        };
        let rules = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
            "operations": ["CREATE"],
        }]);
        let denial = json!({
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": rules },
            "validations": [{ "expression": "false" }],
        });
        let here = json!({ "kubernetes.io/metadata.name": space.namespace });
        let binding = json!({
            "policyName": policy.name(),
            "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": here } },
        });
        for (path, object) in [
            ("ies", object("ValidatingAdmissionPolicy", denial)),
            (
                "ybindings",
                object("ValidatingAdmissionPolicyBinding", binding),
            ),
        ] {
            SANDBOX.expect("POST", &format!("{}{path}", Self::PATH), &object);
        }
        wait("the policy is in force", || policy.denies());
        policy
    }

    fn name(&self) -> String {
        format!("no-secrets-{}", self.0.namespace)
    }

    fn denies(&self) -> bool {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "x" } });
        let path = format!("{}?dryRun=All", self.0.path(""));
        SANDBOX
            .request("POST", &path, "application/json", &secret)
            .0
            >= 400
    }

    fn remove(self) {
        for kind in ["ybindings", "ies"] {
            let path = format!("{}{kind}/{}", Self::PATH, self.name());
            SANDBOX.expect("DELETE", &path, &Value::Null);
        }
        wait("the policy is gone", || !self.denies());
    }
}

#[test]
fn a_namespace_that_fails_does_not_hide_and_the_next_run_finishes_it() {
    let fleet = Fleet::new(4);
    let denied = &fleet.members[2];
    let policy = Policy::new(denied);
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(3);
    let document = ran.json();
    assert_eq!(document["ok"], false);
    let error = &document["error"];
    assert!(
        error["message"].as_str().unwrap().contains("1 of 7"),
        "{error}"
    );
    assert!(
        error["cause"][0]
            .as_str()
            .unwrap()
            .contains(&denied.namespace),
        "{error}"
    );
    assert_ne!(error["hint"], "");
    for space in fleet.spaces() {
        let failed = space.namespace == denied.namespace;
        let action = if failed { "failed" } else { "created" };
        assert_eq!(action_in(&ran, space), action);
        assert_eq!(space.object(ROUTER).is_none(), failed);
    }
    let (tokens, versions) = (fleet.home.filed(), fleet.versions());

    policy.remove();
    let ran = fleet.selected(&["--apply", "-o", "json"]).exits(0);
    for space in fleet.spaces() {
        let failed = space.namespace == denied.namespace;
        let action = if failed { "created" } else { "unchanged" };
        assert_eq!(action_in(&ran, space), action);
    }
    assert_eq!(fleet.home.filed(), tokens);
    assert!(
        versions
            .iter()
            .all(|version| fleet.versions().contains(version))
    );
    fleet.is_complete();
}

#[test]
fn where_home_fails_no_fleet_namespace_gets_a_token() {
    let fleet = Fleet::new(2);
    let policy = Policy::new(&fleet.home);
    let ran = fleet.named(&["--apply", "-o", "json"]).exits(3);
    for space in fleet.spaces() {
        assert_eq!(action_in(&ran, space), "failed");
        assert_eq!(names_of_secrets(space), [""; 0]);
    }
    let tokens = fleet.home.filed();
    policy.remove();
    fleet.named(&["--apply"]).exits(0);
    assert_eq!(fleet.home.filed(), tokens);
    fleet.is_complete();
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next() {
    let fleet = Fleet::new(12);
    let started = Instant::now();
    fleet.selected(&["--apply"]).exits(0);
    let length = started.elapsed();
    let trials = trials();
    let mut partial = 0;
    for index in 0..trials {
        let fleet = Fleet::new(12);
        let selector = fleet.selector();
        let arguments = ["--apply", "--fleet-selector", &selector];
        let mut command = fleet.home.command(&INPUTS, &arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        let moment = length.mul_f64((index as f64 + random) / trials as f64);
        let mut child = command.spawn().unwrap();
        thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();

        let filed = fleet.home.file().exists().then(|| fleet.home.filed());
        let before: Vec<Data> = fleet
            .spaces()
            .filter(|space| space.object(ROUTER).is_some())
            .map(|space| space.data(ROUTER))
            .collect();
        partial += usize::from((1..13).contains(&before.len()));
        fleet.selected(&["--apply"]).exits(0);
        fleet.is_complete();
        assert_eq!(fleet.home.beside_file(), [".k8s-tokens"]);
        let tokens = fleet.home.filed();
        assert!(filed.is_none_or(|filed| filed == tokens));
        assert!(before.iter().all(|data| *data == tokens));
        let (versions, writes) = (fleet.versions(), fleet.writes());
        fleet.selected(&["--apply"]).exits(0);
        assert_eq!((fleet.versions(), fleet.writes()), (versions, writes));
    }
    println!("{partial} of {trials} kills left a part of the fleet");
}

#[test]
fn operators_who_meet_end_with_one_set_of_tokens_everywhere() {
    for _ in 0..trials() {
        let fleet = Fleet::new(4);
        let selector = fleet.selector();
        let arguments = ["--apply", "--fleet-selector", &selector];
        let operators: Vec<_> = (0..4).map(|_| fleet.home.other_operator()).collect();
        let runs: Vec<_> = operators
            .iter()
            .map(|operator| {
                let mut command = operator.command(&INPUTS, &arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for run in runs {
            Ran::from(run.wait_with_output().unwrap()).exits(0);
        }
        let tokens = fleet.home.data(ROUTER);
        for space in fleet.spaces() {
            assert_eq!(space.data(ROUTER), tokens);
        }
        let files: BTreeSet<_> = operators.iter().map(Space::filed).collect();
        assert_eq!(files, BTreeSet::from([tokens]));
    }
}

#[test]
fn the_preview_makes_the_same_secrets() {
    let fleet = Fleet::new(3);
    fleet.label(&fleet.home);
    let name = fleet.members[0].namespace.clone();
    let ran = fleet.selected(&["--fleet-namespace", &name]).exits(0);
    assert_eq!(fleet.writes(), [""; 0]);
    let mut shell = Command::new("sh")
        .current_dir(fleet.home.folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", fleet.home.folder.path())
        .env("KUBECONFIG", &SANDBOX.kubeconfig)
        .envs(INPUTS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = ran.out.into_bytes();
    shell.stdin.take().unwrap().write_all(&script).unwrap();
    let ran = Ran::from(shell.wait_with_output().unwrap()).exits(0);
    for value in fleet.home.filed().values() {
        assert!(!ran.out.contains(value) && !ran.err.contains(value));
    }
    fleet.is_complete();
    let versions = fleet.versions();
    fleet.selected(&["--apply"]).exits(0);
    fleet.named(&["--apply"]).exits(0);
    assert_eq!(fleet.versions(), versions);
}

#[test]
fn diff_says_what_would_change_in_the_fleet() {
    let mut fleet = Fleet::new(2);
    for ran in [fleet.named(&["diff"]), fleet.selected(&["diff"])] {
        for space in fleet.spaces() {
            let line = format!("{}/{ROUTER}: would be created", space.namespace);
            assert!(ran.out.contains(&line), "{}", ran.out);
        }
        ran.exits(1);
    }
    fleet.is_untouched();
    fleet.selected(&["--apply"]).exits(0);
    fleet.named(&["diff"]).exits(0);
    fleet.selected(&["diff"]).exits(0);

    fleet.grow(1);
    let [old, new] = [&fleet.members[0], &fleet.members[2]];
    let ran = fleet.selected(&["diff", "-o", "json"]).exits(1);
    assert_eq!(action_in(&ran, old), "unchanged");
    assert_eq!(action_in(&ran, new), "created");
    old.remove_key(ROUTER, "EMBEDDINGS_API_KEY");
    let ran = fleet.named(&["diff", "-o", "json"]).exits(1);
    assert_eq!(action_in(&ran, old), "configured");
    fleet.named(&["--apply"]).exits(0);
    fleet.is_complete();
}

const ACCOUNT: &str = "tester";

/// The ClusterRoles that `rbac` prints have one name for the whole cluster.
static CLUSTER_ROLES: Mutex<()> = Mutex::new(());

/// Makes the program run as a service account of home, which has no right yet.
fn as_account(fleet: &mut Fleet) {
    let home = &fleet.home;
    home.kubectl(&["create", "serviceaccount", ACCOUNT]);
    let token = home.kubectl(&["create", "token", ACCOUNT]);
    let path = home.folder.path().join("kubeconfig");
    std::fs::copy(&SANDBOX.kubeconfig, &path).unwrap();
    let config = |arguments: &[&str]| {
        home.kubectl(&[&["--kubeconfig", "kubeconfig", "config"], arguments].concat())
    };
    let credential = format!("--token={}", token.trim());
    config(&["set-credentials", ACCOUNT, &credential]);
    config(&["set-context", "--current", "--user", ACCOUNT]);
    fleet.home.kubeconfig = path;
}

/// Tells whether the account may do that; without a namespace, in all of them.
fn may(fleet: &Fleet, namespace: &str, rule: &Value) -> bool {
    let text = |field: &str| rule[field][0].as_str().unwrap_or_default();
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{}:{ACCOUNT}", fleet.home.namespace),
            "resourceAttributes": {
                "namespace": namespace, "verb": text("verbs"), "group": text("apiGroups"),
                "resource": text("resources"), "name": text("resourceNames"),
            },
        },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    SANDBOX.expect("POST", path, &review)["status"]["allowed"] == true
}

/// What `rbac` prints with these arguments, as objects.
fn printed(fleet: &Fleet, arguments: &[&str]) -> Vec<Value> {
    let account = format!("{}:{ACCOUNT}", fleet.home.namespace);
    let of_account = ["rbac", "--service-account", &account, "-o", "json"];
    let ran = fleet.home.run(&[&of_account, arguments].concat()).exits(0);
    ran.json()["objects"].as_array().unwrap().clone()
}

/// Applies the objects, and waits until the server goes by each Role.
fn bind(fleet: &Fleet, objects: &[Value]) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let path = fleet.home.folder.path().join("roles.json");
    std::fs::write(path, list.to_string()).unwrap();
    fleet.home.kubectl(&["apply", "-f", "roles.json"]);
    for object in objects {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if let Some(rule) = object["rules"].as_array().and_then(|rules| rules.last()) {
            wait("the Role is in force", || may(fleet, namespace, rule));
        }
    }
}

/// The arguments that name the members.
fn names(fleet: &Fleet) -> Vec<&str> {
    let members = fleet.members.iter();
    members
        .flat_map(|member| ["--fleet-namespace", member.namespace.as_str()])
        .collect()
}

/// Fails where the account may do more in all namespaces than a fleet needs.
#[track_caller]
fn may_no_more(fleet: &Fleet, namespace: &str) {
    for (verb, resource, name) in [
        ("get", "secrets", EMBEDDINGS),
        ("list", "secrets", ""),
        ("watch", "secrets", ""),
        ("list", "secrets", EMBEDDINGS),
        ("patch", "secrets", EMBEDDINGS),
        ("update", "secrets", ROUTER),
        ("delete", "secrets", ROUTER),
        ("create", "namespaces", ""),
        ("delete", "namespaces", ""),
        ("list", "pods", ""),
    ] {
        let rule = json!({
            "apiGroups": [""], "resources": [resource], "verbs": [verb], "resourceNames": [name],
        });
        assert!(
            !may(fleet, namespace, &rule),
            "may {verb} {resource} {name}"
        );
    }
}

#[test]
fn the_printed_roles_are_enough_for_named_namespaces() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    bind(
        &fleet,
        &printed(&fleet, &[&["diff"], &names(&fleet)[..]].concat()),
    );
    let ran = fleet.named(&["diff"]).exits(1);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.named(&["--apply"]).exits(3);
    assert!(fleet.versions().is_empty());

    bind(
        &fleet,
        &printed(&fleet, &[&["apply"], &names(&fleet)[..]].concat()),
    );
    let ran = fleet.named(&["--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.is_complete();
    let member = &fleet.members[0];
    member.remove_key(ROUTER, "EMBEDDINGS_API_KEY");
    fleet.named(&["diff"]).exits(1);
    fleet.named(&["--apply"]).exits(0);
    fleet.is_complete();
    fleet.named(&["diff"]).exits(0);
    may_no_more(&fleet, &member.namespace);
}

#[test]
fn a_namespace_that_is_named_twice_has_one_role() {
    let fleet = Fleet::new(1);
    let twice = [names(&fleet), names(&fleet)].concat();
    let objects = printed(&fleet, &twice);
    let unique: BTreeSet<_> = objects.iter().map(Value::to_string).collect();
    assert_eq!(objects.len(), unique.len(), "{objects:#?}");
    assert_eq!(unique.len(), 4);
}

#[test]
fn the_printed_roles_are_enough_for_selected_namespaces() {
    let _alone = CLUSTER_ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let selector = fleet.selector();
    let selector = ["--fleet-selector", &selector];
    bind(
        &fleet,
        &printed(&fleet, &[&["diff"], &selector[..]].concat()),
    );
    let ran = fleet.selected(&["diff"]).exits(1);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.selected(&["--apply"]).exits(3);
    assert!(fleet.versions().is_empty());

    bind(
        &fleet,
        &printed(&fleet, &[&["apply"], &selector[..]].concat()),
    );
    let ran = fleet.selected(&["--apply"]).exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
    fleet.is_complete();
    let member = &fleet.members[0];
    member.remove_key(ROUTER, "EMBEDDINGS_API_KEY");
    fleet.selected(&["diff"]).exits(1);
    fleet.selected(&["--apply"]).exits(0);
    fleet.is_complete();
    fleet.selected(&["diff"]).exits(0);
    may_no_more(&fleet, "");
    may_no_more(&fleet, &member.namespace);
}

#[test]
fn two_installations_in_a_cluster_keep_their_rights() {
    let _alone = CLUSTER_ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleets = [Fleet::new(1), Fleet::new(1)];
    for fleet in &mut fleets {
        as_account(fleet);
        let selector = fleet.selector();
        bind(fleet, &printed(fleet, &["--fleet-selector", &selector]));
    }
    // What the second has applied took nothing from the first.
    thread::sleep(Duration::from_millis(500));
    for fleet in &fleets {
        fleet.selected(&["--apply"]).exits(0);
        fleet.is_complete();
    }
}

#[test]
fn where_secrets_may_not_be_listed_everywhere_each_namespace_is_read() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let mut objects = printed(&fleet, &names(&fleet));
    let name = format!("lists-namespaces-{}", fleet.home.namespace);
    let subject = json!({
        "kind": "ServiceAccount", "name": ACCOUNT, "namespace": fleet.home.namespace,
    });
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"] }],
    }));
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [subject],
    }));
    bind(&fleet, &objects);
    fleet.selected(&["--apply"]).exits(0);
    fleet.is_complete();
    let versions = fleet.versions();
    fleet.selected(&["--apply"]).exits(0);
    fleet.named(&["--apply"]).exits(0);
    assert_eq!(fleet.versions(), versions);
    fleet.selected(&["diff"]).exits(0);
}

#[test]
fn who_may_not_list_namespaces_is_told_so() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    bind(&fleet, &printed(&fleet, &names(&fleet)));
    for command in ["--apply", "diff"] {
        fleet.selected(&[command]).exits(3).says(&[
            "namespaces may not be listed",
            "--fleet-selector",
            "--fleet-namespace",
        ]);
    }
    fleet.is_untouched();
}

#[test]
fn who_may_not_write_in_one_namespace_finishes_the_others() {
    let mut fleet = Fleet::new(2);
    as_account(&mut fleet);
    let [allowed, denied] = [0, 1].map(|index| fleet.members[index].namespace.as_str());
    bind(
        &fleet,
        &printed(&fleet, &["apply", "--fleet-namespace", allowed]),
    );
    bind(
        &fleet,
        &printed(&fleet, &["diff", "--fleet-namespace", denied]),
    );
    let ran = fleet.named(&["--apply", "-o", "json"]).exits(3);
    let ran = ran.says(&[denied, "may not create"]);
    assert_eq!(action_in(&ran, &fleet.home), "created");
    assert_eq!(action_in(&ran, &fleet.members[0]), "created");
    assert_eq!(action_in(&ran, &fleet.members[1]), "failed");
    // The command of the hint gives the right that is missing, if it names the namespace.
    let hint = ran.json()["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("rbac apply"), "{hint}");
    assert!(
        hint.contains(&format!("--fleet-namespace {denied}")),
        "{hint}"
    );
}
