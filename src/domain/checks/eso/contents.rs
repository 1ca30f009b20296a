//! `store.*`: what is in the store, as a person's own token shows it, and whether that is what the
//! Secret has. Values are only same or different; tokens are told by their fingerprint.

use super::targets::{BundleTarget, Eso, fields_of};
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

/// The checks of a store, in their order.
const ALL: [Id; 3] = [Id::StorePath, Id::StoreFields, Id::StoreEqual];

/// Why there is nothing to say of an ExternalSecret's entries.
enum Blind {
    /// For all three checks.
    Because(String),
    Unread(Unread),
}

impl Eso<'_> {
    /// What is in the store for each Secret that an ExternalSecret makes.
    pub(super) fn contents(&self, targets: &[BundleTarget<'_>]) -> Vec<Check> {
        let skips = |why: &str| ALL.map(|id| Check::skip(id, why)).to_vec();
        let made: Vec<_> = targets
            .iter()
            .filter_map(|target| Some((target, *target.makers().next()?)))
            .collect();
        if made.is_empty() {
            return skips("not looked at: no ExternalSecret that was seen makes a Secret");
        }
        if self.path2.contents.address.is_none() {
            return skips(
                "not looked at: neither BAO_ADDR nor VAULT_ADDR is set, which lead to the store \
                 with your own token",
            );
        }
        let mut found = Vec::new();
        for (target, maker) in made {
            let checks = match self.read(maker) {
                Ok(entries) => self.compare(target, maker, &entries),
                Err(Blind::Because(why)) => skips(&format!("not looked at: {why}")),
                Err(Blind::Unread(Unread { why, hint })) => ALL
                    .map(|id| Check::skip(id, format!("not looked at: {why}")).hint(&*hint))
                    .to_vec(),
            };
            let at = |check: Check| check.at(target.namespace, "Secret", target.bundle.secret);
            found.extend(checks.into_iter().map(at));
        }
        let of = |id| {
            found
                .iter()
                .filter(move |check: &&Check| check.id == id)
                .cloned()
                .collect()
        };
        ALL.into_iter()
            .flat_map(|id| self.or_skipped(id, of(id)))
            .collect()
    }

    /// The entries that an ExternalSecret reads.
    fn read(&self, maker: &ExternalSecretStatus) -> Result<BTreeMap<KvPath, &Entry>, Blind> {
        let because = |why: &str| Err(Blind::Because(why.to_owned()));
        let Some(store) = self.store_of(maker) else {
            return because("its store could not be read");
        };
        if let Provider::Other(word) = &store.provider {
            return because(&format!("its store is {word}, neither OpenBao nor Vault"));
        }
        let slots = self.path2.slots_of(&maker.object);
        if slots.is_empty() {
            return because("it reads no whole entry or field of a KV engine of version 2");
        }
        let mut entries = BTreeMap::new();
        for slot in slots {
            match self.path2.contents.entries.get(&slot) {
                Some(Ok(entry)) => drop(entries.insert(slot, entry)),
                Some(Err(unread)) => return Err(Blind::Unread(unread.clone())),
                None => return because("the store was not asked for it"),
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
        let empty = |entry: &Entry| entry.fields.as_ref().is_none_or(BTreeMap::is_empty);
        let address = self.path2.contents.address.as_deref().unwrap_or_default();
        if let Some((slot, entry)) = entries.iter().find(|(_, entry)| empty(entry)) {
            let what = match entry.fields {
                None => "there is no entry",
                Some(_) => "there are no fields in the entry",
            };
            let path = &slot.path;
            let path = Check::fail(
                Id::StorePath,
                format!("{what} {path} at {address}"),
                self.fill(target, maker),
            );
            let rest = [Id::StoreFields, Id::StoreEqual];
            let skip = |id| Check::skip(id, "not looked at: there is nothing in the store");
            return std::iter::once(path).chain(rest.map(skip)).collect();
        }
        let names: Vec<_> = entries.keys().map(|slot| slot.path.as_str()).collect();
        let there = format!("{} is there, at {address}", names.join(", "));
        let provider = self.store_of(maker).map(|store| &store.provider);
        let stored = provider.and_then(|provider| stored(maker, provider, entries));
        vec![
            Check::pass(Id::StorePath, there),
            match &stored {
                Some(stored) => self.stored_fields(target, maker, stored),
                None => Check::skip(Id::StoreFields, UNKNOWN),
            },
            match (&stored, target.live) {
                (Some(stored), Some(live)) => self.equal(target, maker, stored, live),
                (Some(_), None) => {
                    Check::skip(Id::StoreEqual, "there is no Secret to compare with")
                }
                (None, _) => Check::skip(Id::StoreEqual, UNKNOWN),
            },
        ]
    }

    fn stored_fields(
        &self,
        target: &BundleTarget<'_>,
        maker: &ExternalSecretStatus,
        stored: &BTreeMap<String, Option<&Field>>,
    ) -> Check {
        let id = Id::StoreFields;
        let all: Vec<_> = fields_of(target.bundle).map(|key| key.name).collect();
        let lacks = |name: &&str| !matches!(stored.get(*name), Some(Some(_)));
        let missing: Vec<_> = all.iter().copied().filter(lacks).collect();
        match missing.is_empty() {
            true => Check::pass(
                id,
                format!("all {} fields of its bundle are there", all.len()),
            ),
            false => Check::fail(
                id,
                format!(
                    "of the {} fields of its bundle the store lacks {}",
                    all.len(),
                    missing.join(", ")
                ),
                self.add_fields(target, maker, &missing),
            ),
        }
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
                return format!("{key} (the Secret alone has it)");
            }
            if found.only_in_store.contains(key) {
                return format!("{key} (the store alone has it)");
            }
            match live.text(key) {
                Some(text) => describe(target, key, &data[key], text),
                None => format!("{key} (the Secret's is not text)"),
            }
        };
        let different: Vec<_> = found.keys().iter().map(describe).collect();
        match different.is_empty() {
            true => Check::pass(id, "the Secret has what the store has"),
            false => Check::fail(
                id,
                format!(
                    "the Secret and the store differ in {}",
                    different.join(", ")
                ),
                self.resync(maker),
            ),
        }
    }
}

const UNKNOWN: &str =
    "not looked at: what it makes of the entry is not known (a template, a search)";

/// A key that differs; a token with both fingerprints.
fn describe(
    target: &BundleTarget<'_>,
    name: &str,
    stored: &SecretValue,
    live: &SecretValue,
) -> String {
    let mut keys = target.bundle.keys.iter();
    let token = keys.any(|key| key.name == name && matches!(key.origin, Origin::Token(_)));
    match token {
        true => format!(
            "{name} (the store has {}, the Secret has {})",
            fingerprint(stored),
            fingerprint(live)
        ),
        false => name.to_owned(),
    }
}

/// What the store has for each key of the Secret; `None` where that cannot be told.
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
