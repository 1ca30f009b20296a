//! The state of a rotation in the cluster: annotations of one object. They have a field manager of
//! their own, which must not own data.

use super::client::Cluster;
use super::wire::{NamedBody, own_annotations};
use crate::domain::cluster::names::Namespace;
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
        let found = self.find(path.clone(), what.clone(), namespace).await?;
        let Some(NamedBody { metadata }) = found else {
            return Ok(None);
        };
        let annotations = own_annotations(&metadata);
        let object = StateObject {
            what,
            path,
            namespace: namespace.clone(),
            resource_version: metadata.resource_version.unwrap_or_default(),
        };
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
        self.merge(
            &object.path,
            &change,
            object.what.clone(),
            &object.namespace,
        )
        .await
    }
}
