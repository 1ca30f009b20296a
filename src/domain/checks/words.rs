//! Parts of sentences.

pub(super) const HOUR: i64 = 60 * 60;
pub(super) const DAY: i64 = 24 * HOUR;

/// A duration in the largest unit of which it holds at least two, or exactly one.
pub fn span(seconds: i64) -> String {
    let units = [(DAY, "day"), (HOUR, "hour"), (60, "minute"), (1, "second")];
    let fits = |(unit, _): &(i64, _)| seconds >= 2 * unit || seconds == *unit;
    let (unit, word) = units.into_iter().find(fits).unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    }
}

/// The first three, and how many more there are: `a, b, c and 2 more`.
pub(super) fn some_of<T: ToString>(many: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = many.iter().take(SHOWN).map(ToString::to_string).collect();
    let rest = many.len().saturating_sub(SHOWN);
    if rest == 0 {
        shown.join(", ")
    } else {
        format!("{} and {rest} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_unit() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (60, "1 minute"),
            (HOUR, "1 hour"),
            (HOUR + 1, "60 minutes"),
            (DAY, "1 day"),
            (DAY + HOUR, "25 hours"),
            (2 * DAY, "2 days"),
            (90 * DAY + HOUR, "90 days"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
