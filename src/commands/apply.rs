//! `--apply`: creates what is missing. Changes a live value only if an option names it.
//!
//! Read, plan, write, and repeat if another writer came first. The tokens file is written first,
//! then the home router Secret, which decides which tokens win, then every other Secret with a
//! token.

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use super::shared::restart;
use super::shared::tokens_session::TokensSession;
use super::shared::writer::{Writer, rounds};
use crate::cli::{Bootstrap, Global};
use crate::commands::shared::cluster::{
    connect, home_router, refusal, refuse_rotation, usable_fleet,
};
use crate::commands::shared::options::{fleet, wish};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::manifest::Manifest;
use crate::domain::plan::{Action, PlacePlan, Plan, SecretPlan, Wish};
use crate::domain::rotation::stored_state;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::domain::values::token::{PerToken, Token};
use crate::domain::values::tokens_file::AppliedTo;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::{FleetScope, Found};
use crate::io::local::environment;
use crate::io::written::Written;
use crate::render::json::Body;
use crate::render::report::{PlaceReport, Report};
use crate::render::text;
use crate::ui::Ui;

/// Creates what is missing.
///
/// # Errors
/// A failure before the first write; later failures are in the answer.
pub async fn run(global: &Global, bootstrap: &Bootstrap, ui: Ui) -> Result<Answer, Failure> {
    let wish = wish(global, &bootstrap.changes)?;
    let given = HintOptions {
        changes: Some(&bootstrap.changes),
        fleet: Some(&bootstrap.fleet),
        create_namespace: bootstrap.create_namespace,
    };
    let reach = reach(global, given);
    let session = TokensSession::open(&global.tokens_file, ui)?;
    let cluster = connect(global, ui, "apply", &reach).await?;
    let mut run = ApplyRun {
        global,
        reach,
        create_namespace: bootstrap.create_namespace,
        wish,
        fleet: fleet(&bootstrap.fleet),
        ui,
        cluster,
        session,
        plan: None,
        started: false,
        writer: Writer::new(),
    };
    let tracker = if bootstrap.restart {
        Some(restart::before(&run.cluster, &global.namespace).await?)
    } else {
        None
    };
    let mut outcome = run.rounds().await;
    if let (Ok(()), Some(tracker), None) = (&outcome, tracker, run.failures()) {
        let keys = bootstrap.changes.update.iter().copied().collect();
        outcome = restart::readers(&run.cluster, &global.namespace, &keys, tracker, ui).await;
    }
    run.answer(outcome)
}

/// A run and its progress.
struct ApplyRun<'a> {
    global: &'a Global,
    reach: HintContext,
    create_namespace: bool,
    wish: Wish,
    fleet: FleetScope,
    ui: Ui,
    cluster: Cluster,
    session: TokensSession,
    /// The newest plan.
    plan: Option<Plan>,
    /// Whether the writes of a plan have begun.
    started: bool,
    writer: Writer<SecretPlan>,
}

