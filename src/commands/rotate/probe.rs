//! Probes the servers after a rollout: after open they accept both tokens, after close only the new
//! one. It must not change anything.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::wait::{CurrentWait, Next, WaitFor};
use crate::commands::shared::options::selection;
use crate::commands::shared::wait::Wait;
use crate::commands::verify::{EMBED, FEED, Question};
use crate::domain::cluster::snapshot::Reply;
use crate::domain::cluster::workload::{Workload, first_pod};
use crate::domain::rotation::workloads::{reads_router_secret, server_of};
use crate::domain::rotation::{Rotation, Side, TokenValues};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::kube::port_forward::{Ask, Forwarder};
use crate::io::local::environment;
use std::time::Duration;

/// How long a wrong answer is tolerated after a rollout.
const LIMIT: Duration = Duration::from_secs(5);

/// The answer of a server to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ProbeResult {
    Accepts,
    Refuses,
    /// Neither, with the reason.
    Silent(String),
}

/// The answers of one server.
#[derive(Default)]
struct Answers {
    wrong: Vec<String>,
    right: Vec<String>,
    /// Why an answer is neither.
    silent: Option<String>,
    accepts_any: bool,
}

/// Probes every server of the rotation, and waits if one gives a wrong answer. A server that gives no
/// answer is reported, and is not an error.
///
/// # Errors
/// A server accepts or refuses the wrong token (exit code 3).
pub(super) async fn prove(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    values: &TokenValues,
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    let wait = wait.enter(WaitFor::Servers, Some(LIMIT));
    let forwarder = Forwarder::connect(&selection(run.global), &run.reach.kubectl).await?;
    for (name, place) in &snapshot.facts.places {
        for (token, _) in rotation.changes() {
            let service = server_of(token);
            let is_here = match token {
                TokenName::KbRouterToken => reads_router_secret(place),
                TokenName::EmbeddingsApiKey => *name == snapshot.facts.home,
            };
            let Some(workload) = place.stateful_set(service).filter(|_| is_here) else {
                continue;
            };
            if workload.rollout.wanted == 0 {
                continue;
            }
            let Some(port) = workload.spec.port() else {
                let line = format!("  not probed: the pods of {workload} have no port");
                wait.say(run.ui, line);
                continue;
            };
            let server = Server {
                forwarder: &forwarder,
                workload,
                port,
                question: match token {
                    TokenName::KbRouterToken => FEED,
                    TokenName::EmbeddingsApiKey => EMBED,
                },
            };
            let answers = server.probe(rotation, values, token).await?;
            if answers.wrong.is_empty() {
                report(run, workload, &answers, wait);
            } else if wait.is_over() {
                return Err(wrong_failure(run, rotation, workload, answers.wrong));
            } else {
                return Ok(Next::Pause);
            }
        }
    }
    Ok(Next::Step)
}

fn report(run: &RotateRun<'_>, workload: &Workload, answers: &Answers, wait: &mut Wait) {
    wait.say(
        run.ui,
        match &answers.silent {
            Some(why) => format!("  not proven: {workload} gave no answer ({why})"),
            None => format!("  {workload}: proven, it {}", answers.right.join(" and ")),
        },
    );
    if answers.accepts_any {
        run.ui.warn(&format!("{workload} accepts any token"));
    }
}

fn wrong_failure(
    run: &RotateRun<'_>,
    rotation: &Rotation,
    workload: &Workload,
    wrong: Vec<String>,
) -> Failure {
    let mut failure = Failure::unable(format!(
        "{workload} has rolled out, but does not use the tokens of its Secret, so the rotation \
         stays in {}",
        rotation.phase
    ));
    failure.causes = wrong;
    failure.hint(format!(
        "see the source of its environment: {} -n {} get statefulset {} -o yaml; then: {}",
        run.reach.kubectl,
        workload.namespace,
        workload.name,
        run.carry_on_command()
    ))
}

struct Server<'a> {
    forwarder: &'a Forwarder,
    workload: &'a Workload,
    port: u16,
    question: Question,
}

impl Server<'_> {
    /// Asks with both tokens, and with an unknown one.
    async fn probe(
        &self,
        rotation: &Rotation,
        values: &TokenValues,
        token: TokenName,
    ) -> Result<Answers, Failure> {
        let row = rotation.phase.row();
        let unknown = environment::mint()?;
        let mut answers = Answers {
            accepts_any: self.ask(unknown.value()).await == ProbeResult::Accepts,
            ..Answers::default()
        };
        for side in [Side::Old, Side::New] {
            let Some(value) = values.get(token, side) else {
                continue;
            };
            let (side, is_valid) = (side.as_str(), row.both || side == row.sent);
            match self.ask(value.value()).await {
                ProbeResult::Silent(why) => answers.silent = Some(why),
                ProbeResult::Accepts if !is_valid && !answers.accepts_any => answers
                    .wrong
                    .push(format!("it still accepts the {side} {token}")),
                ProbeResult::Refuses if is_valid => {
                    answers.wrong.push(format!("it refuses the {side} {token}"));
                }
                ProbeResult::Accepts => {
                    answers.right.push(format!("accepts the {side} {token}"));
                }
                ProbeResult::Refuses => {
                    answers.right.push(format!("refuses the {side} {token}"));
                }
            }
        }
        Ok(answers)
    }

    async fn ask(&self, bearer: &SecretValue) -> ProbeResult {
        let (method, path, json) = &self.question;
        let ask = Ask {
            method: method.clone(),
            path,
            bearer,
            json: *json,
        };
        let Workload {
            namespace, name, ..
        } = self.workload;
        let pod = first_pod(name);
        match self.forwarder.ask(namespace, &pod, self.port, &ask).await {
            Reply::Status(401 | 403) => ProbeResult::Refuses,
            Reply::Status(code @ (500..=599 | 404)) => {
                ProbeResult::Silent(format!("status {code}"))
            }
            Reply::Status(_) => ProbeResult::Accepts,
            Reply::Forbidden => ProbeResult::Silent("you may not forward ports there".to_owned()),
            Reply::Unreachable(why) => ProbeResult::Silent(why),
        }
    }
}
