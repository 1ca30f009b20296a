//! A wait: its deadline, the pause between two snapshots, and the lines that it prints. What is
//! waited for is decided by the caller.

use crate::ui::Ui;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The shortest and the longest pause between two snapshots.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

pub struct Wait {
    since: Instant,
    /// `None` for no limit.
    limit: Option<Duration>,
    printed: BTreeSet<String>,
}

impl Wait {
    pub fn new(limit: Option<Duration>) -> Self {
        Self {
            since: Instant::now(),
            limit,
            printed: BTreeSet::new(),
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

    /// Pauses for a tenth of the time waited so far, so that a long wait sends few requests, but not
    /// beyond the limit.
    pub async fn pause(&self) {
        let [shortest, longest] = PAUSES;
        let pause = (self.elapsed() / 10).clamp(shortest, longest);
        let rest = self.limit.map(|limit| limit.saturating_sub(self.elapsed()));
        sleep(rest.map_or(pause, |rest| pause.min(rest))).await;
    }
}
