//! `sync`: has External Secrets Operator refresh now, and waits until the Secrets follow.

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
use crate::io::eso::ephemeral::Temporaries;
use crate::io::eso::wait::{PAUSE, is_empty};
use crate::io::kube::client::{Cluster, WIDTH};
use crate::io::store::{self, Store};
use crate::render::json::Body;
use crate::render::sync::{Refresh, RefreshBody, text};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::{Instant, sleep};

/// Refreshes every ExternalSecret that makes a Secret of the table.
///
/// # Errors
/// What keeps it from the first refresh; later failures are in the answer.
pub async fn run(global: &Global, sync: &Sync, ui: Ui) -> Result<Answer, Failure> {
    let given = HintOptions {
        fleet: Some(&sync.fleet),
        ..HintOptions::default()
    };
    let reach = reach(global, given);
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
            "move over to the store: {} migrate --prefix PREFIX --store NAME",
            reach.program
        )));
    }
    ui.story(&format!(
        "refreshing {} ExternalSecret{} on {}",
        externals.len(),
        if externals.len() == 1 { "" } else { "s" },
        cluster.server
    ));
    let stores = stores(global, &cluster, version, &externals, ui).await?;
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
    let failed = refreshes.iter().filter(|refresh| refresh.outcome.is_err());
    let verdict = match (ended, failed.count()) {
        (Err(failure), _) => Verdict::Failed(failure),
        (Ok(()), 0) => Verdict::Yes,
        (Ok(()), count) => Verdict::Failed(
            Failure::unable(format!(
                "{count} of {} Secrets do not follow",
                refreshes.len()
            ))
            .hint(format!("{} verify{}", reach.program, reach.fleet)),
        ),
    };
    Ok(Answer {
        text: text(&refreshes, ui.palette()),
        next: None,
        body: Body::Refreshed {
            external_secrets: refreshes.iter().map(RefreshBody::from).collect(),
        },
        verdict,
    })
}

/// What is known of the stores, and ways of our own to those that the environment leads to too, by
/// the mount.
struct Stores {
    seen: BTreeMap<StoreAt, SecretStore>,
    direct: BTreeMap<String, Store>,
}

/// Has the operator look again at each store that it calls not ready, and connects to those that
/// can be read directly.
async fn stores(
    global: &Global,
    cluster: &Cluster,
    version: &str,
    externals: &[&ExternalSecret],
    ui: Ui,
) -> Result<Stores, Failure> {
    let keys: BTreeSet<_> = externals
        .iter()
        .filter_map(|one| StoreAt::of(one))
        .collect();
    let looks = keys.into_iter().map(|key| async move {
        let namespace = key
            .namespace
            .clone()
            .unwrap_or_else(|| global.namespace.clone());
        let seen = cluster.secret_store(version, &namespace, &key.at).await?;
        let Some(store) = seen.there() else {
            return Ok(None);
        };
        let store = cluster.judged(version, &namespace, store).await?;
        Ok::<_, Failure>(Some((key, store)))
    });
    let seen: Vec<_> = stream::iter(looks).buffered(WIDTH).try_collect().await?;
    let seen: BTreeMap<_, _> = seen.into_iter().flatten().collect();
    let slots = externals.iter().filter_map(|external| {
        let store = seen.get(&StoreAt::of(external)?)?;
        slot_of(external, store)
    });
    let mounts: BTreeSet<_> = slots.map(|slot| slot.mount).collect();
    let mut direct = BTreeMap::new();
    for mount in mounts.into_iter().filter(|_| store::named().is_some()) {
        match Store::connect(&mount, global.request_timeout.0, ui).await {
            Ok(store) => drop(direct.insert(mount, store)),
            Err(failure) => ui.warn(&format!(
                "the Secrets are not compared with the store: {}",
                failure.describe()
            )),
        }
    }
    Ok(Stores { seen, direct })
}

