//! How `--apply` copes with a fleet of 1,000 namespaces, against a loop of kubectl on a real API
//! server.
//!
//! `cargo bench --bench fleet [-- PAIRS]` starts a sandbox of its own and prints the tables that
//! stand in docs/performance.md. The ratio is the median over pairs, a first run of ours over the whole
//! fleet and a loop of kubectl over a sample right after each other, in alternating order. It fails
//! where the work fails, not where a target is missed.
//!
//! `cargo bench --profile dev --bench fleet -- --check PROGRAM` takes no times. It fails where second
//! runs of the program send other requests than docs/performance.md says.

#![allow(clippy::print_stdout, reason = "the table is its answer")]
#![allow(
    clippy::print_stderr,
    reason = "it takes minutes and says how far it is"
)]

#[path = "../common/check.rs"]
mod check;
#[path = "../common/measure.rs"]
mod measure;
#[path = "../common/options.rs"]
mod options;
mod parts;
#[path = "../common/published.rs"]
mod published;
#[path = "../common/sandbox.rs"]
mod sandbox;

use anyhow::Result;
use check::check;
use measure::{Pairs, absolute, largest, milliseconds, peak_memory, quantile, timed, verdict};
use options::Mode;
use parts::{LABEL, Parts, SAMPLE, SIZES, Sent};
use published::Figure;
use sandbox::Sandbox;
use std::path::PathBuf;
use std::time::Duration;

/// How many pairs are run where the command line does not say.
const PAIRS: usize = 9;

/// How often the memory of a run is measured; the largest value counts.
const MEMORY_RUNS: usize = 3;

/// How many times faster than the loop of kubectl a first run has to be.
const FASTER: f64 = 40.0;

/// The binary that is measured; the bench profile takes over the settings of the release profile.
const OURS: &str = env!("CARGO_BIN_EXE_k8s-bootstrap");

/// The columns of what a second run sends.
const REQUESTS: &str = "its requests";
const PAGES: &str = "pages more";
const WRITES: &str = "its writes";

fn main() -> Result<()> {
    let (pairs, program) = match Mode::from_arguments(PAIRS)? {
        Mode::Idle => {
            println!("nothing is measured outside of `cargo bench`");
            return Ok(());
        }
        Mode::Measure(pairs) => (Some(pairs), PathBuf::from(OURS)),
        Mode::Check(program) => (None, program),
    };
    let kubectl = sandbox::plain_kubectl()?;
    let (_sandbox, kubeconfig) = Sandbox::start()?;
    eprintln!("{} namespaces", SIZES[2] + SAMPLE);
    let parts = Parts::new(program, kubectl, kubeconfig)?;
    match pairs {
        Some(pairs) => print_tables(&parts, pairs),
        None => check(&figures(&parts)?, "fleet"),
    }
}

fn print_tables(parts: &Parts, pairs: usize) -> Result<()> {
    let against_kubectl = first_run(parts, pairs)?;
    let growth = SIZES
        .iter()
        .map(|size| Size::measure(parts, *size, pairs))
        .collect::<Result<Vec<_>>>()?;
    println!("{}", caption(parts, pairs)?);
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
    let sent: Vec<_> = growth.iter().map(|size| &size.sent).collect();
    println!("{}\n", second_run(&sent));
    println!(
        "| namespaces | first run | per namespace | second run | {REQUESTS} | {PAGES} | {WRITES} | peak memory, first and second run |"
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

/// The row for what second runs send, one run for each size.
fn second_run(sent: &[&Sent]) -> String {
    let constant = sent.iter().all(|run| run.firsts == sent[0].firsts);
    let writes = sent.iter().any(|run| run.writes > 0);
    format!(
        "| {} | | {} | | | the same, paging aside; 0 writes | {} |",
        second_run_name(),
        second_run_sends(sent),
        verdict(constant && !writes)
    )
}

fn second_run_name() -> String {
    let sizes = SIZES.map(|size| size.to_string()).join(", ");
    format!("second run, requests with {sizes} namespaces")
}

fn second_run_sends(sent: &[&Sent]) -> String {
    let counts: Vec<_> = sent.iter().map(|sent| sent.firsts.to_string()).collect();
    let writes: usize = sent.iter().map(|sent| sent.writes).sum();
    format!("{}; {writes} writes", counts.join(", "))
}

/// What does not depend on the machine.
fn figures(parts: &Parts) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut all = Vec::new();
    for size in SIZES {
        timed(&mut parts.ours(size)?, &[0])?;
        parts.all_made(size)?;
        let sent = parts.sent_by(parts.ours(size)?)?;
        let counts = [
            (REQUESTS, sent.firsts),
            (PAGES, sent.pages),
            (WRITES, sent.writes),
        ];
        figures.extend(counts.map(|(column, count)| Figure {
            row: format!("{size} |"),
            column,
            measured: count.to_string(),
        }));
        all.push(sent);
    }
    figures.push(Figure {
        row: second_run_name(),
        column: "ratio (median)",
        measured: second_run_sends(&all.iter().collect::<Vec<_>>()),
    });
    Ok(figures)
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
