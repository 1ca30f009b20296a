//! The plan for the secret store: what is wanted and what is there become one decision per entry
//! and per field.
//!
//! The invariants are those of the main plan: only add, one token one value, what is found is
//! adopted before anything is minted. The store is one more place where a token can be.

use super::bundles::{
    BUNDLES, Bundle, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule, Key, Origin, Presence, ROUTER,
};
use super::inputs::Inputs;
use super::plan::{self, Action, FileAction, FiledTokens, KeyAction, NewValue, Source};
use super::resolve::{Decision, Filed};
use super::store::{Entries, Entry, Field, Fields, LOG_LEVEL_DEFAULT, Layout};
use super::store_refusal::{Holder, StoreRefusal};
use super::tokens::{PerToken, Token, TokenName};
use super::value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The live Secrets that values are taken from, by name: every key of each.
pub type LiveValues = BTreeMap<&'static str, BTreeMap<String, SecretValue>>;

/// What the operator wants in the store.
#[derive(Clone, Debug)]
pub struct StoreWish {
    /// Where each bundle goes.
    pub layout: Layout,
    /// The inputs.
    pub inputs: Inputs,
    /// The inputs that may change a value that is there.
    pub update: BTreeSet<&'static str>,
    /// Whether `API_KEYS` is written too.
    pub with_api_keys: bool,
    /// The live Secrets, where values are taken from them.
    pub live: Option<LiveValues>,
}

/// The plan for everything.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Which value each token has; `None` where that is refused.
    pub tokens: PerToken<Option<Decision>>,
    /// What happens to the tokens file.
    pub file: FileAction,
    /// What happens to each entry.
    pub entries: Vec<EntryPlan>,
    /// What a person has to decide first. If there is any, nothing is written.
    pub refusals: Vec<StoreRefusal>,
}

/// What happens to an entry.
#[derive(Clone, Debug)]
pub struct EntryPlan {
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// Where it is.
    pub path: String,
    /// What happens.
    pub action: Action,
    /// Why it is skipped.
    pub reason: Option<String>,
    /// What happens to its fields.
    pub keys: Vec<FieldPlan>,
    /// What was found.
    pub base: Entry,
}

impl EntryPlan {
    /// Tells whether it is written.
    pub fn is_written(&self) -> bool {
        matches!(self.action, Action::Create | Action::Configure)
    }

    /// The whole entry as it is to be: what is there, and what is set.
    pub fn fields(&self, tokens: &PerToken<Token>) -> Fields {
        let mut fields = self.base.fields.clone().unwrap_or_default();
        for key in &self.keys {
            if let KeyAction::Set(value) = &key.action {
                fields.insert(key.key.clone(), Field::of_text(&value.fill(tokens)));
            }
        }
        fields
    }
}

/// What happens to a field.
#[derive(Clone, Debug)]
pub struct FieldPlan {
    /// Its name. With the live Secrets as a source it need not be in the table.
    pub key: String,
    /// What happens.
    pub action: KeyAction,
    /// Where the value comes from.
    pub source: Source,
}

impl StorePlan {
    /// Decides on everything.
    pub fn new(wish: &StoreWish, filed: &FiledTokens, entries: &Entries) -> Self {
        let mut refusals = Vec::new();
        let tokens =
            PerToken::from_fn(
                |name| match resolve(name, filed.tokens.get(name), wish, entries) {
                    Ok(decision) => Some(decision),
                    Err(refusal) => {
                        refusals.push(refusal);
                        None
                    }
                },
            );
        let planner = Planner {
            wish,
            entries,
            tokens: &tokens,
        };
        let plans: Vec<_> = BUNDLES
            .into_iter()
            .map(|bundle| planner.entry(bundle, &mut refusals))
            .collect();
        let file = plan::file_action(filed, &tokens);
        Self {
            tokens,
            file,
            entries: plans,
            refusals,
        }
    }

    /// Tells whether carrying it out would write anything anywhere.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.written().next().is_some()
    }

    /// The entries that are written, in the order in which they are shown.
    pub fn written(&self) -> impl Iterator<Item = &EntryPlan> {
        self.entries.iter().filter(|entry| entry.is_written())
    }
}

