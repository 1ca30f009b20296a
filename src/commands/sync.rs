//! `sync`: makes External Secrets Operator refresh now and waits until the Secrets match the store.
//! Writes no value itself.

use super::shared::answer::{Answer, Verdict};
use super::shared::eso::{check_home, is_of_the_table, served};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Sync};
use crate::commands::shared::cluster::{connect, usable_fleet};
use crate::commands::shared::options::fleet;
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::{LiveSecret, Observations};
use crate::domain::eso::comparison::{Difference, secret_data};
use crate::domain::eso::objects::{Cause, ExternalSecret, KvPath, SecretStore};
use crate::domain::eso::status::StoreAt;
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::eso::ExternalRef;
use crate::io::eso::ephemeral::Temporaries;
use crate::io::eso::wait::{PAUSE, is_empty};
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::store::{self, Store};
use crate::render::json::Body;
use crate::render::sync::{Refresh, RefreshAction, text};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::{Instant, sleep};

/// Refreshes every ExternalSecret that targets a Secret of the table.
///
/// # Errors
/// A failure before the first refresh; later failures are in the answer.
pub async fn run(global: &Global, sync: &Sync, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, HintOptions::of_fleet(&sync.fleet));
    let cluster = connect(global, ui, "sync", &reach).await?;
    let version = served(&cluster, &reach).await?;
    let fleet = fleet(&sync.fleet);
    let found = cluster.observe(&global.namespace, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    check_home(&global.namespace, found.home)?;
    let usable = usable_fleet(&found, &fleet, &reach, ui)?;
    let externals: Vec<_> = found
        .externals
        .iter()
        .filter(|external| is_of_the_table(external, &global.namespace, &usable))
        .collect();
    if externals.is_empty() {
        return Err(Failure::no(format!(
            "no ExternalSecret makes one of the Secrets in {}",
            global.namespace
        ))
        .hint(format!(
            "move the Secrets to the store: {} migrate --prefix PREFIX --store NAME",
            reach.program
        )));
    }
    ui.story(&format!(
        "refreshing {} ExternalSecret{} on {}",
        externals.len(),
        if externals.len() == 1 { "" } else { "s" },
        cluster.server
    ));
    let stores = find_stores(global, &cluster, version, &externals, ui).await?;
    let limit = sync.timeout.0;
    let run = SyncRun {
        cluster: &cluster,
        version,
        deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
        stores,
        before: &found.secrets,
    };
    let mut refreshes = Vec::new();
    let work = run.refresh_all(&externals, &mut refreshes);
    let ended = cluster.with_temporaries(&Temporaries::new(), work).await;
    refreshes
        .sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    let failed = refreshes
        .iter()
        .filter(|refresh| refresh.action == RefreshAction::Failed);
    let verdict = match (ended, failed.count()) {
        (Err(failure), _) => Verdict::Failed(failure),
        (Ok(()), 0) => Verdict::Yes,
        (Ok(()), count) => Verdict::Failed(
            Failure::unable(format!(
                "{count} of {} Secrets were not refreshed",
                refreshes.len()
            ))
            .hint(format!("{} verify{}", reach.program, reach.fleet)),
        ),
    };
    Ok(Answer {
        verdict,
        ..Answer::new(
            text(&refreshes, ui.palette()),
            Body::Refreshed {
                external_secrets: refreshes,
            },
        )
    })
}

/// The stores of the ExternalSecrets.
struct Stores {
    objects: BTreeMap<StoreAt, SecretStore>,
    /// Direct connections to the store that the environment names, by mount.
    direct: BTreeMap<String, Store>,
}

/// Reads the store objects, lets the operator validate again those that are not ready, and connects
/// to the stores that can be read directly.
async fn find_stores(
    global: &Global,
    cluster: &Cluster,
    version: &str,
    externals: &[&ExternalSecret],
    ui: Ui,
) -> Result<Stores, Failure> {
    let keys: BTreeSet<_> = externals
        .iter()
        .filter_map(|external| StoreAt::of(external))
        .collect();
    let reads = keys.into_iter().map(|key| async move {
        let namespace = key
            .namespace
            .clone()
            .unwrap_or_else(|| global.namespace.clone());
        let found = cluster.secret_store(version, &namespace, &key.at).await?;
        let Some(store) = found.there() else {
            return Ok(None);
        };
        let store = cluster.wait_until_ready(version, &namespace, store).await?;
        Ok::<_, Failure>(Some((key, store)))
    });
    let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
    let objects: BTreeMap<_, _> = found.into_iter().flatten().collect();
    let mounts: BTreeSet<_> = externals
        .iter()
        .filter_map(|external| {
            let store = objects.get(&StoreAt::of(external)?)?;
            kv_path_of(external, store)
        })
        .map(|kv_path| kv_path.mount)
        .collect();
    let mut direct = BTreeMap::new();
    for mount in mounts.into_iter().filter(|_| store::named().is_some()) {
        match Store::connect(&mount, global.request_timeout.0, ui).await {
            Ok(store) => {
                direct.insert(mount, store);
            }
            Err(failure) => ui.warn(&format!(
                "the Secrets are not compared with the store: {}",
                failure.describe()
            )),
        }
    }
    Ok(Stores { objects, direct })
}

