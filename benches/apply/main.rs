//! How long `--apply` takes, as a whole process, against curl and kubectl on a real API server.
//!
//! `cargo bench --bench apply [-- PAIRS]` starts a sandbox of its own and prints the table that
//! stands in docs/performance.md. Every ratio is the median over pairs of runs, one of ours and one of the
//! other side right after each other, in alternating order, so that a machine that is busy at
//! times slows both alike. It fails where the work fails, not where a target is missed.
//!
//! `cargo bench --profile dev --bench apply -- --check PROGRAM` takes no times. It fails where the
//! program, built for release, is too large, or sends other requests than docs/performance.md says. The
//! profile is the one of this benchmark: it compiles what `cargo test` has compiled.

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
#[path = "../common/published.rs"]
mod published;
#[path = "../common/sandbox.rs"]
mod sandbox;
mod sides;

use anyhow::{Context, Result, ensure};
use check::check;
use measure::{Pairs, absolute, largest, mib, peak_memory, timed};
use options::Mode;
use published::Figure;
use sandbox::Sandbox;
use serde_json::Value;
use sides::{SECRETS, SETTLED, Sides};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How many pairs are run where the command line does not say.
const PAIRS: usize = 31;

/// How often the memory is measured; the largest value counts.
const MEMORY_RUNS: usize = 9;

const MIB: f64 = 1024.0 * 1024.0;

/// How large the binary may be, in MiB.
const MAX_SIZE: f64 = 8.0;

/// The binary that is measured; the bench profile takes over the settings of the release profile.
const OURS: &str = env!("CARGO_BIN_EXE_k8s-bootstrap");

fn main() -> Result<()> {
    match Mode::from_arguments(PAIRS)? {
        Mode::Idle => println!("nothing is measured outside of `cargo bench`"),
        Mode::Measure(pairs) => print_table(&Bench::start(pairs, PathBuf::from(OURS))?)?,
        Mode::Check(program) => {
            let bench = Bench::start(0, program)?;
            let size = bench.size()?;
            ensure!(
                size <= MAX_SIZE,
                "{} has {size:.2} MiB, at most {MAX_SIZE} MiB are allowed\n  \
                 hint: `cargo bloat --release --crates` shows what is large",
                bench.sides.program.display()
            );
            check(&bench.figures()?, "apply")?;
        }
    }
    Ok(())
}

fn print_table(bench: &Bench) -> Result<()> {
    let table = [
        bench.first_apply()?,
        bench.second_apply()?,
        bench.footprint()?,
    ]
    .concat();
    println!("{}", bench.caption()?);
    println!("| what | against | ratio (median) | quartiles | median times | target | |");
    println!("|---|---|---|---|---|---|---|");
    for row in table {
        println!("{row}");
    }
    Ok(())
}

/// What is compared, and how often.
struct Bench {
    pairs: usize,
    sides: Sides,
    /// Ends last.
    _sandbox: Sandbox,
}

impl Bench {
    fn start(pairs: usize, program: PathBuf) -> Result<Self> {
        let kubectl = sandbox::plain_kubectl()?;
        let (sandbox, kubeconfig) = Sandbox::start()?;
        Ok(Self {
            pairs,
            sides: Sides::new(program, kubectl, kubeconfig)?,
            _sandbox: sandbox,
        })
    }

    /// What does not depend on the machine.
    fn figures(&self) -> Result<Vec<Figure>> {
        let figure = |row: &str, column, measured| Figure {
            row: row.to_owned(),
            column,
            measured,
        };
        Ok(vec![
            figure("first `--apply` | curl", "against", self.first_requests()),
            figure(
                "first `--apply` | kubectl, the same work",
                "against",
                self.first_work(),
            ),
            figure("second `--apply` | curl", "against", self.second_requests()),
            figure("binary, stripped", "ratio (median)", mib(self.size()?)),
        ])
    }

