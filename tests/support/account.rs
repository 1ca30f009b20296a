//! A service account that the program runs as, with just the rights that `rbac` prints.

use crate::sandbox::SANDBOX;
use crate::space::Space;
use crate::stub::{kubeconfig, sandbox};
use crate::wait::wait;
use serde_json::{Value, json};

pub const ACCOUNT: &str = "tester";

/// A namespace, and a service account in it that the program runs as. It has no right yet.
pub fn with_account() -> Space {
    let mut space = Space::new();
    let token = space.service_account(ACCOUNT);
    log_in(&mut space, &token);
    space
}

/// Makes the program use the administrator's cluster with this token.
pub fn log_in(space: &mut Space, token: &str) {
    let kubeconfig = kubeconfig(&sandbox().0, &json!({ "token": token }));
    space.kubeconfig = space.folder.path().join("kubeconfig");
    std::fs::write(&space.kubeconfig, kubeconfig.to_string()).unwrap();
}

/// What `rbac` prints for a command, bound to the account.
pub fn printed(space: &Space, command: &str, format: &str) -> String {
    let account = format!("{}:{ACCOUNT}", space.namespace);
    let command: Vec<_> = command.split(' ').collect();
    let more = ["--service-account", &account, "-o", format];
    let arguments = [&["rbac"], &command[..], &more].concat();
    space.run(&arguments).exits(0).out
}

/// The Role and the RoleBinding that `rbac` prints for a command.
pub fn objects(space: &Space, command: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(&printed(space, command, "json")).unwrap();
    document["objects"].as_array().unwrap().clone()
}

/// Applies a Role and its binding, and waits until they are in force.
pub fn bind(space: &Space, manifests: &str, rules: &Value) {
    std::fs::write(space.folder.path().join("role.yaml"), manifests).unwrap();
    space.kubectl(&["apply", "-f", "role.yaml"]);
    let last = rules.as_array().unwrap().last().unwrap();
    let text = |field: &str| last[field][0].as_str().unwrap_or_default();
    wait("the Role is in force", || {
        may(
            space,
            text("verbs"),
            text("apiGroups"),
            text("resources"),
            text("resourceNames"),
        )
    });
}

/// Binds exactly what `rbac` prints.
pub fn bind_printed(space: &Space, command: &str) {
    let document: Value = serde_json::from_str(&printed(space, command, "json")).unwrap();
    let rules = &document["objects"][0]["rules"];
    bind(space, &printed(space, command, "text"), rules);
}

/// Binds what `rbac` prints for a command, with other rules.
pub fn bind_rules(space: &Space, command: &str, rules: &[Value]) {
    let mut objects = objects(space, command);
    objects[0]["rules"] = json!(rules);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    bind(space, &list.to_string(), &json!(rules));
}

/// The rules that `rbac` prints for a command.
pub fn rules(space: &Space, command: &str) -> Vec<Value> {
    objects(space, command)[0]["rules"]
        .as_array()
        .unwrap()
        .clone()
}

/// Asks the server whether the account has a right.
pub fn may(space: &Space, verb: &str, group: &str, resource: &str, name: &str) -> bool {
    let user = format!("{}:{ACCOUNT}", space.namespace);
    may_in(&space.namespace, &user, [verb, group, resource, name])
}

/// Asks it for an account, by namespace and name; without a namespace, in all of them.
pub fn may_in(namespace: &str, account: &str, [verb, group, resource, name]: [&str; 4]) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": format!("system:serviceaccount:{account}"),
            "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": group, "resource": resource,
                "name": name,
            },
        },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    SANDBOX.expect("POST", path, &review)["status"]["allowed"] == true
}

/// A verb, a resource or a name in a rule of a Role.
#[derive(Debug)]
pub struct Right {
    /// `verbs`, `resources` or `resourceNames`.
    pub field: &'static str,
    pub entry: String,
    pub rule: Value,
}

/// The rights in a Role or ClusterRole that no request of its account, `NAMESPACE:NAME`, has used: the
/// commands that it is printed for can do without them.
pub fn unused(account: &str, role: &Value) -> Vec<Right> {
    let requests = SANDBOX.audited_of(&format!("system:serviceaccount:{account}"));
    assert!(!requests.is_empty(), "{account} has sent nothing");
    let mut unused = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for field in ["verbs", "resources", "resourceNames"] {
            for entry in texts(&rule[field]) {
                let mut only = rule.clone();
                only[field] = json!([entry]);
                if !requests.iter().any(|request| uses(request, role, &only)) {
                    unused.push(Right {
                        field,
                        entry,
                        rule: rule.clone(),
                    });
                }
            }
        }
    }
    unused
}

/// Tells whether a rule of a Role allows a request.
fn uses(request: &Value, role: &Value, rule: &Value) -> bool {
    let object = &request["objectRef"];
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        part => format!("{}/{part}", text("resource")),
    };
    let home = role["metadata"]["namespace"].as_str();
    let names = texts(&rule["resourceNames"]);
    has(rule, "verbs", request["verb"].as_str().unwrap())
        && has(rule, "apiGroups", text("apiGroup"))
        && has(rule, "resources", &resource)
        && (names.is_empty() || has(rule, "resourceNames", text("name")))
        && (home.is_none() || home == Some(text("namespace")))
}

fn has(rule: &Value, field: &str, entry: &str) -> bool {
    texts(&rule[field]).iter().any(|one| one == entry)
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|one| one.as_str().unwrap().to_owned()).collect()
}
