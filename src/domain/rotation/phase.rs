//! The phases of a rotation: THE TABLE of who holds and who accepts what in each.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two values of a token that rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one that was in use when the rotation began.
    Old,
    /// The one that it brings.
    New,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The servers learn to accept both.
    Open,
    /// The clients get the new one.
    Switch,
    /// The servers forget the old one.
    Close,
    /// The clients get the old one back.
    Back,
    /// The servers forget the new one.
    Undo,
    /// Everybody gets the new one at once.
    Immediate,
}

/// What holds in a phase when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What clients send.
    pub sent: Side,
    /// Whether servers accept both; else only what clients send.
    pub both: bool,
    /// Whether servers restart in it.
    pub servers: bool,
    /// Whether clients restart in it.
    pub clients: bool,
    /// What comes after it; `None` where the rotation is over then.
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

    /// THE TABLE of the phases.
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

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }

    /// Its name.
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

    /// Where an abort goes from here; `None` where the old token has been taken away already, or an
    /// abort is under way.
    pub const fn aborted(self) -> Option<Self> {
        match self {
            // No client has got the new one.
            Self::Open => Some(Self::Undo),
            Self::Switch => Some(Self::Back),
            Self::Close | Self::Back | Self::Undo | Self::Immediate => None,
        }
    }

    /// Tells whether it leads back to the old token.
    pub const fn is_back(self) -> bool {
        matches!(self, Self::Back | Self::Undo)
    }

    /// The value that is on its way out.
    pub const fn removed_side(self) -> Side {
        match self.is_back() {
            true => Side::New,
            false => Side::Old,
        }
    }

    /// The value that nobody may hold any more when this phase begins, since servers forget it;
    /// `None` where nothing is forgotten, or that is the price.
    pub const fn forgets(self) -> Option<Side> {
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
