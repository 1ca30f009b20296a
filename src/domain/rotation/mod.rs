//! A rotation: new tokens without a moment at which a client holds what its server refuses.
//!
//! Servers accept several tokens at once, so the new one is let in everywhere before any client
//! gets it, and the old one is taken away only when no client holds it:
//!
//! ```text
//!                clients hold    servers accept    restarts
//!   open         old             old, new          servers
//!   switch       new             old, new          clients
//!   close        new             new               servers
//! ```
//!
//! `back` and `undo` are the way back from `switch` and `open`; `immediate` is one step for a token
//! that has leaked. [`Phase::row`] is that table, [`edits`] makes of it what a Secret or an entry of
//! the store has to hold, and [`next_step`] says what comes next. The state is kept in the cluster and
//! has no value in it: tokens are named by their fingerprints.

pub mod edits;
pub mod elsewhere;
pub mod gate;
pub mod next_step;
pub mod outcome;
mod phase;
pub mod preflight;
#[cfg(test)]
mod properties;
pub mod store_view;
pub mod targets;
#[cfg(test)]
mod tests;
pub mod workloads;

pub use self::phase::{Phase, Row, Side};

use super::cluster::names::Namespace;
use super::cluster::observed_secret::LiveSecret;
use super::cluster::snapshot::CopyRef;
use super::values::secret_value::SecretValue;
use super::values::token::{PerToken, Token, TokenName, fingerprint};
use super::values::tokens_file::Held;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The annotation that holds the state: on the home router Secret or, on Path 2, on the
/// ExternalSecret that makes it.
pub const STATE: &str = "k8s-bootstrap/rotation";
/// The annotation beside it that remembers the fingerprints of tokens that are no longer to be used.
pub const RETIRED: &str = "k8s-bootstrap/retired";
/// The annotation that says which rotation made the list `KB_ROUTER_TOKENS` of a Secret.
pub const MADE: &str = "k8s-bootstrap/rotation-made";
/// The annotation that says which rotation wrote a Secret last, and in which phase. It is written
/// with the data: the time of a manager's data moves with a changed annotation, and not with a key
/// that goes.
pub const WRITTEN: &str = "k8s-bootstrap/rotated";
/// The key that carries the next `EMBEDDINGS_API_KEY` while a rotation is open.
pub const NEXT_KEY: &str = "EMBEDDINGS_API_KEY_NEXT";
/// The key that carries the previous one where no list has it.
pub const PREVIOUS_KEY: &str = "EMBEDDINGS_API_KEY_PREVIOUS";
/// The field of the store's router entry that says, with the new values, that a rotation is open.
pub const STORE_STATE: &str = "K8S_BOOTSTRAP_ROTATION";

/// The two values of a token, by their fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The one that was in use.
    pub old: String,
    /// The one that comes.
    pub new: String,
    /// When the old one was minted, as RFC 3339, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minted: Option<String>,
}

impl Change {
    /// Which of the two a value is.
    pub fn side(&self, value: &SecretValue) -> Option<Side> {
        let print = fingerprint(value);
        if print == self.new {
            Some(Side::New)
        } else if print == self.old {
            Some(Side::Old)
        } else {
            None
        }
    }

    /// The fingerprint of that side.
    pub fn print(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

/// A rotation that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Eight hex digits that no other rotation has.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// When it was opened, as RFC 3339.
    pub since: String,
    /// When its phase began, as RFC 3339.
    pub at: String,
    /// The fleet namespaces that were named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fleet: BTreeSet<String>,
    /// The selector of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The other Secrets that hold copies of its tokens, each as `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub copies: BTreeSet<String>,
    /// How often a place had to be written again that pods may have started on already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again: u32,
    /// Whether it made the list `KB_ROUTER_TOKENS` of the store's entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// The tokens that rotate, by name.
    tokens: BTreeMap<String, Change>,
}

/// Why the state of a rotation cannot be read. It quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {STATE} is not what this program writes")]
pub struct BadState;

impl Rotation {
    /// A rotation that begins.
    pub fn new(id: String, phase: Phase, now: &str, changes: PerToken<Option<Change>>) -> Self {
        let tokens = TokenName::ALL.into_iter().filter_map(|name| {
            let change = changes.get(name).clone()?;
            Some((name.as_str().to_owned(), change))
        });
        Self {
            id,
            phase,
            since: now.to_owned(),
            at: now.to_owned(),
            fleet: BTreeSet::new(),
            selector: None,
            copies: BTreeSet::new(),
            again: 0,
            made: false,
            tokens: tokens.collect(),
        }
    }