    fn first_requests(&self) -> String {
        format!("curl, the same {} requests", self.sides.first.len())
    }

    fn first_work(&self) -> String {
        let writes = sides::writes(&self.sides.first);
        format!("kubectl, the same work: {writes} × `get`, {writes} × `create`")
    }

    fn second_requests(&self) -> String {
        format!("curl, the same {} reads", self.sides.second.len())
    }

    /// The size of our program, in MiB.
    fn size(&self) -> Result<f64> {
        Ok(std::fs::metadata(&self.sides.program)?.len() as f64 / MIB)
    }

    fn first_apply(&self) -> Result<Vec<String>> {
        let (mine, theirs) = self.namespaces("curl")?;
        let curls = theirs
            .iter()
            .map(|namespace| self.sides.curl(namespace, &self.sides.first))
            .collect::<Result<Vec<_>>>()?;
        let curl = self.compare(
            "first `--apply`",
            &self.first_requests(),
            Some(1.0),
            |run| self.sides.apply_once(&mine[run]),
            |run| self.sides.curl_once(&curls[run], &self.sides.first),
        )?;
        self.all_made()?;

        let (mine, theirs) = self.namespaces("kubectl")?;
        let inputs = self.sides.env_files()?;
        let kubectl = self.compare(
            "first `--apply`",
            &self.first_work(),
            Some(1.0 / 15.0),
            |run| self.sides.apply_once(&mine[run]),
            |run| {
                let mut all = Duration::ZERO;
                for name in SECRETS {
                    all += self.sides.kubectl_get(&theirs[run], name, 1)?;
                }
                for (name, input) in SECRETS.iter().zip(&inputs) {
                    let mut create = self.sides.kubectl(&theirs[run]);
                    create.args(["create", "secret", "generic", name, "--from-env-file"]);
                    all += timed(create.arg(input), &[0])?.0;
                }
                Ok(all)
            },
        )?;
        self.all_made()?;

        let (mine, theirs) = self.namespaces("get")?;
        let get = self.compare(
            "first `--apply`",
            "kubectl, one `get secret`",
            None,
            |run| self.sides.apply_once(&mine[run]),
            |run| self.sides.kubectl_get(&theirs[run], SECRETS[0], 1),
        )?;
        Ok(vec![curl, kubectl, get])
    }

    fn second_apply(&self) -> Result<Vec<String>> {
        let curl = self.sides.curl(SETTLED, &self.sides.second)?;
        Ok(vec![
            self.compare(
                "second `--apply`",
                &self.second_requests(),
                Some(0.7),
                |_| self.sides.apply_once(SETTLED),
                |_| self.sides.curl_once(&curl, &self.sides.second),
            )?,
            self.compare(
                "second `--apply`",
                "kubectl, 3 × `get`",
                None,
                |_| self.sides.apply_once(SETTLED),
                |_| {
                    SECRETS
                        .iter()
                        .map(|name| self.sides.kubectl_get(SETTLED, name, 0))
                        .sum()
                },
            )?,
            self.compare(
                "second `--apply`",
                "kubectl, one `get secret`",
                None,
                |_| self.sides.apply_once(SETTLED),
                |_| self.sides.kubectl_get(SETTLED, SECRETS[0], 0),
            )?,
        ])
    }

    fn footprint(&self) -> Result<Vec<String>> {
        let help = self.compare(
            "`--help`",
            "`kubectl --help`",
            Some(0.2),
            |_| Ok(timed(self.sides.clean(&self.sides.program).arg("--help"), &[0])?.0),
            |_| Ok(timed(self.sides.clean(&self.sides.kubectl).arg("--help"), &[0])?.0),
        )?;
        eprintln!("memory and size");
        let names: Vec<_> = (0..MEMORY_RUNS)
            .map(|run| format!("memory-{run}"))
            .collect();
        self.sides.make_namespaces(&names)?;
        let first = names.iter().map(|name| peak_memory(self.sides.ours(name)?));
        let first = first.collect::<Result<Vec<_>>>()?;
        let second = names.iter().map(|name| peak_memory(self.sides.ours(name)?));
        let second = second.collect::<Result<Vec<_>>>()?;
        Ok(vec![
            help,
            absolute("first `--apply`, peak memory", largest(&first), 10.0),
            absolute("second `--apply`, peak memory", largest(&second), 10.0),
            absolute("binary, stripped", self.size()?, MAX_SIZE),
        ])
    }