impl ApplyRun<'_> {
    async fn rounds(&mut self) -> Result<(), Failure> {
        rounds(async || self.round().await).await?.ok_or_else(|| {
            Failure::unable("something else keeps changing the Secrets during this run").hint(
                "find out what: kubectl get secrets --show-managed-fields -o yaml; then run this \
                 again",
            )
        })
    }

    /// Reads, plans and writes once. [`Written::Stale`] if that has to be repeated.
    async fn round(&mut self) -> Result<Written, Failure> {
        self.writer.forget_failures();
        let found = self
            .cluster
            .observe(&self.wish.home, &BUNDLES, &self.fleet)
            .await?;
        let create_namespace = self.check_namespace(found.home)?;
        self.wish.fleet = usable_fleet(&found, &self.fleet, &self.reach, self.ui)?;
        let open = stored_state::of_cluster(home_router(&found.secrets, &self.wish.home));
        refuse_rotation(open, self.started, &self.reach)?;
        let plan = Plan::new(&self.wish, &self.session.filed, &found.secrets);
        self.plan = Some(plan.clone());
        if !plan.refusals.is_empty() {
            let mut failure = refusal(&plan, &self.reach);
            if self.started {
                failure = failure.too_late();
            }
            return Err(failure);
        }
        if !self.started {
            self.announce(&plan, &found);
        }
        let tokens = self.save_tokens(&plan)?;
        self.started = true;
        if create_namespace && plan.secrets.iter().any(SecretPlan::is_written) {
            self.cluster.create_namespace(&self.wish.home).await?;
            self.ui
                .story(&format!("created namespace {}", self.wish.home));
        }
        Ok(self.write_secrets(&plan, &tokens).await)
    }

    /// True if the namespace has to be created.
    fn check_namespace(&self, state: NamespaceState) -> Result<bool, Failure> {
        let name = &self.wish.home;
        match state {
            NamespaceState::Active => Ok(false),
            // Creating may be allowed where reading is not. Creating an existing namespace is
            // harmless.
            NamespaceState::Absent | NamespaceState::Forbidden if self.create_namespace => Ok(true),
            NamespaceState::Forbidden => Ok(false),
            NamespaceState::Absent => Err(Failure::unable(format!(
                "namespace {name} does not exist"
            ))
            .hint(format!(
                "{} --create-namespace creates it",
                self.reach.apply
            ))),
            NamespaceState::Terminating => Err(Failure::unable(format!(
                "namespace {name} is being deleted"
            ))
            .hint("wait until it is gone, then run this again with --create-namespace")),
        }
    }

    /// Prints where this run writes, before it does.
    fn announce(&self, plan: &Plan, found: &Found) {
        for warning in &found.warnings {
            self.ui.warn(warning);
        }
        let (server, home) = (&self.cluster.server, &self.wish.home);
        let context = self.cluster.context.as_deref().unwrap_or("in-cluster");
        let fleet = match self.wish.fleet.iter().filter(|name| *name != home).count() {
            0 => String::new(),
            1 => " and 1 fleet namespace".to_owned(),
            count => format!(" and {count} fleet namespaces"),
        };
        self.ui.story(&format!(
            "applying to context {context} ({server}), namespace {home}{fleet}"
        ));
        let router = SecretRef {
            namespace: home.clone(),
            name: ROUTER.secret,
        };
        let has_no_router = found
            .secrets
            .get(&router)
            .is_none_or(|found| found.live.is_none());
        if let Some(before) = self.session.applied_to()
            && plan.changes_anything()
            && has_no_router
            && before.server != *server
        {
            self.ui.warn(&format!(
                "the tokens in {} were last applied to {} (namespace {}); {server} has none yet \
                 and now gets the same ones",
                self.global.tokens_file.display(),
                before.server,
                before.namespace
            ));
        }
    }

    /// Mints the missing tokens and writes the tokens file, before any server gets a token.
    fn save_tokens(&mut self, plan: &Plan) -> Result<PerToken<Token>, Failure> {
        let applied_to = AppliedTo {
            server: self.cluster.server.clone(),
            namespace: self.wish.home.to_string(),
        };
        let changes = plan.changes_anything();
        self.session
            .save(&plan.tokens, plan.file, Some(&applied_to), changes)
    }

    async fn write_secrets(&mut self, plan: &Plan, tokens: &PerToken<Token>) -> Written {
        let now = environment::now();
        let router = SecretRef {
            namespace: self.wish.home.clone(),
            name: ROUTER.secret,
        };
        let (cluster, force) = (&self.cluster, self.wish.force_conflicts);
        let count = plan
            .secrets
            .iter()
            .filter(|secret| secret.is_written())
            .count();
        let progress = self.ui.progress(count, "Secrets written");
        let write = async |secret: &SecretPlan| {
            let manifest = Manifest::of(secret, tokens, &now);
            let written = cluster.write(&manifest, force).await;
            progress.step();
            written
        };
        self.writer
            .write(&plan.secrets, &router, router.name, write)
            .await
    }

    /// The answer of the run, with the result of each write.
    fn answer(self, outcome: Result<(), Failure>) -> Result<Answer, Failure> {
        let Some(plan) = &self.plan else {
            return outcome.map(|()| unreachable!("a plan was made"));
        };
        let mut report = Report::of_plan(plan, self.global.tokens_file.display().to_string());
        report.context.clone_from(&self.cluster.context);
        report.server = Some(self.cluster.server.clone());
        if self.started {
            report.file.change = self.session.change;
            for secret in &mut report.secrets {
                self.fill_in_result(secret, outcome.is_err());
            }
        }
        let verdict = match outcome.err().or_else(|| self.failures()) {
            Some(failure) => Verdict::Failed(failure),
            None => Verdict::Yes,
        };
        self.session.warn_about_git();
        let text = if matches!(verdict, Verdict::Failed(_)) && !self.started {
            String::new()
        } else {
            text::outcome(&report, self.ui.palette())
        };
        let created = report
            .secrets
            .iter()
            .any(|secret| secret.plan.action == Action::Create);
        let next = (created && matches!(verdict, Verdict::Yes))
            .then(|| text::next_steps(&report, &self.wish.home, &self.reach));
        Ok(Answer {
            text,
            next,
            body: Body::from(&report),
            verdict,
        })
    }

    /// Puts the result of a write into the report. `interrupted` is true if the run ended early.
    fn fill_in_result(&self, secret: &mut PlaceReport<SecretPlan>, interrupted: bool) {
        match self.writer.result(&secret.plan.at) {
            Some((plan, failure)) => {
                secret.plan = plan.clone();
                secret.failed = failure.map(Failure::describe);
            }
            None if interrupted && secret.plan.is_written() => {
                secret.failed = Some("not written".to_owned());
            }
            None => {}
        }
    }

    fn failures(&self) -> Option<Failure> {
        self.writer.failures(self.wish.targets().count(), "Secrets")
    }
}
