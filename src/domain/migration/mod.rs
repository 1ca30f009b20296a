//! Plans the move of plain Secrets to the secret store. Pure: reads and writes nothing itself.
//!
//! External Secrets Operator overwrites a Secret with its entry at once. So an ExternalSecret may
//! only be applied if the entry holds exactly the keys and values of the Secret.

pub mod refusal;

use self::refusal::{Differs, MigrationRefusal};
use super::cluster::names::{Namespace, SecretRef};
use super::cluster::observed_secret::{LiveSecret, OPAQUE, Observations, Observed};
use super::eso::comparison::{Difference, SecretData, key_of_field, secret_data};
use super::eso::objects::{ExternalSecret, StoreRef};
use super::eso::store_entry::{Entries, Entry, Field, Fields, LOG_LEVEL_DEFAULT, Layout};
use super::plan::{Action, KeyAction, NewValue, ValueSource};
use super::plan::{EntryPlan, KeyPlan};
use super::table::{BUNDLES, Bundle, EMBEDDINGS, ROUTER};
use super::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The only field of the embeddings entry that a plain Secret need not have.
pub const LOG_LEVEL: &str = "LOG_LEVEL";

/// The namespaces whose Secrets move, and the store to which they move.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    pub home: &'a Namespace,
    /// The fleet namespaces. Only their router Secret moves.
    pub fleet: &'a BTreeSet<Namespace>,
    /// The path of each entry.
    pub layout: &'a Layout,
    /// The store that the ExternalSecrets name.
    pub store: &'a StoreRef,
}

/// The plan for all Secrets and entries.
#[derive(Clone, Debug)]
pub struct MigrationPlan {
    /// The entries of the store; empty if the store could not be read.
    pub entries: Vec<EntryPlan>,
    pub moves: Vec<Move>,
    /// What a person has to decide. Nothing is written if there is any.
    pub refusals: Vec<MigrationRefusal>,
}

/// What happens to one Secret.
#[derive(Clone, Debug)]
pub struct Move {
    pub at: SecretRef,
    pub bundle: &'static Bundle,
    /// The path of the entry that the Secret is made from.
    pub path: String,
    pub state: MoveState,
    /// The content of the Secret after the move; `None` if the store could not be read.
    pub after: Option<SecretData>,
    /// Whether the Secret gets [`LOG_LEVEL`], which it did not have.
    pub adds_log_level: bool,
}

/// Whether a Secret can move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveState {
    /// The Secret is plain and will move.
    Plain,
    /// The operator makes the Secret from this entry already.
    Moved,
    /// The Secret does not move, for this reason.
    Skipped(String),
    /// The Secret cannot move before a person has decided something.
    Refused,
}

impl MigrationPlan {
    /// Makes the plan. `entries` is the content of the store; `None` if it could not be read.
    pub fn new(
        to: &Destination<'_>,
        found: &Observations,
        externals: &[ExternalSecret],
        entries: Option<&Entries>,
    ) -> Self {
        let mut planner = Planner {
            to,
            found,
            externals,
            refusals: Vec::new(),
        };
        let (mut moves, mut planned) = (Vec::new(), Vec::new());
        // The content of each entry after the missing fields are written.
        let mut filled = BTreeMap::new();
        for bundle in BUNDLES {
            let (moved, entry) = planner.plan_home_secret(entries, bundle);
            if let Some(entry) = entry {
                filled.insert(entry.at.clone(), secret_data(&fields_after(&entry)));
                planned.push(entry);
            }
            moves.push(moved);
        }
        for namespace in to.fleet {
            moves.push(planner.plan_fleet_secret(&filled, namespace));
        }
        Self {
            entries: planned,
            moves,
            refusals: planner.refusals,
        }
    }

    /// The Secrets that move.
    pub fn moving(&self) -> impl Iterator<Item = &Move> {
        self.moves
            .iter()
            .filter(|moved| moved.state == MoveState::Plain)
    }

    /// The entries that get fields.
    pub fn written(&self) -> impl Iterator<Item = &EntryPlan> {
        self.entries.iter().filter(|entry| entry.is_written())
    }

    /// True if the plan changes a Secret or an entry.
    pub fn changes_anything(&self) -> bool {
        self.moving().next().is_some() || self.written().next().is_some()
    }
}

