//! The JSON of External Secrets Operator's objects, with the fields that are read, and its conversion
//! into facts.
//!
//! Messages of conditions and events may quote a value. They must not be printed.

use crate::domain::cluster::observed_secret::OWN_ANNOTATIONS;
use crate::domain::eso::objects::{
    Condition, Credentials, EntrySource, Event, ExternalSecret, FORCE_SYNC, Provider, SecretStore,
    StoreKind, StoreRef,
};
use crate::io::kube::wire::{owner_of, rotation_written_at, seconds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The operator's default of `refreshInterval`, in seconds.
const DEFAULT_INTERVAL: i64 = 3600;

#[derive(Deserialize)]
pub struct PushSecretBody {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

impl PushSecretBody {
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The condition `Ready`; `None` before the operator has set it.
    pub fn condition(&self) -> Option<Condition> {
        self.status.condition()
    }
}

/// The resources of an API version, from discovery.
#[derive(Deserialize)]
pub struct ResourcesBody {
    resources: Vec<ResourceBody>,
}

#[derive(Deserialize)]
struct ResourceBody {
    name: String,
}

impl ResourcesBody {
    /// Checks whether the API version has a resource of this name.
    pub fn has(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| resource.name == name)
    }
}

#[derive(Deserialize)]
pub struct ExternalSecretBody {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    secret_store_ref: Option<StoreRefBody>,
    target: Target,
    refresh_interval: Option<String>,
    refresh_policy: Option<String>,
    data: Vec<DataBody>,
    data_from: Vec<DataFromBody>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StoreRefBody {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    name: Option<String>,
    creation_policy: Option<String>,
    deletion_policy: Option<String>,
    template: Option<Template>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Template {
    data: Option<BTreeMap<String, Value>>,
    template_from: Option<Vec<Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DataBody {
    secret_key: String,
    remote_ref: RemoteRef,
    source_ref: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RemoteRef {
    key: String,
    property: Option<String>,
    version: Option<String>,
    decoding_strategy: Option<String>,
    conversion_strategy: Option<String>,
    metadata_policy: Option<String>,
}

impl RemoteRef {
    /// Checks whether the reference takes the newest version of an entry without conversion.
    fn is_plain(&self) -> bool {
        let is_default = |option: &Option<String>, default: &str| {
            option
                .as_deref()
                .is_none_or(|word| word.is_empty() || word == default)
        };
        is_default(&self.version, "")
            && is_default(&self.decoding_strategy, "None")
            && is_default(&self.conversion_strategy, "Default")
            && is_default(&self.metadata_policy, "None")
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DataFromBody {
    extract: Option<RemoteRef>,
    rewrite: Option<Vec<Value>>,
    source_ref: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<ConditionBody>,
    refresh_time: Option<Time>,
    synced_resource_version: Option<String>,
    capabilities: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionBody {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

impl Status {
    fn condition(&self) -> Option<Condition> {
        let mut conditions = self.conditions.iter();
        let found = conditions.find(|condition| condition.r#type == "Ready")?;
        Some(Condition {
            ready: found.status == "True",
            reason: found.reason.clone(),
            message: found.message.clone(),
        })
    }
}

impl StoreRefBody {
    fn read(self) -> Option<StoreRef> {
        let kind = match self.kind.as_deref() {
            Some("ClusterSecretStore") => StoreKind::ClusterSecretStore,
            _ => StoreKind::SecretStore,
        };
        (!self.name.is_empty()).then_some(StoreRef {
            kind,
            name: self.name,
        })
    }
}

impl DataBody {
    fn source(self) -> EntrySource {
        if self.source_ref.is_some() || !self.remote_ref.is_plain() {
            return EntrySource::Other;
        }
        EntrySource::Field {
            key: self.secret_key,
            path: self.remote_ref.key,
            property: self.remote_ref.property,
        }
    }
}

impl DataFromBody {
    fn source(self) -> EntrySource {
        let is_plain = self.rewrite.is_none() && self.source_ref.is_none();
        match self.extract.filter(|_| is_plain) {
            Some(extract) if extract.is_plain() && extract.property.is_none() => {
                EntrySource::Entry { path: extract.key }
            }
            _ => EntrySource::Other,
        }
    }
}

impl ExternalSecretBody {
    /// Makes a fact; `None` without a name or without a valid namespace.
    pub fn read(self) -> Option<ExternalSecret> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let name = metadata.name.clone()?;
        let Target {
            name: target,
            creation_policy,
            deletion_policy,
            template,
        } = spec.target;
        let templated = template.is_some_and(|template| {
            template.data.is_some_and(|data| !data.is_empty())
                || template.template_from.is_some_and(|from| !from.is_empty())
        });
        let sources = spec.data_from.into_iter().map(DataFromBody::source);
        Some(ExternalSecret {
            namespace: metadata.namespace.as_deref()?.parse().ok()?,
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            annotations: metadata
                .annotations
                .iter()
                .flatten()
                .filter(|(name, _)| name.starts_with(OWN_ANNOTATIONS))
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
            rotated: rotation_written_at(&metadata),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(seconds),
            deleting: metadata.deletion_timestamp.is_some(),
            forced: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(FORCE_SYNC).cloned()),
            owner: owner_of(&metadata),
            store: spec.secret_store_ref.and_then(StoreRefBody::read),
            // By default the Secret has the name of the ExternalSecret.
            target: target
                .filter(|target| !target.is_empty())
                .unwrap_or_else(|| name.clone()),
            creation_policy: creation_policy.unwrap_or_else(|| "Owner".to_owned()),
            deletion_policy: deletion_policy.unwrap_or_else(|| "Retain".to_owned()),
            interval: interval(spec.refresh_interval.as_deref()),
            refresh_policy: spec.refresh_policy.unwrap_or_else(|| "Periodic".to_owned()),
            sources: sources
                .chain(spec.data.into_iter().map(DataBody::source))
                .collect(),
            templated,
            condition: status.condition(),
            refreshed: status.refresh_time.as_ref().map(seconds),
            synced: status.synced_resource_version.unwrap_or_default(),
            name,
        })
    }
}

/// Parses a duration of Go as seconds; 0 means never.
fn interval(text: Option<&str>) -> i64 {
    let Some(text) = text else {
        return DEFAULT_INTERVAL;
    };
    let span: Result<jiff::SignedDuration, _> = text.parse();
    span.map_or(0, |span| span.as_secs())
}

/// A SecretStore or ClusterSecretStore.
#[derive(Deserialize)]
pub struct StoreBody {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: StoreSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StoreSpec {
    controller: String,
    provider: BTreeMap<String, Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VaultBody {
    server: String,
    path: Option<String>,
    version: Option<String>,
    namespace: Option<String>,
    auth: AuthBody,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AuthBody {
    token_secret_ref: Option<Credentials>,
}

impl StoreBody {
    /// Makes a fact; `None` without a name.
    pub fn read(self, kind: StoreKind) -> Option<SecretStore> {
        let name = self.metadata.name?;
        let provider = self.spec.provider.into_iter().next();
        let (provider, credentials) = match provider {
            Some((word, body)) if word == "vault" => {
                let vault: VaultBody = serde_json::from_value(body).unwrap_or_default();
                let provider = Provider::Vault {
                    server: vault.server,
                    mount: vault.path.filter(|mount| !mount.is_empty()),
                    version: vault.version.unwrap_or_else(|| "v2".to_owned()),
                    namespace: vault.namespace,
                };
                (provider, vault.auth.token_secret_ref)
            }
            Some((word, _)) => (Provider::Other(word), None),
            None => (Provider::Other("none".to_owned()), None),
        };
        Some(SecretStore {
            at: StoreRef { kind, name },
            uid: self.metadata.uid.unwrap_or_default(),
            created: self.metadata.creation_timestamp.as_ref().map(seconds),
            controller: Some(self.spec.controller).filter(|class| !class.is_empty()),
            provider,
            credentials,
            condition: self.status.condition(),
            capabilities: self.status.capabilities,
        })
    }
}

/// An event of the core API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventBody {
    metadata: ObjectMeta,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    last_timestamp: Option<Time>,
    #[serde(default)]
    r#type: Option<String>,
}

impl EventBody {
    /// Makes a fact; `None` if the event is not a warning.
    pub fn read(self) -> Option<Event> {
        let created = self.metadata.creation_timestamp;
        let last = self.last_timestamp.or(created);
        (self.r#type.as_deref() == Some("Warning")).then(|| Event {
            last: last.as_ref().map(seconds).unwrap_or_default(),
            message: self.message.unwrap_or_default(),
        })
    }
}
