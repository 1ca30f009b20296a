//! A rotation replaces tokens so that no client ever holds a token that its server rejects.
//!
//! A server accepts several tokens at once. All servers accept the new token before a client gets
//! it, and the old token is removed only when no client holds it:
//!
//! ```text
//!                clients hold    servers accept    restarts
//!   open         old             old, new          servers
//!   switch       new             old, new          clients
//!   close        new             new               servers
//! ```
//!
//! `back` and `undo` abort a rotation from `switch` and `open`. `immediate` is a single phase for a
//! leaked token. [`Phase::row`] is this table, [`edits`] computes the content of a Secret or store
//! entry from it, and [`next_step`] decides the next step. The state is stored in the cluster. It
//! must not contain a value: tokens are named by their fingerprints.

pub mod edits;
pub mod gate;
pub mod next_step;
pub mod outcome;
mod phase;
pub mod preflight;
#[cfg(test)]
mod properties;
pub mod restart;
pub mod sight;
pub mod store_view;
pub mod stored_state;
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

/// The annotation with the state, on the home router Secret or, on Path 2, on its ExternalSecret.
pub const STATE: &str = "k8s-bootstrap/rotation";
/// The annotation with the fingerprints of tokens that must not be used again, on the same object
/// as [`STATE`].
pub const RETIRED_TOKENS: &str = "k8s-bootstrap/retired";
/// The annotation with the id of the rotation that added `KB_ROUTER_TOKENS` to a Secret.
pub const LIST_ADDED_BY: &str = "k8s-bootstrap/rotation-made";
/// The annotation with the mark ([`Rotation::mark`]) of the last write to a Secret. It is written
/// together with the data: the time in `managedFields` changes with an annotation, but not when a
/// key is removed.
pub const LAST_WRITE: &str = "k8s-bootstrap/rotated";
/// The key with the next `EMBEDDINGS_API_KEY` while a rotation is open.
pub const NEXT_KEY: &str = "EMBEDDINGS_API_KEY_NEXT";
/// The key with the previous `EMBEDDINGS_API_KEY` if no list of keys holds it.
pub const PREVIOUS_KEY: &str = "EMBEDDINGS_API_KEY_PREVIOUS";
/// The field of the store's router entry with the state, written together with the new values.
pub const STORE_STATE: &str = "K8S_BOOTSTRAP_ROTATION";

/// The fingerprints of the two values of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub old: String,
    pub new: String,
    /// When the old token was minted, as RFC 3339, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minted: Option<String>,
}

impl Change {
    /// Returns `None` for a value that is neither of the two.
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

    pub fn fingerprint(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

/// The state of an open rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Eight hex digits, unique for each rotation.
    pub id: String,
    pub phase: Phase,
    /// When the rotation was opened, as RFC 3339.
    pub since: String,
    /// When its phase began, as RFC 3339.
    pub at: String,
    /// The fleet namespaces that were given by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fleet: BTreeSet<String>,
    /// The label selector of further fleet namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Other Secrets that hold copies of the tokens, each as `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub copies: BTreeSet<String>,
    /// How often values were rewritten that pods may already have started with.
    #[serde(rename = "again", default, skip_serializing_if = "is_zero")]
    pub rewrites: u32,
    /// Whether the rotation added the list `KB_ROUTER_TOKENS` to the store entry.
    #[serde(rename = "made", default, skip_serializing_if = "std::ops::Not::not")]
    pub added_list: bool,
    /// The rotating tokens, by name.
    tokens: BTreeMap<String, Change>,
}

/// The state of a rotation cannot be parsed. The error must not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {STATE} is not in the format that this program writes")]
pub struct BadState;

impl Rotation {
    pub fn new(id: String, phase: Phase, now: &str, changes: PerToken<Option<Change>>) -> Self {
        let changes = changes.iter();
        let tokens = changes
            .filter_map(|(name, change)| Some((name.to_string(), change.clone()?)))
            .collect();
        Self {
            id,
            phase,
            since: now.to_owned(),
            at: now.to_owned(),
            fleet: BTreeSet::new(),
            selector: None,
            copies: BTreeSet::new(),
            rewrites: 0,
            added_list: false,
            tokens,
        }
    }

