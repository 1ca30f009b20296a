//! `migrate`: from plain Secrets to the secret store, without a change of any value.
//!
//! The store gets what it lacks; each entry is proven equal to its Secret, by us and, as the
//! operator sees it, by a short-lived ExternalSecret with another target; only then the operator
//! is told to take over.

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
use crate::domain::rotation::elsewhere;
use crate::domain::table::BUNDLES;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::kube::observe::{FleetScope, Found};
use crate::io::local::tokens_file;
use crate::io::store::{self, Store};
use crate::render::json::Body;
use crate::render::migration as rendered;
use crate::render::migration::{Gift, Passage};
use crate::ui::{Format, Ui};
use std::collections::BTreeSet;

/// What happened to a Secret, and what would; `{}` is the ExternalSecret.
const DONE: (&str, &str) = (
    "follows the store now, by ExternalSecret {}; no value has changed",
    "would follow the store, by ExternalSecret {}",
);

/// Moves the Secrets, or shows what would be done, or goes back.
///
/// # Errors
/// What keeps a run from its first write; later failures are in the answer.
pub async fn run(global: &Global, migrate: &Migrate, ui: Ui) -> Result<Answer, Failure> {
    let (Some(prefix), Some(store)) = (&migrate.prefix, &migrate.store) else {
        return rollback::run(global, migrate, ui).await;
    };
    let layout = layout(&StoreLayout {
        prefix: prefix.clone(),
        path: migrate.path.clone(),
    })?;
    let store = StoreRef {
        kind: migrate.store_kind.into(),
        name: store.clone(),
    };
    if ui.format == Format::Yaml {
        if migrate.fleet.fleet_selector.is_some() {
            return Err(
                Failure::usage("-o yaml contacts nothing, so it selects no namespaces")
                    .hint("name them with --fleet-namespace"),
            );
        }
        let fleet = &migrate.fleet.fleet_namespace;
        return Ok(manifests(&global.namespace, fleet, &layout, &store));
    }
    let given = HintOptions {
        fleet: Some(&migrate.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, given);
    let run = MigrateRun::new(global, migrate, (layout, store), reach, ui).await?;
    match migrate.apply {
        true => run.apply().await,
        false => run.preview().await,
    }
}

/// A run: where from, where to, and by which way.
struct MigrateRun<'a> {
    global: &'a Global,
    ui: Ui,
    reach: HintContext,
    cluster: Cluster,
    version: &'static str,
    layout: Layout,
    store: StoreRef,
    fleet: FleetScope,
    /// A way of our own to the store.
    direct: Option<Store>,
}

