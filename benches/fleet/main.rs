//! How `--apply` copes with a fleet of 1,000 namespaces, against a loop of kubectl on a real API
//! server.
//!
//! `cargo bench --bench fleet [-- PAIRS]` starts a sandbox of its own and prints the tables that
//! stand in the README. The ratio is the median over pairs, a first run of ours over the whole
//! fleet and a loop of kubectl over a sample right after each other, in alternating order. It fails
//! where the work fails, not where a target is missed.

#![allow(clippy::print_stdout, reason = "the table is its answer")]
#![allow(
    clippy::print_stderr,
    reason = "it takes minutes and says how far it is"
)]

#[path = "../common/measure.rs"]
mod measure;
mod parts;
#[path = "../common/sandbox.rs"]
mod sandbox;

use anyhow::{Context as _, Result, ensure};
use measure::{Pairs, absolute, largest, milliseconds, peak_memory, quantile, timed, verdict};
use parts::{LABEL, Parts, SAMPLE, SIZES, Sent};
use sandbox::Sandbox;
use std::time::Duration;

/// How many pairs are run where the command line does not say.
const PAIRS: usize = 9;

/// How often the memory of a run is measured; the largest value counts.
const MEMORY_RUNS: usize = 3;

/// How many times faster than the loop of kubectl a first run has to be.
const FASTER: f64 = 40.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured outside of `cargo bench`");
        return Ok(());
    }
    let pairs = match arguments.iter().find(|argument| *argument != "--bench") {
        Some(pairs) => pairs.parse().context("usage: [PAIRS]")?,
        None => PAIRS,
    };
    ensure!(pairs > 0, "usage: [PAIRS], at least 1");
    let kubectl = sandbox::plain_kubectl()?;
    let (_sandbox, kubeconfig) = Sandbox::start()?;
    eprintln!("{} namespaces", SIZES[2] + SAMPLE);
    let parts = Parts::new(kubectl, kubeconfig)?;

    let against_kubectl = first_run(&parts, pairs)?;
    let growth = SIZES
        .iter()
        .map(|size| Size::measure(&parts, *size, pairs))
        .collect::<Result<Vec<_>>>()?;
    println!("{}", caption(&parts, pairs)?);
    println!("| what | against | ratio (median) | quartiles | median times | target | |");
    println!("|---|---|---|---|---|---|---|");
    println!("{against_kubectl}");
    let whole = &growth[2];
    for (run, mib) in [("first", whole.first_mib), ("second", whole.second_mib)] {
        println!(
            "{}",
            absolute(&format!("{run} run, peak memory"), mib, 64.0)
        );
    }
    println!("{}\n", second_run(&growth));
    println!(
        "| namespaces | first run | per namespace | second run | its requests | pages more | its writes | peak memory, first and second run |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for size in &growth {
        println!("{}", size.row());
    }
    Ok(())
}

/// A first run over the whole fleet against kubectl.
fn first_run(parts: &Parts, pairs: usize) -> Result<String> {
    let size = SIZES[2];
    eprintln!("first run against kubectl: {pairs} pairs");
    let pairs = Pairs::run(
        pairs,
        |_| {
            parts.clear(size)?;
            let took = timed(&mut parts.ours(size)?, &[0])?.0;
            parts.all_made(size)?;
            Ok(took)
        },
        |_| {
            parts.clear_sample()?;
            let mut took = Duration::ZERO;
            for namespace in parts::sample() {
                took += timed(&mut parts.create(&namespace), &[0])?.0;
            }
            Ok(took * u32::try_from(size / SAMPLE)?)
        },
    )?;
    Ok(pairs.row(
        &format!("first run, {size} namespaces"),
        &format!(
            "kubectl, one `create` each ({SAMPLE} of them, times {})",
            size / SAMPLE
        ),
        Some(1.0 / FASTER),
    ))
}

/// What was measured with so many namespaces.
struct Size {
    size: usize,
    /// Milliseconds.
    first: f64,
    second: f64,
    first_mib: f64,
    second_mib: f64,
    /// What a second run sends.
    sent: Sent,
}

impl Size {
    fn measure(parts: &Parts, size: usize, runs: usize) -> Result<Self> {
        eprintln!("{size} namespaces: {runs} first runs, {runs} second runs, memory");
        // What larger fleets left behind would be listed too.
        parts.clear(SIZES[2])?;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            parts.clear(size)?;
            for times in [&mut first, &mut second] {
                times.push(milliseconds(timed(&mut parts.ours(size)?, &[0])?.0));
            }
        }
        let mut mib = [Vec::new(), Vec::new()];
        for _ in 0..MEMORY_RUNS {
            parts.clear(size)?;
            for mib in &mut mib {
                mib.push(peak_memory(parts.ours(size)?)?);
            }
        }
        Ok(Self {
            size,
            first: quantile(first, 0.5),
            second: quantile(second, 0.5),
            first_mib: largest(&mib[0]),
            second_mib: largest(&mib[1]),
            sent: parts.sent_by(parts.ours(size)?)?,
        })
    }

    fn row(&self) -> String {
        let per_namespace = self.first / self.size as f64;
        let Sent {
            firsts,
            pages,
            writes,
        } = self.sent;
        format!(
            "| {} | {:.0} ms | {per_namespace:.2} ms | {:.0} ms | {firsts} | {pages} | {writes} | {:.1} MiB, {:.1} MiB |",
            self.size, self.first, self.second, self.first_mib, self.second_mib
        )
    }
}

/// The row for the requests of second runs.
fn second_run(growth: &[Size]) -> String {
    let requests: Vec<_> = growth.iter().map(|size| size.sent.firsts).collect();
    let constant = requests.iter().all(|count| *count == requests[0]);
    let writes: usize = growth.iter().map(|size| size.sent.writes).sum();
    let counts: Vec<_> = requests.iter().map(ToString::to_string).collect();
    let sizes = SIZES.map(|size| size.to_string()).join(", ");
    format!(
        "| second run, requests with {sizes} namespaces | | {}; {writes} writes | | | the same, paging aside; 0 writes | {} |",
        counts.join(", "),
        verdict(constant && writes == 0)
    )
}

fn caption(parts: &Parts, pairs: usize) -> Result<String> {
    let output = timed(
        parts.clean(&parts.kubectl).args(["version", "--client"]),
        &[0],
    )?
    .1;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = version
        .lines()
        .next()
        .and_then(|line| line.rsplit(' ').next());
    Ok(format!(
        "\nWhole processes, spawn to exit, on {} cores that the servers share. A first run is `--apply \
         --fleet-selector {LABEL}-{}` where no Secret and no tokens file exist; {pairs} runs each, \
         medians. kubectl {} runs `create secret generic --from-env-file` once per namespace, with its \
         discovery cache filled, and looks at nothing before. A ratio of {:.3} is {FASTER} times \
         faster. Requests are counted in the API server's audit log.\n",
        std::thread::available_parallelism()?,
        SIZES[2],
        version.unwrap_or("?"),
        1.0 / FASTER,
    ))
}
