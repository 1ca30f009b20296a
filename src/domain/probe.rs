//! What comes of asking a service that runs in the cluster.

/// How a service answered, or why it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answered with this HTTP status.
    Status(u16),
    /// The API server does not let us through to it: that takes `get` and `create` of
    /// `pods/portforward`.
    Forbidden,
    /// There is no answer; why not, in words that quote nothing.
    Unreachable(String),
}
