//! Path 2: each way in which an External Secrets Operator, a store and their objects fail, made for
//! real; the hint is executed.

mod causes;
mod contents;
mod hands;
mod healthy;
mod operator;
mod policies;
mod roles;
mod stores;

use crate::checks::{follow, of, verify};
use crate::path2::{BAO, GROUP};
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The ExternalSecrets of the charts: name, target, entry.
const EXTERNALS: [(&str, &str, &str); 3] = [
    ("agentibrain-brain-api-secrets", ROUTER, "router"),
    ("agentibrain-embeddings-secrets", EMBEDDINGS, "embeddings"),
    ("brain-keeper-secrets", AGENTICORE, "agenticore"),
];
/// The one of the embeddings bundle.
const EXTERNAL: &str = EXTERNALS[1].0;

/// The path of the embeddings bundle.
fn entry(space: &Space) -> String {
    format!("{}/embeddings", space.namespace)
}

/// Variables as a command takes them.
fn as_pairs<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    let pairs = variables.iter();
    pairs.map(|(name, value)| (*name, value.as_str())).collect()
}

/// A namespace whose entries are in the store.
fn filled() -> Space {
    let space = Space::new();
    let operator = space.operator(&BAO.root);
    let environment = [&INPUTS[..], &as_pairs(&operator)].concat();
    let populate = ["populate", "--prefix", &space.namespace, "--apply"];
    space.run_with(&environment, &populate).exits(0);
    space
}

/// Makes the three ExternalSecrets of the ClusterSecretStore.
fn extract_all(space: &Space) {
    for (name, target, entry) in EXTERNALS {
        let entry = format!("{}/{entry}", space.namespace);
        space.extract(name, target, &entry);
    }
}

/// A namespace on Path 2, in which all is well.
fn synced() -> Space {
    let space = filled();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    extract_all(&space);
    wait("the Secrets are there", || {
        EXTERNALS.iter().all(|it| space.object(it.1).is_some())
    });
    space
}

/// A namespace with entries and a ClusterSecretStore of this provider; nothing extracts yet.
fn with_store(server: &str, token: &str) -> Space {
    let space = filled();
    space.store_at("ClusterSecretStore", server, token);
    space
}

/// Makes the ExternalSecret of the embeddings bundle.
fn extract(space: &Space) {
    space.extract(EXTERNAL, EMBEDDINGS, &entry(space));
}

/// Changes the spec of an ExternalSecret.
fn change(space: &Space, name: &str, spec: &Value) {
    let path = space.external_secret_path(name);
    SANDBOX.expect("PATCH", &path, &json!({ "spec": spec }));
}

/// Has the operator look at an ExternalSecret now.
fn refresh(space: &Space, name: &str) {
    let all = format!("externalsecret/{name}");
    let now = format!("force-sync={:?}", std::time::SystemTime::now());
    space.kubectl(&["annotate", "--overwrite", &all, &now]);
}

/// Where to look from: the field of what is read.
fn extracting(path: &str) -> Value {
    json!({ "dataFrom": [{ "extract": { "key": path } }] })
}

/// Makes an ExternalSecret with this spec beside the usual.
fn make(space: &Space, name: &str, target: &Value, spec: &Value) {
    let mut object = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": { "name": name },
        "spec": {
            "refreshInterval": "30s",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": space.namespace },
            "target": target,
        },
    });
    let spec = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(spec);
    let place = format!("{GROUP}/namespaces/{}/externalsecrets", space.namespace);
    SANDBOX.expect("POST", &place, &object);
}

/// The checks with that id of that object.
fn checks_of(ran: &Ran, id: &str, object: &str) -> Vec<Value> {
    let mut found = of(ran, id);
    found.retain(|check| check["object"] == object);
    found
}

/// Looks until the only check with that id of that object is like this: the operator takes a while.
/// The exit code follows from all checks, and each failure has a hint.
#[track_caller]
fn until(space: &Space, id: &str, object: &str, status: &str, message: &str) -> Value {
    until_with(space, &[], id, object, status, message)
}

