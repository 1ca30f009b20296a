//! The router Secret in the namespaces of agent pods, which are named or selected by labels.

mod failures;
mod refusals;
mod roles;

use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tokens of somebody else.
const STRANGERS: [(&str, &str); 2] = [
    ("KB_ROUTER_TOKEN", "a-router-token-of-somebody-else"),
    ("EMBEDDINGS_API_KEY", "an-embeddings-key-of-somebody-else"),
];
/// A label that no namespace has.
const NOBODY: &str = "fleet=nobody";

/// These requests, all of which have to be reads, without those for further pages: other tests fill the
/// cluster.
pub fn own_reads(sent: Vec<String>) -> Vec<String> {
    let reads =
        |request: &&String| request.starts_with("\"get\"") || request.starts_with("\"list\"");
    assert_eq!(sent.iter().filter(reads).count(), sent.len(), "{sent:#?}");
    let mut own = sent;
    own.retain(|request| !request.contains("continue="));
    own
}

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
    let only_named = named.namespace.clone();
    // Home matches; one is selected and named, another is only named.
    fleet.label(&fleet.home);
    let both = fleet.members[0].namespace.clone();
    let mut arguments = vec!["--apply", "-o", "json", "--fleet-namespace", &both];
    arguments.extend(["--fleet-namespace", &only_named]);
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
pub fn administrator(name: &str) -> PathBuf {
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
pub fn requests_of(user: &str) -> Vec<String> {
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
        assert!(!sent.is_empty());
        counts.push(own_reads(sent));
    }
    assert_eq!(counts[0].len(), counts[1].len(), "{counts:#?}");
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
        .env("PATH", &SANDBOX.path)
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
