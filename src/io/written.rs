//! The result of a write with a precondition.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// The object has changed since it was read. Read it again.
    Stale,
}