#[track_caller]
fn until_with(
    space: &Space,
    environment: &[(&str, &str)],
    id: &str,
    object: &str,
    status: &str,
    message: &str,
) -> Value {
    let is_so = |check: &Value| {
        let said = check["message"].as_str().unwrap();
        check["status"] == status && said.contains(message)
    };
    let last = retried(
        || space.run_with(environment, &["verify", "-o", "json"]),
        |ran| matches!(checks_of(ran, id, object).as_slice(), [check] if is_so(check)),
    );
    let found = checks_of(&last, id, object);
    assert!(
        matches!(found.as_slice(), [check] if is_so(check)),
        "{id} of {object} is not {status} {message:?}: {found:#?}"
    );
    let checks = last.json()["checks"].as_array().unwrap().clone();
    let failed: Vec<_> = checks.iter().filter(|it| it["status"] == "fail").collect();
    assert_eq!(last.code, i32::from(!failed.is_empty()), "{}", last.out);
    assert!(failed.iter().all(|it| it["hint"] != ""), "{failed:#?}");
    found[0].clone()
}

/// Looks until nothing fails: the operator takes a while to work off a change.
#[track_caller]
fn until_healthy(space: &Space) -> Ran {
    retried(|| look(space), |ran| ran.code == 0).exits(0)
}

/// Looks again until a run is good, for 30 seconds; gives the last run.
fn retried(look: impl Fn() -> Ran, good: impl Fn(&Ran) -> bool) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = look();
        if good(&ran) || Instant::now() >= deadline {
            return ran;
        }
        sleep(Duration::from_millis(200));
    }
}

/// Follows the hint of a check with these variables beside those of an operator of the store, after
/// which that check passes.
#[track_caller]
fn mended(space: &Space, check: &Value, environment: &[(&str, &str)]) {
    let operator = space.operator(&BAO.root);
    let all = [&as_pairs(&operator)[..], &INPUTS, environment].concat();
    mended_in(space, check, &all);
}

/// As [`mended`], with these variables alone.
#[track_caller]
fn mended_in(space: &Space, check: &Value, environment: &[(&str, &str)]) {
    let hint = check["hint"].as_str().unwrap();
    follow(space, hint, environment).exits(0);
    let text = |field: &str| check[field].as_str().unwrap();
    // The hint leads to the same place as the run that gave it.
    let store: Vec<_> = match text("id").starts_with("store.") {
        true => environment.to_vec(),
        false => Vec::new(),
    };
    until_with(space, &store, text("id"), text("object"), "pass", "");
}

/// Runs steps to which the hint of a check links, as an operator of the store with all inputs.
#[track_caller]
fn steps(part: &str, space: &Space, check: &Value, words: &[(&str, &str)], more: &[(&str, &str)]) {
    let hint = check["hint"].as_str().unwrap();
    let operator = space.operator(&BAO.root);
    let all = [more, &as_pairs(&operator), &INPUTS].concat();
    crate::steps::steps(part, space, hint, words, &all).exits(0);
}

/// Fills the entries below the namespace, as steps say.
#[track_caller]
fn refilled(space: &Space, check: &Value) {
    let words = [("PREFIX", space.namespace.as_str())];
    steps("--from-cluster", space, check, &words, &[]);
}

/// Refreshes, as the steps end, after which the check passes.
#[track_caller]
fn passes(space: &Space, check: &Value) {
    let sync = format!("k8s-bootstrap -n {} sync", space.namespace);
    follow(space, &sync, &[]).exits(0);
    let operator = space.operator(&BAO.root);
    let text = |field: &str| check[field].as_str().unwrap();
    let (id, object) = (text("id"), text("object"));
    until_with(space, &as_pairs(&operator), id, object, "pass", "");
}

/// The ExternalSecret as a check names it.
fn named(name: &str) -> String {
    format!("ExternalSecret/{name}")
}

/// The Secret as a check names it.
fn secret(name: &str) -> String {
    format!("Secret/{name}")
}

/// The ClusterSecretStore as a check names it.
fn store(space: &Space) -> String {
    format!("ClusterSecretStore/{}", space.namespace)
}

/// Ids of the checks with that status.
fn ids_with(ran: &Ran, status: &str) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let mut ids: Vec<_> = checks
        .filter(|check| check["status"] == status)
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    ids
}

/// Runs `verify` with the environment of an operator of the store.
fn verify_with_store(space: &Space, arguments: &[&str]) -> Ran {
    let operator = space.operator(&BAO.root);
    let all = [&["verify", "-o", "json"], arguments].concat();
    space.run_with(&as_pairs(&operator), &all)
}

/// The ids of Path 2 in a run.
fn path2_ids(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let ids = checks.map(|check| check["id"].as_str().unwrap().to_owned());
    let mut ids: Vec<_> = ids
        .filter(|id| id.starts_with("eso.") || id.starts_with("store."))
        .collect();
    ids.dedup();
    ids
}

/// Runs `verify` as it is.
fn look(space: &Space) -> Ran {
    verify(space, &[])
}
