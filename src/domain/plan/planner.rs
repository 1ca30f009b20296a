//! Plans one place, a Secret or a store entry, and each of its keys, after the tokens have been
//! resolved.

use super::place::{Action, PlacePlan, PlaceRef};
use super::refusal::{Conflict, Refusal};
use super::types::{Decision, KeyAction, KeyPlan, NewValue, Prefer, ValueSource};
use crate::domain::cluster::owner::Owner;
use crate::domain::eso::store_entry::LOG_LEVEL_DEFAULT;
use crate::domain::table::{Bundle, InputRule, Key, Origin, Presence};
use crate::domain::values::inputs::Inputs;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a Secret or the fields of a store entry.
pub(super) trait Values {
    fn has(&self, key: &str) -> bool;
    /// `None` if the key does not exist or its value is not text.
    fn text(&self, key: &str) -> Option<&SecretValue>;
}

/// A place as it was read.
pub(super) struct Place<'a> {
    pub(super) at: PlaceRef,
    pub(super) bundle: &'static Bundle,
    /// `None` if the place does not exist.
    pub(super) values: Option<&'a dyn Values>,
    /// Whether it counts as absent while a required input is missing. The operator ignores an entry
    /// without fields; an incomplete entry would remove the other keys from the Secret.
    pub(super) is_blank: bool,
    pub(super) owner: Option<&'a Owner>,
    pub(super) is_fleet: bool,
    /// The values of the live Secret, which come before the inputs. Only of `populate
    /// --from-cluster`.
    pub(super) copied: Option<&'a BTreeMap<String, SecretValue>>,
}

impl<'a> Place<'a> {
    fn has(&self, key: &str) -> bool {
        self.values.is_some_and(|values| values.has(key))
    }

    fn text(&self, key: &str) -> Option<&'a SecretValue> {
        self.values?.text(key)
    }

    /// The value in the live Secret from which the place is filled.
    fn copied(&self, key: &str) -> Option<&'a SecretValue> {
        self.copied?.get(key)
    }

    /// The source of a value that stays.
    fn stored(&self) -> ValueSource {
        match self.at {
            PlaceRef::Entry(_) => ValueSource::Store,
            _ => ValueSource::Cluster,
        }
    }
}

/// What happens to a key and which source its value has.
type KeyDecision = (KeyAction, ValueSource);

/// The wanted values, the resolved tokens, and the refusals.
pub(super) struct Planner<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) update: &'a BTreeSet<&'static str>,
    pub(super) prefer: Option<Prefer>,
    pub(super) api_keys: bool,
    pub(super) tokens: &'a PerToken<Option<Decision>>,
    /// The home router Secret, if it exists.
    pub(super) home: Option<(PlaceRef, &'a dyn Values)>,
    pub(super) refusals: Vec<Refusal>,
}

