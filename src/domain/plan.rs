//! The plan: what is wanted and what was found become one decision per Secret and per key.
//!
//! One plan is made for everything before the first write. It holds no new token: those are named,
//! and their values are filled in when a manifest is made, so that the tokens of a run that lost a
//! race can still be exchanged.

use super::bundles::{
    AGENTICORE, API_KEYS, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule, Key, Origin,
    Presence, ROUTER,
};
use super::inputs::Inputs;
use super::live::{LiveSecret, OPAQUE, Observations, Observed};
use super::names::{Namespace, SecretRef};
use super::ownership::Owner;
use super::refusal::Refusal;
use super::resolve::{self, Decision, Filed};
use super::tokens::{PerToken, TokenName};
use super::value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which side wins where the tokens file and the home namespace disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The home namespace.
    Cluster,
    /// The tokens file.
    File,
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::File => "file",
        })
    }
}

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The home namespace, which gets every Secret.
    pub home: Namespace,
    /// The fleet namespaces, which get the router Secret only.
    pub fleet: BTreeSet<Namespace>,
    /// The inputs.
    pub inputs: Inputs,
    /// The inputs that may change a live value.
    pub update: BTreeSet<&'static str>,
    /// Which side wins where tokens disagree.
    pub prefer: Option<Prefer>,
    /// Whether keys that a controller manages may be taken over.
    pub force_conflicts: bool,
    /// Whether `API_KEYS` is written too.
    pub with_api_keys: bool,
}

impl Wish {
    /// The Secrets that it is about, with their bundles, in the order in which they are shown.
    pub fn targets(&self) -> impl Iterator<Item = (SecretRef, &'static Bundle)> {
        let at = |namespace: &Namespace, bundle: &'static Bundle| {
            (
                SecretRef {
                    namespace: namespace.clone(),
                    name: bundle.secret,
                },
                bundle,
            )
        };
        let home = [&ROUTER, &EMBEDDINGS, &AGENTICORE].map(|bundle| at(&self.home, bundle));
        let fleet = self
            .fleet
            .iter()
            .filter(|namespace| **namespace != self.home)
            .map(move |namespace| at(namespace, &ROUTER));
        home.into_iter().chain(fleet)
    }
}

/// What the tokens file holds.
#[derive(Clone, Debug, Default)]
pub struct FiledTokens {
    /// Whether there is a file.
    pub exists: bool,
    /// Its tokens.
    pub tokens: PerToken<Filed>,
}

/// The plan for everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which value each token has; `None` where that is refused.
    pub tokens: PerToken<Option<Decision>>,
    /// What happens to the tokens file.
    pub file: FileAction,
    /// What happens to each Secret.
    pub secrets: Vec<SecretPlan>,
    /// What a person has to decide first. If there is any, nothing is written.
    pub refusals: Vec<Refusal>,
}

/// What happens to the tokens file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// It is made.
    Create,
    /// A token is added or exchanged.
    Update {
        /// Whether a token that was in the file before this run is exchanged, so that the old
        /// file is worth keeping.
        replaces: bool,
    },
    /// It stays as it is.
    Keep,
}

/// What happens to a Secret.
#[derive(Clone, Debug)]
pub struct SecretPlan {
    /// Where it is.
    pub at: SecretRef,
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// What happens.
    pub action: Action,
    /// Who owns it, where that is not us.
    pub owner: Option<Owner>,
    /// Why it is skipped or refused, or what remains wrong with it.
    pub reason: Option<String>,
    /// What happens to its keys.
    pub keys: Vec<KeyPlan>,
    /// What was found, where a change builds on it.
    pub base: Option<Base>,
}

/// What happens to a Secret, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is created.
    Create,
    /// Keys are added or changed.
    Configure,
    /// It is right as it is.
    Keep,
    /// It is left alone.
    Skip,
    /// A person has to decide.
    Refuse,
}