/// The only place in a store that an ExternalSecret copies as it is.
fn slot_of(external: &ExternalSecret, store: &SecretStore) -> Option<KvPath> {
    let plain = external.makes_secret() && !external.templated;
    store.provider.slot(external.entry().filter(|_| plain)?)
}

impl Stores {
    /// The entry of an ExternalSecret, and the store of the environment where that is the same one.
    fn entry_of(&self, external: &ExternalSecret) -> Option<(&Store, KvPath)> {
        let store = self.seen.get(&StoreAt::of(external)?)?;
        let slot = slot_of(external, store)?;
        let direct = self.direct.get(&slot.mount)?;
        let (server, namespace) = store.provider.place()?;
        let same = store::is_at(server) && store::named()?.namespace.as_deref() == namespace;
        same.then_some((direct, slot))
    }
}

/// A run of `sync`.
struct SyncRun<'a> {
    cluster: &'a Cluster,
    version: &'static str,
    deadline: Option<Instant>,
    stores: Stores,
    /// The Secrets as they were.
    before: &'a Observations,
}

impl SyncRun<'_> {
    /// Refreshes all of them; each is told as it ends, so that an interruption leaves a true account.
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
        let outcome = self.follow(external).await;
        Refresh {
            namespace: external.namespace.clone(),
            name: external.name.clone(),
            secret: external.target.clone(),
            outcome: outcome.map_err(|failure| failure.describe()),
        }
    }

    /// Refreshes one and waits; gives the keys that changed.
    async fn follow(&self, external: &ExternalSecret) -> Result<Vec<String>, Failure> {
        if external.interval == 0 || external.refresh_policy == "CreatedOnce" {
            return Err(Failure::no("it is made once and never refreshed")
                .cause("refreshInterval is 0, or refreshPolicy is CreatedOnce"));
        }
        self.cluster.refresh(self.version, external).await?;
        let (namespace, name) = (&external.namespace, &external.name);
        let before = &external.synced;
        let now = self
            .cluster
            .settled(self.version, namespace, name, before, self.deadline)
            .await?;
        if is_empty(&now) {
            return Err(Failure::unable(Cause::PathEmpty.describe()));
        }
        let reason = now.condition.map(|condition| condition.reason);
        if reason.as_deref() != Some("SecretSynced") {
            return Err(Failure::unable("the operator made no Secret of it"));
        }
        self.wait_for_secret(external).await
    }

    /// Waits until the Secret carries what the store holds, where the store can be read.
    async fn wait_for_secret(&self, external: &ExternalSecret) -> Result<Vec<String>, Failure> {
        let entry = self.stores.entry_of(external);
        let bundle = BUNDLES
            .iter()
            .find(|bundle| bundle.secret == external.target);
        let Some(bundle) = bundle else {
            return Ok(Vec::new());
        };
        loop {
            let found = self.cluster.secrets(&external.namespace, &[bundle]).await?;
            let live = found.into_values().next().and_then(|found| found.live);
            let Some(live) = live else {
                return Err(Failure::unable("the Secret is not there"));
            };
            let differing = match &entry {
                Some((store, slot)) => {
                    let fields = store.read(&slot.path).await?.fields.unwrap_or_default();
                    Difference::between(&live, &secret_data(&fields)).keys()
                }
                None => Vec::new(),
            };
            if differing.is_empty() {
                let at = SecretRef {
                    namespace: external.namespace.clone(),
                    name: bundle.secret,
                };
                let before = self.before.get(&at).and_then(|found| found.live.as_ref());
                return Ok(changed(before, &live));
            }
            if self.is_over() {
                return Err(Failure::unable(format!(
                    "the Secret does not carry what the store holds: {}",
                    differing.join(", ").replace(char::is_control, "?")
                )));
            }
            sleep(PAUSE).await;
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }
}

/// The keys that changed.
fn changed(before: Option<&LiveSecret>, now: &LiveSecret) -> Vec<String> {
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
