//! `verify`: is it all right, and if not, what mends it. Reads only.

pub(crate) mod store;

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Verify};
use crate::commands::shared::cluster::connect;
use crate::commands::shared::options::{fleet, selection};
use crate::domain::checks::check::{Check, Status};
use crate::domain::checks::{self, Case};
use crate::domain::cluster::snapshot::{
    ClusterSnapshot, FileFacts, FilePath, FileState, Probe, ProbeOutcome,
};
use crate::domain::cluster::workload::{BRAIN_API, EMBEDDINGS, first_pod};
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::Rotation;
use crate::domain::rotation::elsewhere;
use crate::domain::table::ROUTER;
use crate::domain::values::token::TokenName;
use crate::error::{Failure, Kind};
use crate::io::kube::client::Cluster;
use crate::io::kube::port_forward::{Ask, Forwarder};
use crate::io::local::{environment, git, tokens_file};
use crate::render::checks as rendered;
use crate::render::json::Body;
use crate::render::script::quote;
use crate::ui::Ui;
use http::Method;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// What a service is asked: method, path, and a body of JSON.
pub type Question = (Method, &'static str, Option<&'static str>);
/// What brain-api is asked.
pub const FEED: Question = (Method::GET, "/feed", None);
/// What the embeddings service is asked. It checks the key before the body, so nothing is embedded
/// and nothing billed.
pub const EMBED: Question = (Method::POST, "/embed", Some("{}"));

/// How long `--wait` pauses between two looks at least.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks once or, with `--wait`, until all is well or the time is over.
///
/// # Errors
/// An option that cannot be used.
pub async fn run(global: &Global, verify: &Verify, ui: Ui) -> Result<Answer, Failure> {
    let given = HintOptions {
        fleet: Some(&verify.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, given);
    let looked = match connect(global, ui, "verify", &reach).await {
        Ok(cluster) => {
            let session = Session {
                global,
                verify,
                reach: &reach,
                cluster,
                ui,
            };
            session.watch().await?
        }
        Err(failure) => Looked::nothing(&file_facts(&global.tokens_file), &reach, failure),
    };
    let Looked { checks, failure } = looked;
    let known = failure.is_none();
    let verdict = match failure {
        Some(failure) => Verdict::Failed(failure),
        None if checks::healthy(&checks) => Verdict::Yes,
        None => Verdict::No,
    };
    let text = rendered::text(&checks, known, verify.short, ui.palette());
    let mut shown = checks;
    shown.retain(|check| rendered::is_shown(check, verify.short));
    Ok(Answer {
        text,
        next: None,
        body: Body::Checks { checks: shown },
        verdict,
    })
}

/// What one look found.
struct Looked {
    checks: Vec<Check>,
    /// Why it could not see what it had to.
    failure: Option<Failure>,
}

impl Looked {
    /// The cluster could not be asked.
    fn nothing(file: &FileFacts, reach: &HintContext, failure: Failure) -> Self {
        Self {
            checks: checks::without_cluster(file, reach, &failure.message),
            failure: Some(failure),
        }
    }

    fn is_well(&self) -> bool {
        self.failure.is_none() && checks::healthy(&self.checks)
    }

    fn waits_for(&self) -> String {
        let failed = self.checks.iter();
        let mut ids: Vec<_> = failed
            .filter(|check| check.status == Status::Fail)
            .map(|check| check.id.as_str())
            .collect();
        ids.dedup();
        match ids.is_empty() {
            true => "the cluster".to_owned(),
            false => ids.join(", "),
        }
    }
}

/// A connection, and what is to be looked at.
struct Session<'a> {
    global: &'a Global,
    verify: &'a Verify,
    reach: &'a HintContext,
    cluster: Cluster,
    ui: Ui,
}