impl Planner<'_> {
    /// Decides what happens to a place, and to each of its keys.
    pub(super) fn plan<At, Base>(
        &mut self,
        at: At,
        place: &Place<'_>,
        base: Base,
    ) -> PlacePlan<At, Base> {
        let missing = self.missing_inputs(place);
        let unset = || format!("{} is not set", missing.join(", "));
        let mut keys = Vec::new();
        if !place.is_blank || (missing.is_empty() && place.owner.is_none()) {
            keys = self.keys(place);
        }
        let (action, reason) = if let Some(owner) = place.owner {
            self.check_owned(place);
            keys.retain(|key| !key.is_set());
            let instead = owner.instead();
            (Action::Skip, Some(format!("belongs to {owner}: {instead}")))
        } else if missing.is_empty() {
            (Action::Keep, None)
        } else if place.is_blank {
            (Action::Skip, Some(unset()))
        } else {
            (Action::Keep, Some(format!("missing, and {}", unset())))
        };
        let action = match action {
            Action::Keep if place.values.is_none() => Action::Create,
            Action::Keep if keys.iter().any(KeyPlan::is_set) => Action::Configure,
            action => action,
        };
        PlacePlan {
            at,
            bundle: place.bundle,
            action,
            owner: place.owner.cloned(),
            reason,
            keys,
            base,
        }
    }

    pub(super) fn refuse(&mut self, place: &Place<'_>, conflict: Conflict) {
        self.refusals.push(Refusal {
            at: place.at.clone(),
            owner: place.owner.cloned(),
            conflict,
        });
    }

    /// The required inputs without a value, here or given.
    fn missing_inputs(&self, place: &Place<'_>) -> Vec<&'static str> {
        let keys = place.bundle.keys.iter();
        let is_empty = |key: &str| match place.text(key) {
            Some(value) => value.is_empty(),
            None => !place.has(key),
        };
        keys.filter(|key| key.origin == Origin::Input(InputRule::Required))
            .filter(|key| is_empty(key.name) && self.wanted(place, key).is_none())
            .map(|key| key.name)
            .collect()
    }

    /// Refuses an `--update` of a key in a Secret that has an owner.
    fn check_owned(&mut self, place: &Place<'_>) {
        for key in place.bundle.keys {
            if self.update.contains(key.name) {
                self.refuse(place, Conflict::UpdateOfOwned(key.name));
            }
        }
    }

    /// The keys of the table, then those of the live Secret that are not in the table. If the entry
    /// lacked them, the operator would remove them from the Secret.
    fn keys(&mut self, place: &Place<'_>) -> Vec<KeyPlan> {
        let known = place.bundle.keys.iter();
        let mut keys: Vec<_> = known.filter_map(|key| self.key(place, key)).collect();
        let is_known = |name: &String| place.bundle.keys.iter().any(|key| key.name == name);
        let copied = place.copied.into_iter().flatten();
        keys.extend(
            copied
                .filter(|(name, _)| !is_known(name))
                .map(|(name, value)| KeyPlan {
                    key: name.clone().into(),
                    action: match place.text(name) {
                        Some(stored) if stored == value => KeyAction::Kept,
                        _ if place.has(name) => KeyAction::Differs,
                        _ => KeyAction::Set(NewValue::Plain(value.clone())),
                    },
                    source: ValueSource::Cluster,
                    live: place.has(name),
                }),
        );
        keys
    }

    /// Plans a key of the table; `None` if the key is neither wanted nor there.
    fn key(&mut self, place: &Place<'_>, key: &Key) -> Option<KeyPlan> {
        let live = place.has(key.name);
        let (action, source) = if live && place.text(key.name).is_none() {
            if place.owner.is_none() {
                self.refuse(place, Conflict::NotText(key.name));
            }
            (KeyAction::Differs, place.stored())
        } else {
            match key.origin {
                Origin::Token(token) => self.token(place, token)?,
                Origin::TokenList(token, presence) => {
                    self.list(place, key.name, token, presence)?
                }
                Origin::Input(rule) => self.input(place, key, rule)?,
            }
        };
        Some(KeyPlan {
            key: key.name.into(),
            action,
            source,
            live,
        })
    }

    fn token(&mut self, place: &Place<'_>, name: TokenName) -> Option<KeyDecision> {
        let live = place.text(name.as_str());
        let live = live.filter(|value| !value.is_empty());
        let Some(decision) = self.tokens.get(name) else {
            // The token was refused because of another place, so a fleet namespace keeps its value.
            let action = match place.is_fleet {
                true => KeyAction::Kept,
                false => KeyAction::Differs,
            };
            return live.map(|_| (action, place.stored()));
        };
        let set = (KeyAction::Set(NewValue::Token(name)), decision.source());
        let Some(live) = live else { return Some(set) };
        if decision.token().is_some_and(|token| token.is(live)) {
            let is_in_file = matches!(decision, Decision::File(_) | Decision::Minted(_));
            let action = match is_in_file || place.is_fleet {
                true => KeyAction::Kept,
                false => KeyAction::Adopted,
            };
            return Some((action, place.stored()));
        }
        if self.prefer.is_some() {
            return Some(self.replace(place, name.as_str(), set));
        }
        // A conflict of the places that are a source was refused when the token was resolved.
        let conflict = match decision.token() {
            Some(token) => {
                let home = self.home.as_ref();
                let home = home.filter(|home| home.1.text(name.as_str()) == Some(token.value()));
                let one = home.map_or(PlaceRef::TokensFile, |home| home.0.clone());
                Conflict::Disagree {
                    token: name,
                    key: name.as_str(),
                    one: (one, token.value().clone()),
                    other: live.clone(),
                }
            }
            None => Conflict::FleetAlone(name, live.clone()),
        };
        self.refuse(place, conflict);
        Some((KeyAction::Differs, place.stored()))
    }

    /// Replaces a live value by the preferred one, unless the Secret has an owner.
    fn replace(&mut self, place: &Place<'_>, key: &'static str, set: KeyDecision) -> KeyDecision {
        if place.owner.is_none() {
            return set;
        }
        if !place.is_fleet {
            self.refuse(place, Conflict::PreferOfOwned(key));
        }
        (KeyAction::Differs, place.stored())
    }

    fn list(
        &mut self,
        place: &Place<'_>,
        key: &'static str,
        token: TokenName,
        presence: Presence,
    ) -> Option<KeyDecision> {
        let decision = self.tokens.get(token).as_ref();
        let copied = place.copied(key);
        let Some(list) = place.text(key).filter(|list| list.has_entries()) else {
            return self.new_list(place, key, token, presence);
        };
        let decided = decision.and_then(Decision::token);
        if decision.is_none() || decided.is_some_and(|token| token.is_on(list)) {
            let has_all =
                |copied: &SecretValue| copied.entries().all(|one| list.lists(&one.into()));
            return Some(match copied.is_none_or(has_all) {
                true => (KeyAction::Kept, place.stored()),
                false => (KeyAction::Differs, ValueSource::Cluster),
            });
        }
        // Appending removes no entry, so it is safe with either side of `--prefer`.
        if let (Some(decision), Some(_)) = (decision, self.prefer) {
            let entries = Some(list.clone());
            let set = KeyAction::Set(NewValue::List { entries, token });
            let source = decision.source();
            return Some(self.replace(place, key, (set, source)));
        }
        self.refuse(place, Conflict::NotOnList { key, token });
        Some((KeyAction::Differs, place.stored()))
    }

    /// Plans a list without entries: the list of the live Secret, or the same list by its other name,
    /// or the token alone.
    fn new_list(
        &self,
        place: &Place<'_>,
        key: &'static str,
        token: TokenName,
        presence: Presence,
    ) -> Option<KeyDecision> {
        let copied = place.copied(key);
        let listed = copied.filter(|list| list.has_entries());
        let mut others = place.bundle.lists_of(token).filter(|other| *other != key);
        let twin = others.find_map(|key| place.text(key).or_else(|| place.copied(key)));
        let twin = twin.filter(|list| list.has_entries());
        let is_wanted = match presence {
            // One that is there without entries is filled.
            Presence::Always => twin.is_none() || place.has(key) || copied.is_some(),
            Presence::UnlessLeftOut => self.api_keys,
            Presence::IfFound => false,
        };
        if is_wanted || listed.is_some() {
            let entries = listed.or(twin);
            let decided = self.tokens.get(token).as_ref()?.source();
            let source = listed.map_or(decided, |_| ValueSource::Cluster);
            let entries = entries.cloned();
            let set = KeyAction::Set(NewValue::List { entries, token });
            return Some((set, source));
        }
        if place.has(key) {
            return Some((KeyAction::Kept, place.stored()));
        }
        let value = NewValue::Plain(copied?.clone());
        Some((KeyAction::Set(value), ValueSource::Cluster))
    }

    /// The value that an input should have. The live value comes first, because the pods run on it.
    /// An empty live value counts, unless the input is required.
    fn wanted(&self, place: &Place<'_>, key: &Key) -> Option<(SecretValue, ValueSource)> {
        let is_required = key.origin == Origin::Input(InputRule::Required);
        let live = place.copied(key.name);
        match live.filter(|value| !(is_required && value.is_empty())) {
            Some(value) => Some((value.clone(), ValueSource::Cluster)),
            None => Some((self.inputs.get(key.name)?.clone(), ValueSource::Env)),
        }
    }

    fn input(&self, place: &Place<'_>, key: &Key, rule: InputRule) -> Option<KeyDecision> {
        let wanted = self.wanted(place, key);
        if let Some(stored) = place.text(key.name) {
            return Some(match wanted {
                Some((value, source)) if value != *stored => {
                    if self.update.contains(key.name) && !value.is_empty() {
                        (KeyAction::Set(NewValue::Plain(value)), source)
                    } else {
                        let source = match place.at {
                            PlaceRef::Entry(_) => source,
                            _ => ValueSource::Cluster,
                        };
                        (KeyAction::Differs, source)
                    }
                }
                _ => (KeyAction::Kept, place.stored()),
            });
        }
        let default = match (rule, &place.at) {
            (InputRule::Default(text), _) => Some(text),
            // A new entry has all documented fields.
            (InputRule::EnvFileOnly, PlaceRef::Entry(_)) => Some(LOG_LEVEL_DEFAULT),
            (InputRule::Required | InputRule::EnvFileOnly, _) => None,
        };
        let default = || Some((SecretValue::from(default?), ValueSource::Default));
        let (value, source) = wanted.or_else(default)?;
        Some((KeyAction::Set(NewValue::Plain(value)), source))
    }
}
