//! `populate --via-eso`: any store, filled through the operator.

pub mod aws;
mod bao;
mod failures;
mod interrupted;
mod kubernetes;
mod roles;

use crate::path2::{BAO, Bao, GROUP};
use crate::sandbox::SANDBOX;
use crate::space::{Data, INPUTS, Ran, Space};
use serde_json::{Value, json};

/// The names of the entries.
const ENTRIES: [&str; 3] = ["router", "embeddings", "agenticore"];

impl Bao {
    /// A token with the rights that the operator needs to write below a prefix.
    pub fn writer(&self, prefix: &str) -> String {
        let data = "capabilities = [\"create\", \"read\", \"update\"]";
        let policy = format!(
            "path \"secret/data/{prefix}/*\" {{ {data} }}\npath \"secret/metadata/{prefix}/*\" {{ {data} }}"
        );
        let name = format!("{prefix}-writer");
        let body = json!({ "policy": policy });
        self.expect("PUT", &format!("sys/policies/acl/{name}"), &body);
        let body = json!({ "policies": [name] });
        let made = self.expect("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

impl Space {
    /// A ClusterSecretStore through which the operator may write below the namespace's name.
    fn writing_store(&self) -> String {
        self.cluster_store(&BAO.writer(&self.namespace))
    }

    /// The path of an entry.
    fn entry(&self, entry: &str) -> String {
        format!("{}/{entry}", self.namespace)
    }

    /// What the store holds.
    fn stored(&self) -> Vec<Option<(Data, u64)>> {
        ENTRIES.map(|entry| BAO.entry(&self.entry(entry))).to_vec()
    }

    /// Runs `populate --via-eso` with [`INPUTS`], through the store that is named as the namespace.
    fn fill(&self, more: &[&str]) -> Ran {
        self.run_with(&INPUTS, &self.filling(more))
    }

    fn filling<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let name = self.namespace.as_str();
        let options = ["populate", "--prefix", name, "--via-eso", name, "--apply"];
        [&options, more].concat()
    }

    /// The program's requests that made an object of this kind.
    fn made(&self, resource: &str) -> usize {
        let writes = self.writes();
        let of_kind = |line: &&String| line.starts_with("\"create\"") && line.contains(resource);
        writes.iter().filter(of_kind).count()
    }

    /// The temporary objects in the namespace.
    fn temporaries(&self) -> Vec<String> {
        let pushes = "/apis/external-secrets.io/v1alpha1";
        let place = format!("/namespaces/{}", self.namespace);
        let lists = [
            format!("{GROUP}{place}/externalsecrets"),
            format!("{pushes}{place}/pushsecrets"),
            format!("/api/v1{place}/secrets"),
        ];
        let mut names = Vec::new();
        for list in lists {
            let found = SANDBOX.expect("GET", &list, &Value::Null);
            let found = found["items"].as_array().unwrap().iter();
            let found = found.map(|item| item["metadata"]["name"].as_str().unwrap());
            let ours = found.filter(|name| name.starts_with("k8s-bootstrap-"));
            let kind = list.rsplit('/').next().unwrap();
            names.extend(ours.map(|name| format!("{kind}/{name}")));
        }
        names
    }

    #[track_caller]
    fn has_no_temporaries(&self) {
        assert_eq!(self.temporaries(), [""; 0]);
    }
}

/// What the embeddings entry holds after a run with [`INPUTS`].
fn embeddings(tokens: &Data) -> Data {
    let fields = [
        ("POSTGRES_URL", INPUTS[0].1),
        ("LLM_API_KEY", ""),
        ("LLM_API_BASE", ""),
        ("LLM_EMBED_MODEL", "text-embedding-3-small"),
        ("EMBEDDINGS_API_KEYS", &tokens["EMBEDDINGS_API_KEY"]),
        ("API_KEYS", &tokens["EMBEDDINGS_API_KEY"]),
        ("LOG_LEVEL", "INFO"),
    ];
    of(&fields)
}

/// What the agenticore entry holds after a run with [`INPUTS`].
fn agenticore() -> Data {
    of(&[("ANTHROPIC_API_KEY", INPUTS[1].1), ("GITHUB_TOKEN", "")])
}

fn of(fields: &[(&str, &str)]) -> Data {
    let fields = fields.iter();
    fields
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