/// The state that a change builds on.
#[derive(Clone, Debug)]
pub struct Base {
    /// The `resourceVersion` that was read.
    pub resource_version: String,
    /// What this program applied before: `data` as base64.
    pub data: BTreeMap<String, SecretValue>,
    /// What this program applied before: annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What happens to a key.
#[derive(Clone, Debug)]
pub struct KeyPlan {
    /// The key.
    pub key: &'static str,
    /// What happens.
    pub action: KeyAction,
    /// Where the value comes from.
    pub source: Source,
}

/// What happens to a key, in a word.
#[derive(Clone, Debug)]
pub enum KeyAction {
    /// It is written.
    Set(NewValue),
    /// It stays.
    Kept,
    /// It stays, and the tokens file takes it over.
    Adopted,
    /// It stays although something else was wanted.
    Differs,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Minted by this run.
    Minted,
    /// The tokens file.
    File,
    /// The cluster.
    Cluster,
    /// The environment or the env-file.
    Env,
    /// The table's default.
    Default,
}

/// A value to be written; tokens are filled in later.
#[derive(Clone, Debug)]
pub enum NewValue {
    /// The token.
    Token(TokenName),
    /// The entries there are, then the token unless it is one of them.
    List {
        /// The list that there is; `None` where there is none.
        entries: Option<SecretValue>,
        /// The token.
        token: TokenName,
    },
    /// This value.
    Plain(SecretValue),
}

impl Plan {
    /// Makes the plan.
    pub fn new(wish: &Wish, filed: &FiledTokens, observed: &Observations) -> Self {
        let mut refusals = Vec::new();
        let tokens = PerToken::from_fn(|name| {
            decide(name, wish, filed, observed)
                .map_err(|why| refusals.push(why))
                .ok()
        });
        let nothing = Observed::default();
        let mut secrets: Vec<SecretPlan> = wish
            .targets()
            .map(|(at, bundle)| {
                let found = observed.get(&at).unwrap_or(&nothing);
                Planner {
                    wish,
                    tokens: &tokens,
                    refusals: &mut refusals,
                }
                .secret(at, bundle, found)
            })
            .collect();
        for secret in &mut secrets {
            if let Some(refusal) = refusals.iter().find(|refusal| *refusal.at() == secret.at) {
                secret.action = Action::Refuse;
                secret.reason = Some(refusal.message());
            }
        }
        let file = file_action(filed, &tokens);
        Self {
            tokens,
            file,
            secrets,
            refusals,
        }
    }

    /// Tells whether applying it would change the cluster or the tokens file.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.secrets.iter().any(SecretPlan::is_written)
    }
}

impl SecretPlan {
    /// Tells whether applying it sends a write.
    pub fn is_written(&self) -> bool {
        matches!(self.action, Action::Create | Action::Configure)
    }
}

/// Resolves a token, and refuses to mint one that somebody else is about to bring.
fn decide(
    name: TokenName,
    wish: &Wish,
    filed: &FiledTokens,
    observed: &Observations,
) -> Result<Decision, Refusal> {
    let decision = resolve::resolve(
        name,
        filed.tokens.get(name),
        &wish.home,
        observed,
        wish.prefer,
    )?;
    let at = SecretRef {
        namespace: wish.home.clone(),
        name: ROUTER.secret,
    };
    let owner = observed.get(&at).and_then(|found| found.owner.clone());
    match (&decision, owner) {
        (Decision::Minted(_), Some(owner)) => Err(Refusal::OwnerBringsToken {
            at,
            owner,
            token: name,
        }),
        _ => Ok(decision),
    }
}

fn file_action(filed: &FiledTokens, tokens: &PerToken<Option<Decision>>) -> FileAction {
    let mut changes = false;
    let mut replaces = false;
    for (name, decision) in tokens.iter() {
        let Some(decision) = decision else { continue };
        match filed.tokens.get(name) {
            Filed::Absent => changes = true,
            Filed::Found(token) if decision.token() != Some(token) => {
                changes = true;
                replaces = true;
            }
            Filed::MintedNow(token) if decision.token() != Some(token) => changes = true,
            Filed::Found(_) | Filed::MintedNow(_) => {}
        }
    }
    match (changes, filed.exists) {
        (false, _) => FileAction::Keep,
        (true, false) => FileAction::Create,
        (true, true) => FileAction::Update { replaces },
    }
}

/// What the plan of one Secret needs.
struct Planner<'a> {
    wish: &'a Wish,
    tokens: &'a PerToken<Option<Decision>>,
    refusals: &'a mut Vec<Refusal>,
}

