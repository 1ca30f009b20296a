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
use crate::commands::shared::cluster::{connect, home_router, refuse_rotation, usable_fleet};
use crate::commands::shared::options::{fleet, wish};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::manifest::Manifest;
use crate::domain::plan::{Action, Plan, SecretBase, SecretPlan, Wish};
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
        writer: Writer::new(),
    };
    let tracker = if bootstrap.restart {
        Some(restart::before(&run.cluster, &global.namespace).await?)
    } else {
        None
    };
    let mut outcome = run.rounds().await;
    if let (Ok(()), Some(tracker), None) = (&outcome, tracker, run.writer.failures("Secrets")) {
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
    writer: Writer<SecretRef, Option<SecretBase>>,
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
        let found = self
            .cluster
            .observe(&self.wish.home, &BUNDLES, &self.fleet)
            .await?;
        let create_namespace = self.check_namespace(found.home)?;
        self.wish.fleet = usable_fleet(&found, &self.fleet, &self.reach, self.ui)?;
        let open = stored_state::of_cluster(home_router(&found.secrets, &self.wish.home));
        refuse_rotation(open, self.writer.started, &self.reach)?;
        let plan = Plan::for_secrets(&self.wish, &self.session.filed, &found.secrets);
        let store = StoreReach::default();
        self.writer.begin(&plan, &self.reach, &store)?;
        if !self.writer.started {
            self.announce(&plan, &found);
        }
        let tokens = self.save_tokens(&plan)?;
        self.writer.started = true;
        if create_namespace && plan.written().next().is_some() {
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
        let router = SecretRef::new(home, ROUTER.secret);
        let has_no_router = found
            .secrets
            .get(&router)
            .is_none_or(|found| found.live.is_none());
        let before = self.session.applied_to();
        if let Some(before) = before.filter(|_| plan.changes_anything() && has_no_router) {
            let file = self.global.tokens_file.display();
            let AppliedTo {
                server: other,
                namespace,
            } = before;
            if other != *server {
                self.ui.warn(&format!(
                    "the tokens in {file} were last applied to {other} (namespace {namespace}); \
                     {server} has none yet and now gets the same ones"
                ));
            } else if namespace != home.as_str() {
                self.ui.warn(&format!(
                    "the tokens in {file} were last applied to namespace {namespace}; {home} has none \
                     yet and now shares them; --tokens-file {file}.{home} keeps the two apart"
                ));
            }
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
        let router = SecretRef::new(&self.wish.home, ROUTER.secret);
        let (cluster, force) = (&self.cluster, self.wish.force_conflicts);
        let progress = self.ui.progress(plan.written().count(), "Secrets written");
        let write = async |secret: &SecretPlan| {
            let manifest = Manifest::of(secret, tokens, &now);
            let written = cluster.write(&manifest, force).await;
            progress.step();
            written
        };
        let name = router.name;
        self.writer.write(plan, &router, name, write).await
    }

    /// The answer of the run, with the result of each write.
    fn answer(self, outcome: Result<(), Failure>) -> Result<Answer, Failure> {
        let path = self.global.tokens_file.display().to_string();
        let Some(report) = self.writer.report(path, self.session.change) else {
            return outcome.map(|()| unreachable!("a plan was made"));
        };
        let failure = outcome.err().or_else(|| self.writer.failures("Secrets"));
        self.session.warn_about_git();
        let text = if failure.is_some() && !self.writer.started {
            String::new()
        } else {
            text::outcome(&report, self.ui.palette())
        };
        let places = &report.places;
        let is_created = places
            .iter()
            .any(|place| place.plan.action == Action::Create);
        let next = match is_created {
            true => Some(text::next_steps(&report, &self.wish.home, &self.reach)),
            false => text::restart_step(&report, &self.reach),
        };
        let server = Some(self.cluster.server.as_str());
        Ok(Answer {
            text,
            next: next.filter(|_| failure.is_none()),
            body: Body::of_secrets(&report, self.cluster.context.as_deref(), server),
            verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
        })
    }
}
