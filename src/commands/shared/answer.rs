//! What a command gives back for printing.

use crate::error::Failure;
use crate::render::json::Body;
use std::fmt;

/// What a command answers. Of `tokens show` that is the tokens, so `Debug` shows no text.
pub struct Answer {
    /// For people.
    pub text: String,
    /// What comes after it, on stderr.
    pub next: Option<String>,
    /// For `-o json`.
    pub body: Body,
    /// Whether all is well.
    pub verdict: Verdict,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("body", &self.body)
            .field("verdict", &self.verdict)
            .finish()
    }
}

/// Whether all is well.
#[derive(Debug)]
pub enum Verdict {
    /// Exit code 0.
    Yes,
    /// Exit code 1: the answer is no.
    No,
    /// There is an answer, and a failure beside it.
    Failed(Failure),
}
