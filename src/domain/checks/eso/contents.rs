//! `store.*`: the entries that your own token can read in the store, compared with the Secrets. No
//! value is shown: of tokens the fingerprint, of other keys only that they differ.

use super::targets::{BundleTarget, Eso, require_fields};
use crate::domain::checks::check::{Check, Id};
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::eso::comparison::{Difference, key_of_field};
use crate::domain::eso::objects::{EntrySource, KvPath, Provider};
use crate::domain::eso::status::{ExternalSecretStatus, Unread};
use crate::domain::eso::store_entry::{Entry, Field};
use crate::domain::table::Origin;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::fingerprint;
use std::collections::BTreeMap;

/// In the order of the output.
const ALL: [Id; 3] = [Id::StorePath, Id::StoreFields, Id::StoreEqual];

impl Eso<'_> {
    /// Three checks for each Secret that an ExternalSecret creates.
    pub(super) fn contents(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let skips = |why: &str| ALL.map(|id| Check::skip(id, why)).to_vec();
        let with_makers: Vec<_> = targets
            .iter()
            .filter_map(|target| Some((target, *target.makers().next()?)))
            .collect();
        if with_makers.is_empty() {
            return skips("not checked: no ExternalSecret creates a Secret");
        }
        if self.path2.contents.address.is_none() {
            return skips(
                "not checked: set BAO_ADDR or VAULT_ADDR to read the store with your own token",
            );
        }
        let mut found = Vec::new();
        for (target, maker) in with_makers {
            let checks = match self.read(maker) {
                Ok(entries) => self.compare(target, maker, &entries),
                Err(Unread { why, hint }) => ALL
                    .map(|id| Check::skip(id, format!("not checked: {why}")).hint(&*hint))
                    .to_vec(),
            };
            let at = |check: Check| check.at(target.namespace, "Secret", target.bundle.secret);
            found.extend(checks.into_iter().map(at));
        }
        let of_id = |id| {
            let of_id = found.iter().filter(|check: &&Check| check.id == id);
            self.summarize(id, of_id.cloned().collect())
        };
        ALL.into_iter().flat_map(of_id).collect()
    }

    /// The entries that an ExternalSecret reads.
    fn read(&self, maker: &ExternalSecretStatus) -> Result<BTreeMap<KvPath, &Entry>, Unread> {
        let because = |why: &str| {
            let (why, hint) = (why.to_owned(), String::new());
            Err(Unread { why, hint })
        };
        let Some(store) = self.store_of(maker) else {
            return because("its store object was not read");
        };
        if let Provider::Other(word) = &store.provider {
            return because(&format!("its store is {word}, not OpenBao or Vault"));
        }
        let slots = self.path2.slots_of(&maker.object);
        if slots.is_empty() {
            return because("it does not read an entry or a field of a KV engine, version 2");
        }
        let mut entries = BTreeMap::new();
        for slot in slots {
            match self.path2.contents.entries.get(&slot) {
                Some(Ok(entry)) => {
                    entries.insert(slot, entry);
                }
                Some(Err(unread)) => return Err(unread.clone()),
                None => return because("its store entry was not read"),
            }
        }
        Ok(entries)
    }

    fn compare(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        entries: &BTreeMap<KvPath, &Entry>,
    ) -> Vec<Check> {
        let is_empty = |entry: &Entry| entry.fields.as_ref().is_none_or(BTreeMap::is_empty);
        let address = self.path2.contents.address.as_deref().unwrap_or_default();
        if let Some((slot, entry)) = entries.iter().find(|(_, entry)| is_empty(entry)) {
            let what = match entry.fields {
                None => "not found",
                Some(_) => "has no fields",
            };
            let message = format!("entry {} {what} at {address}", slot.path);
            let path = Check::fail(Id::StorePath, message).see(Id::EsoSynced);
            let rest = [Id::StoreFields, Id::StoreEqual];
            let skip = |id| Check::skip(id, "not checked: the store entry is missing or empty");
            return std::iter::once(path).chain(rest.map(skip)).collect();
        }
        let names: Vec<_> = entries.keys().map(|slot| slot.path.as_str()).collect();
        let found = format!("{} found at {address}", names.join(", "));
        let provider = self.store_of(maker).map(|store| &store.provider);
        let stored = provider.and_then(|provider| stored(maker, provider, entries));
        vec![
            Check::pass(Id::StorePath, found),
            match &stored {
                Some(stored) => stored_fields(target, stored),
                None => Check::skip(Id::StoreFields, UNKNOWN),
            },
            match (&stored, target.live) {
                (Some(stored), Some(live)) => self.equal(target, maker, stored, live),
                (Some(_), None) => Check::skip(Id::StoreEqual, "Secret not found"),
                (None, _) => Check::skip(Id::StoreEqual, UNKNOWN),
            },
        ]
    }

    fn equal(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        stored: &BTreeMap<String, Option<&Field>>,
        live: &LiveSecret,
    ) -> Check {
        let id = Id::StoreEqual;
        let fields = stored.iter();
        let data = fields
            .filter_map(|(key, field)| Some((key.clone(), (*field)?.copied())))
            .collect();
        let found = Difference::between(live, &data);
        let describe = |key: &String| {
            if found.only_in_secret.contains(key) {
                return format!("{key} (only in the Secret)");
            }
            if found.only_in_store.contains(key) {
                return format!("{key} (only in the store)");
            }
            match live.text(key) {
                Some(text) => describe(target, key, &data[key], text),
                None => format!("{key} (not text in the Secret)"),
            }
        };
        let different: Vec<_> = found.keys().iter().map(describe).collect();
        if different.is_empty() {
            Check::pass(id, "the Secret equals the store entry")
        } else {
            let keys = different.join(", ");
            Check::fail(id, format!("the Secret and the store differ in {keys}"))
                .hint(self.resync(maker))
        }
    }
}

