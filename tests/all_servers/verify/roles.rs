//! What `verify` sees as a service account with just the Roles that `rbac verify` prints, and what
//! it says where a right is missing.

use crate::account::may_in;
use crate::checks::{checks, follow, of};
use crate::sandbox::SANDBOX;
use crate::services::{Kind, Service, Slot};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::stub::{kubeconfig, sandbox};
use crate::wait::wait;
use crate::workloads::{
    AGENTS, BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS, agents, install, ports, wait_ready,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A Secret that an operator keeps, with copies of both tokens.
const COPY: &str = "brain-ops-secrets";

/// A healthy installation: home with the chart, a fleet namespace with agents, a copy elsewhere.
struct Stage {
    home: Space,
    member: Space,
    elsewhere: Space,
    /// The cluster, as kubeconfigs have it.
    cluster: Value,
    _services: [Service; 2],
}

/// A service account, and the kubeconfig with which the program is it.
struct Account<'a> {
    stage: &'a Stage,
    name: String,
    kubeconfig: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let [home, member, elsewhere] = [Space::new(), Space::new(), Space::new()];
        let fleet = ["--fleet-namespace", &member.namespace];
        let apply = [&["--apply"], &fleet[..]].concat();
        home.run_with(&INPUTS, &apply).exits(0);
        let tokens = home.filed();
        let tokens: Vec<_> = tokens
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        elsewhere.create_secret(COPY, &tokens, &Value::Null);
        let slots = [Slot::take(), Slot::take()];
        install(&home, &ports(slots[0].port(), slots[1].port()));
        agents(&member);
        for workload in WORKLOADS {
            wait_ready(&home, workload);
        }
        wait_ready(&member, AGENTS);
        let [brain_api, embeddings] = slots;
        let services = [
            Service::of(brain_api, Kind::BrainApi, &home, BRAIN_API),
            Service::of(embeddings, Kind::Embeddings, &home, EMBEDDINGS_SERVICE),
        ];
        Self {
            home,
            member,
            elsewhere,
            cluster: sandbox().0,
            _services: services,
        }
    }

    /// A service account of home without any right.
    fn account(&self, name: &str) -> Account<'_> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts", self.home.namespace);
        let object = json!({ "metadata": { "name": name } });
        SANDBOX.expect("POST", &path, &object);
        let token = SANDBOX.expect("POST", &format!("{path}/{name}/token"), &json!({}));
        let user = json!({ "token": token["status"]["token"] });
        let file = self.home.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, kubeconfig(&self.cluster, &user).to_string()).unwrap();
        Account {
            stage: self,
            name: name.to_owned(),
            kubeconfig: file,
        }
    }

    /// Everything that `verify` and `rbac verify` both take, with a fleet that is named.
    fn named(&self) -> Vec<String> {
        let copy = format!("{}/{COPY}", self.elsewhere.namespace);
        let fleet = self.member.namespace.clone();
        ["--live", "--copy", &copy, "--fleet-namespace", &fleet]
            .map(str::to_owned)
            .to_vec()
    }

    /// The same, with a fleet that is selected.
    fn selected(&self) -> Vec<String> {
        let mut all = self.named();
        let selector = format!("kubernetes.io/metadata.name={}", self.member.namespace);
        all.splice(3.., ["--fleet-selector".to_owned(), selector]);
        all
    }
}

