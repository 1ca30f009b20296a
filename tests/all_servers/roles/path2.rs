//! What the commands of Path 2 do with just the Roles that `rbac` prints for them.

use crate::account::{log_in, may_in, unused};
use crate::migrate::{ALL, Mover};
use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use serde_json::{Value, json};

const ESO: &str = "external-secrets.io";
const FORTH: [&str; 1] = ["--apply"];
const BACK: [&str; 3] = ["migrate", "--rollback", "--apply"];

/// An account that is named as its command and has just what `rbac` prints for that.
struct Account {
    mover: Mover,
    name: String,
    objects: Vec<Value>,
}

impl Account {
    fn new(of: &Mover, command: &str, options: &[&str]) -> Self {
        let home = &of.space;
        let name = format!("{}:{command}", home.namespace);
        let token = home.service_account(command);
        let rbac = ["rbac", command, "-o", "json", "--service-account", &name];
        let document = home.run(&[&rbac, options].concat()).exits(0).json();
        let mut space = home.other_operator();
        log_in(&mut space, &token);
        let account = Self {
            mover: Mover {
                space,
                token: of.token.clone(),
            },
            name,
            objects: document["objects"].as_array().unwrap().clone(),
        };
        account.bind(&account.objects);
        account
    }

    /// Applies the objects, and waits until they are in force.
    fn bind(&self, objects: &[Value]) {
        let folder = self.mover.space.folder.path();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        std::fs::write(folder.join("roles.json"), list.to_string()).unwrap();
        let mut kubectl = self.mover.space.shell("kubectl apply -f roles.json");
        kubectl.env("KUBECONFIG", &SANDBOX.kubeconfig);
        Ran::from(kubectl.output().unwrap()).exits(0);
        for object in objects {
            for rule in object["rules"].as_array().into_iter().flatten() {
                self.wait_for(object, rule);
            }
        }
    }

    /// Waits until the account may do all that a rule says.
    fn wait_for(&self, role: &Value, rule: &Value) {
        let texts = |field: &str| {
            let texts = rule[field].as_array().into_iter().flatten();
            texts.map(|text| text.as_str().unwrap()).collect::<Vec<_>>()
        };
        let [group, resource] = ["apiGroups", "resources"].map(|field| texts(field)[0]);
        let name = texts("resourceNames").first().copied().unwrap_or_default();
        for verb in texts("verbs") {
            wait(&format!("the right to {verb} {resource}"), || {
                self.may_in(place(role), [verb, group, resource, name])
            });
        }
    }

    fn may_in(&self, place: &str, right: [&str; 4]) -> bool {
        may_in(place, &self.name, right)
    }

    /// Every verb of its rules was used, but for these: verb, resource, name or none for any.
    #[track_caller]
    fn uses_all(&self, but: &[(&str, &str, &str)]) {
        for object in &self.objects {
            for right in unused(&self.name, object) {
                let resource = right.rule["resources"][0].as_str().unwrap();
                let name = right.rule["resourceNames"][0].as_str().unwrap_or_default();
                let excepted = but.iter().any(|(verb, of, named)| {
                    (*verb, *of) == (right.entry.as_str(), resource)
                        && (named.is_empty() || *named == name)
                });
                assert!(right.field != "verbs" || excepted, "{right:?} is not used");
            }
        }
    }

    #[track_caller]
    fn may_not(&self, place: &str, rights: &[[&str; 4]]) {
        for right in rights {
            assert!(!self.may_in(place, *right), "may {right:?} in {place:?}");
        }
    }
}

fn place(role: &Value) -> &str {
    role["metadata"]["namespace"].as_str().unwrap_or_default()
}

