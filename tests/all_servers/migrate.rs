//! `migrate`: from plain Secrets to the store and back, and no value changes.

mod back;
mod forth;
mod killed;
mod refused;
mod story;

use crate::path2::BAO;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// The Secrets with their ExternalSecrets and the names of their entries.
pub const ALL: [(&str, &str, &str); 3] = [
    (ROUTER, "agentibrain-brain-api-secrets", "router"),
    (EMBEDDINGS, "agentibrain-embeddings-secrets", "embeddings"),
    (AGENTICORE, "brain-keeper-secrets", "agenticore"),
];

/// An operator of the cluster and of the store, on Path 1.
pub struct Mover {
    pub space: Space,
    /// The person's token for the store.
    pub token: String,
}

impl Mover {
    /// All Secrets, an empty store, and a store object that can only read.
    pub fn new() -> Self {
        let space = Space::new();
        space.bootstrapped();
        let prefix = &space.namespace;
        space.cluster_store(&BAO.token(prefix, &["read"]));
        let token = BAO.token(prefix, &["create", "read", "update", "patch"]);
        Self { space, token }
    }

    /// The same, with a namespace of agent pods.
    pub fn with_fleet() -> (Self, Space) {
        let (mover, fleet) = (Self::new(), Space::new());
        let both = ["--apply", "--fleet-namespace", &fleet.namespace];
        mover.space.run_with(&INPUTS, &both).exits(0);
        (mover, fleet)
    }

    /// The options that lead to the store.
    pub fn options(&self) -> [&str; 4] {
        let name = self.space.namespace.as_str();
        ["--prefix", name, "--store", name]
    }

    /// Runs `migrate` with the way to the store.
    pub fn migrate(&self, more: &[&str]) -> Ran {
        let all = [&["migrate"], &self.options()[..], more].concat();
        self.run(&all)
    }

    /// Runs the program as an operator of the store.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The program, to be run by an operator of the store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let own = self.space.operator(&self.token);
        let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.space.command(&own, arguments)
    }

    /// The path of an entry.
    pub fn entry(&self, name: &str) -> String {
        format!("{}/{name}", self.space.namespace)
    }

    /// Every value of the Secrets.
    pub fn values(&self) -> BTreeMap<&'static str, Data> {
        let there = ALL
            .iter()
            .filter(|(secret, ..)| self.space.object(secret).is_some());
        there
            .map(|(secret, ..)| (*secret, self.space.data(secret)))
            .collect()
    }

    /// The owner of a Secret, by kind and name.
    pub fn owner(&self, secret: &str) -> Option<(String, String)> {
        let object = self.space.object(secret)?;
        let owner = &object["metadata"]["ownerReferences"][0];
        Some((
            owner["kind"].as_str()?.to_owned(),
            owner["name"].as_str()?.to_owned(),
        ))
    }

    /// The names of the ExternalSecrets that are there.
    pub fn externals(&self) -> Vec<String> {
        let path = self.space.external_secret_path("");
        let list = SANDBOX.expect("GET", path.trim_end_matches('/'), &Value::Null);
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The values as they are to be on Path 2.
    pub fn grown(mut values: BTreeMap<&'static str, Data>) -> BTreeMap<&'static str, Data> {
        if let Some(embeddings) = values.get_mut(EMBEDDINGS) {
            embeddings
                .entry("LOG_LEVEL".to_owned())
                .or_insert_with(|| "INFO".to_owned());
        }
        values
    }
}
