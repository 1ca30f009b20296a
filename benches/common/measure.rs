//! Times, memory, and the rows of the table.

use anyhow::{Context, Result, ensure};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The times of two sides, in milliseconds, pair by pair.
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Runs both sides right after each other, in alternating order; each tells its own time.
    pub fn run(
        pairs: usize,
        mut ours: impl FnMut(usize) -> Result<Duration>,
        mut theirs: impl FnMut(usize) -> Result<Duration>,
    ) -> Result<Self> {
        let mut times = Vec::new();
        for run in 0..=pairs {
            let (a, b) = if run % 2 == 0 {
                let a = ours(run)?;
                (a, theirs(run)?)
            } else {
                let b = theirs(run)?;
                (ours(run)?, b)
            };
            times.push((milliseconds(a), milliseconds(b)));
        }
        // The first pair fills caches and does not count.
        times.remove(0);
        Ok(Self(times))
    }

    /// Makes a row of the table.
    pub fn row(&self, what: &str, against: &str, target: Option<f64>) -> String {
        let of = |value: fn(&(f64, f64)) -> f64, share| {
            quantile(self.0.iter().map(value).collect(), share)
        };
        let ratio = |share| of(|(a, b)| a / b, share);
        let (median, low, high) = (ratio(0.5), ratio(0.25), ratio(0.75));
        let (a, b) = (of(|times| times.0, 0.5), of(|times| times.1, 0.5));
        let (goal, holds) = match target {
            None => (String::new(), ""),
            Some(target) => (format!("≤ {target:.3}"), verdict(median <= target)),
        };
        format!(
            "| {what} | {against} | {median:.3} | {low:.3} to {high:.3} | {a:.1} ms, {b:.1} ms | {goal} | {holds} |"
        )
    }
}

/// Runs a process to its end, which has to be one of these exit codes.
pub fn timed(command: &mut Command, codes: &[i32]) -> Result<(Duration, Output)> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    let took = started.elapsed();
    let output = output.with_context(|| format!("{:?}", command.get_program()))?;
    let ended = output
        .status
        .code()
        .is_some_and(|code| codes.contains(&code));
    ensure!(
        ended,
        "{:?} ended with {}: {}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((took, output))
}

/// Runs a process and gives the most memory that it had resident, in MiB. The kernel tells that
/// only as long as the process runs, so it is asked all the time.
pub fn peak_memory(mut command: Command) -> Result<f64> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0_u32;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = kib.and_then(|kib| kib.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
    }
    ensure!(
        child.wait()?.success() && peak > 0,
        "a run for its memory failed"
    );
    Ok(f64::from(peak) / 1024.0)
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

pub fn absolute(what: &str, value: f64, target: f64) -> String {
    let (value, holds) = (mib(value), verdict(value <= target));
    format!("| {what} | | {value} | | | ≤ {target} MiB | {holds} |")
}

/// A size as it is published.
pub fn mib(value: f64) -> String {
    format!("{value:.1} MiB")
}

pub fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "**missed**" }
}

/// The value below which a share of all values lies, between the two nearest ones.
pub fn quantile(mut sorted: Vec<f64>, share: f64) -> f64 {
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}
