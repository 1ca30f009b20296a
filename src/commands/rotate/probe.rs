//! Probes the servers after a rollout: after open they accept both tokens, after close only the new
//! one. It must not change anything.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use crate::commands::shared::options::selection;
use crate::commands::verify::{EMBED, FEED, Question};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::Reply;
use crate::domain::cluster::workload::first_pod;
use crate::domain::rotation::workloads::{reads_router_secret, server_of};
use crate::domain::rotation::{Rotation, Side, TokenValues};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::kube::port_forward::{Ask, Forwarder};
use crate::io::local::environment;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a wrong answer is tolerated after a rollout.
const LIMIT: Duration = Duration::from_secs(5);
/// The pause between two probes.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The answer of a server to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ProbeResult {
    Accepts,
    Refuses,
    /// Neither, with the reason.
    Silent(String),
}

/// Probes every server of the rotation. A server that gives no answer is reported, and is not an
/// error.
///
/// # Errors
/// A server accepts or refuses the wrong token (exit code 3).
pub async fn prove(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    rotation: &Rotation,
    values: &TokenValues,
) -> Result<(), Failure> {
    let selection = selection(run.global);
    let forwarder = Forwarder::connect(&selection, &run.reach.kubectl).await?;
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
            let Some(port) = workload
                .spec
                .containers
                .iter()
                .find_map(|container| container.port)
            else {
                run.ui.story(&format!(
                    "  not probed: the pods of {workload} have no port"
                ));
                continue;
            };
            let server = Server {
                forwarder: &forwarder,
                namespace: name,
                service,
                port,
                question: match token {
                    TokenName::KbRouterToken => FEED,
                    TokenName::EmbeddingsApiKey => EMBED,
                },
            };
            server.prove(run, rotation, values, token).await?;
        }
    }
    Ok(())
}

struct Server<'a> {
    forwarder: &'a Forwarder,
    namespace: &'a Namespace,
    service: &'static str,
    port: u16,
    question: Question,
}

impl Server<'_> {
    async fn prove(
        &self,
        run: &RotateRun<'_>,
        rotation: &Rotation,
        values: &TokenValues,
        token: TokenName,
    ) -> Result<(), Failure> {
        let row = rotation.phase.row();
        let (namespace, service) = (self.namespace, self.service);
        let end = Instant::now() + LIMIT;
        loop {
            let unknown = environment::mint()?;
            let accepts_any = self.ask(unknown.value()).await == ProbeResult::Accepts;
            let (mut wrong, mut right) = (Vec::new(), Vec::new());
            let mut silent = None;
            for side in [Side::Old, Side::New] {
                let Some(value) = values.get(token, side) else {
                    continue;
                };
                let (side, is_valid) = (side.as_str(), row.both || side == row.sent);
                match self.ask(value.value()).await {
                    ProbeResult::Silent(why) => silent = Some(why),
                    ProbeResult::Accepts if !is_valid && !accepts_any => {
                        wrong.push(format!("it still accepts the {side} {token}"));
                    }
                    ProbeResult::Refuses if is_valid => {
                        wrong.push(format!("it refuses the {side} {token}"));
                    }
                    ProbeResult::Accepts => right.push(format!("accepts the {side} {token}")),
                    ProbeResult::Refuses => right.push(format!("refuses the {side} {token}")),
                }
            }
            if wrong.is_empty() {
                run.ui.story(&match silent {
                    Some(why) => format!(
                        "  not proven: StatefulSet {namespace}/{service} gave no answer ({why})"
                    ),
                    None => format!(
                        "  StatefulSet {namespace}/{service}: proven, it {}",
                        right.join(" and ")
                    ),
                });
                if accepts_any {
                    run.ui.warn(&format!(
                        "StatefulSet {namespace}/{service} accepts any token"
                    ));
                }
                return Ok(());
            }
            if Instant::now() >= end {
                let mut failure = Failure::unable(format!(
                    "StatefulSet {namespace}/{service} has rolled out, but does not use the tokens \
                     of its Secret, so the rotation stays in {}",
                    rotation.phase
                ));
                failure.causes = wrong;
                return Err(failure.hint(format!(
                    "see the source of its environment: {} -n {namespace} get \
                     statefulset {service} -o yaml; then: {}",
                    run.reach.kubectl,
                    run.carry_on_command()
                )));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn ask(&self, bearer: &SecretValue) -> ProbeResult {
        let (method, path, json) = &self.question;
        let ask = Ask {
            method: method.clone(),
            path,
            bearer,
            json: *json,
        };
        let pod = first_pod(self.service);
        match self
            .forwarder
            .ask(self.namespace, &pod, self.port, &ask)
            .await
        {
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
