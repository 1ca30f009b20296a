//! That each right in the Role for a rotation is needed.

use crate::account::{
    ACCOUNT, bind_printed, bind_rules, log_in, may, may_in, objects, rules, with_account,
};
use crate::migrate::Mover;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use crate::workloads::{BRAIN_API, WORKLOADS, install, ports, wait_ready};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::thread;

const GROUP: &str = "external-secrets.io";
/// Secrets that are known to hold copies, and one that the operator names.
const COPIES: [&str; 3] = ["agentibrain-mcp-secrets", "brain-ops-secrets", "ops"];
const ALONE: [&str; 3] = ["rotate", "--reloader-grace", "0"];

/// How a run ended, and which of these words it said.
type Ended = (i32, Vec<bool>);

fn ended(ran: &Ran, words: &[&str]) -> Ended {
    let said = |word: &&str| ran.err.contains(*word) || ran.out.contains(*word);
    (ran.code, words.iter().map(said).collect())
}

/// `rbac rotate` with all that the steps use.
fn command(space: &Space) -> String {
    format!("rotate --live --copy {}/{}", space.namespace, COPIES[2])
}

/// How the same steps end where the Role has been edited, up to the first that ends otherwise.
fn steps_with(edit: &dyn Fn(&mut Vec<Value>), enough: Option<&[Ended]>) -> Vec<Ended> {
    let account = with_account();
    let admin = Space {
        kubeconfig: SANDBOX.kubeconfig.clone(),
        ..account.other_operator()
    };
    admin.run_with(&INPUTS, &["--apply"]).exits(0);
    let tokens = admin.filed();
    for name in COPIES {
        let copy = [("KB_ROUTER_TOKEN", tokens["KB_ROUTER_TOKEN"].as_str())];
        admin.create_secret(name, &copy, &json!({}));
    }
    std::fs::create_dir_all(account.folder.path().join("local")).unwrap();
    std::fs::copy(admin.file(), account.file()).unwrap();
    // Nobody is there to answer.
    install(&admin, &ports(1, 1));
    for workload in WORKLOADS {
        wait_ready(&admin, workload);
    }
    let mut rules = rules(&account, &command(&account));
    edit(&mut rules);
    bind_rules(&account, &command(&account), &rules);

    let copy = format!("{}/{}", account.namespace, COPIES[2]);
    let copy = ["--copy", copy.as_str()];
    let run = |more: &[&str]| account.run(&[&ALONE[..], more, &copy].concat());
    let mut all = Vec::new();
    // Tells whether the steps still end as they should.
    let same =
        |all: &Vec<Ended>| enough.is_none_or(|enough| enough[all.len() - 1] == all[all.len() - 1]);

    let servers = [
        "agentibrain-brain-api gave no answer (you",
        "agentibrain-embeddings gave no answer (you",
    ];
    all.push(ended(&run(&["--until", "open", "--apply"]), &servers));
    if !same(&all) {
        return all;
    }
    let copies = COPIES.map(|name| format!("Secret {}/{name}", account.namespace));
    let copies = copies.each_ref().map(String::as_str);
    all.push(ended(&run(&["--status"]), &copies));
    if !same(&all) {
        return all;
    }
    // Nobody gets a pod any more.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" },
        "spec": { "hard": { "pods": "0" } },
    });
    let path = format!("/api/v1/namespaces/{}/resourcequotas", account.namespace);
    SANDBOX.expect("POST", &path, &quota);
    wait("the quota is in force", || {
        let quota = SANDBOX.expect("GET", &format!("{path}/none"), &Value::Null);
        quota["status"]["hard"]["pods"] == "0"
    });
    let switch = ["--until", "switch", "--timeout", "8s", "--apply"];
    let ran = run(&switch);
    all.push(ended(&ran, &["a ResourceQuota does not let"]));
    if !same(&all) {
        return all;
    }
    account.terminate();
    all.push(ended(&run(&["--status"]), &["is being deleted"]));
    all
}

