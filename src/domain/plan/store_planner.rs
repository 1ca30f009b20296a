//! Plans one entry of the store and each of its fields, after the tokens have been resolved.

use super::store_refusal::StoreRefusal;
use super::store_types::{EntryPlan, StoreWish};
use super::types::{Action, Decision, KeyAction, KeyPlan, NewValue, ValueSource};
use crate::domain::eso::store_entry::{Entries, Entry, LOG_LEVEL_DEFAULT};
use crate::domain::table::{
    API_KEYS, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule, Key, Origin, Presence, ROUTER,
};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};
use std::collections::BTreeMap;

/// The input of the plan for the entries, and its refusals.
pub(super) struct EntryPlanner<'a> {
    pub wish: &'a StoreWish,
    pub entries: &'a Entries,
    pub tokens: &'a PerToken<Option<Decision>>,
    pub refusals: &'a mut Vec<StoreRefusal>,
}

impl EntryPlanner<'_> {
    /// Plans the entry of a bundle.
    pub(super) fn entry(&mut self, bundle: &'static Bundle) -> EntryPlan {
        let path = self.wish.layout.path(bundle);
        let base = self.entries.get(&path).cloned().unwrap_or_default();
        let missing: Vec<_> = bundle
            .keys
            .iter()
            .filter(|key| key.origin == Origin::Input(InputRule::Required))
            .filter(|key| self.wanted(bundle, key).is_none() && !has_value(&base, key.name))
            .map(|key| key.name)
            .collect();
        let reason = match missing.as_slice() {
            [] => None,
            names => Some(format!("{} is not set", names.join(", "))),
        };
        // The operator ignores an entry without fields. An incomplete entry would remove the other
        // keys from the Secret.
        let is_empty = base.fields.as_ref().is_none_or(BTreeMap::is_empty);
        let is_skipped = reason.is_some() && is_empty;
        let keys = if is_skipped {
            Vec::new()
        } else {
            self.fields(bundle, &path, &base)
        };
        let has_changes = keys
            .iter()
            .any(|key| matches!(key.action, KeyAction::Set(_)));
        EntryPlan {
            bundle,
            path,
            action: if is_skipped {
                Action::Skip
            } else if base.fields.is_none() {
                Action::Create
            } else if has_changes {
                Action::Configure
            } else {
                Action::Keep
            },
            reason,
            keys,
            base,
        }
    }

    fn fields(&mut self, bundle: &'static Bundle, path: &str, base: &Entry) -> Vec<KeyPlan> {
        let mut fields: Vec<_> = bundle
            .keys
            .iter()
            .filter_map(|key| self.field(bundle, key, path, base))
            .collect();
        fields.extend(self.unknown_fields(bundle, base));
        fields
    }

    /// Plans a field of the table; `None` if the field is neither wanted nor in the entry.
    fn field(&mut self, bundle: &Bundle, key: &Key, path: &str, base: &Entry) -> Option<KeyPlan> {
        if base.has(key.name) && base.text(key.name).is_none() {
            self.refusals.push(StoreRefusal::NotText {
                path: path.to_owned(),
                key: key.name,
            });
            return None;
        }
        let (action, source) = match key.origin {
            Origin::Token(token) => self.token(token, base)?,
            Origin::TokenList(token, presence) => {
                let live = self.wish.live(bundle, key.name);
                match base.text(key.name).filter(|list| has_entries(list)) {
                    Some(list) => self.kept_list(key.name, token, list, live, path)?,
                    None => {
                        let documented = base
                            .text(EMBEDDINGS_API_KEYS)
                            .or_else(|| self.wish.live(bundle, EMBEDDINGS_API_KEYS));
                        // API_KEYS gets the same value as EMBEDDINGS_API_KEYS, with all its
                        // entries.
                        let copied = documented.filter(|_| key.name == API_KEYS);
                        let exists = base.has(key.name);
                        self.new_list((token, presence), live, copied, exists)?
                    }
                }
            }
            Origin::Input(rule) => self.input(bundle, key, rule, base)?,
        };
        Some(KeyPlan {
            key: key.name.into(),
            action,
            source,
            live: base.has(key.name),
        })
    }

    fn token(&self, token: TokenName, base: &Entry) -> Option<(KeyAction, ValueSource)> {
        let decided = self.tokens.get(token).as_ref()?;
        if !has_value(base, token.as_str()) {
            let set = KeyAction::Set(NewValue::Token(token));
            return Some((set, self.source_of(token, decided)));
        }
        let action = if matches!(decided, Decision::Cluster(_)) {
            KeyAction::Adopted
        } else {
            KeyAction::Kept
        };
        Some((action, ValueSource::Store))
    }

    fn source_of(&self, name: TokenName, decided: &Decision) -> ValueSource {
        let live = [
            self.wish.live(&ROUTER, name.as_str()),
            self.wish.live(&EMBEDDINGS, EMBEDDINGS_API_KEYS),
        ];
        match decided {
            Decision::File(_) => ValueSource::File,
            Decision::Minted(_) => ValueSource::Minted,
            Decision::Cluster(token) => {
                if live.into_iter().flatten().any(|value| token.is_on(value)) {
                    ValueSource::Cluster
                } else {
                    ValueSource::Store
                }
            }
        }
    }

    /// Keeps a list that has entries. Refuses if the token is not one of them.
    fn kept_list(
        &mut self,
        key: &'static str,
        token: TokenName,
        list: &SecretValue,
        live: Option<&SecretValue>,
        path: &str,
    ) -> Option<(KeyAction, ValueSource)> {
        let decided = self.tokens.get(token).as_ref()?;
        if !decided.token().is_some_and(|token| token.is_on(list)) {
            self.refusals.push(StoreRefusal::NotOnList {
                path: path.to_owned(),
                key,
                token,
                filed: matches!(decided, Decision::File(_)),
            });
        }
        let lacks_live_entry = live.is_some_and(|live| {
            live.entries()
                .any(|entry| !list.lists(&SecretValue::from(entry)))
        });
        Some(if lacks_live_entry {
            (KeyAction::Differs, ValueSource::Cluster)
        } else {
            (KeyAction::Kept, ValueSource::Store)
        })
    }

    /// Plans a list that has no entries: the live list or else `copied`, with the token added.
    /// `exists` is true if the entry has the field, without a value.
    fn new_list(
        &self,
        (token, presence): (TokenName, Presence),
        live: Option<&SecretValue>,
        copied: Option<&SecretValue>,
        exists: bool,
    ) -> Option<(KeyAction, ValueSource)> {
        let decided = self.tokens.get(token).as_ref()?;
        let listed = live.filter(|list| has_entries(list));
        let is_wanted = match presence {
            Presence::Always => true,
            Presence::OnRequest => self.wish.with_api_keys || listed.is_some(),
            Presence::IfFound => listed.is_some(),
        };
        if is_wanted {
            let entries = listed.or_else(|| copied.filter(|list| has_entries(list)));
            let list = NewValue::List {
                entries: entries.cloned(),
                token,
            };
            let source = match listed {
                Some(_) => ValueSource::Cluster,
                None => self.source_of(token, decided),
            };
            return Some((KeyAction::Set(list), source));
        }
        if exists {
            return Some((KeyAction::Kept, ValueSource::Store));
        }
        let value = NewValue::Plain(live?.clone());
        Some((KeyAction::Set(value), ValueSource::Cluster))
    }

    /// The value that an input should have, and its source. The live value comes first, because the
    /// pods run on it. An empty live value counts, unless the input is required.
    fn wanted(&self, bundle: &Bundle, key: &Key) -> Option<(SecretValue, ValueSource)> {
        let is_required = key.origin == Origin::Input(InputRule::Required);
        let live = self
            .wish
            .live(bundle, key.name)
            .filter(|value| !(is_required && value.is_empty()));
        match live {
            Some(value) => Some((value.clone(), ValueSource::Cluster)),
            None => Some((self.wish.inputs.get(key.name)?.clone(), ValueSource::Env)),
        }
    }

    fn input(
        &self,
        bundle: &Bundle,
        key: &Key,
        rule: InputRule,
        base: &Entry,
    ) -> Option<(KeyAction, ValueSource)> {
        let wanted = self.wanted(bundle, key);
        if let Some(stored) = base.text(key.name) {
            return Some(match wanted {
                Some((value, source)) if value != *stored => {
                    if self.wish.update.contains(key.name) && !value.is_empty() {
                        (KeyAction::Set(NewValue::Plain(value)), source)
                    } else {
                        (KeyAction::Differs, source)
                    }
                }
                _ => (KeyAction::Kept, ValueSource::Store),
            });
        }
        let default = match rule {
            InputRule::Required => None,
            InputRule::Default(text) => Some(text),
            // The entry has all six fields.
            InputRule::EnvFileOnly => Some(LOG_LEVEL_DEFAULT),
        };
        let default = || Some((SecretValue::from(default?), ValueSource::Default));
        let (value, source) = wanted.or_else(default)?;
        Some((KeyAction::Set(NewValue::Plain(value)), source))
    }

    /// Plans the keys of the live Secret that are not in the table. If the entry lacked them, the
    /// operator would remove them from the Secret.
    fn unknown_fields(&self, bundle: &Bundle, base: &Entry) -> Vec<KeyPlan> {
        let is_known = |name: &str| bundle.keys.iter().any(|key| key.name == name);
        self.wish
            .live
            .as_ref()
            .and_then(|live| live.get(bundle.secret))
            .into_iter()
            .flatten()
            .filter(|(name, _)| !is_known(name))
            .map(|(name, value)| KeyPlan {
                key: name.clone().into(),
                action: match base.text(name) {
                    Some(stored) if stored == value => KeyAction::Kept,
                    _ if base.has(name) => KeyAction::Differs,
                    _ => KeyAction::Set(NewValue::Plain(value.clone())),
                },
                source: ValueSource::Cluster,
                live: base.has(name),
            })
            .collect()
    }
}

/// True if a field exists and is not empty.
fn has_value(entry: &Entry, key: &str) -> bool {
    entry.text(key).is_some_and(|value| !value.is_empty())
}

fn has_entries(list: &SecretValue) -> bool {
    list.entries().next().is_some()
}
