//! What a Secret, or an entry of the store, has to hold in a phase, and what has to change for it.

use super::{NEXT_KEY, PREVIOUS_KEY, Phase, Rotation, STORE_STATE, Side, TokenValues};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::table::{Bundle, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{Token, TokenName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceRef {
    /// A Secret that is written directly.
    Secret(SecretRef),
    /// An entry of the store, by its path.
    Entry(String),
    /// One of a store that this program cannot write: somebody edits it by hand.
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

/// A place that is edited, as it is now.
#[derive(Clone, Debug)]
pub struct TokenPlace {
    /// Which one.
    pub at: PlaceRef,
    /// The namespace that it is for; of an entry the first that reads it.
    pub namespace: Namespace,
    /// Its row of the table.
    pub bundle: &'static Bundle,
    /// Whether it is the home router Secret, or the entry that makes it.
    pub home: bool,
    /// Its values.
    pub texts: BTreeMap<String, SecretValue>,
    /// Whether a brain-api takes the tokens that it accepts from here.
    pub serves: bool,
    /// Whether this rotation made its list `KB_ROUTER_TOKENS`.
    pub made: bool,
    /// Which rotation wrote it last, and in which phase, as [`Rotation::mark`] says it.
    pub written: Option<String>,
}

/// What has to change in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub at: PlaceRef,
    /// The values that are set.
    pub set: BTreeMap<&'static str, SecretValue>,
    /// The keys that go.
    pub remove: BTreeSet<&'static str>,
    /// Whether this rotation made the list `KB_ROUTER_TOKENS` that is there afterwards.
    pub made: bool,
}

/// Which keys of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What servers accept.
    Lists,
    /// That, and what clients send.
    All,
}

/// Why it cannot be said what a place has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Odd {
    /// It holds neither value of the token.
    Neither {
        /// Where.
        at: PlaceRef,
        /// The key.
        key: &'static str,
    },
    /// The value that is needed is nowhere.
    Lost {
        /// The token.
        token: TokenName,
        /// Which of its values.
        side: Side,
    },
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
                "the {} {token} is nowhere: not in the cluster, and not in the tokens file",
                side.as_str()
            ),
        }
    }
}

/// Makes the edit of a place; `None` where it is right.
///
/// # Errors
/// A place that holds what the rotation does not know; a value that is nowhere.
pub fn edit(
    rotation: &Rotation,
    values: &TokenValues,
    target: &TokenPlace,
    part: Part,
    spare: bool,
) -> Result<Option<Edit>, Odd> {
    let mut edit = Edit {
        at: target.at.clone(),
        set: BTreeMap::new(),
        remove: BTreeSet::new(),
        made: target.made,
    };
    let row = rotation.phase.row();
    for key in target.bundle.keys {
        let (Origin::Token(token) | Origin::TokenList(token, _)) = key.origin else {
            continue;
        };
        if rotation.change(token).is_none() {
            continue;
        }
        match key.origin {
            Origin::Token(_) if part == Part::All => {
                edit.client(rotation, values, target, token, row.sent)?;
            }
            Origin::TokenList(..) => edit.list(rotation, values, target, key.name, token)?,
            _ => {}
        }
    }
    // Nobody is asked to copy by hand what the lists and the tokens file hold.
    if target.home && part == Part::All && !matches!(target.at, PlaceRef::Manual(_)) {
        edit.spared_entries(rotation, values, target, spare)?;
    }
    // An entry says by a field of its own that a rotation is open, until servers forget.
    if target.home && !row.both && target.texts.contains_key(STORE_STATE) {
        edit.remove.insert(STORE_STATE);
    }
    let changed = !edit.set.is_empty() || !edit.remove.is_empty() || edit.made != target.made;
    Ok((changed || part == Part::All && is_exposed(rotation, target)).then_some(edit))
}

/// Tells whether a bundle has a token that rotates, or a list of such.
pub fn concerns(rotation: &Rotation, bundle: &Bundle) -> bool {
    bundle.keys.iter().any(|key| match key.origin {
        Origin::Token(token) | Origin::TokenList(token, _) => rotation.change(token).is_some(),
        Origin::Input(_) => false,
    })
}

/// Tells whether an operator who was stopped amid an earlier phase could still write what that phase
/// wanted: on the way forward each place is written that it could have had in hand, on a way back it
/// may be right as it is. To write it once, on top of the same version, is the fence.
fn is_exposed(rotation: &Rotation, target: &TokenPlace) -> bool {
    let fenced = match rotation.phase {
        Phase::Open | Phase::Switch | Phase::Close => false,
        // More on a list does no harm yet.
        Phase::Back => target.bundle == &ROUTER,
        Phase::Undo | Phase::Immediate => true,
    };
    // Whoever edits by hand asks nobody.
    let ours = !matches!(target.at, PlaceRef::Manual(_)) && concerns(rotation, target.bundle);
    fenced && ours && target.written.as_deref() != Some(&rotation.mark())
}

impl Edit {
    fn need(values: &TokenValues, token: TokenName, side: Side) -> Result<&Token, Odd> {
        values.get(token, side).ok_or(Odd::Lost { token, side })
    }