impl Planner<'_> {
    fn secret(&mut self, at: SecretRef, bundle: &'static Bundle, found: &Observed) -> SecretPlan {
        let before = self.refusals.len();
        let missing = self.missing_inputs(bundle, found.live.as_ref());
        let mut keys = Vec::new();
        if found.live.is_some() || (missing.is_empty() && found.owner.is_none()) {
            self.check_form(&at, bundle, found.live.as_ref());
            keys = bundle
                .keys
                .iter()
                .filter_map(|key| self.key(&at, key, found))
                .collect();
        }
        let unset = || format!("{} is not set", missing.join(", "));
        let writes = |keys: &[KeyPlan]| {
            keys.iter()
                .any(|key| matches!(key.action, KeyAction::Set(_)))
        };
        let (action, reason) = if let Some(owner) = &found.owner {
            self.check_owned(&at, bundle, owner);
            keys.retain(|key| !matches!(key.action, KeyAction::Set(_)));
            let instead = owner.instead();
            (Action::Skip, Some(format!("belongs to {owner}: {instead}")))
        } else if found.live.is_none() {
            match missing.is_empty() {
                true => (Action::Create, None),
                false => (Action::Skip, Some(unset())),
            }
        } else {
            let reason = (!missing.is_empty()).then(|| format!("missing, and {}", unset()));
            match writes(&keys) {
                true => (Action::Configure, reason),
                false => (Action::Keep, reason),
            }
        };
        if let (Action::Configure, Some(live)) = (action, &found.live) {
            self.check_writable(&at, live, &keys);
        }
        debug_assert!(
            self.refusals[before..]
                .iter()
                .all(|refusal| *refusal.at() == at)
        );
        let base = found.live.as_ref().map(|live| {
            let (data, annotations) = live.applied_before();
            Base {
                resource_version: live.resource_version.clone(),
                data,
                annotations,
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

    /// The required inputs that are neither given nor live.
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

    /// Refuses a live Secret that pods could not read as the table says.
    fn check_form(&mut self, at: &SecretRef, bundle: &Bundle, live: Option<&LiveSecret>) {
        let Some(live) = live else { return };
        if live.type_ != OPAQUE {
            let found = live.type_.clone();
            self.refusals.push(Refusal::WrongType {
                at: at.clone(),
                found,
            });
        }
        let undecodable = bundle
            .keys
            .iter()
            .filter(|key| {
                live.data
                    .get(key.name)
                    .is_some_and(|value| value.text.is_none())
            })
            .map(|key| Refusal::Undecodable {
                at: at.clone(),
                key: key.name,
            });
        self.refusals.extend(undecodable);
    }

    /// Refuses what was asked for by name and cannot be done in a Secret of somebody else.
    fn check_owned(&mut self, at: &SecretRef, bundle: &Bundle, owner: &Owner) {
        let named = bundle
            .keys
            .iter()
            .filter(|key| self.wish.update.contains(key.name));
        self.refusals
            .extend(named.map(|key| Refusal::UpdateOfOwned {
                at: at.clone(),
                key: key.name,
                owner: owner.clone(),
            }));
    }

    /// Refuses a change that the server would not let through, or that a controller would undo.
    fn check_writable(&mut self, at: &SecretRef, live: &LiveSecret, keys: &[KeyPlan]) {
        if live.immutable {
            self.refusals.push(Refusal::Immutable { at: at.clone() });
        }
        if self.wish.force_conflicts {
            return;
        }
        for key in keys
            .iter()
            .filter(|key| matches!(key.action, KeyAction::Set(_)))
        {
            let managers = live.foreign_managers(key.key);
            if !managers.is_empty() {
                self.refusals.push(Refusal::FieldConflict {
                    at: at.clone(),
                    key: key.key,
                    managers: managers.into_iter().map(str::to_owned).collect(),
                });
            }
        }
    }

    /// Decides on a key; `None` where nothing is wanted and nothing is there to be spoken of.
    fn key(&mut self, at: &SecretRef, key: &Key, found: &Observed) -> Option<KeyPlan> {
        let live = found.live.as_ref();
        let value = live.and_then(|live| live.text(key.name));
        let undecodable =
            live.is_some_and(|live| live.data.contains_key(key.name)) && value.is_none();
        if undecodable {
            return Some(KeyPlan {
                key: key.name,
                action: KeyAction::Differs,
                source: Source::Cluster,
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
            key: key.name,
            action,
            source,
        })
    }

    fn token(
        &mut self,
        at: &SecretRef,
        name: TokenName,
        live: Option<&SecretValue>,
        owner: Option<&Owner>,
    ) -> Option<(KeyAction, Source)> {
        let live = live.filter(|value| !value.is_empty());
        let home = at.namespace == self.wish.home;
        let Some(decision) = self.tokens.get(name) else {
            // It was refused; where that is about another place, this one stays as it is.
            return live.map(|_| match home {
                true => (KeyAction::Differs, Source::Cluster),
                false => (KeyAction::Kept, Source::Cluster),
            });
        };
        let set = (KeyAction::Set(NewValue::Token(name)), source_of(decision));
        let Some(live) = live else { return Some(set) };
        if decision.token().is_some_and(|token| token.is(live)) {
            let filed = matches!(decision, Decision::File(_) | Decision::Minted(_));
            let action = if filed || !home {
                KeyAction::Kept
            } else {
                KeyAction::Adopted
            };
            return Some((action, Source::Cluster));
        }
        if self.wish.prefer.is_some() {
            return Some(self.exchange(at, name.as_str(), owner, set));
        }
        // Home's disagreement has been refused by the resolution already.
        self.refusals.push(Refusal::FleetDisagrees {
            at: at.clone(),
            token: name,
            decided: decision.token().cloned(),
            live: live.clone(),
        });
        Some((KeyAction::Differs, Source::Cluster))
    }

    /// Lets a preferred value in, unless the Secret is somebody else's.
    fn exchange(
        &mut self,
        at: &SecretRef,
        key: &'static str,
        owner: Option<&Owner>,
        set: (KeyAction, Source),
    ) -> (KeyAction, Source) {
        let Some(owner) = owner else { return set };
        if at.namespace == self.wish.home {
            let (at, owner) = (at.clone(), owner.clone());
            self.refusals
                .push(Refusal::PreferOfOwned { at, key, owner });
        }
        (KeyAction::Differs, Source::Cluster)
    }

    fn list(
        &mut self,
        at: &SecretRef,
        key: &'static str,
        token: TokenName,
        presence: Presence,
        found: &Observed,
    ) -> Option<(KeyAction, Source)> {
        let live = found.live.as_ref();
        let value = live.and_then(|live| live.text(key));
        let entries = value.filter(|list| list.entries().next().is_some());
        let decision = self.tokens.get(token).as_ref();
        let Some(entries) = entries else {
            let wanted = match presence {
                Presence::Always => true,
                Presence::OnRequest => self.wish.with_api_keys,
                Presence::IfFound => false,
            };
            // API_KEYS gets the same value as the documented list, entries of others included.
            let copied = (key == API_KEYS)
                .then(|| live?.text(EMBEDDINGS_API_KEYS))
                .flatten()
                .filter(|list| list.entries().next().is_some())
                .cloned();
            let set = KeyAction::Set(NewValue::List {
                entries: copied,
                token,
            });
            return match (wanted, value) {
                (true, _) => Some((set, source_of(decision?))),
                (false, found) => found.map(|_| (KeyAction::Kept, Source::Cluster)),
            };
        };
        let Some(decision) = decision else {
            return Some((KeyAction::Kept, Source::Cluster));
        };
        if decision.token().is_some_and(|token| token.is_on(entries)) {
            return Some((KeyAction::Kept, Source::Cluster));
        }
        if self.wish.prefer == Some(Prefer::File) {
            let list = NewValue::List {
                entries: Some(entries.clone()),
                token,
            };
            let set = (KeyAction::Set(list), source_of(decision));
            return Some(self.exchange(at, key, found.owner.as_ref(), set));
        }
        self.refusals.push(Refusal::NotOnList {
            at: at.clone(),
            key,
            token,
        });
        Some((KeyAction::Differs, Source::Cluster))
    }

    fn input(
        &mut self,
        key: &'static str,
        rule: InputRule,
        live: Option<&SecretValue>,
    ) -> Option<(KeyAction, Source)> {
        match (self.wish.inputs.get(key), live) {
            (Some(given), Some(live)) if given == live => Some((KeyAction::Kept, Source::Cluster)),
            (Some(given), Some(_)) if self.wish.update.contains(key) => {
                Some((KeyAction::Set(NewValue::Plain(given.clone())), Source::Env))
            }
            (Some(_), Some(_)) => Some((KeyAction::Differs, Source::Cluster)),
            (Some(given), None) => {
                Some((KeyAction::Set(NewValue::Plain(given.clone())), Source::Env))
            }
            (None, Some(_)) => Some((KeyAction::Kept, Source::Cluster)),
            (None, None) => match rule {
                InputRule::Default(value) => Some((
                    KeyAction::Set(NewValue::Plain(value.into())),
                    Source::Default,
                )),
                InputRule::Required | InputRule::EnvFileOnly => None,
            },
        }
    }
}

fn source_of(decision: &Decision) -> Source {
    match decision {
        Decision::File(_) => Source::File,
        Decision::Cluster(_) => Source::Cluster,
        Decision::Minted(_) => Source::Minted,
    }
}
