//! How a run of `rotate` ended. A failure is an error, not an outcome.

use super::Rotation;
use super::gate::OldTokenUser;

#[derive(Clone, Debug)]
pub enum Outcome {
    /// The rotation or its abort is finished. These pods and Secrets hold the removed token.
    Finished(Rotation, Vec<OldTokenUser>),
    /// Another run finished it at the same time.
    FinishedByOther,
    /// The run stopped after the phase of `--until`.
    Stopped(Rotation),
    /// The gate holds: these pods and Secrets hold the token that the next phase removes.
    Held(Rotation, Vec<OldTokenUser>),
    Nothing,
}

impl Outcome {
    pub fn rotation(&self) -> Option<&Rotation> {
        match self {
            Self::Finished(rotation, _) | Self::Stopped(rotation) | Self::Held(rotation, _) => {
                Some(rotation)
            }
            Self::FinishedByOther | Self::Nothing => None,
        }
    }

    /// The word in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Finished(rotation, _) if rotation.phase.is_back() => "aborted",
            Self::Finished(..) => "done",
            Self::FinishedByOther => "meanwhile",
            Self::Stopped(_) => "stopped",
            Self::Held(..) => "held",
            Self::Nothing => "nothing",
        }
    }

    /// The pods and Secrets that hold the token that was or would be removed.
    pub fn holders(&self) -> &[OldTokenUser] {
        match self {
            Self::Finished(_, holders) | Self::Held(_, holders) => holders,
            _ => &[],
        }
    }
}
