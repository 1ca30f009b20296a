//! Computes what a phase has to change in a Secret or in a store entry. It must not write: the
//! result is an [`Edit`].

use super::{NEXT_KEY, PREVIOUS_KEY, Phase, Rotation, STORE_STATE, Side, TokenValues};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::table::{Bundle, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A place that holds tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceRef {
    Secret(SecretRef),
    /// A store entry that this program writes, by its path.
    Entry(String),
    /// A store entry that a person edits, by its path: this program cannot write to the store.
    Manual(String),
}

impl fmt::Display for PlaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(at) => at.fmt(f),
            Self::Entry(path) | Self::Manual(path) => write!(f, "the store's entry {path}"),
        }
    }
}

/// A place that the rotation edits, with its current content.
#[derive(Clone, Debug)]
pub struct TokenPlace {
    pub at: PlaceRef,
    /// The namespace of the Secret; home for a store entry.
    pub namespace: Namespace,
    pub bundle: &'static Bundle,
    /// Whether this is the home router Secret or its store entry.
    pub home: bool,
    /// The values by key.
    pub texts: BTreeMap<String, SecretValue>,
    /// Whether a brain-api reads the tokens that it accepts from here.
    pub read_by_server: bool,
    /// Whether this rotation added the list `KB_ROUTER_TOKENS`.
    pub added_list: bool,
    /// The mark ([`Rotation::mark`]) of the last write by a rotation.
    pub last_write: Option<String>,
}

/// The changes that a place needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub at: PlaceRef,
    pub set: BTreeMap<&'static str, SecretValue>,
    pub remove: BTreeSet<&'static str>,
    /// Whether, after the edit, there is a list `KB_ROUTER_TOKENS` that this rotation added.
    pub added_list: bool,
}

/// The keys of a place that an edit covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The lists of tokens that servers accept.
    Lists,
    /// The lists, and the tokens that clients send.
    All,
}

/// Why the edit of a place cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd {
    /// The key holds neither the old nor the new value.
    Neither { at: PlaceRef, key: &'static str },
    /// A value that the edit needs was not found.
    Lost { token: TokenName, side: Side },
}

impl Odd {
    /// True if a person who edits a store has to correct it: this program cannot.
    pub fn is_edited_by_hand(&self) -> bool {
        matches!(
            self,
            Self::Neither {
                at: PlaceRef::Manual(_),
                ..
            }
        )
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neither { at, key } => write!(
                f,
                "{at}: {key} is neither the old nor the new token of this rotation"
            ),
            Self::Lost { token, side } => write!(
                f,
                "the {} {token} was not found in the cluster or in the tokens file",
                side.as_str()
            ),
        }
    }
}

/// Computes the edit of a place; `None` if its content is right. `listed` says that a list of keys
/// already holds both values of `EMBEDDINGS_API_KEY`.
///
/// # Errors
/// The place holds an unknown value, or a value that it needs was not found.
pub fn edit(
    rotation: &Rotation,
    values: &TokenValues,
    target: &TokenPlace,
    part: Part,
    listed: bool,
) -> Result<Option<Edit>, Odd> {
    let mut editor = Editor {
        rotation,
        values,
        target,
        edit: Edit {
            at: target.at.clone(),
            set: BTreeMap::new(),
            remove: BTreeSet::new(),
            added_list: target.added_list,
        },
    };
    for key in target.bundle.keys {
        match key.origin {
            Origin::Token(token) if part == Part::All => editor.set_client_token(token)?,
            Origin::TokenList(token, _) => editor.set_list(key.name, token)?,
            Origin::Token(_) | Origin::Input(_) => {}
        }
    }
    // The lists and the tokens file hold the second value: a person need not copy it.
    if target.home && part == Part::All && !matches!(target.at, PlaceRef::Manual(_)) {
        editor.set_second_key(listed)?;
    }
    let mut edit = editor.edit;
    // The field marks the rotation as open until servers accept one token only.
    if target.home && !rotation.phase.row().both && target.texts.contains_key(STORE_STATE) {
        edit.remove.insert(STORE_STATE);
    }
    let has_changes = !edit.set.is_empty()
        || !edit.remove.is_empty()
        || edit.added_list != target.added_list
        || part == Part::All && needs_fence(rotation, target);
    Ok(has_changes.then_some(edit))
}

/// True if a key of the bundle holds a rotating token or a list of rotating tokens.
pub fn has_rotating_token(rotation: &Rotation, bundle: &Bundle) -> bool {
    let mut tokens = bundle.keys.iter().filter_map(|key| key.origin.token());
    tokens.any(|token| rotation.change(token).is_some())
}

/// True if the place needs a write in this phase even if its values are right.
///
/// A stalled run of an earlier phase may still hold a write for the current resourceVersion. The
/// forward phases change every place that such a write could hit. `back`, `undo` and `immediate` may
/// find the values already right. One write bumps the version, so that the stale write gets a 409.
fn needs_fence(rotation: &Rotation, target: &TokenPlace) -> bool {
    let is_fenced = match rotation.phase {
        Phase::Open | Phase::Switch | Phase::Close => false,
        // An additional entry of a list is still allowed in this phase.
        Phase::Back => target.bundle == &ROUTER,
        Phase::Undo | Phase::Immediate => true,
    };
    is_fenced
        // A person who edits the store does not check versions.
        && !matches!(target.at, PlaceRef::Manual(_))
        && has_rotating_token(rotation, target.bundle)
        && target.last_write.as_deref() != Some(&rotation.mark())
}