    /// Runs pairs of processes and makes a row of their ratios.
    fn compare(
        &self,
        what: &str,
        against: &str,
        target: Option<f64>,
        ours: impl FnMut(usize) -> Result<Duration>,
        theirs: impl FnMut(usize) -> Result<Duration>,
    ) -> Result<String> {
        eprintln!("{what} against {against}: {} pairs", self.pairs);
        let pairs = Pairs::run(self.pairs, ours, theirs)?;
        Ok(pairs.row(what, against, target))
    }

    fn caption(&self) -> Result<String> {
        let curl = timed(Command::new("curl").args(["-q", "--version"]), &[0])?.1;
        let curl = String::from_utf8_lossy(&curl.stdout).into_owned();
        let curl = curl.split_whitespace().nth(1).unwrap_or("?").to_owned();
        let mut version = self.sides.clean(&self.sides.kubectl);
        let version = timed(version.args(["version", "--client"]), &[0])?.1;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let kubectl = version
            .lines()
            .next()
            .and_then(|line| line.rsplit(' ').next());
        Ok(format!(
            "\nEach time is that of a whole process, from start to exit. Each ratio is the median of {} \
             pairs of runs in alternating order. curl {curl} is one process on one HTTP/2 \
             connection. `--apply` has to read before it writes; curl cannot wait in between, so it \
             sends all of its requests at once (`--parallel`). kubectl {} is the plain \
             upstream program, with its discovery cache filled. Where `--apply` runs first it also \
             writes the tokens file, flushes it to disk and asks git whether it ignores the file.\n",
            self.pairs,
            kubectl.unwrap_or("?"),
        ))
    }

    /// Fresh namespaces for both sides of a comparison, one for each run.
    fn namespaces(&self, of: &str) -> Result<(Vec<String>, Vec<String>)> {
        let names = |side| (0..=self.pairs).map(move |run| format!("{of}-{side}-{run}"));
        let (mine, theirs): (Vec<_>, Vec<_>) = (names("a").collect(), names("b").collect());
        self.sides
            .make_namespaces(&[&mine[..], &theirs[..]].concat())?;
        Ok((mine, theirs))
    }

    /// Checks that every namespace in which something was made has all of it, on both sides.
    fn all_made(&self) -> Result<()> {
        let mut list = self.sides.kubectl("default");
        list.args(["get", "secrets", "-A", "-o", "json"]);
        let list: Value = serde_json::from_slice(&timed(&mut list, &[0])?.1.stdout)?;
        let found = |secret: &Value| {
            let like = &self.sides.secrets[SECRETS
                .iter()
                .position(|name| secret["metadata"]["name"] == *name)?];
            let keys =
                |of: &Value| Some(of["data"].as_object()?.keys().cloned().collect::<Vec<_>>());
            (keys(secret)? == keys(like)?).then_some(())
        };
        let items = list["items"].as_array().context("no list of Secrets")?;
        let good = items.iter().filter_map(found).count();
        let folders = items
            .iter()
            .map(|secret| secret["metadata"]["namespace"].as_str())
            .collect::<BTreeSet<_>>();
        ensure!(
            good == items.len() && good == SECRETS.len() * folders.len(),
            "{good} of {} Secrets in {} namespaces are as they should be",
            items.len(),
            folders.len()
        );
        Ok(())
    }
}
