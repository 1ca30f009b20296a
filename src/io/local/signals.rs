//! The signals that stop this process.

use crate::error::Failure;
use futures_util::future::select_all;
use std::pin::pin;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT, SIGTERM or SIGHUP. From the first poll on, these signals no longer stop the
/// process: the caller must.
///
/// # Errors
/// A signal handler that cannot be installed (exit code 3).
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
                .hint("check whether the limits of this process (ulimit -n) are too low")
        })?;
        waits.push(Box::pin(async move { signals.recv().await }));
    }
    pin!(select_all(waits)).await;
    Ok(())
}