impl Account<'_> {
    /// What `rbac verify` prints for it.
    fn printed(&self, arguments: &[String]) -> Vec<Value> {
        let account = format!("{}:{}", self.stage.home.namespace, self.name);
        let mut all = vec![
            "rbac",
            "verify",
            "-o",
            "json",
            "--service-account",
            &account,
        ];
        all.extend(arguments.iter().map(String::as_str));
        let json = self.stage.home.run(&all).exits(0).json();
        json["objects"].as_array().unwrap().clone()
    }

    /// Makes these objects, under a name that nobody else's have, and waits until they are in force.
    fn grant(&self, objects: &[Value]) {
        for object in objects {
            let mut object = object.clone();
            let name = format!("{}-{}", self.stage.home.namespace, self.name);
            object["metadata"]["name"] = json!(name);
            if object["roleRef"].is_object() {
                object["roleRef"]["name"] = json!(name);
            }
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            let namespace = object["metadata"]["namespace"].as_str();
            let place = namespace.map(|name| format!("/namespaces/{name}"));
            let path = format!(
                "/apis/rbac.authorization.k8s.io/v1{}/{kind}s",
                place.unwrap_or_default()
            );
            SANDBOX.expect("POST", &path, &object);
        }
        self.in_force(objects);
    }

    fn in_force(&self, objects: &[Value]) {
        for object in objects {
            let rules = object["rules"].as_array();
            if let Some(rule) = rules.and_then(|rules| rules.last()) {
                wait("the Role is in force", || {
                    self.may(&object["metadata"]["namespace"], rule)
                });
            }
        }
    }

    fn may(&self, namespace: &Value, rule: &Value) -> bool {
        let first = |field: &str| rule[field][0].as_str().unwrap_or_default();
        let account = format!("{}:{}", self.stage.home.namespace, self.name);
        let right = ["verbs", "apiGroups", "resources", "resourceNames"].map(first);
        may_in(namespace.as_str().unwrap_or_default(), &account, right)
    }

    fn user(&self) -> String {
        format!(
            "system:serviceaccount:{}:{}",
            self.stage.home.namespace, self.name
        )
    }

    fn verify(&self, arguments: &[String]) -> Ran {
        let mut all = vec!["verify", "-o", "json"];
        all.extend(arguments.iter().map(String::as_str));
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        self.stage
            .home
            .run_with(&[("KUBECONFIG", kubeconfig)], &all)
    }

    /// Verb and URI of each request so far.
    fn requests(&self) -> Vec<(String, String)> {
        let user = self.user();
        let log = std::fs::read_to_string(SANDBOX.folder.join("audit.log")).unwrap();
        log.lines()
            .filter(|line| line.contains(&user))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|event| event["user"]["username"] == *user)
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                (text("verb"), text("requestURI"))
            })
            .collect()
    }
}

/// The checks with that status, each as its id, its message and its hint.
fn with_status(ran: &Ran, status: &str) -> Vec<(String, String, String)> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["status"] == status)
        .map(|check| {
            let text = |field: &str| check[field].as_str().unwrap().to_owned();
            (text("id"), text("message"), text("hint"))
        })
        .collect()
}

/// Fails unless all is well and nothing is left out but what nobody asked for and, of what needs a
/// right, the search for copies.
#[track_caller]
fn is_healthy(ran: &Ran, needless: &[&str]) {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    for status in ["fail", "warn"] {
        assert_eq!(with_status(ran, status), [], "{}", ran.out);
    }
    let skipped = with_status(ran, "skip");
    let (copies, rest): (Vec<_>, Vec<_>) = skipped
        .into_iter()
        .partition(|(id, ..)| id == "tokens.copies");
    let rest: Vec<_> = rest.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(rest, needless, "{}", ran.out);
    let [(_, message, _)] = copies.as_slice() else {
        panic!("{}", ran.out);
    };
    assert!(message.contains("you may not list secrets in"), "{message}");
    assert!(message.contains("--copy"), "{message}");
}

#[test]
fn the_printed_roles_are_enough_and_nothing_is_written() {
    let stage = Stage::new();
    let (named, selected) = (stage.named(), stage.selected());
    let plain: &[&str] = &["tokens.fleet", "live.brain-api", "live.embeddings"];
    for (name, arguments, needless, most) in [
        ("plain", &[][..], plain, 15),
        ("copy", &named[1..3], plain, 16),
        ("live", &named[..1], &plain[..1], 25),
        ("named", &named[..], &[], 40),
        ("selected", &selected[..], &[], 40),
    ] {
        let account = stage.account(name);
        account.grant(&account.printed(arguments));
        is_healthy(&account.verify(arguments), needless);
        let requests = account.requests();
        assert!(requests.len() <= most, "{name}: {requests:#?}");
        for (verb, uri) in &requests {
            let reads = ["get", "list"].contains(&verb.as_str());
            let forwards = uri.contains("/portforward") && arguments.contains(&named[0]);
            assert!(reads || forwards, "{name}: {verb} {uri}");
        }
    }
    // Who may list Secrets finds the copies of these namespaces too.
    let copies = checks(&stage.home, "tokens.copies", &[]);
    assert_eq!(copies[0]["status"], "pass", "{copies:#?}");
    assert_eq!(copies.len(), 1, "{copies:#?}");
}

