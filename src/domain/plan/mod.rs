//! The plan: what is wanted and what was found become one decision per Secret and per key.
//!
//! One plan is made for everything before the first write. It holds no new token: those are named,
//! and their values are filled in when a manifest is made, so that the tokens of a run that lost a
//! race can still be exchanged.

pub mod manifest;
#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod plan_tests;
pub(crate) mod planner;
pub mod refusal;
#[cfg(test)]
mod refusal_tests;
pub mod resolve;
pub mod store_plan;
#[cfg(test)]
mod store_plan_properties;
#[cfg(test)]
mod store_plan_tests;
pub(crate) mod store_planner;
pub mod store_refusal;

use self::planner::Planner;
use self::refusal::Refusal;
use self::resolve::{Decision, Filed};
use super::cluster::names::{Namespace, SecretRef};
use super::cluster::observed_secret::{Observations, Observed};
use super::cluster::owner::Owner;
use super::table::{AGENTICORE, Bundle, EMBEDDINGS, ROUTER};
use super::values::inputs::Inputs;
use super::values::secret_value::SecretValue;
use super::values::token::{PerToken, TokenName};
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
    /// The names of its annotations that the Secret has, however they came there.
    pub annotated: BTreeSet<String>,
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
    /// Whether the Secret has the key already.
    pub live: bool,
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
    /// The secret store.
    Store,
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
        let router = SecretRef {
            namespace: wish.home.clone(),
            name: ROUTER.secret,
        };
        let home = observed.get(&router).and_then(|found| found.live.as_ref());
        let home = home.map(|live| (&router, live));
        let mut secrets: Vec<SecretPlan> = wish
            .targets()
            .map(|(at, bundle)| {
                let found = observed.get(&at).unwrap_or(&nothing);
                Planner {
                    wish,
                    tokens: &tokens,
                    home,
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

pub(super) fn file_action(filed: &FiledTokens, tokens: &PerToken<Option<Decision>>) -> FileAction {
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
