//! `migrate`: moves plain Secrets to the secret store without changing a value.
//!
//! The store gets the fields that it lacks. Each entry is then compared with its Secret twice: read
//! directly, and read by the operator through a short-lived ExternalSecret with another target.
//! Only then the ExternalSecrets are created that hand the Secrets over to the operator.

mod act;
pub(crate) mod rollback;

use super::externalsecrets::manifests;
use super::shared::answer::{Answer, Verdict};
use super::shared::eso::{check_home, check_ready, externals, find_store, served};
use super::shared::hint_context::{HintOptions, reach};
use super::shared::store_apply::Backend;
use crate::cli::{Global, Migrate, StoreLayout};
use crate::commands::shared::cluster::{connect, home_router, usable_fleet};
use crate::commands::shared::options::{fleet, layout};
use crate::commands::shared::tokens_file::filed;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{
    ExternalSecret, Provider, SecretStore, StoreKind, StoreRef, VERSIONS,
};
use crate::domain::eso::store_entry::{Entries, Layout};
use crate::domain::hint_context::HintContext;
use crate::domain::migration::{Destination, MigrationPlan};
use crate::domain::plan::Filed;
use crate::domain::rotation::stored_state;
use crate::domain::table::BUNDLES;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::{FleetScope, Found};
use crate::io::local::tokens_file;
use crate::io::store::{self, Store};
use crate::render::json::Body;
use crate::render::migration as rendered;
use crate::render::migration::{Addition, MigrationBody, MoveResult};
use crate::ui::{Format, Ui};
use std::collections::BTreeSet;

/// Moves the Secrets, previews that, or rolls back.
///
/// # Errors
/// A failure before the first write; later failures are in the answer.
pub async fn run(global: &Global, migrate: &Migrate, ui: Ui) -> Result<Answer, Failure> {
    let (Some(prefix), Some(store)) = (&migrate.prefix, &migrate.store) else {
        return rollback::run(global, migrate, ui).await;
    };
    let layout = layout(&StoreLayout {
        prefix: prefix.clone(),
        path: migrate.path.clone(),
    })?;
    let store = StoreRef {
        kind: migrate.store_kind,
        name: store.clone(),
    };
    if ui.format == Format::Yaml {
        if migrate.fleet.fleet_selector.is_some() {
            return Err(Failure::usage(
                "-o yaml contacts no server, so it cannot select namespaces",
            )
            .hint("name them with --fleet-namespace"));
        }
        let fleet = &migrate.fleet.fleet_namespace;
        return Ok(manifests(&global.namespace, fleet, &layout, &store));
    }
    let reach = reach(global, HintOptions::of_fleet(&migrate.fleet));
    let run = MigrateRun::new(global, migrate, (layout, store), reach, ui).await?;
    if migrate.apply {
        run.apply().await
    } else {
        run.preview().await
    }
}

/// A run of `migrate` towards the store.
struct MigrateRun<'a> {
    global: &'a Global,
    ui: Ui,
    reach: HintContext,
    cluster: Cluster,
    version: &'static str,
    layout: Layout,
    store: StoreRef,
    fleet: FleetScope,
    /// A direct connection to the store, if the environment names one.
    direct: Option<Store>,
}

/// What was read, and the plan made from it.
struct Snapshot {
    found: Found,
    externals: Vec<ExternalSecret>,
    plan: MigrationPlan,
}

impl<'a> MigrateRun<'a> {
    async fn new(
        global: &'a Global,
        migrate: &Migrate,
        (layout, store): (Layout, StoreRef),
        reach: HintContext,
        ui: Ui,
    ) -> Result<Self, Failure> {
        let cluster = connect(global, ui, "migrate", &reach).await?;
        let version = served(&cluster, &reach).await?;
        let mut run = Self {
            global,
            ui,
            reach,
            cluster,
            version,
            layout,
            store,
            fleet: fleet(&migrate.fleet),
            direct: None,
        };
        if let Some(store) = run.check_store(&global.namespace).await? {
            run.direct = run.connect_to_store(&store).await?;
            run.announce_store(&store);
            run.check_credential(&store).await?;
        }
        Ok(run)
    }