/// The KV path of which an ExternalSecret copies all fields unchanged; `None` for any other one.
fn kv_path_of(external: &ExternalSecret, store: &SecretStore) -> Option<KvPath> {
    let copies_unchanged = external.makes_secret() && !external.templated;
    store
        .provider
        .slot(external.entry().filter(|_| copies_unchanged)?)
}

impl Stores {
    /// The entry of an ExternalSecret and the connection to read it with; `None` if the environment
    /// names another store.
    fn entry_of(&self, external: &ExternalSecret) -> Option<(&Store, KvPath)> {
        let store = self.objects.get(&StoreAt::of(external)?)?;
        let kv_path = kv_path_of(external, store)?;
        let direct = self.direct.get(&kv_path.mount)?;
        let (server, namespace) = store.provider.place()?;
        let is_same = store::is_at(server) && store::named()?.namespace.as_deref() == namespace;
        is_same.then_some((direct, kv_path))
    }
}

struct SyncRun<'a> {
    cluster: &'a Cluster,
    version: &'static str,
    deadline: Option<Instant>,
    stores: Stores,
    /// The Secrets before the refresh.
    before: &'a Observations,
}

impl SyncRun<'_> {
    /// Refreshes all ExternalSecrets. Each result is recorded when it is known, so that the answer
    /// is right after an interruption.
    async fn refresh_all(
        &self,
        externals: &[&ExternalSecret],
        refreshes: &mut Vec<Refresh>,
    ) -> Result<(), Failure> {
        let work = externals.iter().map(|external| self.refresh(external));
        let mut work = stream::iter(work).buffer_unordered(WIDTH);
        while let Some(refresh) = work.next().await {
            refreshes.push(refresh);
        }
        Ok(())
    }

    async fn refresh(&self, external: &ExternalSecret) -> Refresh {
        let outcome = self.refresh_and_wait(external).await;
        Refresh::new(external, outcome.map_err(|failure| failure.describe()))
    }

    /// Refreshes one ExternalSecret and waits for its Secret. Returns the keys that changed.
    async fn refresh_and_wait(&self, external: &ExternalSecret) -> Result<Vec<String>, Failure> {
        if external.interval == 0 || external.refresh_policy == "CreatedOnce" {
            return Err(Failure::no("it is created once and never refreshed")
                .cause("refreshInterval is 0, or refreshPolicy is CreatedOnce"));
        }
        self.cluster.refresh(self.version, external).await?;
        let (at, before) = (ExternalRef::of(self.version, external), &external.synced);
        let now = self.cluster.settled(at, before, self.deadline).await?;
        if is_empty(&now) {
            return Err(Failure::unable(Cause::PathEmpty.describe()));
        }
        let reason = now.condition.map(|condition| condition.reason);
        if reason.as_deref() != Some("SecretSynced") {
            return Err(Failure::unable("the operator did not create the Secret"));
        }
        self.wait_for_secret(external).await
    }

    /// Waits until the Secret matches its entry, if this run can read the store. Returns the keys
    /// that changed.
    async fn wait_for_secret(&self, external: &ExternalSecret) -> Result<Vec<String>, Failure> {
        let entry = self.stores.entry_of(external);
        let Some(bundle) = external.bundle() else {
            return Ok(Vec::new());
        };
        let at = SecretRef::new(&external.namespace, bundle.secret);
        loop {
            let Some(live) = self.cluster.secret(&at).await?.live else {
                return Err(Failure::unable("the Secret does not exist"));
            };
            let differing = match &entry {
                Some((store, kv_path)) => {
                    let fields = store.read(&kv_path.path).await?.fields.unwrap_or_default();
                    Difference::between(&live, &secret_data(&fields)).keys()
                }
                None => Vec::new(),
            };
            if differing.is_empty() {
                let before = self.before.get(&at).and_then(|found| found.live.as_ref());
                return Ok(changed_keys(before, &live));
            }
            if self.has_timed_out() {
                return Err(Failure::unable(format!(
                    "timed out: the Secret and the store differ in {}",
                    differing.join(", ").replace(char::is_control, "?")
                )));
            }
            sleep(PAUSE).await;
        }
    }

    fn has_timed_out(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The keys that differ, or that only one of the two has.
fn changed_keys(before: Option<&LiveSecret>, now: &LiveSecret) -> Vec<String> {
    let keys: BTreeSet<_> = before
        .into_iter()
        .chain([now])
        .flat_map(|secret| secret.data.keys())
        .collect();
    keys.into_iter()
        .filter(|key| before.and_then(|before| before.data.get(*key)) != now.data.get(*key))
        .cloned()
        .collect()
}
