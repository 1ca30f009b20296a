//! The plan for the way from plain Secrets to the secret store, and for the way back.
//!
//! External Secrets Operator makes a Secret what the store says, at once: so an ExternalSecret may
//! only be applied where the store holds what the Secret holds, key by key, and nothing else.

pub mod refusal;

use self::refusal::MigrationRefusal;
use super::cluster::names::{Namespace, SecretRef};
use super::cluster::observed_secret::{LiveSecret, OPAQUE, Observations, Observed};
use super::eso::comparison::{Difference, SecretData, secret_data};
use super::eso::objects::{ExternalSecret, StoreRef};
use super::eso::store_entry::{Entries, Entry, Field, Fields, LOG_LEVEL_DEFAULT, Layout};
use super::plan::{Action, KeyAction, NewValue, ValueSource};
use super::plan::{EntryPlan, FieldPlan};
use super::table::{BUNDLES, Bundle, EMBEDDINGS, ROUTER};
use super::values::secret_value::SecretValue;
use std::collections::{BTreeMap, BTreeSet};

/// The sixth field of the embeddings bundle in the store, which a plain Secret need not have.
pub const SIXTH: &str = "LOG_LEVEL";

/// What is to move, and where to.
#[derive(Clone, Debug)]
pub struct Destination<'a> {
    /// The home namespace.
    pub home: &'a Namespace,
    /// The namespaces of the fleet, whose router Secret moves.
    pub fleet: &'a BTreeSet<Namespace>,
    /// Where each bundle is in the store.
    pub layout: &'a Layout,
    /// The store that the ExternalSecrets name.
    pub store: &'a StoreRef,
}

/// The plan for everything.
#[derive(Clone, Debug)]
pub struct MigrationPlan {
    /// What the store gets first; none where it could not be read.
    pub entries: Vec<EntryPlan>,
    /// What happens to each Secret.
    pub moves: Vec<Move>,
    /// What a person has to decide first. If there is any, nothing is written.
    pub refusals: Vec<MigrationRefusal>,
}

/// What happens to a Secret.
#[derive(Clone, Debug)]
pub struct Move {
    /// The Secret.
    pub at: SecretRef,
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// The entry that it is made from.
    pub path: String,
    /// What happens.
    pub standing: Standing,
    /// What the Secret holds afterwards; `None` where the store could not be read.
    pub after: Option<SecretData>,
    /// Whether [`SIXTH`] is added.
    pub grows: bool,
}

/// How a Secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is plain, and moves.
    Plain,
    /// It follows that entry of that store already.
    Moved,
    /// It is left alone, and why.
    Left(String),
    /// A person has to decide first.
    Refused,
}

impl MigrationPlan {
    /// Decides on everything. `entries` is what the store holds; `None` where it could not be read.
    pub fn new(
        to: &Destination<'_>,
        found: &Observations,
        externals: &[ExternalSecret],
        entries: Option<&Entries>,
    ) -> Self {
        let mut plan = Self {
            entries: Vec::new(),
            moves: Vec::new(),
            refusals: Vec::new(),
        };
        // What each entry holds once it has what it lacks.
        let mut filled = BTreeMap::new();
        for bundle in BUNDLES {
            let (moved, entry) = plan.home(to, found, externals, entries, bundle);
            if let Some(entry) = entry {
                filled.insert(entry.path.clone(), secret_data(&fields_after(&entry)));
                plan.entries.push(entry);
            }
            plan.moves.push(moved);
        }
        for namespace in to.fleet {
            let moved = plan.fleet(to, found, externals, &filled, namespace);
            plan.moves.push(moved);
        }
        plan
    }

    /// The Secrets that move.
    pub fn moving(&self) -> impl Iterator<Item = &Move> {
        let plain = |moved: &&Move| moved.standing == Standing::Plain;
        self.moves.iter().filter(plain)
    }

    /// The entries that are written.
    pub fn written(&self) -> impl Iterator<Item = &EntryPlan> {
        self.entries.iter().filter(|entry| entry.is_written())
    }

    /// Tells whether carrying it out would change anything.
    pub fn changes_anything(&self) -> bool {
        self.moving().next().is_some() || self.written().next().is_some()
    }

