//! The phases of a rotation, and the table of what clients send and servers accept in each.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two values of a token that rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The value in use when the rotation began.
    Old,
    /// The value that replaces it.
    New,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// A phase of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Servers get both tokens.
    Open,
    /// Clients get the new token.
    Switch,
    /// Servers keep only the new token.
    Close,
    /// Clients get the old token back.
    Back,
    /// Servers keep only the old token.
    Undo,
    /// Servers and clients get the new token at once.
    Immediate,
}

/// The goal of a phase: what is true when it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The value that clients send.
    pub sent: Side,
    /// Whether servers accept both values; otherwise only the one that clients send.
    pub both: bool,
    /// Whether servers restart in this phase.
    pub servers: bool,
    /// Whether clients restart in this phase.
    pub clients: bool,
    /// The next phase; `None` if the rotation is finished.
    pub next: Option<Phase>,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Open,
        Self::Switch,
        Self::Close,
        Self::Back,
        Self::Undo,
        Self::Immediate,
    ];

    /// The table of the phases.
    pub fn row(self) -> Row {
        use Side::{New, Old};
        let row = |sent, both, servers, clients, next| Row {
            sent,
            both,
            servers,
            clients,
            next,
        };
        match self {
            Self::Open => row(Old, true, true, false, Some(Self::Switch)),
            Self::Switch => row(New, true, false, true, Some(Self::Close)),
            Self::Close => row(New, false, true, false, None),
            Self::Back => row(Old, true, false, true, Some(Self::Undo)),
            Self::Undo => row(Old, false, true, false, None),
            Self::Immediate => row(New, false, true, true, None),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Switch => "switch",
            Self::Close => "close",
            Self::Back => "back",
            Self::Undo => "undo",
            Self::Immediate => "immediate",
        }
    }

    /// The phase that `--abort` begins; `None` if the old token is already being removed, or if an
    /// abort is open.
    pub const fn abort_phase(self) -> Option<Self> {
        match self {
            // No client has the new token yet.
            Self::Open => Some(Self::Undo),
            Self::Switch => Some(Self::Back),
            Self::Close | Self::Back | Self::Undo | Self::Immediate => None,
        }
    }

    /// True for the phases of an abort.
    pub const fn is_back(self) -> bool {
        matches!(self, Self::Back | Self::Undo)
    }

    /// The value that the rotation, or its abort, removes.
    pub const fn removed_side(self) -> Side {
        if self.is_back() { Side::New } else { Side::Old }
    }

    /// The value that no pod and no Secret may hold when this phase begins: servers reject it from
    /// then on. `None` for `immediate`, which rejects the old value without a check, and if servers
    /// keep accepting both.
    pub const fn gated_side(self) -> Option<Side> {
        match self {
            Self::Close | Self::Undo => Some(self.removed_side()),
            Self::Open | Self::Switch | Self::Back | Self::Immediate => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
