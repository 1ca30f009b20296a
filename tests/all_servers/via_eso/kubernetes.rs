//! A second namespace as the store, by the operator's own provider. Its remote keys are names of
//! Secrets. Version 0.20 of the operator cannot create only what is missing there, later ones can.

use super::{agenticore, embeddings};
use crate::account::may_in;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const FLAT: [&str; 6] = [
    "--path",
    "router=router",
    "--path",
    "embeddings=embeddings",
    "--path",
    "agenticore=agenticore",
];

/// A namespace, and one that is its store, for an account with these rights there.
fn spaces(verbs: &str) -> (Space, Space) {
    let (space, away) = (Space::new(), Space::new());
    away.kubectl(&["create", "serviceaccount", "operator"]);
    let verbs = format!("--verb={verbs}");
    away.kubectl(&["create", "role", "operator", &verbs, "--resource=secrets"]);
    let account = format!("--serviceaccount={}:operator", away.namespace);
    away.kubectl(&[
        "create",
        "rolebinding",
        "operator",
        "--role=operator",
        &account,
    ]);
    // The store is judged once, so it must not be before that.
    let name = format!("{}:operator", away.namespace);
    wait("the role is in force", || {
        may_in(&away.namespace, &name, ["get", "", "secrets", ""])
    });
    let admin = space.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]);
    let admin: Value = serde_json::from_str(&admin).unwrap();
    let cluster = &admin["clusters"][0]["cluster"];
    let ca = match cluster["certificate-authority-data"].as_str() {
        Some(data) => data.to_owned(),
        None => {
            let file = cluster["certificate-authority"].as_str().unwrap();
            STANDARD.encode(std::fs::read(file).unwrap())
        }
    };
    let provider = json!({ "kubernetes": {
        "remoteNamespace": away.namespace,
        "server": { "url": cluster["server"], "caBundle": ca },
        "auth": { "serviceAccount": { "name": "operator", "namespace": away.namespace } },
    } });
    space.store_of("ClusterSecretStore", &provider);
    (space, away)
}

/// How often the operator has found the store of a space to be valid.
fn times_judged(space: &Space) -> u64 {
    let store = format!("involvedObject.name={}", space.namespace);
    let path = format!("/api/v1/namespaces/default/events?fieldSelector={store}");
    let events = SANDBOX.expect("GET", &path, &Value::Null);
    let events = events["items"].as_array().unwrap().iter();
    events
        .map(|event| event["count"].as_u64().unwrap_or(1))
        .sum()
}

fn put(away: &Space, name: &str, data: &Data) {
    let data: Vec<_> = data
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    away.create_secret(name, &data, &json!({}));
}

#[test]
fn what_is_there_is_adopted() {
    let (space, away) = spaces("get,list,create,update,patch");
    let other = Space::new();
    other.bootstrapped();
    let tokens = other.filed();
    put(&away, "router", &tokens);
    put(&away, "embeddings", &embeddings(&tokens));
    put(&away, "agenticore", &agenticore());
    space.fill(&FLAT).exits(0).says(&["router: unchanged"]);
    assert_eq!(space.filed(), tokens);
    assert_eq!(space.made("pushsecrets"), 0);
    space.has_no_temporaries();
    for (name, target) in [("a", ROUTER), ("b", EMBEDDINGS), ("c", AGENTICORE)] {
        let entry = ["router", "embeddings", "agenticore"][usize::from(name.as_bytes()[0] - b'a')];
        space.synchronize(name, target, entry);
        assert_eq!(space.data(target), away.data(entry));
    }
}

#[test]
fn a_store_in_which_the_operator_could_only_overwrite_is_refused() {
    let (space, away) = spaces("get,list,create,update,patch");
    let ran = space.fill(&FLAT).exits(3);
    ran.says(&[
        "cannot write router through",
        "cannot create only what is missing",
        "update the operator",
        "-o yaml --show-values",
    ]);
    space.has_no_temporaries();
    for name in ["router", "embeddings", "agenticore"] {
        assert_eq!(away.object(name), None);
    }
    assert!(space.file().exists());
}

#[test]
fn names_with_slashes_and_rights_that_lack_are_told() {
    let (space, _) = spaces("get,list,create,update,patch");
    let ran = space.fill(&[]).exits(3);
    ran.says(&["cannot contain a slash", "--path router=NAME"]);
    space.has_no_temporaries();

    let (space, away) = spaces("get");
    // The second time must not be after the role changes.
    wait("the operator has judged the new store twice", || {
        times_judged(&space) >= 2
    });
    let role =
        json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["list"] }] });
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/operator",
        away.namespace
    );
    SANDBOX.expect("PATCH", &path, &role);
    let ran = space.run_with(&INPUTS, &space.filling(&FLAT)).exits(3);
    ran.says(&["cannot read", "refuses the operator's credentials"]);
    space.has_no_temporaries();
}
