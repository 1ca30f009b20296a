//! `verify`: checks the Secrets, what reads them and what makes them, with a hint for each failed
//! check. Reads only.

pub(crate) mod store;

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Verify};
use crate::commands::shared::cluster::connect;
use crate::commands::shared::options::{fleet, selection};
use crate::commands::shared::service::Service;
use crate::domain::checks::check::{Check, Status};
use crate::domain::checks::{self, Case};
use crate::domain::cluster::snapshot::{
    ClusterSnapshot, FileFacts, FilePath, FileState, Probe, ProbeOutcome,
};
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::stored_state;
use crate::domain::rotation::workloads::server_of;
use crate::domain::table::ROUTER;
use crate::domain::values::token::TokenName;
use crate::error::{Failure, Kind};
use crate::io::kube::client::Cluster;
use crate::io::kube::port_forward::Forwarder;
use crate::io::local::{environment, git, tokens_file};
use crate::render::checks as rendered;
use crate::render::json::Body;
use crate::render::script::quote;
use crate::ui::Ui;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest pause of `--wait` between two runs of the checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the checks once or, with `--wait`, until they pass or the wait times out.
///
/// # Errors
/// An option that cannot be used (exit code 2).
pub async fn run(global: &Global, verify: &Verify, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, HintOptions::of_fleet(&verify.fleet));
    let outcome = match connect(global, ui, "verify", &reach).await {
        Ok(cluster) => {
            let session = Session {
                global,
                verify,
                reach: &reach,
                cluster,
                ui,
            };
            session.check_until_well().await?
        }
        Err(failure) => Outcome::without_cluster(&file_facts(&global.tokens_file), &reach, failure),
    };
    let Outcome { checks, failure } = outcome;
    let is_complete = failure.is_none();
    let verdict = match failure {
        Some(failure) => Verdict::Failed(failure),
        None if checks::healthy(&checks) => Verdict::Yes,
        None => Verdict::No,
    };
    let text = rendered::text(&checks, is_complete, verify.short, ui.palette());
    let mut shown = checks;
    shown.retain(|check| rendered::is_shown(check, verify.short));
    Ok(Answer {
        verdict,
        ..Answer::new(text, Body::Checks { checks: shown })
    })
}

/// The result of one run of the checks.
struct Outcome {
    checks: Vec<Check>,
    /// Why the checks could not read what they need.
    failure: Option<Failure>,
}

impl Outcome {
    /// The checks that need no cluster, with the failure to connect.
    fn without_cluster(file: &FileFacts, reach: &HintContext, failure: Failure) -> Self {
        Self {
            checks: checks::without_cluster(file, reach, &failure.message),
            failure: Some(failure),
        }
    }

    fn is_well(&self) -> bool {
        self.failure.is_none() && checks::healthy(&self.checks)
    }

    /// The ids of the failed checks, for the progress line.
    fn describe_failed(&self) -> String {
        let mut ids: Vec<_> = self
            .checks
            .iter()
            .filter(|check| check.status == Status::Fail)
            .map(|check| check.id.as_str())
            .collect();
        ids.dedup();
        if ids.is_empty() {
            "the cluster".to_owned()
        } else {
            ids.join(", ")
        }
    }
}

/// A connection and the options of the checks.
struct Session<'a> {
    global: &'a Global,
    verify: &'a Verify,
    reach: &'a HintContext,
    cluster: Cluster,
    ui: Ui,
}

