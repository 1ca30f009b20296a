//! The phases of a rotation, and the table of what clients send and servers accept in each.

use crate::domain::word_enum::word_enum;
use serde::Deserialize;

word_enum! {
    /// One of the two values of a token that rotates.
    pub enum Side {
        /// The value in use when the rotation began.
        Old = "old",
        /// The value that replaces it.
        New = "new",
    }
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

word_enum! {
    /// A phase of a rotation.
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Phase {
        /// Servers get both tokens.
        Open = "open",
        /// Clients get the new token.
        Switch = "switch",
        /// Servers keep only the new token.
        Close = "close",
        /// Clients get the old token back.
        Back = "back",
        /// Servers keep only the old token.
        Undo = "undo",
        /// Servers and clients get the new token at once.
        Immediate = "immediate",
    }
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