/// A right that was taken out of what `rbac` prints.
struct Cut {
    left: Vec<Value>,
    /// The rule with nothing but that right.
    gone: Value,
    /// The Role that had it is there.
    namespace: Option<String>,
    /// As a message names it.
    permission: String,
}

/// Every way to take one right away.
fn cuts(objects: &[Value]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let rules = object["rules"].as_array().cloned().unwrap_or_default();
        for (at, rule) in rules.iter().enumerate() {
            let fields = ["verbs", "resources", "resourceNames"];
            let count = |field: &str| rule[field].as_array().map_or(0, Vec::len);
            let several: Vec<_> = fields
                .into_iter()
                .filter(|field| count(field) > 1)
                .collect();
            let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
            let mut cut = |rule: &Value, left: Option<Value>| {
                let mut objects = objects.to_vec();
                let rules = objects[index]["rules"].as_array_mut().unwrap();
                rules.splice(at..=at, left);
                cuts.push(Cut {
                    left: objects,
                    gone: rule.clone(),
                    namespace: namespace.clone(),
                    permission: permission(rule),
                });
            };
            if several.is_empty() {
                cut(rule, None);
            }
            for field in several {
                for entry in 0..count(field) {
                    let (mut gone, mut left) = (rule.clone(), rule.clone());
                    let entries = left[field].as_array_mut().unwrap();
                    gone[field] = json!([entries.remove(entry)]);
                    cut(&gone, Some(left));
                }
            }
        }
    }
    cuts
}

/// Tells whether a right is used on Path 2 only, which is tested there.
fn is_of_path2(cut: &Cut) -> bool {
    let resource = cut.gone["resources"][0].as_str();
    matches!(resource, Some("events" | "secretstores"))
}

fn permission(rule: &Value) -> String {
    let first = |field: &str| rule[field][0].as_str().unwrap_or_default();
    match (first("resources"), first("resourceNames")) {
        ("pods/portforward", _) => "get and create pods/portforward".to_owned(),
        // Where Secrets may not be listed by name they are read one by one.
        ("secrets", name) => format!("get secrets/{name}"),
        (resource, "") => format!("list {resource}"),
        (resource, name) => format!("get {resource}/{name}"),
    }
}

/// The checks that do not see what this permission shows.
fn blind(stage: &Stage, cut: &Cut) -> Vec<&'static str> {
    let home = cut.namespace.as_ref() == Some(&stage.home.namespace);
    let of_secret = [
        "secret.present",
        "secret.keys",
        "secret.value",
        "secret.exposed",
        "owner.secret",
    ];
    let readers = ["workload.wired", "workload.fresh", "workload.reloader"];
    let (verb, what) = cut.permission.split_once(' ').unwrap();
    match what.strip_prefix("secrets/").unwrap_or(what) {
        ROUTER if home => {
            let more = [
                "tokens.match",
                "tokens.pair",
                "tokens.fleet",
                "tokens.copies",
                "age.token",
                "live.brain-api",
                "live.embeddings",
            ];
            [&of_secret[..], &readers, &more].concat()
        }
        ROUTER => vec!["tokens.fleet", "workload.wired", "workload.fresh"],
        EMBEDDINGS => [
            &of_secret[..],
            &readers,
            &["tokens.pair", "embeddings.door"],
        ]
        .concat(),
        AGENTICORE => [&of_secret[..], &readers].concat(),
        COPY => vec!["tokens.copies"],
        "externalsecrets" if home => vec!["owner.secret"],
        "statefulsets" if home => vec![
            "workload.wired",
            "workload.reloader",
            "embeddings.door",
            "live.brain-api",
            "live.embeddings",
        ],
        "statefulsets" | "deployments" | "daemonsets" | "cronjobs" => {
            vec!["workload.wired", "workload.reloader"]
        }
        "pods" => {
            let waiting = ["workload.waiting"];
            [&readers[..], &waiting].concat()
        }
        "namespaces" => vec!["tokens.fleet"],
        _ if verb == "get" && home && what.starts_with("namespaces/") => vec!["cluster.namespace"],
        // One of the two, whichever was taken.
        "and create pods/portforward" => vec![],
        _ => vec!["cluster.access"],
    }
}

