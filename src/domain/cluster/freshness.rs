//! Whether a container started after a Secret changed.
//!
//! Both times are in whole seconds since 1970: the kubelet's `startedAt`, and the time of the field
//! manager that wrote the data. Within one second their order is unknown.

/// The answer if both times are in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// For a warning: it must not be wrong.
    Fresh,
    /// For a step that must not come too early.
    Stale,
}

pub fn started_after(started: i64, changed: i64, tie: Tie) -> bool {
    match tie {
        Tie::Fresh => started >= changed,
        Tie::Stale => started > changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_decides_about_the_same_second() {
        for (started, fresh, stale) in [(4, false, false), (5, true, false), (6, true, true)] {
            assert_eq!(started_after(started, 5, Tie::Fresh), fresh, "{started}");
            assert_eq!(started_after(started, 5, Tie::Stale), stale, "{started}");
        }
    }
}