    /// Reads the annotation.
    ///
    /// # Errors
    /// One that this program did not write.
    pub fn parse(text: &str) -> Result<Self, BadState> {
        let rotation: Self = serde_json::from_str(text).map_err(|_| BadState)?;
        let hex = |text: &str, length| {
            text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit())
        };
        let print = |text: &str| {
            text.strip_prefix("sha256:")
                .is_some_and(|rest| hex(rest, 12))
        };
        let digit = |c: char| c.is_ascii_digit() || "-:TZ.".contains(c);
        let time = |text: &str| (20..=35).contains(&text.len()) && text.chars().all(digit);
        let named = rotation.tokens.keys();
        let known = named.clone().all(|name| TokenName::parse(name).is_some());
        let mut changes = rotation.tokens.values();
        let distinct = changes.all(|it| print(&it.old) && print(&it.new) && it.old != it.new);
        let fleet = rotation
            .fleet
            .iter()
            .all(|name| name.parse::<Namespace>().is_ok());
        let mut free = rotation.selector.iter().chain(&rotation.copies);
        let printable = free.all(|it| !it.contains(char::is_control));
        let copies = rotation
            .copies
            .iter()
            .all(|it| it.parse::<CopyRef>().is_ok());
        let good = hex(&rotation.id, 8)
            && known
            && distinct
            && named.len() > 0
            && fleet
            && printable
            && copies
            && time(&rotation.since)
            && time(&rotation.at);
        good.then_some(rotation).ok_or(BadState)
    }

    /// The annotation.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("the state has text keys and no foreign types")
    }

    /// The same, in that phase from now on.
    #[must_use]
    pub fn in_phase(&self, phase: Phase, now: &str) -> Self {
        Self {
            phase,
            at: now.to_owned(),
            ..self.clone()
        }
    }

    /// Tells whether another look found the same rotation in the same phase.
    pub fn is_same_state(&self, other: &Self) -> bool {
        self.id == other.id && self.phase == other.phase
    }

    /// The two values of a token; `None` where it does not rotate.
    pub fn change(&self, name: TokenName) -> Option<&Change> {
        self.tokens.get(name.as_str())
    }

    /// The tokens that rotate, in the order in which they are shown.
    pub fn changes(&self) -> impl Iterator<Item = (TokenName, &Change)> {
        TokenName::ALL
            .into_iter()
            .filter_map(|name| Some((name, self.change(name)?)))
    }

    /// The fleet namespaces that were named.
    pub fn named(&self) -> BTreeSet<Namespace> {
        self.fleet
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// The copies.
    pub fn copies(&self) -> BTreeSet<CopyRef> {
        self.copies
            .iter()
            .filter_map(|it| it.parse().ok())
            .collect()
    }

    /// The same with what a run knows beside it of the places that it is about.
    #[must_use]
    pub fn with_places(
        &self,
        fleet: &BTreeSet<Namespace>,
        selector: Option<&String>,
        copies: &[CopyRef],
    ) -> Self {
        let mut wider = self.clone();
        wider.fleet.extend(fleet.iter().map(ToString::to_string));
        wider.copies.extend(copies.iter().map(ToString::to_string));
        wider.selector = wider.selector.or_else(|| selector.cloned());
        wider
    }

    /// The same, before a place is written again: what was restarted before counts no more.
    #[must_use]
    pub fn with_rewrite(&self) -> Self {
        Self {
            again: self.again.saturating_add(1),
            ..self.clone()
        }
    }

    /// What a workload's template says that was restarted in the present phase: `ID.PHASE`, or
    /// `ID.PHASE.N` where places had to be written again for the Nth time.
    pub fn mark(&self) -> String {
        self.mark_of(self.phase)
    }

    /// What it says of one that was restarted for what it accepts: while both tokens are accepted
    /// that may be before clients get theirs, and a server may be a client too.
    pub fn server_mark(&self) -> String {
        match self.phase.row().both {
            true => self.mark_of(Phase::Open),
            false => self.mark(),
        }
    }

    fn mark_of(&self, phase: Phase) -> String {
        let mark = format!("{}.{phase}", self.id);
        match self.again {
            0 => mark,
            times => format!("{mark}.{times}"),
        }
    }

    /// Tells whether a template was restarted so that what its pods send is right in the present
    /// phase: in this very phase, or in the one before where clients got the same; and since places
    /// were last written again.
    pub fn marks_client(&self, mark: Option<&str>) -> bool {
        self.marked(mark).is_some_and(|phase| {
            let before = phase.row();
            let same = before.next == Some(self.phase) && before.sent == self.phase.row().sent;
            same || phase == self.phase
        })
    }

    /// Tells whether a template was restarted so that what its pods accept is right in the present
    /// phase: in this very phase or, while both tokens are accepted, in any such phase of this
    /// rotation; and since places were last written again.
    pub fn marks_server(&self, mark: Option<&str>) -> bool {
        self.marked(mark).is_some_and(|phase| {
            let both = self.phase.row().both && phase != Phase::Immediate;
            both || phase == self.phase
        })
    }

    /// The phase of a mark of this rotation that still counts.
    fn marked(&self, mark: Option<&str>) -> Option<Phase> {
        let (id, phase, again) = parts(mark?)?;
        (id == self.id && again == self.again).then_some(phase)
    }

    /// What the annotation of retired tokens says when this rotation is over.
    pub fn retire(&self, before: Option<&str>) -> String {
        let side = self.phase.removed_side();
        let mut all: Vec<_> = before
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        for (name, change) in self.changes() {
            let entry = format!("{name}={}", change.print(side));
            if !all.contains(&entry) {
                all.push(entry);
            }
        }
        all.join(" ")
    }

    /// What the tokens file holds in this phase. Tokens that do not rotate are as given.
    pub fn held(&self, values: &TokenValues, others: &PerToken<Option<Token>>) -> Held {
        let sent = self.phase.row().sent;
        let current = PerToken::from_fn(|name| match self.change(name) {
            Some(_) => values.get(name, sent).cloned(),
            None => others.get(name).clone(),
        });
        let spare = PerToken::from_fn(|name| {
            self.change(name)?;
            values.get(name, sent.other()).cloned()
        });
        let none = PerToken::default();
        let (next, previous) = match sent {
            Side::Old => (spare, none),
            Side::New => (none, spare),
        };
        Held {
            current,
            next,
            previous,
        }
    }
}