/// Takes each right away in turn: what it shows is skipped, and the hint brings it back.
fn each_right_is_needed(stage: &Stage, arguments: &[String]) {
    let objects = stage.account("complete").printed(arguments);
    let mut followed = false;
    let mut cuts = cuts(&objects);
    cuts.retain(|cut| !is_of_path2(cut));
    for (index, cut) in cuts.iter().enumerate() {
        let name = format!("cut-{index}");
        let account = stage.account(&name);
        let mut left = cut.left.clone();
        for object in &mut left {
            if object["subjects"].is_array() {
                object["subjects"][0]["name"] = json!(name);
            }
        }
        account.grant(&left);
        let ran = account.verify(arguments);
        let permission = &cut.permission;
        let place = match (&cut.namespace, permission.contains("namespaces")) {
            (Some(namespace), false) => format!("{permission} in {namespace}"),
            _ => permission.clone(),
        };
        assert_eq!(ran.code, 0, "without {place}: {}\n{}", ran.out, ran.err);
        let skipped: Vec<_> = with_status(&ran, "skip")
            .into_iter()
            .filter(|(_, message, _)| message.contains(&place))
            .collect();
        assert!(!skipped.is_empty(), "without {place}: {}", ran.out);
        let ids: Vec<_> = skipped.iter().map(|(id, ..)| id.as_str()).collect();
        for id in blind(stage, cut) {
            assert!(ids.contains(&id), "{id} without {place}: {}", ran.out);
        }
        // A single right is not enough to see all of them.
        let access = of(&ran, "cluster.access")[0]["status"].clone();
        let forwards = permission.contains("portforward");
        assert_eq!(access, if forwards { "pass" } else { "skip" }, "{place}");

        let hint = &skipped[0].2;
        assert!(
            skipped.iter().all(|(.., other)| other == hint),
            "{skipped:#?}"
        );
        assert!(hint.contains(" rbac verify --live"), "{hint}");
        // It is the same each time, and takes a while.
        if !std::mem::replace(&mut followed, true) {
            let variables = [
                ("NAMESPACE", stage.home.namespace.as_str()),
                ("NAME", &name),
            ];
            follow(&stage.home, hint, &variables).exits(0);
            let place = &objects[0]["metadata"]["namespace"];
            wait("the right is back", || account.may(place, &cut.gone));
            is_healthy(&account.verify(arguments), &[]);
        }
    }
    assert!(followed);
}

#[test]
fn each_right_is_needed_where_the_fleet_is_named() {
    let stage = Stage::new();
    each_right_is_needed(&stage, &stage.named());
}

#[test]
fn each_right_is_needed_where_the_fleet_is_selected() {
    let stage = Stage::new();
    each_right_is_needed(&stage, &stage.selected());
}

#[test]
fn who_may_read_no_secret_is_told_so() {
    let stage = Stage::new();
    let arguments = stage.selected();
    let account = stage.account("nobody");
    let ran = account.verify(&arguments);
    assert_eq!(ran.code, 3, "{}\n{}", ran.out, ran.err);
    let error = ran.json()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("none of the Secrets in"), "{message}");
    assert!(message.contains(&stage.home.namespace), "{message}");
    // The file and the server's own words are all that it sees.
    for (id, message, _) in with_status(&ran, "pass") {
        let seen = id.starts_with("file.") || id == "cluster.reachable" || id == "cluster.version";
        assert!(seen, "{id}: {message}");
    }
    for status in ["fail", "warn"] {
        assert_eq!(with_status(&ran, status), [], "{}", ran.out);
    }
    let said = ran.says(&["error: none of the Secrets in", "hint: "]);
    let hints = with_status(&said, "skip")
        .into_iter()
        .map(|(.., hint)| hint);
    let hints: BTreeSet<_> = hints.filter(|hint| !hint.is_empty()).collect();
    assert_eq!(hints.len(), 1, "{hints:#?}");
    let (_, hint) = error["hint"].as_str().unwrap().split_once(": ").unwrap();
    assert!(hints.contains(hint), "{hint}");

    let variables = [
        ("NAMESPACE", stage.home.namespace.as_str()),
        ("NAME", "nobody"),
    ];
    follow(&stage.home, hint, &variables).exits(0);
    account.in_force(&account.printed(&arguments));
    is_healthy(&account.verify(&arguments), &[]);
}
