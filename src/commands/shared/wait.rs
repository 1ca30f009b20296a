//! A wait: its deadline, the pause between two snapshots, and the lines that it prints. What is
//! waited for is decided by the caller.

use crate::ui::Ui;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause between two snapshots after so much time. A snapshot reads whole lists of all
/// namespaces, and a long wait has time.
fn pause_after(elapsed: Duration) -> Duration {
    let [first, shortest, longest] = [1, 2, 5].map(Duration::from_secs);
    if elapsed < shortest {
        first
    } else {
        (elapsed / 4).clamp(shortest, longest)
    }
}

pub struct Wait {
    since: Instant,
    /// `None` for no limit.
    limit: Option<Duration>,
    printed: BTreeSet<String>,
    /// When [`Wait::is_time`] was last true.
    last: Option<Instant>,
}

impl Wait {
    pub fn new(limit: Option<Duration>) -> Self {
        Self {
            since: Instant::now(),
            limit,
            printed: BTreeSet::new(),
            last: None,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    /// Prints a line, unless this wait has printed it before. Returns whether it did.
    pub fn say(&mut self, ui: Ui, line: String) -> bool {
        let is_new = !self.printed.contains(&line);
        if is_new {
            ui.story(&line);
            self.printed.insert(line);
        }
        is_new
    }

    /// True the first time, and then at most once in each period.
    pub fn is_time(&mut self, period: Duration, now: Instant) -> bool {
        let is_time = self.last.is_none_or(|last| now - last >= period);
        if is_time {
            self.last = Some(now);
        }
        is_time
    }

    /// Pauses, the longer the longer this wait takes, but not beyond the limit.
    pub async fn pause(&self) {
        let pause = pause_after(self.elapsed());
        let rest = self.limit.map(|limit| limit.saturating_sub(self.elapsed()));
        sleep(rest.map_or(pause, |rest| pause.min(rest))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_reads_few_snapshots() {
        let snapshots_in = |seconds| {
            let (mut elapsed, mut snapshots) = (Duration::ZERO, 0);
            while elapsed < Duration::from_secs(seconds) {
                elapsed += pause_after(elapsed);
                snapshots += 1;
            }
            snapshots
        };
        // Most rollouts take a few seconds.
        assert_eq!(snapshots_in(4), 3);
        assert_eq!(snapshots_in(30), 12);
        assert_eq!(snapshots_in(300), 66);
    }

    #[test]
    fn a_period_is_kept_however_often_it_is_asked_for() {
        let (mut wait, start) = (Wait::new(None), Instant::now());
        let times = (0..8).filter(|second| {
            let now = start + Duration::from_secs(*second);
            wait.is_time(Duration::from_secs(3), now)
        });
        assert_eq!(times.collect::<Vec<_>>(), [0, 3, 6]);
    }
}
