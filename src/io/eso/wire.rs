//! The JSON of External Secrets Operator's objects, and its conversion into facts.
//!
//! Messages of conditions and events may quote a value. They must not be printed.

use crate::domain::eso::objects::{
    Condition, Credentials, EntrySource, ExternalSecret, FORCE_SYNC, Provider, SecretStore,
    StoreKind, StoreRef,
};
use crate::io::kube::wire::{own_annotations, owner_of, rotation_written_at, seconds};
use crate::io::local::environment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The operator's default of `refreshInterval`, in seconds.
const DEFAULT_INTERVAL: i64 = 3600;

/// An ExternalSecret, a PushSecret or a store. The schema of its CRD has been checked by the API
/// server.
#[derive(Deserialize)]
pub struct EsoBody {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: Value,
    #[serde(default, deserialize_with = "object")]
    status: Value,
}

/// The resources of an API group version.
#[derive(Deserialize)]
pub struct ResourcesBody {
    pub resources: Vec<Resource>,
}

#[derive(Deserialize)]
pub struct Resource {
    pub name: String,
}

/// Reads an object. Anything else is a response that cannot be understood.
fn object<'de, D: Deserializer<'de>>(body: D) -> Result<Value, D::Error> {
    Map::deserialize(body).map(Value::Object)
}

/// Reads a text; `None` if it is absent or empty.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(text.to_owned())
}

/// Reads the items of a list, which may be absent.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl EsoBody {
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The condition `Ready`; `None` before the operator has set it.
    pub fn condition(&self) -> Option<Condition> {
        let found = items(&self.status["conditions"]).find(|it| it["type"] == "Ready")?;
        Some(Condition {
            ready: found["status"] == "True",
            reason: text(&found["reason"]).unwrap_or_default(),
            message: text(&found["message"]).unwrap_or_default(),
        })
    }

    fn created(&self) -> Option<i64> {
        self.metadata.creation_timestamp.as_ref().map(seconds)
    }

    /// Makes a fact of an ExternalSecret; `None` without a name or without a valid namespace.
    pub fn external_secret(self) -> Option<ExternalSecret> {
        let (metadata, spec, status) = (&self.metadata, &self.spec, &self.status);
        let target = &spec["target"];
        let or = |value: &Value, default: &str| text(value).unwrap_or_else(|| default.to_owned());
        let is_filled = |value: &Value| {
            let is_object = value.as_object().is_some_and(|found| !found.is_empty());
            is_object || items(value).next().is_some()
        };
        let template = &target["template"];
        let name = metadata.name.clone()?;
        let entries = items(&spec["dataFrom"]).map(whole_entry);
        let fields = items(&spec["data"]).map(one_field);
        let annotations = metadata.annotations.as_ref();
        Some(ExternalSecret {
            namespace: metadata.namespace.as_deref()?.parse().ok()?,
            uid: self.uid().to_owned(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            annotations: own_annotations(metadata),
            rotated: rotation_written_at(metadata),
            generation: metadata.generation.unwrap_or_default(),
            created: self.created(),
            deleting: metadata.deletion_timestamp.is_some(),
            forced: annotations.and_then(|found| found.get(FORCE_SYNC).cloned()),
            owner: owner_of(metadata),
            store: store_ref(&spec["secretStoreRef"]),
            // By default the Secret has the name of the ExternalSecret.
            target: or(&target["name"], &name),
            creation_policy: or(&target["creationPolicy"], "Owner"),
            deletion_policy: or(&target["deletionPolicy"], "Retain"),
            interval: interval(spec["refreshInterval"].as_str()),
            refresh_policy: or(&spec["refreshPolicy"], "Periodic"),
            sources: entries.chain(fields).collect(),
            templated: is_filled(&template["data"]) || is_filled(&template["templateFrom"]),
            condition: self.condition(),
            refreshed: status["refreshTime"]
                .as_str()
                .and_then(environment::seconds),
            synced: text(&status["syncedResourceVersion"]).unwrap_or_default(),
            name,
        })
    }

    /// Makes a fact of a SecretStore or ClusterSecretStore; `None` without a name.
    pub fn store(self, kind: StoreKind) -> Option<SecretStore> {
        let providers = self.spec["provider"].as_object();
        let (word, body) = providers
            .and_then(|found| found.iter().next())
            .map_or(("none", &Value::Null), |(word, body)| (word, body));
        let (provider, credentials) = if word == "vault" {
            let provider = Provider::Vault {
                server: text(&body["server"]).unwrap_or_default(),
                mount: text(&body["path"]),
                version: text(&body["version"]).unwrap_or_else(|| "v2".to_owned()),
                namespace: text(&body["namespace"]),
            };
            (
                provider,
                Credentials::deserialize(&body["auth"]["tokenSecretRef"]).ok(),
            )
        } else {
            (Provider::Other(word.to_owned()), None)
        };
        Some(SecretStore {
            uid: self.uid().to_owned(),
            created: self.created(),
            controller: text(&self.spec["controller"]),
            provider,
            credentials,
            condition: self.condition(),
            capabilities: text(&self.status["capabilities"]),
            at: StoreRef {
                kind,
                name: self.metadata.name?,
            },
        })
    }
}

fn store_ref(value: &Value) -> Option<StoreRef> {
    let kind = match value["kind"].as_str() {
        Some("ClusterSecretStore") => StoreKind::ClusterSecretStore,
        _ => StoreKind::SecretStore,
    };
    let name = text(&value["name"])?;
    Some(StoreRef { kind, name })
}

/// Checks whether a remote reference takes the newest version of an entry without conversion.
fn is_plain(reference: &Value) -> bool {
    let options = [
        ("version", ""),
        ("decodingStrategy", "None"),
        ("conversionStrategy", "Default"),
        ("metadataPolicy", "None"),
    ];
    let is_default =
        |(option, default): (&str, &str)| text(&reference[option]).is_none_or(|it| it == default);
    options.into_iter().all(is_default)
}

/// An item of `data`.
fn one_field(item: &Value) -> EntrySource {
    let reference = &item["remoteRef"];
    if !item["sourceRef"].is_null() || !is_plain(reference) {
        return EntrySource::Other;
    }
    EntrySource::Field {
        key: text(&item["secretKey"]).unwrap_or_default(),
        path: text(&reference["key"]).unwrap_or_default(),
        property: reference["property"].as_str().map(str::to_owned),
    }
}

/// An item of `dataFrom`.
fn whole_entry(item: &Value) -> EntrySource {
    let extract = &item["extract"];
    let is_whole = [&item["rewrite"], &item["sourceRef"], &extract["property"]];
    if extract.is_null() || !is_whole.into_iter().all(Value::is_null) || !is_plain(extract) {
        return EntrySource::Other;
    }
    EntrySource::Entry {
        path: text(&extract["key"]).unwrap_or_default(),
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
