//! How a write with a precondition ended, where it did not fail.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Somebody else wrote first: read again.
    Stale,
}