fn stored_fields(target: &BundleTarget<'_>, stored: &BTreeMap<String, Option<&Field>>) -> Check {
    let id = Id::StoreFields;
    let has = |name: &str| matches!(stored.get(name), Some(Some(_)));
    match require_fields(target.bundle, " in the store", has) {
        Ok(count) => Check::pass(id, format!("the store has all {count} fields")),
        Err(message) => Check::fail(id, message).see(Id::EsoSynced),
    }
}

const UNKNOWN: &str = "not checked: it uses a template or a search, so its keys are unknown";

/// The name of a key that differs; for a token with both fingerprints.
fn describe(
    target: &BundleTarget<'_>,
    name: &str,
    stored: &SecretValue,
    live: &SecretValue,
) -> String {
    let mut keys = target.bundle.keys.iter();
    let token = keys.any(|key| key.name == name && matches!(key.origin, Origin::Token(_)));
    if token {
        format!(
            "{name} (the store has {}, the Secret has {})",
            fingerprint(stored),
            fingerprint(live)
        )
    } else {
        name.to_owned()
    }
}

/// The field in the store for each key of the Secret; `None` if the ExternalSecret uses a template or
/// a search.
fn stored<'a>(
    maker: &ExternalSecretStatus,
    provider: &Provider,
    entries: &BTreeMap<KvPath, &'a Entry>,
) -> Option<BTreeMap<String, Option<&'a Field>>> {
    if maker.object.templated {
        return None;
    }
    let mut stored = BTreeMap::new();
    let fields = |path: &str| entries.get(&provider.slot(path)?)?.fields.as_ref();
    for source in &maker.object.sources {
        match source {
            EntrySource::Entry { path } => {
                let found = fields(path)?.iter();
                stored.extend(found.map(|(name, field)| (key_of_field(name), Some(field))));
            }
            EntrySource::Field {
                key,
                path,
                property: Some(property),
            } => {
                stored.insert(key.clone(), fields(path)?.get(property));
            }
            EntrySource::Field { property: None, .. } | EntrySource::Other => return None,
        }
    }
    Some(stored)
}
