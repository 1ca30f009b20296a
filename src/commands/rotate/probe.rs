//! Asking the services: after `open` they accept both tokens, after `close` the old one no more.

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

/// How long a server may contradict before that counts.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// How a server stands to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ProbeResult {
    Accepts,
    Refuses,
    Silent(String),
}

/// Asks every server of the rotation.
///
/// # Errors
/// One that contradicts (exit code 3). One that gives no answer is told of.
pub async fn prove(
    run: &RotateRun<'_>,
    look: &Snapshot,
    rotation: &Rotation,
    values: &TokenValues,
) -> Result<(), Failure> {
    let selection = selection(run.global);
    let forwarder = Forwarder::connect(&selection, &run.reach.kubectl).await?;
    for (name, place) in &look.facts.places {
        for (token, _) in rotation.changes() {
            let service = server_of(token);
            let here = match token {
                TokenName::KbRouterToken => reads_router_secret(place),
                TokenName::EmbeddingsApiKey => *name == look.facts.home,
            };
            let Some(workload) = place.stateful_set(service).filter(|_| here) else {
                continue;
            };
            if workload.rollout.wanted == 0 {
                continue;
            }
            let mut containers = workload.spec.containers.iter();
            let Some(port) = containers.find_map(|container| container.port) else {
                run.ui
                    .story(&format!("  not asked: the pods of {workload} name no port"));
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
        let end = Instant::now() + PATIENCE;
        loop {
            let wrong = environment::mint()?;
            let open_door = self.ask(wrong.value()).await == ProbeResult::Accepts;
            let (mut wrongly, mut rightly) = (Vec::new(), Vec::new());
            let mut silent = None;
            for side in [Side::Old, Side::New] {
                let Some(value) = values.get(token, side) else {
                    continue;
                };
                let (side, accepted) = (side.as_str(), row.both || side == row.sent);
                match self.ask(value.value()).await {
                    ProbeResult::Silent(why) => silent = Some(why),
                    ProbeResult::Accepts if !accepted && !open_door => {
                        wrongly.push(format!("it still accepts the {side} {token}"));
                    }
                    ProbeResult::Refuses if accepted => {
                        wrongly.push(format!("it refuses the {side} {token}"));
                    }
                    ProbeResult::Accepts => rightly.push(format!("accepts the {side} {token}")),
                    ProbeResult::Refuses => rightly.push(format!("refuses the {side} {token}")),
                }
            }
            if wrongly.is_empty() {
                run.ui.story(&match silent {
                    Some(why) => format!(
                        "  not proven: StatefulSet {namespace}/{service} gave no answer ({why})"
                    ),
                    None => format!(
                        "  StatefulSet {namespace}/{service}: proven, it {}",
                        rightly.join(" and ")
                    ),
                });
                if open_door {
                    run.ui.warn(&format!(
                        "StatefulSet {namespace}/{service} lets everybody in, whatever the token"
                    ));
                }
                return Ok(());
            }
            if Instant::now() >= end {
                let mut failure = Failure::unable(format!(
                    "StatefulSet {namespace}/{service} has rolled out and does not do what its \
                     Secret says, so the rotation stays in {}",
                    rotation.phase
                ));
                failure.causes = wrongly;
                return Err(failure.hint(format!(
                    "see where its pods take their environment from: {} -n {namespace} get \
                     statefulset {service} -o yaml; then: {}",
                    run.reach.kubectl,
                    run.carry_on()
                )));
            }
            sleep(PAUSE).await;
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
