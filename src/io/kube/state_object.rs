//! The state of a rotation in the cluster: annotations, written by a manager that owns no data.

use super::client::{Cluster, get};
use super::wire::NamedBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::OWN_ANNOTATIONS;
use crate::domain::cluster::owner::ROTATION_MANAGER;
use crate::domain::rotation::{RETIRED_TOKENS, STATE};
use crate::error::Failure;
use crate::io::written::Written;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The object that has the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateObject {
    /// What it is, for words.
    pub what: String,
    /// Where it is in the API.
    pub path: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// The version that was read.
    pub resource_version: String,
}

impl StateObject {
    /// What it is, as kubectl takes it beside the namespace.
    pub fn object(&self) -> String {
        self.what.replace(&format!("{}/", self.namespace), "")
    }
}

impl Cluster {
    /// An object that has the state or may get it, as it is now, with its annotations of ours;
    /// `None` where it is gone.
    ///
    /// # Errors
    /// One that may not be read (exit code 3).
    pub async fn keeper(
        &self,
        what: String,
        path: String,
        namespace: &Namespace,
    ) -> Result<Option<(StateObject, BTreeMap<String, String>)>, Failure> {
        let answer = self.send(get(path.clone())).await?;
        if answer.is_absent() {
            return Ok(None);
        }
        let body: NamedBody = answer.read(&self.attempt("get", what.clone(), Some(namespace)))?;
        let annotations = body.metadata.annotations.unwrap_or_default().into_iter();
        let keeper = StateObject {
            what,
            path,
            namespace: namespace.clone(),
            resource_version: body.metadata.resource_version.unwrap_or_default(),
        };
        let ours = annotations.filter(|(name, _)| name.starts_with(OWN_ANNOTATIONS));
        Ok(Some((keeper, ours.collect())))
    }

    /// Writes the state, or takes it away, on top of the version that was read. `retired` replaces
    /// what is remembered of tokens that are no longer to be used, where it is given.
    ///
    /// # Errors
    /// Where the server refuses (exit code 3).
    pub async fn keep_state(
        &self,
        keeper: &StateObject,
        state: Option<&str>,
        retired: Option<&str>,
    ) -> Result<Written, Failure> {
        let mut annotations = json!({ STATE: state.map_or(Value::Null, Value::from) });
        if let Some(retired) = retired {
            annotations[RETIRED_TOKENS] = json!(retired);
        }
        let change = json!({ "metadata": {
            "resourceVersion": keeper.resource_version, "annotations": annotations,
        } });
        let uri = format!("{}?fieldManager={ROTATION_MANAGER}", keeper.path);
        self.merge(uri, &change, keeper.what.clone(), &keeper.namespace)
            .await
    }
}