/// Decides on one token: all places that have it have to agree.
fn resolve(
    name: TokenName,
    filed: &Filed,
    wish: &StoreWish,
    entries: &Entries,
) -> Result<Decision, StoreRefusal> {
    let path = wish.layout.path(&ROUTER);
    let stored = entries
        .get(&path)
        .and_then(|entry| entry.text(name.as_str()))
        .cloned();
    let live = wish
        .live
        .as_ref()
        .and_then(|live| live.get(ROUTER.secret)?.get(name.as_str()))
        .cloned();
    let found = [
        (Holder::Secret(ROUTER.secret), live),
        (Holder::Entry(path), stored),
    ];
    let mut found: Vec<(Holder, SecretValue)> = found
        .into_iter()
        .filter_map(|(at, value)| Some((at, value.filter(|value| !value.is_empty())?)))
        .collect();
    if found.is_empty() && name == TokenName::EmbeddingsApiKey {
        found.extend(listed(filed, wish, entries)?);
    }
    if let Filed::Found(token) = filed {
        found.insert(0, (Holder::File, token.value().clone()));
    }
    if let [first, rest @ ..] = found.as_slice()
        && let Some(other) = rest.iter().find(|other| other.1 != first.1)
    {
        return Err(StoreRefusal::Disagree {
            token: name,
            one: first.clone(),
            other: other.clone(),
        });
    }
    match (filed, found.into_iter().next()) {
        (Filed::Found(token), _) => Ok(Decision::File(token.clone())),
        (Filed::MintedNow(token), Some((_, value))) if token.is(&value) => {
            Ok(Decision::File(token.clone()))
        }
        (_, Some((at, value))) => match Token::parse(&value) {
            Ok(token) => Ok(Decision::Cluster(token)),
            Err(why) => Err(StoreRefusal::OddToken {
                at,
                token: name,
                why,
            }),
        },
        (Filed::MintedNow(token), None) => Ok(Decision::Minted(Some(token.clone()))),
        (Filed::Absent, None) => Ok(Decision::Minted(None)),
    }
}

/// The only entry of the list `EMBEDDINGS_API_KEYS`, where nobody has the token itself.
fn listed(
    filed: &Filed,
    wish: &StoreWish,
    entries: &Entries,
) -> Result<Option<(Holder, SecretValue)>, StoreRefusal> {
    if let Filed::Found(_) = filed {
        // The file has it; whether it is on the list is looked at with the list.
        return Ok(None);
    }
    let path = wish.layout.path(&EMBEDDINGS);
    let list = entries
        .get(&path)
        .and_then(|entry| entry.text(EMBEDDINGS_API_KEYS));
    let entries: Vec<_> = list.into_iter().flat_map(SecretValue::entries).collect();
    match entries.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some((Holder::Entry(path), SecretValue::from(*only)))),
        _ => Err(StoreRefusal::ManyOnList {
            path,
            token: TokenName::EmbeddingsApiKey,
        }),
    }
}

struct Planner<'a> {
    wish: &'a StoreWish,
    entries: &'a Entries,
    tokens: &'a PerToken<Option<Decision>>,
}