/// What a plan is made from, and what a person has to decide.
struct Planner<'a> {
    to: &'a Destination<'a>,
    found: &'a Observations,
    externals: &'a [ExternalSecret],
    refusals: Vec<MigrationRefusal>,
}

impl<'a> Planner<'a> {
    fn live(&self, at: &SecretRef) -> Option<&'a LiveSecret> {
        self.found.get(at)?.live.as_ref()
    }

    /// Plans a Secret of the home namespace, and its entry, which gets its missing fields from it.
    fn plan_home_secret(
        &mut self,
        entries: Option<&Entries>,
        bundle: &'static Bundle,
    ) -> (Move, Option<EntryPlan>) {
        let mut moved = self.plan_move(self.to.home, bundle);
        let Some(entries) = entries else {
            return (moved, None);
        };
        let base = entries.get(&moved.path).cloned().unwrap_or_default();
        let live = self.live(&moved.at);
        let added = match (&moved.state, live) {
            (MoveState::Plain, Some(live)) => self.missing_fields(&mut moved, live, &base),
            _ => Vec::new(),
        };
        let entry = EntryPlan {
            bundle,
            at: moved.path.clone(),
            owner: None,
            action: match (&base.fields, added.is_empty(), &moved.state) {
                (None, true, _) => Action::Skip,
                (_, _, MoveState::Refused) => Action::Refuse,
                (None, false, _) => Action::Create,
                (Some(_), false, _) => Action::Configure,
                (Some(_), true, _) => Action::Keep,
            },
            reason: None,
            keys: added,
            base,
        };
        moved.after = Some(secret_data(&fields_after(&entry)));
        (moved, Some(entry))
    }

    /// The fields that the entry lacks: those of the Secret, and [`LOG_LEVEL`]. Refuses if the
    /// entry and the Secret differ.
    fn missing_fields(
        &mut self,
        moved: &mut Move,
        live: &LiveSecret,
        base: &Entry,
    ) -> Vec<KeyPlan> {
        let mut added = Vec::new();
        let mut difference = Difference::default();
        let stored = base.fields.as_ref().map(secret_data).unwrap_or_default();
        for (key, value) in &live.data {
            let Some(value) = &value.text else { continue };
            match stored.get(key) {
                None => added.push(field(key, value, ValueSource::Cluster)),
                Some(stored) if stored != value => difference.differing.push(key.clone()),
                Some(_) => {}
            }
        }
        if moved.bundle == &EMBEDDINGS && !live.data.contains_key(LOG_LEVEL) {
            moved.adds_log_level = true;
            let default = SecretValue::from(LOG_LEVEL_DEFAULT);
            match stored.get(LOG_LEVEL) {
                None => added.push(field(LOG_LEVEL, &default, ValueSource::Default)),
                Some(stored) if *stored != default => {
                    difference.differing.push(LOG_LEVEL.to_owned())
                }
                Some(_) => {}
            }
        }
        let order = |key: &str| moved.bundle.keys.iter().position(|known| known.name == key);
        added.sort_by_key(|field: &KeyPlan| order(&field.key).unwrap_or(usize::MAX));
        // By their names in the store, since the hint removes them there.
        let mut keys = BTreeSet::new();
        for field in base.fields.iter().flatten().map(|(name, _)| name) {
            let key = key_of_field(field);
            let is_known = live.data.contains_key(&key) || key == LOG_LEVEL;
            if !keys.insert(key) || !is_known {
                difference.only_in_store.push(field.clone());
            }
        }
        self.refuse_difference(moved, difference);
        added
    }

    /// Plans a Secret of a fleet namespace. It has to equal the entry.
    fn plan_fleet_secret(
        &mut self,
        filled: &BTreeMap<String, SecretData>,
        namespace: &Namespace,
    ) -> Move {
        let mut moved = self.plan_move(namespace, &ROUTER);
        moved.after = filled.get(&moved.path).cloned();
        let live = self.live(&moved.at);
        if let (MoveState::Plain, Some(live), Some(after)) = (&moved.state, live, &moved.after) {
            let difference = Difference::between(live, after);
            self.refuse_difference(&mut moved, difference);
        }
        moved
    }

    fn refuse_difference(&mut self, moved: &mut Move, difference: Difference) {
        let differences = [
            (Differs::InValues, difference.differing),
            (Differs::OnlyInSecret, difference.only_in_secret),
            (Differs::OnlyInStore, difference.only_in_store),
        ];
        for (how, keys) in differences.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            let (at, path) = (moved.at.clone(), moved.path.clone());
            moved.state = self.refuse(MigrationRefusal::Differs {
                how,
                at,
                path,
                keys,
            });
        }
    }

    /// Decides whether a Secret can move, before its values are compared.
    fn plan_move(&mut self, namespace: &Namespace, bundle: &'static Bundle) -> Move {
        let at = SecretRef::new(namespace, bundle.secret);
        let path = self.to.layout.path(bundle);
        let absent = Observed::default();
        let observed = self.found.get(&at).unwrap_or(&absent);
        let (makers, others): (Vec<_>, Vec<_>) = self
            .externals
            .iter()
            .filter(|external| external.namespace == at.namespace)
            .partition(|external| external.target == at.name);
        let name_taken_by = others
            .into_iter()
            .find(|external| external.name == bundle.external_secret);
        let state = match (
            &observed.live,
            &observed.owner,
            makers.as_slice(),
            name_taken_by,
        ) {
            (None, ..) => MoveState::Skipped("it does not exist".to_owned()),
            (.., [_, _, ..], _) => {
                let by = makers.iter().map(|external| external.name.clone());
                let (at, by) = (at.clone(), by.collect());
                self.refuse(MigrationRefusal::SeveralMakers { at, by })
            }
            (.., [external], _) => self.state_of_made(&at, external, bundle, &path),
            (_, Some(owner), [], _) => {
                MoveState::Skipped(format!("it belongs to {owner}: {}", owner.instead()))
            }
            (_, None, [], Some(other)) => {
                let (at, by) = (at.clone(), other.name.clone());
                let target = other.target.clone();
                self.refuse(MigrationRefusal::NameTaken { at, by, target })
            }
            (Some(live), None, [], None) => self.state_of_plain(&at, live),
        };
        Move {
            at,
            bundle,
            path,
            state,
            after: None,
            adds_log_level: false,
        }
    }

    /// The state of a Secret that an ExternalSecret targets.
    fn state_of_made(
        &mut self,
        at: &SecretRef,
        external: &ExternalSecret,
        bundle: &Bundle,
        path: &str,
    ) -> MoveState {
        let store = self.to.store;
        let name = external.name.clone();
        if !external.makes_secret() {
            let at = at.clone();
            return self.refuse(MigrationRefusal::KeysAdded { at, by: name });
        }
        let is_ours = name == bundle.external_secret && external.owner.is_none();
        let is_same_entry =
            external.entry() == Some(path) && external.store.as_ref() == Some(store);
        match external.creation_policy.as_str() {
            "Owner" if is_same_entry => MoveState::Moved,
            // An unfinished rollback.
            "Orphan" if is_same_entry && is_ours => MoveState::Plain,
            _ => MoveState::Skipped(format!(
                "ExternalSecret {name} makes it, and not from {path} of {store}: change that one"
            )),
        }
    }

    /// The state of a plain Secret. The operator can only make mutable Opaque Secrets with text
    /// values.
    fn state_of_plain(&mut self, at: &SecretRef, live: &LiveSecret) -> MoveState {
        let at = || at.clone();
        let undecodable = live.data.iter().find(|(_, value)| value.text.is_none());
        let refusal = if live.type_ != OPAQUE {
            MigrationRefusal::WrongType { at: at() }
        } else if live.immutable {
            MigrationRefusal::Immutable { at: at() }
        } else if let Some((key, _)) = undecodable {
            let key = key.clone();
            MigrationRefusal::NotText { at: at(), key }
        } else {
            return MoveState::Plain;
        };
        self.refuse(refusal)
    }

    fn refuse(&mut self, refusal: MigrationRefusal) -> MoveState {
        self.refusals.push(refusal);
        MoveState::Refused
    }
}

fn field(key: &str, value: &SecretValue, source: ValueSource) -> KeyPlan {
    KeyPlan {
        key: key.to_owned().into(),
        action: KeyAction::Set(NewValue::Plain(value.clone())),
        source,
        live: false,
    }
}

/// All fields of an entry after the write.
pub fn fields_after(entry: &EntryPlan) -> Fields {
    let mut fields = entry.base.fields.clone().unwrap_or_default();
    for key in &entry.keys {
        if let KeyAction::Set(NewValue::Plain(value)) = &key.action {
            fields.insert(key.key.to_string(), Field::of_text(value));
        }
    }
    fields
}
