//! What plays Reloader: workloads that read a Secret get another pod template whenever its values
//! change, if they ask for it.

use super::follow::{Change, Follower};
use crate::sandbox::SANDBOX;
use crate::space::Space;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const AUTO: &str = "reloader.stakater.com/auto";

/// It ends when this is dropped.
pub struct Reloader {
    reloads: Arc<AtomicUsize>,
    _followers: Vec<Follower>,
}

impl Reloader {
    /// Watches the Secrets of these namespaces from now on.
    pub fn start(spaces: &[&Space]) -> Self {
        let reloads = Arc::new(AtomicUsize::default());
        let follow = |space: &&Space| {
            let mut watched = Watched {
                namespace: space.namespace.clone(),
                seen: BTreeMap::new(),
                reloads: Arc::clone(&reloads),
            };
            Follower::start(space.path(""), move |change| watched.see(change))
        };
        Self {
            _followers: spaces.iter().map(follow).collect(),
            reloads,
        }
    }

    /// How many times it has changed a template.
    pub fn reloads(&self) -> usize {
        self.reloads.load(Ordering::SeqCst)
    }
}

struct Watched {
    namespace: String,
    /// The hash of each Secret's values.
    seen: BTreeMap<String, String>,
    reloads: Arc<AtomicUsize>,
}

impl Watched {
    fn see(&mut self, change: Change) {
        match change {
            Change::All(secrets) => secrets.iter().for_each(|secret| self.look(secret)),
            Change::One(secret) => self.look(&secret),
            Change::Gone(_) => {}
        }
    }

    fn look(&mut self, secret: &Value) {
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        let hash = Sha256::digest(secret["data"].to_string());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let before = self.seen.insert(name.clone(), hash.clone());
        // It leaves alone what is new.
        if before.is_some_and(|before| before != hash) {
            for kind in ["deployments", "statefulsets"] {
                self.reload(kind, &name, &hash);
            }
        }
    }

    fn reload(&self, kind: &str, secret: &str, hash: &str) {
        let path = format!("/apis/apps/v1/namespaces/{}/{kind}", self.namespace);
        let list = SANDBOX.expect("GET", &path, &Value::Null);
        for workload in list["items"].as_array().unwrap() {
            let template = &workload["spec"]["template"];
            let asks = |object: &Value| object["metadata"]["annotations"][AUTO] == "true";
            let container = &template["spec"]["containers"][0];
            if !(asks(workload) || asks(template)) || !reads(container, secret) {
                continue;
            }
            let variable = format!(
                "STAKATER_{}_SECRET",
                secret.to_uppercase().replace('-', "_")
            );
            let variable = json!({ "name": variable, "value": hash });
            let containers = json!([{ "name": container["name"], "env": [variable] }]);
            let body = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
            let name = workload["metadata"]["name"].as_str().unwrap();
            let patch = "application/strategic-merge-patch+json";
            let (status, answer) =
                SANDBOX.request("PATCH", &format!("{path}/{name}"), patch, &body);
            assert!(matches!(status, 200 | 404), "{answer}");
            self.reloads.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn reads(container: &Value, secret: &str) -> bool {
    let any = |list: &str, reference: fn(&Value) -> &Value| {
        let entries = container[list].as_array();
        entries.is_some_and(|all| all.iter().any(|one| reference(one)["name"] == secret))
    };
    any("envFrom", |from| &from["secretRef"]) || any("env", |one| &one["valueFrom"]["secretKeyRef"])
}
