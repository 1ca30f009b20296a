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

/// Applies a Role and its binding, and waits until the server goes by them.
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