impl Edit {
    /// Changes the values of a Secret or a store entry. `encode` makes a value of it.
    pub fn apply<V>(&self, values: &mut BTreeMap<String, V>, encode: impl Fn(&SecretValue) -> V) {
        values.retain(|key, _| !self.remove.contains(key.as_str()));
        values.extend(
            self.set
                .iter()
                .map(|(key, value)| ((*key).to_owned(), encode(value))),
        );
    }
}

/// Computes the edit of one place.
struct Editor<'a> {
    rotation: &'a Rotation,
    values: &'a TokenValues,
    target: &'a TokenPlace,
    edit: Edit,
}

impl Editor<'_> {
    fn require(&self, token: TokenName, side: Side) -> Result<SecretValue, Odd> {
        let found = self.values.get(token, side);
        found
            .map(|token| token.value().clone())
            .ok_or(Odd::Lost { token, side })
    }

    /// Sets the token that clients send.
    fn set_client_token(&mut self, token: TokenName) -> Result<(), Odd> {
        let (rotation, target) = (self.rotation, self.target);
        let Some(change) = rotation.change(token) else {
            return Ok(());
        };
        let Some(live) = target.texts.get(token.as_str()).filter(|it| !it.is_empty()) else {
            // A missing token is a matter of --apply, not of a rotation.
            return Ok(());
        };
        let sent = rotation.phase.row().sent;
        match change.side(live) {
            Some(side) if side == sent => Ok(()),
            Some(_) => {
                let value = self.require(token, sent)?;
                self.edit.set.insert(token.as_str(), value);
                Ok(())
            }
            None => Err(Odd::Neither {
                at: target.at.clone(),
                key: token.as_str(),
            }),
        }
    }

    /// Sets the list of tokens that servers accept.
    fn set_list(&mut self, key: &'static str, token: TokenName) -> Result<(), Odd> {
        let (rotation, target) = (self.rotation, self.target);
        let row = rotation.phase.row();
        let Some(change) = rotation.change(token) else {
            return Ok(());
        };
        let live = target.texts.get(key);
        let entries: Vec<_> = live.iter().flat_map(|list| list.entries()).collect();
        // Without a list, brain-api accepts the single token. The embeddings service has no such
        // fallback: an absent or empty list of keys is never filled here.
        let is_router = target.bundle == &ROUTER;
        // Home gets a list even if no brain-api reads it. Otherwise the new value would exist only in
        // the tokens file of the operator who opened the rotation.
        let adds_list = is_router && row.both && (target.read_by_server || target.home);
        if entries.is_empty() && !adds_list {
            // The list that the rotation added was removed or emptied since.
            if is_router && !row.both && target.added_list {
                self.edit.added_list = false;
                self.edit.remove.extend(live.map(|_| key));
            }
            return Ok(());
        }
        let removed = (!row.both).then_some(row.sent.other());
        let mut wanted: Vec<_> = entries
            .iter()
            .map(|entry| SecretValue::from(*entry))
            .filter(|entry| removed.is_none() || change.side(entry) != removed)
            .collect();
        for side in [Side::Old, Side::New] {
            let is_listed = wanted.iter().any(|entry| change.side(entry) == Some(side));
            if removed != Some(side) && !is_listed {
                wanted.push(self.require(token, side)?);
            }
        }
        if is_router {
            let has_one_entry = wanted.len() == 1 && !row.both;
            if target.added_list && has_one_entry {
                self.edit.remove.insert(key);
                self.edit.added_list = false;
                return Ok(());
            }
            // A list with entries of others stays after the rotation.
            self.edit.added_list = (target.added_list || entries.is_empty()) && row.both;
        }
        if !wanted.iter().map(SecretValue::expose).eq(entries) {
            let list: Vec<_> = wanted.iter().map(SecretValue::expose).collect();
            self.edit.set.insert(key, SecretValue::from(list.join(",")));
        }
        Ok(())
    }

    /// Sets the key with the value of `EMBEDDINGS_API_KEY` that clients do not send, if no list holds
    /// that value.
    fn set_second_key(&mut self, listed: bool) -> Result<(), Odd> {
        let (rotation, target) = (self.rotation, self.target);
        let token = TokenName::EmbeddingsApiKey;
        let row = rotation.phase.row();
        let is_needed = rotation.change(token).is_some()
            && (rotation.phase == Phase::Open || row.both && !listed);
        let wanted = is_needed.then_some(match row.sent {
            Side::New => (PREVIOUS_KEY, Side::Old),
            Side::Old => (NEXT_KEY, Side::New),
        });
        for key in [NEXT_KEY, PREVIOUS_KEY] {
            let present = target.texts.get(key);
            if let Some((_, side)) = wanted.filter(|(name, _)| *name == key) {
                let value = self.require(token, side)?;
                if present != Some(&value) {
                    self.edit.set.insert(key, value);
                }
            } else {
                self.edit.remove.extend(present.map(|_| key));
            }
        }
        Ok(())
    }
}

/// True if some list of keys holds both values of `EMBEDDINGS_API_KEY`, or if that token does not
/// rotate.
pub fn has_list_of_both(rotation: &Rotation, targets: &[TokenPlace]) -> bool {
    let token = TokenName::EmbeddingsApiKey;
    let Some(change) = rotation.change(token) else {
        return true;
    };
    let mut lists = targets.iter().flat_map(|target| {
        target
            .bundle
            .keys
            .iter()
            .filter(|key| key.origin.is_list_of(token))
            .filter_map(|key| target.texts.get(key.name))
    });
    lists.any(|list| {
        let sides: BTreeSet<_> = list
            .entries()
            .filter_map(|entry| change.side(&SecretValue::from(entry)))
            .collect();
        sides.len() == 2
    })
}
