//! `verify`: is it all right, and if not, what mends it. Reads only.

use super::reach::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Verify};
use crate::domain::facts::{ClusterFacts, FileFacts, FilePath, FileState, Probe, ProbeOutcome};
use crate::domain::findings::check::{Check, Status};
use crate::domain::findings::{self, Case};
use crate::domain::live::LiveSecret;
use crate::domain::reach::Reach;
use crate::domain::tokens::TokenName;
use crate::domain::workloads::{BRAIN_API, EMBEDDINGS};
use crate::error::{Failure, Kind};
use crate::io::forward::{Ask, Forwarder};
use crate::io::{environment, git, tokens_file};
use crate::render::checks;
use crate::render::document::Body;
use crate::render::script::quote;
use crate::ui::Ui;
use http::Method;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long `--wait` pauses between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks once or, with `--wait`, until all is well or the time is over.
///
/// # Errors
/// An option that cannot be used.
pub async fn run(global: &Global, verify: &Verify, ui: Ui) -> Result<Answer, Failure> {
    let given = Given {
        fleet: Some(&verify.fleet),
        ..Given::default()
    };
    let reach = reach(global, given);
    let deadline = verify
        .wait
        .map(|wait| wait.0.and_then(|wait| Instant::now().checked_add(wait)));
    let mut told = String::new();
    let looked = loop {
        let looked = look(global, verify, &reach, ui).await?;
        // Without --wait the time is over at once; --wait=0 never is.
        let over = deadline.is_none_or(|end| end.is_some_and(|end| Instant::now() + PAUSE > end));
        if over || looked.is_well() {
            break looked;
        }
        let waiting_for = looked.waits_for();
        if waiting_for != told {
            ui.story(&format!("waiting for {waiting_for}"));
            told = waiting_for;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let Looked { checks, failure } = looked;
    let verdict = match failure {
        Some(failure) => Verdict::Failed(failure),
        None if findings::healthy(&checks) => Verdict::Yes,
        None => Verdict::No,
    };
    let shown = checks
        .iter()
        .filter(|check| checks::is_shown(check, verify.short));
    Ok(Answer {
        text: checks::text(&checks, verify.short, ui.palette()),
        next: None,
        body: Body::of_checks(shown),
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
    fn is_well(&self) -> bool {
        self.failure.is_none() && findings::healthy(&self.checks)
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

async fn look(global: &Global, verify: &Verify, reach: &Reach, ui: Ui) -> Result<Looked, Failure> {
    let file = file_facts(&global.tokens_file);
    let cluster = match gather(global, verify, reach, ui).await {
        Ok(cluster) => cluster,
        Err(failure) if failure.kind == Kind::Usage => return Err(failure),
        Err(failure) => {
            return Ok(Looked {
                checks: findings::without_cluster(&file, reach, &failure.message),
                failure: Some(failure),
            });
        }
    };
    let case = Case {
        file: &file,
        cluster: &cluster,
        reach,
        max_age: verify.max_age.0,
        live: verify.live,
    };
    let failure = findings::sees_nothing(&cluster).then(|| {
        Failure::unable(format!(
            "none of the Secrets in {} can be read",
            global.namespace
        ))
        .hint(format!(
            "have an administrator run: {} rbac verify{} --service-account NAMESPACE:NAME | {} \
             apply -f -",
            reach.program, reach.fleet, reach.kubectl
        ))
    });
    Ok(Looked {
        checks: findings::findings(&case),
        failure,
    })
}

/// Reads the cluster and, with `--live`, asks the services.
async fn gather(
    global: &Global,
    verify: &Verify,
    reach: &Reach,
    ui: Ui,
) -> Result<ClusterFacts, Failure> {
    let fleet = super::fleet(&verify.fleet);
    let copies = verify.copy.iter().cloned().collect();
    let cluster = super::connect(global, ui, "verify", reach).await?;
    let mut facts = cluster.inspect(&global.namespace, &fleet, &copies).await?;
    if verify.live {
        facts.probes = probe(global, &facts, reach).await?;
    }
    Ok(facts)
}

/// Asks both services with the right and with a wrong token.
async fn probe(
    global: &Global,
    facts: &ClusterFacts,
    reach: &Reach,
) -> Result<Vec<Probe>, Failure> {
    let forwarder = Forwarder::connect(&super::selection(global), &reach.kubectl).await?;
    let services = [
        (
            BRAIN_API,
            TokenName::KbRouterToken,
            (Method::GET, "/feed", None),
        ),
        (
            EMBEDDINGS,
            TokenName::EmbeddingsApiKey,
            // The key is checked before the body, so nothing is embedded and nothing billed.
            (Method::POST, "/embed", Some("{}")),
        ),
    ];
    let asked =
        services.map(|(service, token, request)| ask(facts, &forwarder, service, token, request));
    let [brain_api, embeddings] = asked;
    let (brain_api, embeddings) = tokio::join!(brain_api, embeddings);
    Ok(vec![brain_api?, embeddings?])
}

async fn ask(
    facts: &ClusterFacts,
    forwarder: &Forwarder,
    service: &'static str,
    token: TokenName,
    (method, path, json): (Method, &str, Option<&str>),
) -> Result<Probe, Failure> {
    let place = facts.home_place();
    let not_asked = |why: String| {
        Ok(Probe {
            service,
            outcome: ProbeOutcome::NotAsked(why),
        })
    };
    let Some(workload) = place
        .workloads
        .iter()
        .find(|workload| workload.name == service)
    else {
        return not_asked(match facts.is_denied("list", "statefulsets", &facts.home) {
            true => "not asked: you may not list statefulsets".to_owned(),
            false => format!("there is no StatefulSet {service}"),
        });
    };
    let mut containers = workload.spec.containers.iter();
    let Some(port) = containers.find_map(|container| container.port) else {
        return not_asked(format!("the pods of {service} name no port"));
    };
    let router = place.live(crate::domain::bundles::ROUTER.secret);
    let right = |router: &LiveSecret| router.text(token.as_str()).cloned();
    let Some(right) = router.and_then(right).filter(|value| !value.is_empty()) else {
        return not_asked(format!("the home namespace has no {token} to ask with"));
    };
    let wrong = environment::mint()?;
    let pod = format!("{service}-0");
    let with = |bearer| Ask {
        method: method.clone(),
        path,
        bearer,
        json,
    };
    let (with_right, with_wrong) = (with(&right), with(wrong.value()));
    let (right, wrong) = tokio::join!(
        forwarder.ask(&facts.home, &pod, port, &with_right),
        forwarder.ask(&facts.home, &pod, port, &with_wrong),
    );
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
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let quoted = |path: &Path| quote(&path.display().to_string());
    FileFacts {
        path: FilePath {
            shown: path.display().to_string(),
            quoted: quoted(path),
            folder: quoted(folder),
            name: quoted(path.file_name().map(Path::new).unwrap_or(path)),
        },
        state,
        keeping: git::keeping(path),
    }
}
