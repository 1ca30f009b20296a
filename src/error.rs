//! A failure: what happened, why, what to do about it, and the exit code that tells it.
//!
//! Foreign errors become a [`Failure`] where they arise; none is shown as it is, since some quote
//! what they could not read.

use std::fmt;
use std::process::ExitCode;

/// What kind of failure it is; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer is no: there is a difference, or a person has to decide first.
    No,
    /// The command line, or an input value, is wrong.
    Usage,
    /// It could not be done, or only in part.
    Unable,
}

impl Kind {
    /// The exit code, as the README documents it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 2,
            Self::Unable => 3,
        }
    }
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        Self::from(kind.exit_code())
    }
}

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Picks the exit code.
    pub kind: Kind,
    /// What happened, in one sentence.
    pub message: String,
    /// Why, from the nearest cause to the farthest; or each thing that is the matter.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The answer is no (exit code 1).
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    /// The command line or an input is wrong (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// It could not be done (exit code 3).
    pub fn unable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unable, message)
    }

    /// A person has to decide first (exit code 1).
    pub fn undecided() -> Self {
        Self::no("refused, and nothing has been written: a person has to decide")
    }

    /// The same where something has been written already (exit code 3).
    #[must_use]
    pub fn too_late(self) -> Self {
        Self {
            kind: Kind::Unable,
            message: "others wrote while this ran, and now a person has to decide".to_owned(),
            ..self
        }
    }

    /// Adds the texts of an error and of its sources. Only for errors that cannot quote a value.
    #[must_use]
    pub fn because(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.causes
            .extend(error.into().chain().map(ToString::to_string));
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// Adds what became of one of several, with its remedies.
    #[must_use]
    pub fn of(self, what: impl fmt::Display, failure: &Self) -> Self {
        let whole = self.cause(format!("{what}: {}", failure.describe()));
        failure.hints.iter().cloned().fold(whole, Self::hint)
    }

    /// Nothing where it has no cause.
    ///
    /// # Errors
    /// Itself, where it has one.
    pub fn if_any(self) -> Result<(), Self> {
        match self.causes.is_empty() {
            true => Ok(()),
            false => Err(self),
        }
    }

    /// What happened and why, in one line.
    pub fn describe(&self) -> String {
        match self.causes.as_slice() {
            [] => self.message.clone(),
            causes => format!("{} ({})", self.message, causes.join("; ")),
        }
    }
}
