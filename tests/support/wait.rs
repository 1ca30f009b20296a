//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// Waits until the condition holds, at most a minute.
#[track_caller]
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