    /// Refuses a store that does not exist or is not ready. `None` if reading it is forbidden.
    async fn check_store(&self, namespace: &Namespace) -> Result<Option<SecretStore>, Failure> {
        let (cluster, at) = (&self.cluster, &self.store);
        let Some(store) = find_store(cluster, self.version, namespace, at).await? else {
            self.ui.warn(&format!(
                "reading {at} is forbidden, so whether it is ready is unknown"
            ));
            return Ok(None);
        };
        check_ready(cluster, namespace, &store).await?;
        Ok(Some(store))
    }

    /// Connects to an OpenBao or Vault store that the environment names. `None` for any other
    /// store.
    async fn connect_to_store(&self, store: &SecretStore) -> Result<Option<Store>, Failure> {
        match &store.provider {
            Provider::Vault {
                mount: Some(mount), ..
            } if store::named().is_some() => {
                let timeout = self.global.request_timeout.0;
                Store::connect(mount, timeout, self.ui).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Prints which store is read and written, before it is.
    fn announce_store(&self, store: &SecretStore) {
        let (Some(direct), Provider::Vault { server, .. }) = (&self.direct, &store.provider) else {
            return;
        };
        let place = format!("{}, mount {}", direct.address(), direct.reach().mount);
        self.ui.story(&format!("the secret store is {place}"));
        if !store::is_at(server) {
            self.ui.warn(&format!(
                "the operator reaches {} at another address, {}: make sure that both are the same \
                 store",
                self.store,
                server.replace(char::is_control, "?")
            ));
        }
    }

    /// Warns if the operator's credential may do more than read. Whoever gets that credential could
    /// replace the tokens of every pod.
    async fn check_credential(&self, store: &SecretStore) -> Result<(), Failure> {
        let paths = BUNDLES.map(|bundle| self.layout.path(bundle));
        let capabilities = match (&self.direct, &store.provider, &store.credentials) {
            // The operator's token is sent to the operator's own store only.
            (Some(direct), Provider::Vault { server, .. }, Some(at)) if store::is_at(server) => {
                let (home, kind) = (&self.global.namespace, store.at.kind);
                match self.cluster.token_of(home, kind, at).await? {
                    Some(token) => direct.capabilities_of(&token, &paths).await?,
                    None => None,
                }
            }
            _ => None,
        };
        let Some(capabilities) = capabilities else {
            let reported = store.capabilities.as_deref().unwrap_or("nothing");
            self.ui.story(&format!(
                "make sure that the credential of {} can only read: this run cannot tell (the \
                 operator reports {})",
                self.store,
                reported.replace(char::is_control, "?")
            ));
            return Ok(());
        };
        let excess: BTreeSet<_> = capabilities
            .into_iter()
            .filter(|name| !matches!(name.as_str(), "read" | "list" | "deny"))
            .collect();
        if !excess.is_empty() {
            self.ui.warn(&format!(
                "the credential of {} may do more than read: {}; give it a read-only policy",
                self.store,
                Vec::from_iter(excess).join(", ")
            ));
        }
        Ok(())
    }

    /// Reads the cluster and the store, and plans. `entries` is the content of the store, if it has
    /// been read through the operator.
    async fn read(&self, entries: Option<&Entries>) -> Result<Snapshot, Failure> {
        let home = &self.global.namespace;
        let found = self.cluster.observe(home, &BUNDLES, &self.fleet).await?;
        check_home(home, found.home)?;
        let fleet = usable_fleet(&found, &self.fleet, &self.reach, self.ui)?;
        if self.store.kind == StoreKind::SecretStore {
            for namespace in &fleet {
                self.check_store(namespace).await?;
            }
        }
        let namespaces = std::iter::once(home).chain(&fleet);
        let externals = externals(&self.cluster, self.version, namespaces).await?;
        let entries = match &self.direct {
            Some(store) => Some(store.entries(&self.layout).await?),
            None => entries.cloned(),
        };
        let to = Destination {
            home,
            fleet: &fleet,
            layout: &self.layout,
            store: &self.store,
        };
        let plan = MigrationPlan::new(&to, &found.secrets, &externals, entries.as_ref());
        Ok(Snapshot {
            found,
            externals,
            plan,
        })
    }

    /// Refuses while a rotation is open. `started` is true if this run has already written
    /// something.
    fn refuse_rotation(&self, snapshot: &Snapshot, started: bool) -> Result<(), Failure> {
        let router = home_router(&snapshot.found.secrets, &self.global.namespace);
        crate::commands::shared::cluster::refuse_rotation(
            stored_state::of_cluster(router),
            started,
            &self.reach,
        )
    }

    async fn preview(&self) -> Result<Answer, Failure> {
        let snapshot = self.read(None).await?;
        self.refuse_rotation(&snapshot, false)?;
        for warning in &snapshot.found.warnings {
            self.ui.warn(warning);
        }
        let plan = &snapshot.plan;
        let failure = self.refusal(plan).or(self.check_file(&snapshot).err());
        let additions = rendered::additions(plan);
        let results = plan.moves.iter().map(rendered::planned_result).collect();
        let next = (failure.is_none() && plan.changes_anything()).then(|| {
            "This was a preview: nothing has been written. Run it again with --apply.".to_owned()
        });
        self.answer(additions, results, failure, true, next).await
    }

    /// All refusals of a plan as one failure.
    fn refusal(&self, plan: &MigrationPlan) -> Option<Failure> {
        let store = self.direct.as_ref().map(Store::reach);
        if plan.refusals.is_empty() {
            return None;
        }
        let failure = plan
            .refusals
            .iter()
            .fold(Failure::undecided(), |failure, refusal| {
                failure
                    .cause(refusal.message())
                    .hint(refusal.hint(store, &self.reach.kubectl))
            });
        Some(failure)
    }

    /// Refuses if the tokens file and the home router Secret hold different tokens.
    fn check_file(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let loaded = tokens_file::read(&self.global.tokens_file)?;
        let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
        let router = snapshot.plan.moves.first();
        let live = router.and_then(|moved| snapshot.found.secrets.get(&moved.at)?.live.as_ref());
        let differing: Vec<_> = TokenName::ALL
            .into_iter()
            .filter(|name| {
                let live = live.and_then(|live| live.text(name.as_str()));
                match (filed.tokens.get(*name), live) {
                    (Filed::Found(token), Some(live)) => !token.is(live),
                    _ => false,
                }
            })
            .map(TokenName::as_str)
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        Err(Failure::undecided()
            .cause(format!(
                "the tokens file and the Secret differ in {}",
                differing.join(", ")
            ))
            .hint(format!("{} --prefer cluster", self.reach.apply)))
    }

    async fn answer(
        &self,
        additions: Vec<Addition>,
        results: Vec<MoveResult>,
        failure: Option<Failure>,
        preview: bool,
        next: Option<String>,
    ) -> Result<Answer, Failure> {
        // If discovery fails, the charts do not emit ExternalSecrets and those of this run stay.
        let serves = self.cluster.serves(VERSIONS[1]).await.unwrap_or_default();
        let values = rendered::values(&self.layout, &self.store, serves == Some(true));
        let mount = self
            .direct
            .as_ref()
            .map_or("", |store| &store.reach().mount);
        let mut text = rendered::additions_text(&additions, mount, preview);
        text += &rendered::results_text(&results, preview, self.ui.palette());
        if failure.is_none() {
            text += &values;
        }
        let body = MigrationBody {
            server: self.cluster.server.clone(),
            store: Some(self.store.to_string()),
            entries: additions,
            secrets: results,
            values: failure.is_none().then_some(values),
        };
        Ok(Answer {
            text,
            next,
            body: Body::Migration(body),
            verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
        })
    }
}