/// Everything that was read, and what is to be done about it.
struct Picture {
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
            run.direct = run.direct(&store).await?;
            run.say_which_store(&store);
            run.judge_credential(&store).await?;
        }
        Ok(run)
    }

    /// Refuses a store that is not there or not ready, as a namespace sees it; `None` where it may
    /// not be read.
    async fn check_store(&self, namespace: &Namespace) -> Result<Option<SecretStore>, Failure> {
        let (cluster, at) = (&self.cluster, &self.store);
        let Some(store) = find_store(cluster, self.version, namespace, at).await? else {
            let words = "may not be read, so whether it is ready shows when it is used";
            self.ui.warn(&format!("{at} {words}"));
            return Ok(None);
        };
        check_ready(cluster, namespace, &store).await?;
        Ok(Some(store))
    }

    /// A way of our own to a store that is OpenBao or Vault, where the environment names one.
    async fn direct(&self, store: &SecretStore) -> Result<Option<Store>, Failure> {
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

    /// Says which store is read and written, before it is.
    fn say_which_store(&self, store: &SecretStore) {
        let (Some(direct), Provider::Vault { server, .. }) = (&self.direct, &store.provider) else {
            return;
        };
        let place = format!("{}, mount {}", direct.address(), direct.reach().mount);
        self.ui.story(&format!("the secret store is {place}"));
        if !store::is_at(server) {
            self.ui.warn(&format!(
                "the operator reaches {} at another address, {}: what is written there has to be \
                 what it reads",
                self.store,
                server.replace(char::is_control, "?")
            ));
        }
    }

    /// Warns where the operator's credential may do more than read: whoever gets at it could change
    /// what every pod trusts.
    async fn judge_credential(&self, store: &SecretStore) -> Result<(), Failure> {
        let paths = BUNDLES.map(|bundle| self.layout.path(bundle));
        let words = match (&self.direct, &store.provider, &store.credentials) {
            // The operator's token goes nowhere but to the operator's own store.
            (Some(direct), Provider::Vault { server, .. }, Some(at)) if store::is_at(server) => {
                let (home, kind) = (&self.global.namespace, store.at.kind);
                match self.cluster.token_of(home, kind, at).await? {
                    Some(token) => direct.capabilities_of(&token, &paths).await?,
                    None => None,
                }
            }
            _ => None,
        };
        let Some(words) = words else {
            let reported = store.capabilities.as_deref().unwrap_or("nothing");
            self.ui.story(&format!(
                "see that the credential of {} can only read: this run cannot tell (the operator \
                 reports {})",
                self.store,
                reported.replace(char::is_control, "?")
            ));
            return Ok(());
        };
        let more: BTreeSet<_> = words
            .into_iter()
            .filter(|word| !matches!(word.as_str(), "read" | "list" | "deny"))
            .collect();
        if !more.is_empty() {
            let more: Vec<_> = more.into_iter().collect();
            self.ui.warn(&format!(
                "the credential of {} may do more than read: {}; give it a policy that only reads",
                self.store,
                more.join(", ")
            ));
        }
        Ok(())
    }

    /// Reads everything and plans. `entries` is what the store holds, where that is known already.
    async fn look(&self, entries: Option<&Entries>) -> Result<Picture, Failure> {
        let home = &self.global.namespace;
        let found = self.cluster.observe(home, &BUNDLES, &self.fleet).await?;
        check_home(home, found.home)?;
        let fleet = usable_fleet(&found, &self.fleet, &self.reach, self.ui)?;
        if self.store.kind == StoreKind::SecretStore {
            for place in &fleet {
                self.check_store(place).await?;
            }
        }
        let places = std::iter::once(home).chain(&fleet);
        let externals = externals(&self.cluster, self.version, places).await?;
        let read = match (&self.direct, entries) {
            (Some(store), _) => Some(store.entries(&self.layout).await?),
            (None, entries) => entries.cloned(),
        };
        let to = Destination {
            home,
            fleet: &fleet,
            layout: &self.layout,
            store: &self.store,
        };
        let plan = MigrationPlan::new(&to, &found.secrets, &externals, read.as_ref());
        Ok(Picture {
            found,
            externals,
            plan,
        })
    }

    /// Refuses while a rotation is open; `started` tells whether this run has written already.
    fn refuse_rotation(&self, picture: &Picture, started: bool) -> Result<(), Failure> {
        let home = home_router(&picture.found.secrets, &self.global.namespace);
        crate::commands::shared::cluster::refuse_rotation(
            elsewhere::of_cluster(home),
            started,
            &self.reach,
        )
    }

    async fn preview(&self) -> Result<Answer, Failure> {
        let picture = self.look(None).await?;
        self.refuse_rotation(&picture, false)?;
        for warning in &picture.found.warnings {
            self.ui.warn(warning);
        }
        let plan = &picture.plan;
        let refused = self.refusal(plan).or(self.check_file(&picture).err());
        let gifts = rendered::gifts(plan);
        let passages: Vec<_> = plan.moves.iter().map(rendered::planned).collect();
        let next = (refused.is_none() && plan.changes_anything()).then(|| {
            "This was a preview: nothing has been written. Run it again with --apply.".to_owned()
        });
        self.answer(&gifts, &passages, refused, true, next).await
    }

    /// The failure of a plan that a person has to decide on.
    fn refusal(&self, plan: &MigrationPlan) -> Option<Failure> {
        let store = self.direct.as_ref().map(Store::reach);
        let refusals = plan.refusals.iter();
        let failure = refusals.fold(Failure::undecided(), |failure, refusal| {
            failure
                .cause(refusal.message())
                .hint(refusal.hint(store, &self.reach.kubectl))
        });
        (!failure.causes.is_empty()).then_some(failure)
    }

    /// Refuses where the tokens file and the Secret hold different tokens.
    fn check_file(&self, picture: &Picture) -> Result<(), Failure> {
        let loaded = tokens_file::read(&self.global.tokens_file)?;
        let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
        let router = picture.plan.moves.first();
        let live = router.and_then(|moved| picture.found.secrets.get(&moved.at)?.live.as_ref());
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
        gifts: &[Gift],
        passages: &[Passage],
        failure: Option<Failure>,
        preview: bool,
        next: Option<String>,
    ) -> Result<Answer, Failure> {
        // What cannot be asked is as good as not served: the ExternalSecrets that were made do.
        let emits = self.cluster.serves(VERSIONS[1]).await.unwrap_or_default();
        let values = rendered::values(&self.layout, &self.store, emits == Some(true));
        let mount = self
            .direct
            .as_ref()
            .map_or("", |store| &store.reach().mount);
        let mut text = rendered::gifts_text(gifts, mount, preview);
        text += &rendered::passages_text(passages, DONE, self.ui.palette());
        if failure.is_none() {
            text += &values;
        }
        let body = rendered::body(
            &self.cluster.server,
            Some(&self.store),
            gifts,
            passages,
            "moved",
            failure.is_none().then_some(values),
        );
        Ok(Answer {
            text,
            next,
            body: Body::Migration(body),
            verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
        })
    }
}