    /// A Secret of the home namespace, which is where an entry gets from what it lacks.
    fn home(
        &mut self,
        to: &Destination<'_>,
        found: &Observations,
        externals: &[ExternalSecret],
        entries: Option<&Entries>,
        bundle: &'static Bundle,
    ) -> (Move, Option<EntryPlan>) {
        let mut moved = self.standing(to, found, externals, to.home, bundle);
        let Some(entries) = entries else {
            return (moved, None);
        };
        let base = entries.get(&moved.path).cloned().unwrap_or_default();
        let live = found.get(&moved.at).and_then(|found| found.live.as_ref());
        let added = match (&moved.standing, live) {
            (Standing::Plain, Some(live)) => self.lacking(&mut moved, live, &base),
            _ => Vec::new(),
        };
        let entry = EntryPlan {
            bundle,
            path: moved.path.clone(),
            action: match (&base.fields, added.is_empty(), &moved.standing) {
                (None, true, _) => Action::Skip,
                (_, _, Standing::Refused) => Action::Refuse,
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

    /// What an entry lacks that the Secret has, and the sixth field. Refuses where they contradict.
    fn lacking(&mut self, moved: &mut Move, live: &LiveSecret, base: &Entry) -> Vec<FieldPlan> {
        let mut added = Vec::new();
        let mut found = Difference::default();
        let stored = base.fields.as_ref().map(secret_data).unwrap_or_default();
        for (key, value) in &live.data {
            let Some(value) = &value.text else { continue };
            match stored.get(key) {
                None => added.push(field(key, value, ValueSource::Cluster)),
                Some(stored) if stored != value => found.differing.push(key.clone()),
                Some(_) => {}
            }
        }
        if moved.bundle == &EMBEDDINGS && !live.data.contains_key(SIXTH) {
            moved.grows = true;
            let default = SecretValue::from(LOG_LEVEL_DEFAULT);
            match stored.get(SIXTH) {
                None => added.push(field(SIXTH, &default, ValueSource::Default)),
                Some(stored) if *stored != default => found.differing.push(SIXTH.to_owned()),
                Some(_) => {}
            }
        }
        let order = |key: &str| moved.bundle.keys.iter().position(|known| known.name == key);
        added.sort_by_key(|field: &FieldPlan| order(&field.key).unwrap_or(usize::MAX));
        let strange = stored.into_keys();
        let strange = strange.filter(|key| !live.data.contains_key(key) && key != SIXTH);
        found.only_in_store.extend(strange);
        self.disagree(moved, found);
        added
    }

    /// A Secret of the fleet, which has to be what the entry holds.
    fn fleet(
        &mut self,
        to: &Destination<'_>,
        found: &Observations,
        externals: &[ExternalSecret],
        filled: &BTreeMap<String, SecretData>,
        namespace: &Namespace,
    ) -> Move {
        let mut moved = self.standing(to, found, externals, namespace, &ROUTER);
        moved.after = filled.get(&moved.path).cloned();
        let live = found.get(&moved.at).and_then(|found| found.live.as_ref());
        if let (Standing::Plain, Some(live), Some(after)) = (&moved.standing, live, &moved.after) {
            let found = Difference::between(live, after);
            self.disagree(&mut moved, found);
        }
        moved
    }

    fn disagree(&mut self, moved: &mut Move, found: Difference) {
        let (at, path) = (&moved.at, &moved.path);
        let refusals = [
            MigrationRefusal::Differs {
                at: at.clone(),
                path: path.clone(),
                keys: found.differing,
            },
            MigrationRefusal::OnlyInSecret {
                at: at.clone(),
                path: path.clone(),
                keys: found.only_in_secret,
            },
            MigrationRefusal::OnlyInStore {
                at: at.clone(),
                path: path.clone(),
                keys: found.only_in_store,
            },
        ];
        let real = refusals.into_iter().filter(|refusal| match refusal {
            MigrationRefusal::Differs { keys, .. }
            | MigrationRefusal::OnlyInSecret { keys, .. }
            | MigrationRefusal::OnlyInStore { keys, .. } => !keys.is_empty(),
            _ => true,
        });
        for refusal in real {
            moved.standing = Standing::Refused;
            self.refusals.push(refusal);
        }
    }

    /// How a Secret stands, before its values are looked at.
    fn standing(
        &mut self,
        to: &Destination<'_>,
        found: &Observations,
        externals: &[ExternalSecret],
        namespace: &Namespace,
        bundle: &'static Bundle,
    ) -> Move {
        let at = SecretRef {
            namespace: namespace.clone(),
            name: bundle.secret,
        };
        let path = to.layout.path(bundle);
        let none = Observed::default();
        let observed = found.get(&at).unwrap_or(&none);
        let here = externals
            .iter()
            .filter(|external| external.namespace == at.namespace);
        let targets = here.clone().filter(|external| external.target == at.name);
        let targets: Vec<_> = targets.collect();
        let mut others = here.filter(|external| external.target != at.name);
        let taken = others.find(|external| external.name == bundle.external_secret);
        let standing = match (&observed.live, &observed.owner, targets.as_slice(), taken) {
            (None, ..) => Standing::Left("it does not exist".to_owned()),
            (.., [_, _, ..], _) => {
                let by = targets.iter().map(|external| external.name.clone());
                let (at, by) = (at.clone(), by.collect());
                self.refuse(MigrationRefusal::Crowded { at, by })
            }
            (.., [external], _) => self.beside(&at, external, bundle, to.store, &path),
            (_, Some(owner), [], _) => {
                Standing::Left(format!("it belongs to {owner}: {}", owner.instead()))
            }
            (_, None, [], Some(other)) => {
                let (at, by) = (at.clone(), other.name.clone());
                let target = other.target.clone();
                self.refuse(MigrationRefusal::NameTaken { at, by, target })
            }
            (Some(live), None, [], None) => self.form(&at, live),
        };
        Move {
            at,
            bundle,
            path,
            standing,
            after: None,
            grows: false,
        }
    }

    /// How a Secret stands that an ExternalSecret targets.
    fn beside(
        &mut self,
        at: &SecretRef,
        external: &ExternalSecret,
        bundle: &Bundle,
        store: &StoreRef,
        path: &str,
    ) -> Standing {
        let name = external.name.clone();
        if !external.makes_secret() {
            let at = at.clone();
            return self.refuse(MigrationRefusal::Added { at, by: name });
        }
        let ours = name == bundle.external_secret && external.owner.is_none();
        let same = external.entry() == Some(path) && external.store.as_ref() == Some(store);
        match external.creation_policy.as_str() {
            "Owner" if same => Standing::Moved,
            // A way back that was begun and not ended.
            "Orphan" if same && ours => Standing::Plain,
            _ => Standing::Left(format!(
                "ExternalSecret {name} makes it, and not from {path} of {store}: change that one"
            )),
        }
    }

    fn form(&mut self, at: &SecretRef, live: &LiveSecret) -> Standing {
        let at = || at.clone();
        let bad = live.data.iter().find(|(_, value)| value.text.is_none());
        let refusal = if live.type_ != OPAQUE {
            MigrationRefusal::WrongType { at: at() }
        } else if live.immutable {
            MigrationRefusal::Immutable { at: at() }
        } else if let Some((key, _)) = bad {
            let key = key.clone();
            MigrationRefusal::NoText { at: at(), key }
        } else {
            return Standing::Plain;
        };
        self.refuse(refusal)
    }

    fn refuse(&mut self, refusal: MigrationRefusal) -> Standing {
        self.refusals.push(refusal);
        Standing::Refused
    }
}

fn field(key: &str, value: &SecretValue, source: ValueSource) -> FieldPlan {
    FieldPlan {
        key: key.to_owned(),
        action: KeyAction::Set(NewValue::Plain(value.clone())),
        source,
    }
}

/// The whole entry as it is to be.
pub fn fields_after(entry: &EntryPlan) -> Fields {
    let mut fields = entry.base.fields.clone().unwrap_or_default();
    for key in &entry.keys {
        if let KeyAction::Set(NewValue::Plain(value)) = &key.action {
            fields.insert(key.key.clone(), Field::of_text(value));
        }
    }
    fields
}