/// The rules without one entry of one of their fields, or without one of them, each with what is
/// missing. Some rules are of the other path.
fn cuts(rules: &[Value], of_path: impl Fn(&Value) -> bool) -> Vec<(String, Vec<Value>)> {
    let mut all = Vec::new();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| of_path(rule)) {
        let before = all.len();
        for field in ["verbs", "resources", "resourceNames"] {
            let count = rule[field].as_array().map_or(0, Vec::len);
            // Without its only one it would be no rule.
            for entry in (0..count).filter(|_| count > 1) {
                let mut cut = rules.to_vec();
                let entries = cut[index][field].as_array_mut().unwrap();
                let what = format!("{} of {rule}", entries.remove(entry));
                all.push((what, cut));
            }
        }
        if all.len() == before {
            let mut cut = rules.to_vec();
            let what = cut.remove(index).to_string();
            all.push((what, cut));
        }
    }
    all
}

/// Tries all, a few at a time; gives those without which all ended as before.
fn needless(
    cuts: Vec<(String, Vec<Value>)>,
    same: impl Fn(Vec<Value>) -> bool + Sync,
) -> Vec<String> {
    let (left, found) = (Mutex::new(cuts), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((what, cut)) = left.lock().unwrap().pop() else {
                        return;
                    };
                    if same(cut) {
                        found.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// The names of a namespace in rules are those of another.
fn moved(rules: Vec<Value>, from: &Space, to: &Space) -> Vec<Value> {
    let text = json!(rules).to_string();
    let (from, to) = (
        format!("\"{}\"", from.namespace),
        format!("\"{}\"", to.namespace),
    );
    serde_json::from_str(&text.replace(&from, &to)).unwrap()
}

#[test]
fn each_right_in_the_role_for_rotate_is_needed() {
    let enough = steps_with(&|_| {}, None);
    let expected = vec![
        // Nobody answers, and that is not for want of a right.
        (0, vec![false, false]),
        (0, vec![true, true, true]),
        (3, vec![true]),
        (3, vec![true]),
    ];
    assert_eq!(enough, expected);
    let example = Space::without_namespace();
    let rules = rules(&example, &command(&example));
    let cuts = cuts(&rules, |rule| rule["apiGroups"][0] != GROUP);
    let needless = needless(cuts, |cut| {
        let edit = |rules: &mut Vec<Value>| {
            let mut space = Space::without_namespace();
            let names = rules
                .iter()
                .find(|rule| rule["resources"][0] == "namespaces");
            space.namespace = names.unwrap()["resourceNames"][0]
                .as_str()
                .unwrap()
                .to_owned();
            *rules = moved(cut.clone(), &example, &space);
        };
        steps_with(&edit, Some(&enough)) == enough
    });
    // Without a watch it looks again and again.
    let watch = |what: &String| what.starts_with("\"watch\" of ");
    assert!(needless.iter().all(watch), "{needless:#?}");
}

/// How a rotation on Path 2 ends where the Role has been edited.
fn on_path_2(edit: &dyn Fn(&mut Vec<Value>, &Space)) -> Ended {
    let mover = Mover::new();
    mover.migrate(&["--apply"]).exits(0);
    let mut account = Mover {
        space: mover.space.other_operator(),
        token: mover.token.clone(),
    };
    let space = &mut account.space;
    let token = space.service_account(ACCOUNT);
    std::fs::create_dir_all(space.folder.path().join("local")).unwrap();
    std::fs::copy(mover.space.file(), space.file()).unwrap();
    let (command, mut rules) = (
        "rotate --cluster-store",
        rules(space, "rotate --cluster-store"),
    );
    edit(&mut rules, space);
    let mut objects = objects(space, command);
    objects[0]["rules"] = json!(rules);
    log_in(space, &token);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(space.folder.path().join("roles.json"), list.to_string()).unwrap();
    let mut kubectl = space.shell("kubectl apply -f roles.json");
    kubectl.env("KUBECONFIG", &SANDBOX.kubeconfig);
    Ran::from(kubectl.output().unwrap()).exits(0);
    let name = format!("{}:{}", space.namespace, ACCOUNT);
    wait("the ClusterRole is in force", || {
        may_in("", &name, ["get", GROUP, "clustersecretstores", ""])
    });
    let ran = account.run(&[&ALONE[..], &["--apply"]].concat());
    let kept = format!("{:?}", mover.space.data(ROUTER).keys());
    assert!(ran.code != 0 || !kept.contains("NEXT"), "{kept}");
    ended(&ran, &[])
}

#[test]
fn each_right_in_the_role_for_rotate_on_path_2_is_needed() {
    assert_eq!(on_path_2(&|_, _| {}), (0, vec![]));
    let example = Space::without_namespace();
    let rules = rules(&example, "rotate");
    // A store of the namespace is another's matter: this one is of the cluster.
    let cuts = cuts(&rules, |rule| {
        rule["apiGroups"][0] == GROUP && rule["resources"][0] != "secretstores"
    });
    assert!(!cuts.is_empty());
    let needless = needless(cuts, |cut| {
        let edit = |rules: &mut Vec<Value>, space: &Space| {
            *rules = moved(cut.clone(), &example, space);
        };
        on_path_2(&edit).0 == 0
    });
    assert!(needless.is_empty(), "{needless:#?}");
}

/// The tokens file keeps to what the cluster has until the server has taken the first write.
#[test]
fn a_leak_is_met_again_where_the_first_write_was_forbidden() {
    let space = with_account();
    let admin = Space {
        kubeconfig: SANDBOX.kubeconfig.clone(),
        ..space.other_operator()
    };
    admin.run_with(&INPUTS, &["--apply"]).exits(0);
    let before = admin.data(ROUTER);
    std::fs::create_dir_all(space.folder.path().join("local")).unwrap();
    std::fs::copy(admin.file(), space.file()).unwrap();
    let rules = rules(&space, "rotate");
    let mut reading = rules.clone();
    for rule in reading
        .iter_mut()
        .filter(|rule| rule["resources"] == json!(["secrets"]))
    {
        let verbs = rule["verbs"].as_array_mut().unwrap();
        verbs.retain(|verb| verb != "patch");
    }
    assert_ne!(reading, rules);
    bind_rules(&space, "rotate", &reading);
    let leak = ["rotate", "--immediate", "--apply"];
    for _ in 0..2 {
        space.run(&leak).exits(3).says(&["may not patch"]);
        assert_eq!(admin.data(ROUTER), before);
    }
    let filed = space.filed();
    for (key, value) in &before {
        assert_eq!(filed[key], *value, "{key}");
    }
    bind_rules(&space, "rotate", &rules);
    wait("the Role is in force", || {
        may(&space, "patch", "", "secrets", ROUTER)
    });
    space.run(&leak).exits(0);
    let after = admin.data(ROUTER);
    for (key, value) in &before {
        assert_ne!(after[key], *value, "{key}");
    }
    assert_eq!(space.filed(), after);
}

#[test]
fn the_role_for_rotate_opens_nothing_else() {
    let space = with_account();
    bind_printed(&space, "rotate --live");
    for (verb, group, resource, name) in [
        ("list", "", "secrets", ""),
        ("create", "", "secrets", ""),
        ("update", "", "secrets", ROUTER),
        ("delete", "", "secrets", ROUTER),
        ("get", "", "secrets", "agenticore-secrets"),
        ("patch", "", "secrets", COPIES[0]),
        ("get", "", "secrets", "another"),
        ("delete", "", "pods", ""),
        ("create", "", "pods", ""),
        ("create", "", "pods/exec", "agentibrain-brain-api-0"),
        ("create", "", "pods/portforward", "agents-0"),
        ("create", "apps", "deployments", ""),
        ("delete", "apps", "statefulsets", BRAIN_API),
        ("patch", "batch", "cronjobs", ""),
        ("patch", GROUP, "externalsecrets", "another"),
        ("delete", GROUP, "externalsecrets", ""),
    ] {
        let may = may(&space, verb, group, resource, name);
        assert!(!may, "may {verb} {resource} {name:?}");
    }
    assert!(may(&space, "patch", "", "secrets", EMBEDDINGS));
}