impl Planner<'_> {
    fn entry(&self, bundle: &'static Bundle, refusals: &mut Vec<StoreRefusal>) -> EntryPlan {
        let path = self.wish.layout.path(bundle);
        let base = self.entries.get(&path).cloned().unwrap_or_default();
        let missing: Vec<_> = bundle
            .keys
            .iter()
            .filter(|key| key.origin == Origin::Input(InputRule::Required))
            .filter(|key| self.wanted(bundle, key.name).is_none() && !filled(&base, key.name))
            .map(|key| key.name)
            .collect();
        if !missing.is_empty() && base.fields.is_none() {
            return EntryPlan {
                bundle,
                path,
                action: Action::Skip,
                reason: Some(format!("{} is not set", missing.join(", "))),
                keys: Vec::new(),
                base,
            };
        }
        let mut keys: Vec<_> = bundle
            .keys
            .iter()
            .filter_map(|key| self.field(bundle, key, &path, &base, refusals))
            .collect();
        keys.extend(self.others(bundle, &base));
        let refused = refusals.iter().any(|refusal| match refusal {
            StoreRefusal::NotOnList { path: at, .. } | StoreRefusal::NoText { path: at, .. } => {
                *at == path
            }
            _ => false,
        });
        let sets = keys
            .iter()
            .any(|key| matches!(key.action, KeyAction::Set(_)));
        let action = match (&base.fields, sets) {
            _ if refused => Action::Refuse,
            (None, _) => Action::Create,
            (Some(_), true) => Action::Configure,
            (Some(_), false) => Action::Keep,
        };
        EntryPlan {
            bundle,
            path,
            action,
            reason: None,
            keys,
            base,
        }
    }

    /// The value that an input should have, and where it comes from. The live Secret comes first:
    /// it is what the pods run on.
    fn wanted(&self, bundle: &Bundle, key: &str) -> Option<(SecretValue, Source)> {
        let live = self
            .wish
            .live
            .as_ref()
            .and_then(|live| live.get(bundle.secret)?.get(key))
            .filter(|value| !value.is_empty());
        let live = live.map(|value| (value.clone(), Source::Cluster));
        live.or_else(|| Some((self.wish.inputs.get(key)?.clone(), Source::Env)))
    }

    fn field(
        &self,
        bundle: &Bundle,
        key: &Key,
        path: &str,
        base: &Entry,
        refusals: &mut Vec<StoreRefusal>,
    ) -> Option<FieldPlan> {
        if base.has(key.name) && base.text(key.name).is_none() {
            refusals.push(StoreRefusal::NoText {
                path: path.to_owned(),
                key: key.name.to_owned(),
            });
            return None;
        }
        let (action, source) = match key.origin {
            Origin::Token(token) => self.token(token, base)?,
            Origin::TokenList(token, presence) => {
                self.list(bundle, key.name, (token, presence), path, base, refusals)?
            }
            Origin::Input(rule) => self.input(bundle, key.name, rule, base)?,
        };
        Some(FieldPlan {
            key: key.name.to_owned(),
            action,
            source,
        })
    }

    fn token(&self, token: TokenName, base: &Entry) -> Option<(KeyAction, Source)> {
        let source = match self.tokens.get(token).as_ref()? {
            Decision::File(_) => Source::File,
            Decision::Cluster(_) => Source::Cluster,
            Decision::Minted(_) => Source::Minted,
        };
        Some(match (filled(base, token.as_str()), source) {
            (true, Source::Cluster) => (KeyAction::Adopted, Source::Store),
            (true, _) => (KeyAction::Kept, Source::Store),
            (false, _) => (KeyAction::Set(NewValue::Token(token)), source),
        })
    }

    fn list(
        &self,
        bundle: &Bundle,
        key: &'static str,
        (token, presence): (TokenName, Presence),
        path: &str,
        base: &Entry,
        refusals: &mut Vec<StoreRefusal>,
    ) -> Option<(KeyAction, Source)> {
        let decided = self.tokens.get(token).as_ref()?;
        if let Some(list) = base.text(key).filter(|list| list.entries().count() > 0) {
            let on_it = decided.token().is_some_and(|token| token.is_on(list));
            if !on_it {
                refusals.push(StoreRefusal::NotOnList {
                    path: path.to_owned(),
                    key,
                    token,
                });
            }
            return Some((KeyAction::Kept, Source::Store));
        }
        let live = self
            .wish
            .live
            .as_ref()
            .and_then(|live| live.get(bundle.secret)?.get(key));
        let wanted = match presence {
            Presence::Always => true,
            // The embeddings service reads this one: with it missing the door would open.
            Presence::OnRequest => self.wish.with_api_keys || live.is_some(),
            Presence::IfFound => live.is_some() || base.has(key),
        };
        wanted.then(|| {
            let entries = live.cloned();
            let source = match (live.is_some(), decided) {
                (true, _) | (_, Decision::Cluster(_)) => Source::Cluster,
                (_, Decision::File(_)) => Source::File,
                (_, Decision::Minted(_)) => Source::Minted,
            };
            (KeyAction::Set(NewValue::List { entries, token }), source)
        })
    }

    fn input(
        &self,
        bundle: &Bundle,
        key: &'static str,
        rule: InputRule,
        base: &Entry,
    ) -> Option<(KeyAction, Source)> {
        let wanted = self.wanted(bundle, key);
        if base.has(key) {
            let differs = wanted
                .as_ref()
                .filter(|(value, _)| base.text(key) != Some(value));
            return Some(match differs {
                None => (KeyAction::Kept, Source::Store),
                Some((value, source)) if self.wish.update.contains(key) => {
                    (KeyAction::Set(NewValue::Plain(value.clone())), *source)
                }
                Some((_, source)) => (KeyAction::Differs, *source),
            });
        }
        let default = match rule {
            InputRule::Required => None,
            InputRule::Default(text) => Some(text),
            // The store's entry has all six fields.
            InputRule::EnvFileOnly => Some(LOG_LEVEL_DEFAULT),
        };
        let default = || Some((SecretValue::from(default?), Source::Default));
        let (value, source) = wanted.or_else(default)?;
        Some((KeyAction::Set(NewValue::Plain(value)), source))
    }

    /// Keys of the live Secret that the table does not know: without them in the store they would
    /// vanish from the Secret.
    fn others(&self, bundle: &Bundle, base: &Entry) -> Vec<FieldPlan> {
        let known = |name: &str| bundle.keys.iter().any(|key| key.name == name);
        let live = self
            .wish
            .live
            .as_ref()
            .and_then(|live| live.get(bundle.secret));
        live.into_iter()
            .flatten()
            .filter(|(name, _)| !known(name))
            .map(|(name, value)| {
                let action = match base.text(name) {
                    Some(stored) if stored == value => KeyAction::Kept,
                    _ if base.has(name) => KeyAction::Differs,
                    _ => KeyAction::Set(NewValue::Plain(value.clone())),
                };
                FieldPlan {
                    key: name.clone(),
                    action,
                    source: Source::Cluster,
                }
            })
            .collect()
    }
}

/// Tells whether a field is there and not empty.
fn filled(entry: &Entry, key: &str) -> bool {
    entry.text(key).is_some_and(|value| !value.is_empty())
}
