//! Plans one Secret and each of its keys, after the tokens have been resolved.

use super::refusal::{Conflict, Refusal};
use super::types::{
    Action, Base, Decision, KeyAction, KeyPlan, NewValue, SecretPlan, ValueSource, Wish,
};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::{LiveSecret, OPAQUE, Observed};
use crate::domain::cluster::owner::Owner;
use crate::domain::table::{
    API_KEYS, Bundle, EMBEDDINGS_API_KEYS, InputRule, Key, Origin, Presence,
};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};

/// The input of the plan for one Secret, and its refusals.
pub(super) struct SecretPlanner<'a> {
    pub(super) wish: &'a Wish,
    pub(super) tokens: &'a PerToken<Option<Decision>>,
    /// The home router Secret, if it exists.
    pub(super) home: Option<(&'a SecretRef, &'a LiveSecret)>,
    pub(super) refusals: &'a mut Vec<Refusal>,
}

impl SecretPlanner<'_> {
    /// Decides what happens to a Secret, and to each of its keys.
    pub(super) fn secret(
        &mut self,
        at: SecretRef,
        bundle: &'static Bundle,
        found: &Observed,
    ) -> SecretPlan {
        let refusals_before = self.refusals.len();
        let missing = self.missing_inputs(bundle, found.live.as_ref());
        let mut keys = Vec::new();
        if found.live.is_some() || (missing.is_empty() && found.owner.is_none()) {
            if found.owner.is_none() {
                self.check_form(&at, bundle, found.live.as_ref());
            }
            keys = bundle
                .keys
                .iter()
                .filter_map(|key| self.key(&at, key, found))
                .collect();
        }
        let unset = || format!("{} is not set", missing.join(", "));
        let (action, reason) = if let Some(owner) = &found.owner {
            self.check_owned(&at, bundle, owner);
            keys.retain(|key| !matches!(key.action, KeyAction::Set(_)));
            let instead = owner.instead();
            (Action::Skip, Some(format!("belongs to {owner}: {instead}")))
        } else if found.live.is_none() {
            if missing.is_empty() {
                (Action::Create, None)
            } else {
                (Action::Skip, Some(unset()))
            }
        } else {
            let reason = (!missing.is_empty()).then(|| format!("missing, and {}", unset()));
            let has_changes = keys
                .iter()
                .any(|key| matches!(key.action, KeyAction::Set(_)));
            let action = if has_changes {
                Action::Configure
            } else {
                Action::Keep
            };
            (action, reason)
        };
        if let (Action::Configure, Some(live)) = (action, &found.live) {
            self.check_writable(&at, live, &keys);
        }
        debug_assert!(
            self.refusals[refusals_before..]
                .iter()
                .all(|refusal| refusal.at == at)
        );
        let base = found.live.as_ref().map(|live| {
            let (data, annotations) = live.applied_before();
            Base {
                resource_version: live.resource_version.clone(),
                data,
                annotations,
                annotated: live.annotations.keys().cloned().collect(),
            }
        });
        SecretPlan {
            at,
            bundle,
            action,
            owner: found.owner.clone(),
            reason,
            keys,
            base,
        }
    }

    /// The required inputs that have neither a value nor a live key.
    fn missing_inputs(&self, bundle: &Bundle, live: Option<&LiveSecret>) -> Vec<&'static str> {
        bundle
            .keys
            .iter()
            .filter(|key| key.origin == Origin::Input(InputRule::Required))
            .map(|key| key.name)
            .filter(|name| self.wish.inputs.get(name).is_none())
            .filter(|name| live.is_none_or(|live| !live.data.contains_key(*name)))
            .collect()
    }

    /// Refuses a live Secret of another type, and keys of the table that are not text.
    fn check_form(&mut self, at: &SecretRef, bundle: &Bundle, live: Option<&LiveSecret>) {
        let Some(live) = live else { return };
        if live.type_ != OPAQUE {
            self.refuse(at, None, Conflict::WrongType(live.type_.clone()));
        }
        for key in bundle.keys {
            let value = live.data.get(key.name);
            if value.is_some_and(|value| value.text.is_none()) {
                self.refuse(at, None, Conflict::Undecodable(key.name));
            }
        }
    }

    /// Refuses an `--update` of a key in a Secret that has an owner.
    fn check_owned(&mut self, at: &SecretRef, bundle: &Bundle, owner: &Owner) {
        for key in bundle.keys {
            if self.wish.update.contains(key.name) {
                self.refuse(at, Some(owner), Conflict::UpdateOfOwned(key.name));
            }
        }
    }

    fn refuse(&mut self, at: &SecretRef, owner: Option<&Owner>, conflict: Conflict) {
        self.refusals.push(Refusal {
            at: at.clone(),
            owner: owner.cloned(),
            conflict,
        });
    }

    /// Refuses a change that the API server would reject or a controller would undo.
    fn check_writable(&mut self, at: &SecretRef, live: &LiveSecret, keys: &[KeyPlan]) {
        if live.immutable {
            self.refuse(at, None, Conflict::Immutable);
        }
        if self.wish.force_conflicts {
            return;
        }
        for key in keys
            .iter()
            .filter(|key| matches!(key.action, KeyAction::Set(_)))
        {
            let managers = live.foreign_managers(&key.key);
            if !managers.is_empty() {
                let managers = managers.into_iter().map(str::to_owned).collect();
                let key = key.key.clone();
                self.refuse(at, None, Conflict::Field { key, managers });
            }
        }
    }

    /// Plans one key; `None` if the key is neither wanted nor live.
    fn key(&mut self, at: &SecretRef, key: &Key, found: &Observed) -> Option<KeyPlan> {
        let live = found.live.as_ref();
        let value = live.and_then(|live| live.text(key.name));
        let is_undecodable =
            live.is_some_and(|live| live.data.contains_key(key.name)) && value.is_none();
        if is_undecodable {
            return Some(KeyPlan {
                key: key.name.into(),
                action: KeyAction::Differs,
                source: ValueSource::Cluster,
                live: true,
            });
        }
        let (action, source) = match key.origin {
            Origin::Token(token) => self.token(at, token, value, found.owner.as_ref())?,
            Origin::TokenList(token, presence) => {
                self.list(at, key.name, token, presence, found)?
            }
            Origin::Input(rule) => self.input(key.name, rule, value)?,
        };
        Some(KeyPlan {
            key: key.name.into(),
            action,
            source,
            live: value.is_some(),
        })
    }

    fn token(
        &mut self,
        at: &SecretRef,
        name: TokenName,
        live: Option<&SecretValue>,
        owner: Option<&Owner>,
    ) -> Option<(KeyAction, ValueSource)> {
        let live = live.filter(|value| !value.is_empty());
        let is_home = at.namespace == self.wish.home;
        let Some(decision) = self.tokens.get(name) else {
            // The token was refused because of the home namespace, so a fleet namespace keeps its
            // value.
            let action = if is_home {
                KeyAction::Differs
            } else {
                KeyAction::Kept
            };
            return live.map(|_| (action, ValueSource::Cluster));
        };
        let set = (KeyAction::Set(NewValue::Token(name)), source_of(decision));
        let Some(live) = live else { return Some(set) };
        if decision.token().is_some_and(|token| token.is(live)) {
            let is_in_file = matches!(decision, Decision::File(_) | Decision::Minted(_));
            let action = if is_in_file || !is_home {
                KeyAction::Kept
            } else {
                KeyAction::Adopted
            };
            return Some((action, ValueSource::Cluster));
        }
        if self.wish.prefer.is_some() {
            return Some(self.replace(at, name.as_str(), owner, set));
        }
        // A conflict in the home namespace has already been refused when the token was resolved.
        let decided = decision.token().map(|token| {
            let home = self
                .home
                .filter(|home| home.1.text(name.as_str()) == Some(token.value()));
            let place =
                home.map_or_else(|| "the tokens file".to_owned(), |home| home.0.to_string());
            Box::new((token.clone(), place))
        });
        let conflict = Conflict::FleetDisagrees {
            token: name,
            decided,
            live: live.clone(),
        };
        self.refuse(at, owner, conflict);
        Some((KeyAction::Differs, ValueSource::Cluster))
    }

    /// Replaces a live value by the preferred one, unless the Secret has an owner.
    fn replace(
        &mut self,
        at: &SecretRef,
        key: &'static str,
        owner: Option<&Owner>,
        set: (KeyAction, ValueSource),
    ) -> (KeyAction, ValueSource) {
        let Some(owner) = owner else { return set };
        if at.namespace == self.wish.home {
            self.refuse(at, Some(owner), Conflict::PreferOfOwned(key));
        }
        (KeyAction::Differs, ValueSource::Cluster)
    }

    fn list(
        &mut self,
        at: &SecretRef,
        key: &'static str,
        token: TokenName,
        presence: Presence,
        found: &Observed,
    ) -> Option<(KeyAction, ValueSource)> {
        let live = found.live.as_ref();
        let value = live.and_then(|live| live.text(key));
        let entries = value.filter(|list| list.entries().next().is_some());
        let decision = self.tokens.get(token).as_ref();
        let Some(entries) = entries else {
            let is_wanted = match presence {
                Presence::Always => true,
                Presence::OnRequest => self.wish.with_api_keys,
                Presence::IfFound => false,
            };
            if !is_wanted {
                return value.map(|_| (KeyAction::Kept, ValueSource::Cluster));
            }
            // API_KEYS gets the same value as EMBEDDINGS_API_KEYS, with all its entries.
            let copied = (key == API_KEYS)
                .then(|| live?.text(EMBEDDINGS_API_KEYS))
                .flatten()
                .filter(|list| list.entries().next().is_some())
                .cloned();
            let set = KeyAction::Set(NewValue::List {
                entries: copied,
                token,
            });
            return Some((set, source_of(decision?)));
        };
        let Some(decision) = decision else {
            return Some((KeyAction::Kept, ValueSource::Cluster));
        };
        if decision.token().is_some_and(|token| token.is_on(entries)) {
            return Some((KeyAction::Kept, ValueSource::Cluster));
        }
        // Appending removes no entry, so it is safe with either side of `--prefer`.
        if self.wish.prefer.is_some() {
            let list = NewValue::List {
                entries: Some(entries.clone()),
                token,
            };
            let set = (KeyAction::Set(list), source_of(decision));
            return Some(self.replace(at, key, found.owner.as_ref(), set));
        }
        self.refuse(at, found.owner.as_ref(), Conflict::NotOnList { key, token });
        Some((KeyAction::Differs, ValueSource::Cluster))
    }

    fn input(
        &mut self,
        key: &'static str,
        rule: InputRule,
        live: Option<&SecretValue>,
    ) -> Option<(KeyAction, ValueSource)> {
        match (self.wish.inputs.get(key), live) {
            (Some(given), Some(live)) if given == live => {
                Some((KeyAction::Kept, ValueSource::Cluster))
            }
            (Some(given), Some(_)) if self.wish.update.contains(key) => Some((
                KeyAction::Set(NewValue::Plain(given.clone())),
                ValueSource::Env,
            )),
            (Some(_), Some(_)) => Some((KeyAction::Differs, ValueSource::Cluster)),
            (Some(given), None) => Some((
                KeyAction::Set(NewValue::Plain(given.clone())),
                ValueSource::Env,
            )),
            (None, Some(_)) => Some((KeyAction::Kept, ValueSource::Cluster)),
            (None, None) => match rule {
                InputRule::Default(value) => Some((
                    KeyAction::Set(NewValue::Plain(value.into())),
                    ValueSource::Default,
                )),
                InputRule::Required | InputRule::EnvFileOnly => None,
            },
        }
    }
}

fn source_of(decision: &Decision) -> ValueSource {
    match decision {
        Decision::File(_) => ValueSource::File,
        Decision::Cluster(_) => ValueSource::Cluster,
        Decision::Minted(_) => ValueSource::Minted,
    }
}