    /// What clients send.
    fn client(
        &mut self,
        rotation: &Rotation,
        values: &TokenValues,
        target: &TokenPlace,
        token: TokenName,
        sent: Side,
    ) -> Result<(), Odd> {
        let Some(live) = target.texts.get(token.as_str()).filter(|it| !it.is_empty()) else {
            // Its readers have no token, and that is not for a rotation to mend.
            return Ok(());
        };
        let side = rotation.change(token).and_then(|change| change.side(live));
        match side {
            Some(side) if side == sent => {}
            Some(_) => {
                let value = Self::need(values, token, sent)?.value().clone();
                self.set.insert(token.as_str(), value);
            }
            None => {
                return Err(Odd::Neither {
                    at: target.at.clone(),
                    key: token.as_str(),
                });
            }
        }
        Ok(())
    }

    /// What servers accept.
    fn list(
        &mut self,
        rotation: &Rotation,
        values: &TokenValues,
        target: &TokenPlace,
        key: &'static str,
        token: TokenName,
    ) -> Result<(), Odd> {
        let row = rotation.phase.row();
        let Some(change) = rotation.change(token) else {
            return Ok(());
        };
        let live = target.texts.get(key);
        let entries: Vec<_> = live.iter().flat_map(|list| list.entries()).collect();
        // Only brain-api has a single token to fall back on; a list of keys that is absent or empty
        // is no list to be made here.
        let single = target.bundle == &ROUTER;
        // Home has one even where no brain-api reads it: else the value that comes would be in no
        // place but the tokens file of who opened the rotation.
        let makes = single && row.both && (target.serves || target.home);
        if entries.is_empty() && !makes {
            // Somebody has taken away or emptied the list that was made: the mark goes as well.
            if single && !row.both && self.made {
                self.made = false;
                self.remove.extend(live.map(|_| key));
            }
            return Ok(());
        }
        let mut wanted: Vec<SecretValue> = Vec::new();
        for entry in &entries {
            let entry = SecretValue::from(*entry);
            let gone = !row.both && change.side(&entry) == Some(row.sent.other());
            if !gone {
                wanted.push(entry);
            }
        }
        let accepted: &[Side] = match (row.both, row.sent) {
            (true, _) => &[Side::Old, Side::New],
            (false, Side::Old) => &[Side::Old],
            (false, Side::New) => &[Side::New],
        };
        for side in accepted {
            if !wanted.iter().any(|it| change.side(it) == Some(*side)) {
                wanted.push(Self::need(values, token, *side)?.value().clone());
            }
        }
        if single {
            let only_ours = wanted.len() == 1 && !row.both;
            if target.made && only_ours {
                self.remove.insert(key);
                self.made = false;
                return Ok(());
            }
            // What others have added to it stays, and then it is theirs.
            self.made = (target.made || entries.is_empty()) && row.both;
        }
        let same = wanted.len() == entries.len()
            && wanted
                .iter()
                .zip(&entries)
                .all(|(one, other)| one.expose() == *other);
        if !same {
            let list: Vec<_> = wanted.iter().map(SecretValue::expose).collect();
            self.set.insert(key, SecretValue::from(list.join(",")));
        }
        Ok(())
    }

    /// The value of the embeddings key that neither clients send nor, perhaps, a list holds.
    fn spared_entries(
        &mut self,
        rotation: &Rotation,
        values: &TokenValues,
        target: &TokenPlace,
        listed: bool,
    ) -> Result<(), Odd> {
        let token = TokenName::EmbeddingsApiKey;
        let row = rotation.phase.row();
        let open = rotation.phase == Phase::Open;
        let wanted = match rotation.change(token) {
            Some(_) if open => Some((NEXT_KEY, Side::New)),
            Some(_) if row.both && !listed => Some(match row.sent {
                Side::New => (PREVIOUS_KEY, Side::Old),
                Side::Old => (NEXT_KEY, Side::New),
            }),
            _ => None,
        };
        for key in [NEXT_KEY, PREVIOUS_KEY] {
            match wanted {
                Some((name, side)) if name == key => {
                    let value = Self::need(values, token, side)?.value();
                    if target.texts.get(key) != Some(value) {
                        self.set.insert(key, value.clone());
                    }
                }
                _ if target.texts.contains_key(key) => drop(self.remove.insert(key)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tells whether a list of keys holds both values, so that neither can be lost.
pub fn holds_both(rotation: &Rotation, targets: &[TokenPlace]) -> bool {
    let token = TokenName::EmbeddingsApiKey;
    let Some(change) = rotation.change(token) else {
        return true;
    };
    let lists = targets.iter().flat_map(|target| {
        let keys = target.bundle.keys.iter();
        keys.filter(|key| matches!(key.origin, Origin::TokenList(of, _) if of == token))
            .filter_map(|key| target.texts.get(key.name))
    });
    lists.into_iter().any(|list| {
        let sides: BTreeSet<_> = list
            .entries()
            .filter_map(|entry| change.side(&SecretValue::from(entry)))
            .collect();
        sides.len() == 2
    })
}
