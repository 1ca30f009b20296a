//! Probes the servers after a rollout: after open they accept both tokens, after close only the new
//! one. It must not change anything.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::wait::{CurrentWait, Next, WaitFor};
use crate::commands::shared::options::selection;
use crate::commands::shared::service::Service;
use crate::commands::shared::wait::Wait;
use crate::domain::cluster::snapshot::Reply;
use crate::domain::cluster::workload::Workload;
use crate::domain::rotation::workloads::{WorkloadRef, reads_router_secret, server_of};
use crate::domain::rotation::{Rotation, Side, TokenValues};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::kube::port_forward::Forwarder;
use crate::io::local::environment;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long a server's wrong answers are tolerated after a rollout.
const LIMIT: Duration = Duration::from_secs(5);

/// What the probes of one phase have shown so far.
#[derive(Default)]
pub(super) struct Proofs {
    mark: String,
    /// The servers that are not asked again: they answered right, or gave no answer.
    done: BTreeSet<WorkloadRef>,
    /// When a server gave its first wrong answer.
    wrong_since: BTreeMap<WorkloadRef, Instant>,
}

impl Proofs {
    /// Forgets what was shown in another phase.
    fn enter(&mut self, mark: String) {
        if self.mark != mark {
            *self = Self {
                mark,
                ..Self::default()
            };
        }
    }

    /// Records the answers of a server. Returns whether it has answered wrong for too long.
    fn record(&mut self, at: WorkloadRef, is_wrong: bool, now: Instant) -> bool {
        if !is_wrong {
            self.done.insert(at);
            return false;
        }
        let since = *self.wrong_since.entry(at).or_insert(now);
        now.duration_since(since) >= LIMIT
    }
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
    proofs: &mut Proofs,
    wait: &mut CurrentWait,
) -> Result<Next, Failure> {
    // Each server has a limit of its own: a silent one takes longer than that.
    let wait = wait.enter(WaitFor::Servers, None);
    proofs.enter(rotation.mark());
    let mut next = Next::Step;
    let forwarder = Forwarder::connect(&selection(run.global), &run.reach.kubectl).await?;
    for (name, place) in &snapshot.facts.places {
        for (token, _) in rotation.changes() {
            let is_here = match token {
                TokenName::KbRouterToken => reads_router_secret(place),
                TokenName::EmbeddingsApiKey => *name == snapshot.facts.home,
            };
            let Some(workload) = place.stateful_set(server_of(token)).filter(|_| is_here) else {
                continue;
            };
            let at = WorkloadRef::of(workload);
            if workload.rollout.wanted == 0 || proofs.done.contains(&at) {
                continue;
            }
            let Some(server) = Service::new(&forwarder, workload, token) else {
                let line = format!("  not probed: the pods of {workload} have no port");
                wait.say(run.ui, line);
                continue;
            };
            let answers = probe(&server, rotation, values, token).await?;
            let is_wrong = !answers.wrong.is_empty();
            if proofs.record(at, is_wrong, Instant::now()) {
                return Err(wrong_failure(run, rotation, workload, answers.wrong));
            } else if is_wrong {
                next = Next::Pause;
            } else {
                report(run, workload, &answers, wait);
            }
        }
    }
    Ok(next)
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

/// Asks with both tokens, and with an unknown one.
async fn probe(
    server: &Service<'_>,
    rotation: &Rotation,
    values: &TokenValues,
    token: TokenName,
) -> Result<Answers, Failure> {
    let row = rotation.phase.row();
    let unknown = environment::mint()?;
    let mut answers = Answers {
        accepts_any: ask(server, unknown.value()).await == Ok(true),
        ..Answers::default()
    };
    for side in [Side::Old, Side::New] {
        let Some(value) = values.get(token, side) else {
            continue;
        };
        let (name, is_valid) = (side.as_str(), row.both || side == row.sent);
        match ask(server, value.value()).await {
            Err(why) => answers.silent = Some(why),
            Ok(true) if !is_valid && !answers.accepts_any => answers
                .wrong
                .push(format!("it still accepts the {name} {token}")),
            Ok(false) if is_valid => answers.wrong.push(format!("it refuses the {name} {token}")),
            Ok(true) => answers.right.push(format!("accepts the {name} {token}")),
            Ok(false) => answers.right.push(format!("refuses the {name} {token}")),
        }
    }
    Ok(answers)
}

/// Returns whether the server accepts the token.
///
/// # Errors
/// The reason why that is unknown.
async fn ask(server: &Service<'_>, bearer: &SecretValue) -> Result<bool, String> {
    match server.ask(bearer).await {
        Reply::Status(401 | 403) => Ok(false),
        Reply::Status(code @ (500..=599 | 404)) => Err(format!("status {code}")),
        Reply::Status(_) => Ok(true),
        Reply::Forbidden => Err("you may not forward ports there".to_owned()),
        Reply::Unreachable(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::names::{Namespace, WorkloadKind};

    fn server(name: &str) -> WorkloadRef {
        WorkloadRef {
            namespace: Namespace::default(),
            kind: WorkloadKind::StatefulSet,
            name: name.to_owned(),
        }
    }

    #[test]
    fn each_server_has_its_own_time_to_answer_right() {
        let (silent, late) = (server("silent"), server("late"));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut proofs = Proofs::default();
        proofs.enter("0123abcd.open".to_owned());
        assert!(!proofs.record(silent.clone(), false, start));
        // The requests to the silent server took longer than the limit.
        assert!(!proofs.record(late.clone(), true, after(20)));
        proofs.enter("0123abcd.open".to_owned());
        assert!(proofs.done.contains(&silent) && !proofs.done.contains(&late));
        assert!(!proofs.record(late.clone(), true, after(24)));
        assert!(proofs.record(late.clone(), true, after(25)));
        // In the next phase all servers are asked again.
        proofs.enter("0123abcd.close".to_owned());
        assert!(proofs.done.is_empty());
        assert!(!proofs.record(late.clone(), true, after(60)));
        assert!(!proofs.record(late.clone(), false, after(61)));
        assert!(proofs.done.contains(&late));
    }
}
