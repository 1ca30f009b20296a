//! A failure: what happened, why, what to do next, and the exit code.
//!
//! Errors of other crates become a [`Failure`] where they occur. Their text must not be printed
//! unchecked: some quote the input that they could not parse.

use std::fmt;
use std::process::ExitCode;

/// The kind of a failure. Each kind has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer is no: there is a difference, or an operator has to decide first.
    No,
    /// The command line or an input value is wrong.
    Usage,
    /// The command failed, or did only part of its work.
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
    /// Determines the exit code.
    pub kind: Kind,
    /// What happened, in one sentence.
    pub message: String,
    /// The chain of causes, nearest first, or a list of problems.
    pub causes: Vec<String>,
    /// What to do next.
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

    /// Makes a failure of [`Kind::No`] (exit code 1).
    pub fn no(message: impl Into<String>) -> Self {
        Self::new(Kind::No, message)
    }

    /// Makes a failure of [`Kind::Usage`] (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Makes a failure of [`Kind::Unable`] (exit code 3).
    pub fn unable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unable, message)
    }

    /// An operator has to decide before anything is written (exit code 1).
    pub fn undecided() -> Self {
        Self::no("refused, and nothing has been written: a person has to decide")
    }

    /// Turns [`Failure::undecided`] into a failure of a run that has already written something
    /// (exit code 3).
    #[must_use]
    pub fn too_late(self) -> Self {
        Self {
            kind: Kind::Unable,
            message: "something else wrote while this ran, and now a person has to decide"
                .to_owned(),
            ..self
        }
    }

    /// Adds the texts of an error and of its sources as causes. The error must not be able to quote
    /// a value.
    #[must_use]
    pub fn because(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.causes
            .extend(error.into().chain().map(ToString::to_string));
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a hint, unless the failure already has it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// Adds the failure of one of several objects as a cause, with its hints.
    #[must_use]
    pub fn of(self, object: impl fmt::Display, failure: &Self) -> Self {
        let whole = self.cause(format!("{object}: {}", failure.describe()));
        failure.hints.iter().cloned().fold(whole, Self::hint)
    }

    /// Returns `Ok` if the failure has no cause.
    ///
    /// # Errors
    /// The failure itself, if it has a cause.
    pub fn if_any(self) -> Result<(), Self> {
        if self.causes.is_empty() {
            Ok(())
        } else {
            Err(self)
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
