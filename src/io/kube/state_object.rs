//! The state of a rotation in the cluster: annotations of one object. They have a field manager of
//! their own, which must not own data.

use super::client::{Cluster, get};
use super::wire::NamedBody;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::OWN_ANNOTATIONS;
use crate::domain::cluster::owner::ROTATION_MANAGER;
use crate::domain::rotation::{RETIRED_TOKENS, Rotation, STATE};
use crate::error::Failure;
use crate::io::written::Written;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The object with the state annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateObject {
    /// Kind and name for messages, for example `Secret brain/router`.
    pub what: String,
    /// The API path.
    pub path: String,
    pub namespace: Namespace,
    pub resource_version: String,
}

impl StateObject {
    /// Kind and name without the namespace, for kubectl commands.
    pub fn object(&self) -> String {
        self.what.replace(&format!("{}/", self.namespace), "")
    }
}

impl Cluster {
    /// Reads an object that has or may get the state annotation, with the annotations of this program;
    /// `None` if it does not exist.
    ///
    /// # Errors
    /// An object that cannot be read (exit code 3).
    pub async fn state_object(
        &self,
        what: String,
        path: String,
        namespace: &Namespace,
    ) -> Result<Option<(StateObject, BTreeMap<String, String>)>, Failure> {
        let answer = self.send(get(path.clone())).await?;
        let attempt = self.attempt("get", what.clone(), Some(namespace));
        let Some(body) = answer.found::<NamedBody>(&attempt)? else {
            return Ok(None);
        };
        let object = StateObject {
            what,
            path,
            namespace: namespace.clone(),
            resource_version: body.metadata.resource_version.unwrap_or_default(),
        };
        let annotations = body
            .metadata
            .annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, _)| name.starts_with(OWN_ANNOTATIONS))
            .collect();
        Ok(Some((object, annotations)))
    }

    /// Reads the current state; `None` for a text that is not a state.
    ///
    /// # Errors
    /// An object that cannot be read (exit code 3).
    pub async fn read_state(&self, object: &StateObject) -> Result<Option<Rotation>, Failure> {
        let (what, path) = (object.what.clone(), object.path.clone());
        let found = self.state_object(what, path, &object.namespace).await?;
        Ok(found.and_then(|(_, annotations)| Rotation::parse(annotations.get(STATE)?).ok()))
    }

    /// Writes or removes the state annotation, on top of the version that was read. `retired`, if
    /// given, replaces the annotation about retired tokens.
    ///
    /// # Errors
    /// A server that refuses or does not answer (exit code 3).
    pub async fn write_state(
        &self,
        object: &StateObject,
        state: Option<&str>,
        retired: Option<&str>,
    ) -> Result<Written, Failure> {
        let mut annotations = json!({ STATE: state.map_or(Value::Null, Value::from) });
        if let Some(retired) = retired {
            annotations[RETIRED_TOKENS] = json!(retired);
        }
        let change = json!({ "metadata": {
            "resourceVersion": object.resource_version, "annotations": annotations,
        } });
        let uri = format!("{}?fieldManager={ROTATION_MANAGER}", object.path);
        self.merge(uri, &change, object.what.clone(), &object.namespace)
            .await
    }
}
