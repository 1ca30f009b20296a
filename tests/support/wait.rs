//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// The longest pause between two looks. Pauses double up to it, so that a long wait costs little.
const LONGEST: Duration = Duration::from_millis(150);

/// Waits until the condition holds, at most a minute.
#[track_caller]
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut pause = Duration::from_millis(5);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::sleep(pause);
        pause = LONGEST.min(pause * 2);
    }
}