    /// Parses the annotation [`STATE`].
    ///
    /// # Errors
    /// The text is not in the format of [`Rotation::text`].
    pub fn parse(text: &str) -> Result<Self, BadState> {
        let rotation: Self = serde_json::from_str(text).map_err(|_| BadState)?;
        let is_hex = |text: &str, length| {
            text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit())
        };
        let is_fingerprint = |text: &str| {
            text.strip_prefix("sha256:")
                .is_some_and(|rest| is_hex(rest, 12))
        };
        let is_time = |text: &str| {
            (20..=35).contains(&text.len())
                && text
                    .chars()
                    .all(|c| c.is_ascii_digit() || "-:TZ.".contains(c))
        };
        let is_printable = |text: &String| !text.contains(char::is_control);
        let tokens = &rotation.tokens;
        let is_valid = is_hex(&rotation.id, 8)
            && !tokens.is_empty()
            && tokens.keys().all(|name| TokenName::parse(name).is_some())
            && tokens.values().all(|change| {
                is_fingerprint(&change.old)
                    && is_fingerprint(&change.new)
                    && change.old != change.new
            })
            && rotation.fleet.len() == rotation.fleet_namespaces().len()
            && rotation.copies.len() == rotation.copies().len()
            && rotation.selector.iter().all(is_printable)
            && is_time(&rotation.since)
            && is_time(&rotation.at);
        is_valid.then_some(rotation).ok_or(BadState)
    }

    /// The text of the annotation [`STATE`]: JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("the state has text keys and no foreign types")
    }

    /// A copy of this rotation that enters the phase `phase` at `now`.
    #[must_use]
    pub fn in_phase(&self, phase: Phase, now: &str) -> Self {
        Self {
            phase,
            at: now.to_owned(),
            ..self.clone()
        }
    }

    /// Returns `None` for a token that does not rotate.
    pub fn change(&self, name: TokenName) -> Option<&Change> {
        self.tokens.get(name.as_str())
    }

    /// The rotating tokens in display order.
    pub fn changes(&self) -> impl Iterator<Item = (TokenName, &Change)> {
        TokenName::ALL
            .into_iter()
            .filter_map(|name| Some((name, self.change(name)?)))
    }

    /// The names of the rotating tokens, for messages.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.changes().map(|(name, _)| name.as_str()).collect();
        names.join(" and ")
    }

    /// The fleet namespaces that were given by name.
    pub fn fleet_namespaces(&self) -> BTreeSet<Namespace> {
        self.fleet
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    pub fn copies(&self) -> BTreeSet<CopyRef> {
        self.copies
            .iter()
            .filter_map(|it| it.parse().ok())
            .collect()
    }

    /// A copy of this rotation with further fleet namespaces and copies, which a run was given.
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

    /// A copy of this rotation before values are rewritten. Earlier restarts no longer count.
    #[must_use]
    pub fn with_rewrite(&self) -> Self {
        Self {
            rewrites: self.rewrites.saturating_add(1),
            ..self.clone()
        }
    }

    /// The mark in the pod template of a workload that was restarted in the current phase:
    /// `ID.PHASE`, or `ID.PHASE.N` after N rewrites.
    pub fn mark(&self) -> String {
        self.mark_of(self.phase)
    }

    /// The mark of a workload that was restarted as a server. While servers accept both tokens it
    /// is the mark of `open`: a server can be a client too, and must restart again once clients get
    /// their token.
    pub fn server_mark(&self) -> String {
        if self.phase.row().both {
            self.mark_of(Phase::Open)
        } else {
            self.mark()
        }
    }

    fn mark_of(&self, phase: Phase) -> String {
        let mark = format!("{}.{phase}", self.id);
        match self.rewrites {
            0 => mark,
            times => format!("{mark}.{times}"),
        }
    }

    /// True if the workload restarted as a client in this phase, or in the previous phase when
    /// clients used the same token, and after the last rewrite.
    pub fn marks_client(&self, mark: Option<&str>) -> bool {
        self.phase_of_mark(mark).is_some_and(|phase| {
            let row = phase.row();
            let is_previous = row.next == Some(self.phase) && row.sent == self.phase.row().sent;
            is_previous || phase == self.phase
        })
    }

    /// True if the workload restarted as a server in this phase or, while servers accept both
    /// tokens, in any such phase of this rotation, and after the last rewrite.
    pub fn marks_server(&self, mark: Option<&str>) -> bool {
        self.phase_of_mark(mark).is_some_and(|phase| {
            let accepts_both = self.phase.row().both && phase != Phase::Immediate;
            accepts_both || phase == self.phase
        })
    }

    /// Returns `None` for the mark of another rotation, or from before the last rewrite.
    fn phase_of_mark(&self, mark: Option<&str>) -> Option<Phase> {
        let (id, phase, rewrites) = parse_mark(mark?)?;
        (id == self.id && rewrites == self.rewrites).then_some(phase)
    }

    /// The text of the annotation [`RETIRED_TOKENS`] when this rotation is finished: words
    /// `NAME=FINGERPRINT`, those of `before` first.
    pub fn retire(&self, before: Option<&str>) -> String {
        let side = self.phase.removed_side();
        let mut all: Vec<_> = before
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        for (name, change) in self.changes() {
            let entry = format!("{name}={}", change.fingerprint(side));
            if !all.contains(&entry) {
                all.push(entry);
            }
        }
        all.join(" ")
    }

    /// The content of the tokens file in this phase. `others` has the tokens that do not rotate.
    pub fn held(&self, values: &TokenValues, others: &PerToken<Option<Token>>) -> Held {
        let sent = self.phase.row().sent;
        let current = PerToken::from_fn(|name| match self.change(name) {
            Some(_) => values.get(name, sent).cloned(),
            None => others.get(name).clone(),
        });
        let second = PerToken::from_fn(|name| {
            self.change(name)?;
            values.get(name, sent.other()).cloned()
        });
        let none = PerToken::default();
        let (next, previous) = match sent {
            Side::Old => (second, none),
            Side::New => (none, second),
        };
        Held {
            current,
            next,
            previous,
        }
    }
}

