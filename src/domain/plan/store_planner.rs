//! Decides on one entry of the store, field by field, after the tokens have been resolved.

use super::store_refusal::StoreRefusal;
use super::store_types::{EntryPlan, FieldPlan, StoreWish};
use super::types::{Action, Decision, KeyAction, NewValue, ValueSource};
use crate::domain::eso::store_entry::{Entries, Entry, LOG_LEVEL_DEFAULT};
use crate::domain::table::{
    API_KEYS, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule, Key, Origin, Presence, ROUTER,
};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};
use std::collections::BTreeMap;

/// What decisions are made of, and where refusals go.
pub(super) struct EntryPlanner<'a> {
    pub wish: &'a StoreWish,
    pub entries: &'a Entries,
    pub tokens: &'a PerToken<Option<Decision>>,
    pub refusals: &'a mut Vec<StoreRefusal>,
}

impl EntryPlanner<'_> {
    /// Decides on the entry of a bundle.
    pub(super) fn entry(&mut self, bundle: &'static Bundle) -> EntryPlan {
        let path = self.wish.layout.path(bundle);
        let base = self.entries.get(&path).cloned().unwrap_or_default();
        let missing: Vec<_> = bundle
            .keys
            .iter()
            .filter(|key| key.origin == Origin::Input(InputRule::Required))
            .filter(|key| self.wanted(bundle, key).is_none() && !filled(&base, key.name))
            .map(|key| key.name)
            .collect();
        let reason = match missing.as_slice() {
            [] => None,
            names => Some(format!("{} is not set", names.join(", "))),
        };
        // An entry without a field brings nothing; with some of them it would empty the Secret.
        let empty = base.fields.as_ref().is_none_or(BTreeMap::is_empty);
        let skipped = reason.is_some() && empty;
        let keys = match skipped {
            true => Vec::new(),
            false => self.fields(bundle, &path, &base),
        };
        let sets = keys
            .iter()
            .any(|key| matches!(key.action, KeyAction::Set(_)));
        EntryPlan {
            bundle,
            path,
            action: match (&base.fields, sets) {
                _ if skipped => Action::Skip,
                (None, _) => Action::Create,
                (Some(_), true) => Action::Configure,
                (Some(_), false) => Action::Keep,
            },
            reason,
            keys,
            base,
        }
    }

    fn fields(&mut self, bundle: &'static Bundle, path: &str, base: &Entry) -> Vec<FieldPlan> {
        let keys = bundle.keys.iter();
        let known = keys.filter_map(|key| self.field(bundle, key, path, base));
        let mut fields: Vec<_> = known.collect();
        fields.extend(self.others(bundle, base));
        fields
    }

    /// Decides on a field of the table; `None` where nothing is wanted and nothing is there.
    fn field(&mut self, bundle: &Bundle, key: &Key, path: &str, base: &Entry) -> Option<FieldPlan> {
        if base.has(key.name) && base.text(key.name).is_none() {
            self.refusals.push(StoreRefusal::NoText {
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
                        // It gets the same value, entries of others included.
                        let copied = documented.filter(|_| key.name == API_KEYS);
                        let empty = base.has(key.name);
                        self.new_list((token, presence), live, copied, empty)?
                    }
                }
            }
            Origin::Input(rule) => self.input(bundle, key, rule, base)?,
        };
        Some(FieldPlan {
            key: key.name.to_owned(),
            action,
            source,
        })
    }

    fn token(&self, token: TokenName, base: &Entry) -> Option<(KeyAction, ValueSource)> {
        let decided = self.tokens.get(token).as_ref()?;
        Some(match (filled(base, token.as_str()), decided) {
            (true, Decision::Cluster(_)) => (KeyAction::Adopted, ValueSource::Store),
            (true, _) => (KeyAction::Kept, ValueSource::Store),
            (false, _) => {
                let set = KeyAction::Set(NewValue::Token(token));
                (set, self.source_of(token, decided))
            }
        })
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
                match live.into_iter().flatten().any(|value| token.is_on(value)) {
                    true => ValueSource::Cluster,
                    false => ValueSource::Store,
                }
            }
        }
    }

    /// A list with entries stays as it is, and has to hold the token.
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
        let lacks = live.is_some_and(|live| {
            let mut entries = live.entries();
            entries.any(|entry| !list.lists(&SecretValue::from(entry)))
        });
        Some(match lacks {
            true => (KeyAction::Differs, ValueSource::Cluster),
            false => (KeyAction::Kept, ValueSource::Store),
        })
    }

    /// A list that is not there, or `empty`: the live one and else the `copied` one, with the token.
    fn new_list(
        &self,
        (token, presence): (TokenName, Presence),
        live: Option<&SecretValue>,
        copied: Option<&SecretValue>,
        empty: bool,
    ) -> Option<(KeyAction, ValueSource)> {
        let decided = self.tokens.get(token).as_ref()?;
        let listed = live.filter(|list| has_entries(list));
        let wanted = match presence {
            Presence::Always => true,
            Presence::OnRequest => self.wish.with_api_keys || listed.is_some(),
            Presence::IfFound => listed.is_some(),
        };
        if wanted {
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
        match (empty, live) {
            (true, _) => Some((KeyAction::Kept, ValueSource::Store)),
            (false, live) => {
                let value = NewValue::Plain(live?.clone());
                Some((KeyAction::Set(value), ValueSource::Cluster))
            }
        }
    }

    /// The value that an input should have, and where it comes from. The live Secret comes first:
    /// it is what the pods run on, also where it is empty and may be.
    fn wanted(&self, bundle: &Bundle, key: &Key) -> Option<(SecretValue, ValueSource)> {
        let required = key.origin == Origin::Input(InputRule::Required);
        let live = self.wish.live(bundle, key.name);
        let live = live.filter(|value| !(required && value.is_empty()));
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
                    match self.wish.update.contains(key.name) && !value.is_empty() {
                        true => (KeyAction::Set(NewValue::Plain(value)), source),
                        false => (KeyAction::Differs, source),
                    }
                }
                _ => (KeyAction::Kept, ValueSource::Store),
            });
        }
        let default = match rule {
            InputRule::Required => None,
            InputRule::Default(text) => Some(text),
            // The store's entry has all six fields.
            InputRule::EnvFileOnly => Some(LOG_LEVEL_DEFAULT),
        };
        let default = || Some((SecretValue::from(default?), ValueSource::Default));
        let (value, source) = wanted.or_else(default)?;
        Some((KeyAction::Set(NewValue::Plain(value)), source))
    }

    /// Keys of the live Secret that the table does not know: without them in the store they would
    /// vanish from the Secret.
    fn others(&self, bundle: &Bundle, base: &Entry) -> Vec<FieldPlan> {
        let known = |name: &str| bundle.keys.iter().any(|key| key.name == name);
        let live = self.wish.live.as_ref();
        live.and_then(|live| live.get(bundle.secret))
            .into_iter()
            .flatten()
            .filter(|(name, _)| !known(name))
            .map(|(name, value)| FieldPlan {
                key: name.clone(),
                action: match base.text(name) {
                    Some(stored) if stored == value => KeyAction::Kept,
                    _ if base.has(name) => KeyAction::Differs,
                    _ => KeyAction::Set(NewValue::Plain(value.clone())),
                },
                source: ValueSource::Cluster,
            })
            .collect()
    }
}

/// Tells whether a field is there and not empty.
fn filled(entry: &Entry, key: &str) -> bool {
    entry.text(key).is_some_and(|value| !value.is_empty())
}

fn has_entries(list: &SecretValue) -> bool {
    list.entries().next().is_some()
}
