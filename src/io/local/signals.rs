//! The signals that ask this process to end.

use crate::error::Failure;
use futures_util::future::select_all;
use std::pin::pin;
use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first SIGINT, SIGTERM or SIGHUP. From its first poll on none of them ends the process
/// by itself: whoever waits here has to.
///
/// # Errors
/// Where the signals cannot be waited for (exit code 3).
pub async fn wait_for_signal() -> Result<(), Failure> {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let mut waits = Vec::new();
    for kind in kinds {
        let mut signals = signal(kind).map_err(|error| {
            Failure::unable("cannot wait for signals")
                .because(error)
                .hint("see whether the limits of this process (ulimit -n) are too low")
        })?;
        waits.push(Box::pin(async move { signals.recv().await }));
    }
    pin!(select_all(waits)).await;
    Ok(())
}