impl Session<'_> {
    /// Looks, with `--wait` again and again.
    async fn watch(&self) -> Result<Looked, Failure> {
        let begun = Instant::now();
        // Without --wait the time is over at once; --wait=0 has no end.
        let end = match self.verify.wait {
            None => Some(begun),
            Some(wait) => wait.0.and_then(|wait| begun.checked_add(wait)),
        };
        let mut told = String::new();
        loop {
            let started = Instant::now();
            let looked = self.look().await?;
            let now = Instant::now();
            if looked.is_well() || end.is_some_and(|end| now >= end) {
                return Ok(looked);
            }
            let waiting_for = looked.waits_for();
            if waiting_for != told {
                self.ui.story(&format!("waiting for {waiting_for}"));
                told = waiting_for;
            }
            // A look that takes long is not repeated at once.
            let next = now + PAUSE.max(now - started);
            tokio::time::sleep_until(end.map_or(next, |end| next.min(end))).await;
        }
    }

    async fn look(&self) -> Result<Looked, Failure> {
        let (global, verify, reach) = (self.global, self.verify, self.reach);
        let file = file_facts(&global.tokens_file);
        let cluster = match self.gather().await {
            Ok(cluster) => cluster,
            Err(failure) if failure.kind == Kind::Usage => return Err(failure),
            Err(failure) => return Ok(Looked::nothing(&file, reach, failure)),
        };
        let router = cluster.home_place().secrets.get(ROUTER.secret);
        let rotation = elsewhere::of_cluster(router);
        let case = Case {
            file: &file,
            cluster: &cluster,
            reach,
            since: rotation.as_ref().ok().and_then(|it| opened(it.as_ref()?)),
            rotation,
            max_age: verify.max_age.0,
            max_overlap: verify.max_overlap.0,
            live: verify.live,
            copies: &verify.copy,
        };
        let failure = checks::sees_nothing(&cluster).then(|| {
            let home = &global.namespace;
            Failure::unable(format!("none of the Secrets in {home} can be read"))
                .hint(format!("have an administrator run: {}", case.role_hint()))
        });
        Ok(Looked {
            checks: checks::findings(&case),
            failure,
        })
    }

    /// Reads the cluster and, with `--live`, asks the services.
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

/// When a rotation was opened, in seconds since 1970.
fn opened(rotation: &Rotation) -> Option<i64> {
    let since: jiff::Timestamp = rotation.since.parse().ok()?;
    Some(since.as_second())
}

/// Asks both services with the right and with a wrong token.
async fn probe(
    global: &Global,
    facts: &ClusterSnapshot,
    reach: &HintContext,
) -> Result<Vec<Probe>, Failure> {
    let forwarder = Forwarder::connect(&selection(global), &reach.kubectl).await?;
    let services = [
        (BRAIN_API, TokenName::KbRouterToken, FEED),
        (EMBEDDINGS, TokenName::EmbeddingsApiKey, EMBED),
    ];
    let asked =
        services.map(|(service, token, request)| ask(facts, &forwarder, service, token, request));
    let [brain_api, embeddings] = asked;
    let (brain_api, embeddings) = tokio::join!(brain_api, embeddings);
    Ok(vec![brain_api?, embeddings?])
}

async fn ask(
    facts: &ClusterSnapshot,
    forwarder: &Forwarder,
    service: &'static str,
    token: TokenName,
    (method, path, json): Question,
) -> Result<Probe, Failure> {
    let place = facts.home_place();
    let not_asked = |why: String| {
        Ok(Probe {
            service,
            outcome: ProbeOutcome::NotAsked(why),
        })
    };
    let Some(workload) = place.stateful_set(service) else {
        return not_asked(format!("there is no StatefulSet {service}"));
    };
    let mut containers = workload.spec.containers.iter();
    let Some(port) = containers.find_map(|container| container.port) else {
        return not_asked(format!("the pods of {service} name no port"));
    };
    let router = place.live(ROUTER.secret);
    let right = router.and_then(|router| router.text(token.as_str()));
    let right = right.filter(|value| !value.is_empty());
    let wrong = environment::mint()?;
    let pod = first_pod(service);
    let ask = async |bearer| {
        let ask = Ask {
            method: method.clone(),
            path,
            bearer,
            json,
        };
        forwarder.ask(&facts.home, &pod, port, &ask).await
    };
    let ask_right = async {
        match right {
            Some(right) => Some(ask(right).await),
            None => None,
        }
    };
    let (right, wrong) = tokio::join!(ask_right, ask(wrong.value()));
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