/// Parses a text of [`Rotation::mark`] into the id of the rotation, the phase and the number of
/// rewrites.
pub fn parse_mark(mark: &str) -> Option<(&str, Phase, u32)> {
    let (id, rest) = mark.split_once('.')?;
    let (phase, rewrites) = rest.split_once('.').unwrap_or((rest, "0"));
    Some((id, Phase::parse(phase)?, rewrites.parse().ok()?))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Describes the keys and the annotation that a Secret should have only while a rotation is open.
pub fn leftovers(live: &LiveSecret) -> Vec<String> {
    let annotation = live
        .annotations
        .contains_key(LIST_ADDED_BY)
        .then(|| format!("the annotation {LIST_ADDED_BY}"));
    [NEXT_KEY, PREVIOUS_KEY, STORE_STATE]
        .into_iter()
        .filter(|key| live.data.contains_key(*key))
        .map(|key| format!("the key {key}"))
        .chain(annotation)
        .collect()
}

/// True if the annotation [`RETIRED_TOKENS`] lists the token.
pub fn is_retired(annotation: Option<&str>, name: TokenName, token: &SecretValue) -> bool {
    let entry = format!("{name}={}", fingerprint(token));
    annotation.is_some_and(|all| all.split_whitespace().any(|one| one == entry))
}

/// The known values of the rotating tokens: old and new of each.
#[derive(Clone, Debug, Default)]
pub struct TokenValues(PerToken<(Option<Token>, Option<Token>)>);

impl TokenValues {
    /// Searches `known`, each a token or a comma list, for values of the rotation.
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

    pub fn put(&mut self, name: TokenName, side: Side, token: Token) {
        let (old, new) = self.0.get_mut(name);
        *match side {
            Side::Old => old,
            Side::New => new,
        } = Some(token);
    }

    /// Returns `None` for a value that was not found.
    pub fn get(&self, name: TokenName, side: Side) -> Option<&Token> {
        let (old, new) = self.0.get(name);
        match side {
            Side::Old => old.as_ref(),
            Side::New => new.as_ref(),
        }
    }
}