impl Session<'_> {
    /// Runs the checks, and repeats them as long as `--wait` allows.
    async fn check_until_well(&self) -> Result<Outcome, Failure> {
        let begin = Instant::now();
        // Without --wait the deadline is now. --wait=0 has no deadline.
        let deadline = match self.verify.wait {
            None => Some(begin),
            Some(wait) => wait.0.and_then(|wait| begin.checked_add(wait)),
        };
        let mut printed = String::new();
        loop {
            let started = Instant::now();
            let outcome = self.check().await?;
            let now = Instant::now();
            if outcome.is_well() || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(outcome);
            }
            let failed = outcome.describe_failed();
            if failed != printed {
                self.ui.story(&format!("waiting for {failed}"));
                printed = failed;
            }
            // Pause at least as long as the checks took, to limit the load on the server.
            let next = now + PAUSE.max(now - started);
            tokio::time::sleep_until(deadline.map_or(next, |deadline| next.min(deadline))).await;
        }
    }

    async fn check(&self) -> Result<Outcome, Failure> {
        let (global, verify, reach) = (self.global, self.verify, self.reach);
        let file = file_facts(&global.tokens_file);
        let cluster = match self.gather().await {
            Ok(cluster) => cluster,
            Err(failure) if failure.kind == Kind::Usage => return Err(failure),
            Err(failure) => return Ok(Outcome::without_cluster(&file, reach, failure)),
        };
        let router = cluster.home_place().secrets.get(ROUTER.secret);
        let rotation = stored_state::of_cluster(router);
        let case = Case {
            file: &file,
            cluster: &cluster,
            reach,
            since: rotation
                .as_ref()
                .ok()
                .and_then(|rotation| environment::seconds(&rotation.as_ref()?.since)),
            rotation,
            max_age: verify.max_age.0,
            max_overlap: verify.max_overlap.0,
            live: verify.live,
            copies: &verify.copy,
            settlement: Default::default(),
        };
        let failure = checks::sees_nothing(&cluster).then(|| {
            let home = &global.namespace;
            Failure::unable(format!("none of the Secrets in {home} can be read"))
                .hint(format!("have an administrator run: {}", case.role_hint()))
        });
        Ok(Outcome {
            checks: checks::findings(&case),
            failure,
        })
    }

    /// Reads the cluster, the store and, with `--live`, the answers of the services.
    async fn gather(&self) -> Result<ClusterSnapshot, Failure> {
        let fleet = fleet(&self.verify.fleet);
        let copies = self.verify.copy.iter().cloned().collect();
        let home = &self.global.namespace;
        let mut facts = self.cluster.inspect(home, &fleet, &copies).await?;
        if let Some(path2) = &mut facts.path2 {
            path2.contents = self::store::look(path2, self.global, self.ui).await;
        }
        if self.verify.live {
            facts.probes = probe(self.global, &facts, self.reach).await?;
        }
        Ok(facts)
    }
}

/// Sends each service a request with the right token and one with a wrong token.
async fn probe(
    global: &Global,
    facts: &ClusterSnapshot,
    reach: &HintContext,
) -> Result<Vec<Probe>, Failure> {
    let forwarder = Forwarder::connect(&selection(global), &reach.kubectl).await?;
    let (brain_api, embeddings) = tokio::join!(
        ask(facts, &forwarder, TokenName::KbRouterToken),
        ask(facts, &forwarder, TokenName::EmbeddingsApiKey),
    );
    Ok(vec![brain_api?, embeddings?])
}

async fn ask(
    facts: &ClusterSnapshot,
    forwarder: &Forwarder,
    token: TokenName,
) -> Result<Probe, Failure> {
    let (place, service) = (facts.home_place(), server_of(token));
    let not_asked = |why: String| {
        Ok(Probe {
            service,
            outcome: ProbeOutcome::NotAsked(why),
        })
    };
    let Some(workload) = place.stateful_set(service) else {
        return not_asked(format!("there is no StatefulSet {service}"));
    };
    let Some(server) = Service::new(forwarder, workload, token) else {
        return not_asked(format!("the pods of {service} name no port"));
    };
    let right = place
        .live(ROUTER.secret)
        .and_then(|router| router.text(token.as_str()))
        .filter(|value| !value.is_empty());
    let wrong = environment::mint()?;
    let ask_right = async {
        match right {
            Some(right) => Some(server.ask(right).await),
            None => None,
        }
    };
    let (right, wrong) = tokio::join!(ask_right, server.ask(wrong.value()));
    Ok(Probe {
        service,
        outcome: ProbeOutcome::Asked { right, wrong },
    })
}

fn file_facts(path: &Path) -> FileFacts {
    let state = match tokens_file::read(path) {
        Ok(None) => FileState::Absent,
        Ok(Some(loaded)) => FileState::Read {
            tokens: loaded.file.tokens().clone(),
            loose: loaded.loose,
        },
        Err(failure) => FileState::Unusable(
            std::iter::once(failure.message)
                .chain(failure.causes)
                .collect::<Vec<_>>()
                .join(": "),
        ),
    };
    FileFacts {
        path: file_path(path),
        state,
        keeping: git::keeping(path),
    }
}

fn file_path(path: &Path) -> FilePath {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let quoted = |path: &Path| quote(&path.display().to_string());
    FilePath {
        shown: path.display().to_string(),
        quoted: quoted(path),
        folder: quoted(folder),
        name: quoted(path.file_name().map(Path::new).unwrap_or(path)),
    }
}
