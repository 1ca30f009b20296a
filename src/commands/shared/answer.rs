//! The result of a command. Printing it and choosing the exit code is left to `lib.rs`.

use crate::error::Failure;
use crate::render::json::Body;
use std::fmt;

/// The result of a command. The text of `tokens show` holds the tokens, so `Debug` leaves it out.
pub struct Answer {
    /// Printed on stdout, except with `-o json`.
    pub text: String,
    /// What to do next, printed on stderr.
    pub next: Option<String>,
    /// Printed on stdout with `-o json`.
    pub body: Body,
    pub verdict: Verdict,
}

impl Answer {
    /// A positive answer, with nothing to do next.
    pub fn new(text: String, body: Body) -> Self {
        Self {
            text,
            next: None,
            body,
            verdict: Verdict::Yes,
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("body", &self.body)
            .field("verdict", &self.verdict)
            .finish()
    }
}

/// Decides the exit code.
#[derive(Debug)]
pub enum Verdict {
    /// Exit code 0.
    Yes,
    /// Exit code 1: the answer is no.
    No,
    /// There is an answer and also a failure, which sets the exit code.
    Failed(Failure),
}