#[track_caller]
fn succeeds(ran: Ran) {
    let ran = ran.exits(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
}

/// Changes an entry of the store.
fn change(mover: &Mover, value: &str) {
    let entry = mover.entry("embeddings");
    let mut fields = BAO.fields(&entry);
    fields.insert("LLM_API_KEY".to_owned(), value.to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    BAO.put(&entry, &fields);
}

/// A fleet namespace with a label that only it has.
fn member(mover: &Mover) -> Space {
    let member = Space::new();
    let path = format!("/api/v1/namespaces/{}", member.namespace);
    let labels = json!({ "metadata": { "labels": { "fleet": mover.space.namespace } } });
    SANDBOX.expect("PATCH", &path, &labels);
    let fleet = ["--apply", "--fleet-namespace", &member.namespace];
    mover.space.run_with(&INPUTS, &fleet).exits(0);
    member
}

#[test]
fn the_printed_roles_are_enough_for_path_2_with_a_fleet_and_not_for_more() {
    for option in ["--fleet-namespace", "--fleet-selector"] {
        let mover = Mover::new();
        let member = member(&mover);
        let home = mover.space.namespace.as_str();
        let value = match option {
            "--fleet-namespace" => member.namespace.clone(),
            _ => format!("fleet={home}"),
        };
        let fleet = [option, &value];
        let options = [&fleet[..], &["--cluster-store"]].concat();
        let migrate = Account::new(&mover, "migrate", &options);
        let sync = Account::new(&mover, "sync", &options);
        let before = mover.values();

        succeeds(migrate.mover.migrate(&[&FORTH[..], &fleet].concat()));
        assert_eq!(mover.values(), Mover::grown(before));
        change(&mover, "new");
        succeeds(sync.mover.run(&[&["sync"], &fleet[..]].concat()));
        assert_eq!(mover.space.data(EMBEDDINGS)["LLM_API_KEY"], "new");
        let before = mover.values();
        succeeds(migrate.mover.run(&[&BACK[..], &fleet].concat()));
        assert_eq!(mover.values(), before);
        assert_eq!(mover.externals(), [""; 0]);
        let router = member.object(ROUTER).unwrap();
        assert_eq!(router["metadata"]["ownerReferences"], Value::Null);
        assert_eq!(member.data(ROUTER), before[ROUTER]);

        for place in [home, &member.namespace, ""] {
            for account in [&migrate, &sync] {
                account.may_not(
                    place,
                    &[
                        ["list", "", "secrets", ""],
                        ["get", "", "secrets", "store-token"],
                        ["patch", "", "secrets", ROUTER],
                        ["delete", "", "secrets", ROUTER],
                        ["patch", ESO, "externalsecrets", "another"],
                        ["delete", ESO, "externalsecrets", "another"],
                        ["create", ESO, "clustersecretstores", ""],
                        ["create", ESO, "pushsecrets", ""],
                        ["get", "", "pods", ""],
                    ],
                );
            }
            sync.may_not(
                place,
                &[
                    ["update", "", "secrets", ROUTER],
                    ["create", "", "secrets", ""],
                    ["create", ESO, "externalsecrets", ""],
                    ["delete", ESO, "externalsecrets", ALL[0].1],
                ],
            );
            migrate.may_not(place, &[["patch", ESO, "secretstores", home]]);
        }
        migrate.may_not("", &[["get", "", "secrets", EMBEDDINGS]]);
        sync.may_not(&member.namespace, &[["get", "", "secrets", EMBEDDINGS]]);
    }
}

#[test]
fn without_a_right_to_the_store_of_the_cluster_path_2_works_all_the_same() {
    let mover = Mover::new();
    // The store has everything: it is not seen otherwise than through the operator.
    mover.migrate(&FORTH).exits(0);
    mover.run(&BACK).exits(0);
    let before = mover.values();
    let migrate = Account::new(&mover, "migrate", &[]);
    let sync = Account::new(&mover, "sync", &[]);
    let ran = migrate.mover.migrate(&FORTH).exits(0);
    ran.says(&["warning", "is forbidden, so whether it is ready is unknown"]);
    assert_eq!(mover.externals().len(), 3);
    assert_eq!(mover.values(), before);
    change(&mover, "new");
    sync.mover.run(&["sync"]).exits(0);
    let before = mover.values();
    succeeds(migrate.mover.run(&BACK));
    assert_eq!(mover.values(), before);
}

#[test]
fn where_the_role_of_migrate_is_missing_the_hint_brings_it() {
    let mover = Mover::new();
    let sync = Account::new(&mover, "sync", &["--cluster-store"]);
    for ran in [sync.mover.migrate(&FORTH), sync.mover.run(&BACK)] {
        assert!(
            ran.code == 0 || ran.err.contains("rbac migrate"),
            "{}",
            ran.err
        );
    }
    assert_eq!(mover.externals(), [""; 0]);
    mover.migrate(&FORTH).exits(0);
    let before = mover.values();
    sync.mover.run(&BACK).exits(3);
    assert_eq!(mover.values(), before);
    assert_eq!(mover.externals().len(), 3);
}

/// What shows only where something goes wrong meanwhile: why, who is away, a Secret that is lost, an
/// operator that has stopped; and a proof's Secret, which the garbage collector may take first.
const FOR_BAD_TIMES: [(&str, &str, &str); 7] = [
    ("list", "events", ""),
    ("list", "pods", ""),
    ("get", "namespaces", ""),
    ("create", "secrets", ""),
    ("delete", "secrets", "k8s-bootstrap-proof-router"),
    ("patch", "externalsecrets", "k8s-bootstrap-proof-router"),
    ("patch", "secretstores", ""),
];

#[test]
fn each_right_of_the_roles_for_path_2_is_used() {
    let mover = Mover::new();
    // A store of the namespace beside that of the cluster.
    let reference = json!({ "name": "store-token", "key": "token" });
    let provider = json!({ "vault": {
        "server": BAO.address, "path": "secret", "version": "v2",
        "auth": { "tokenSecretRef": reference },
    } });
    mover.space.store_of("SecretStore", &provider);

    let account = Account::new(&mover, "migrate", &["--cluster-store"]);
    succeeds(account.mover.migrate(&["--store-kind", "SecretStore"]));
    succeeds(account.mover.migrate(&FORTH));
    succeeds(account.mover.run(&BACK));
    account.uses_all(&FOR_BAD_TIMES);

    mover.migrate(&FORTH).exits(0);
    let account = Account::new(&mover, "sync", &["--cluster-store"]);
    succeeds(account.mover.run(&["sync"]));
    // It looks at the stores to help where one is not ready, which none says yet.
    let stores = ["secretstores", "clustersecretstores"];
    let stores = stores.map(|of| [("get", of, ""), ("patch", of, "")]);
    account.uses_all(&[&FOR_BAD_TIMES[..], &stores.concat()].concat());
}