/// The parts of a mark, as [`Rotation::mark`] makes it: the id of the rotation, its phase, and how
/// often places had been written again.
pub fn parts(mark: &str) -> Option<(&str, Phase, u32)> {
    let (id, rest) = mark.split_once('.')?;
    let (phase, again) = rest.split_once('.').unwrap_or((rest, "0"));
    Some((id, Phase::parse(phase)?, again.parse().ok()?))
}

/// Tells serde to leave a count out.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What a Secret has that only an open rotation has there, in words.
pub fn leftovers(live: &LiveSecret) -> Vec<String> {
    let keys = [NEXT_KEY, PREVIOUS_KEY, STORE_STATE];
    let keys = keys.into_iter().filter(|key| live.data.contains_key(*key));
    let made = live.annotations.contains_key(MADE);
    let made = made.then(|| format!("the annotation {MADE}"));
    keys.map(|key| format!("the key {key}"))
        .chain(made)
        .collect()
}

/// Tells whether a token has been retired.
pub fn is_retired(annotation: Option<&str>, name: TokenName, token: &SecretValue) -> bool {
    let entry = format!("{name}={}", fingerprint(token));
    annotation.is_some_and(|all| all.split_whitespace().any(|one| one == entry))
}

/// The values of the tokens that rotate, as far as they were found.
#[derive(Clone, Debug, Default)]
pub struct TokenValues(PerToken<(Option<Token>, Option<Token>)>);

impl TokenValues {
    /// Looks for them among what is known; what is no value of the rotation is passed over.
    pub fn find<'a>(
        rotation: &Rotation,
        known: impl IntoIterator<Item = (TokenName, &'a SecretValue)>,
    ) -> Self {
        let mut values = Self::default();
        for (name, text) in known {
            for entry in text.entries() {
                let entry = SecretValue::from(entry);
                let side = rotation.change(name).and_then(|change| change.side(&entry));
                if let (Some(side), Ok(token)) = (side, Token::parse(&entry)) {
                    values.put(name, side, token);
                }
            }
        }
        values
    }

    /// Sets a value.
    pub fn put(&mut self, name: TokenName, side: Side, token: Token) {
        let (old, new) = self.0.get_mut(name);
        *match side {
            Side::Old => old,
            Side::New => new,
        } = Some(token);
    }

    /// A value, where it was found.
    pub fn get(&self, name: TokenName, side: Side) -> Option<&Token> {
        let (old, new) = self.0.get(name);
        match side {
            Side::Old => old.as_ref(),
            Side::New => new.as_ref(),
        }
    }
}
