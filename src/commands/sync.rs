//! `sync`: has External Secrets Operator refresh now, and waits until the Secrets follow.

use super::path2::{differing, direct, is_of_the_table, served};
use super::reach::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Sync};
use crate::domain::bundles::BUNDLES;
use crate::domain::external_secrets::{Cause, ExternalSecret, SecretStore, StoreRef};
use crate::domain::live::{LiveSecret, Observations};
use crate::domain::names::{Namespace, SecretRef};
use crate::error::Failure;
use crate::io::cluster::{Cluster, WIDTH};
use crate::io::external_secrets::Seen;
use crate::io::external_secrets::follow::{PATIENCE, PAUSE, is_empty};
use crate::io::store::Store;
use crate::render::document::Body;
use crate::render::sync::{Refresh, RefreshBody, text};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::{Instant, sleep};

/// Refreshes every ExternalSecret that makes a Secret of the table.
///
/// # Errors
/// What keeps it from the first refresh; later failures are in the answer.
pub async fn run(global: &Global, sync: &Sync, ui: Ui) -> Result<Answer, Failure> {
    let given = Given {
        fleet: Some(&sync.fleet),
        ..Given::default()
    };
    let reach = reach(global, given);
    let cluster = super::connect(global, ui, "sync", &reach).await?;
    let version = served(&cluster, &reach).await?;
    let fleet = super::fleet(&sync.fleet);
    let found = cluster.observe(&global.namespace, &BUNDLES, &fleet).await?;
    for warning in &found.warnings {
        ui.warn(warning);
    }
    let usable = super::usable_fleet(&found, &fleet, &reach, ui)?;
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
    let run = Run {
        cluster: &cluster,
        version,
        deadline: sync
            .timeout
            .0
            .and_then(|limit| Instant::now().checked_add(limit)),
        stores: stores(global, &cluster, version, &externals, ui).await?,
        before: &found.secrets,
    };
    let refreshes = externals.iter().map(|external| run.refresh(external));
    let mut refreshes: Vec<_> = stream::iter(refreshes).buffered(WIDTH).collect().await;
    refreshes
        .sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    let failed = refreshes.iter().filter(|refresh| refresh.outcome.is_err());
    let verdict = match failed.count() {
        0 => Verdict::Yes,
        count => Verdict::Failed(
            Failure::unable(format!(
                "{count} of {} Secrets do not follow",
                refreshes.len()
            ))
            .hint(format!("{}{} verify", reach.program, reach.fleet)),
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

/// What is known of the stores that these ExternalSecrets read, and a way there of our own.
type Stores = BTreeMap<(Namespace, StoreRef), (SecretStore, Option<Store>)>;

/// Has the operator look again at each store that it calls not ready, and connects to those that
/// can be read directly.
async fn stores(
    global: &Global,
    cluster: &Cluster,
    version: &str,
    externals: &[&ExternalSecret],
    ui: Ui,
) -> Result<Stores, Failure> {
    let mut found = Stores::new();
    for external in externals {
        let Some(at) = &external.store else { continue };
        let key = (external.namespace.clone(), at.clone());
        if found.contains_key(&key) {
            continue;
        }
        let seen = cluster
            .secret_store(version, &external.namespace, at)
            .await?;
        let Seen::There(mut store) = seen else {
            continue;
        };
        if !store.is_ready()
            && cluster
                .refresh_store(version, &external.namespace, at)
                .await?
        {
            store = look_again(cluster, version, &external.namespace, store).await?;
        }
        let direct = direct(global, &store.provider, ui).await?;
        found.insert(key, (store, direct));
    }
    Ok(found)
}

/// Waits a little until the operator calls a store ready.
async fn look_again(
    cluster: &Cluster,
    version: &str,
    namespace: &Namespace,
    mut store: SecretStore,
) -> Result<SecretStore, Failure> {
    let end = Instant::now() + PATIENCE;
    while !store.is_ready() && Instant::now() < end {
        sleep(PAUSE).await;
        let seen = cluster.secret_store(version, namespace, &store.at).await?;
        store = seen.there().unwrap_or(store);
    }
    Ok(store)
}

/// A run of `sync`.
struct Run<'a> {
    cluster: &'a Cluster,
    version: &'static str,
    deadline: Option<Instant>,
    stores: Stores,
    /// The Secrets as they were.
    before: &'a Observations,
}

impl Run<'_> {
    async fn refresh(&self, external: &ExternalSecret) -> Refresh {
        let outcome = self.follow(external).await;
        Refresh {
            namespace: external.namespace.clone(),
            name: external.name.clone(),
            secret: external.target.clone(),
            outcome: outcome.map_err(|failure| {
                let words = std::iter::once(failure.message).chain(failure.causes);
                words.collect::<Vec<_>>().join(": ")
            }),
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
            return Err(Failure::unable(Cause::PathEmpty.told()));
        }
        self.wait_for_secret(external).await
    }

    /// Waits until the Secret carries what the store holds, where the store can be read.
    async fn wait_for_secret(&self, external: &ExternalSecret) -> Result<Vec<String>, Failure> {
        let store = external.store.as_ref();
        let store = store.and_then(|at| {
            self.stores
                .get(&(external.namespace.clone(), at.clone()))?
                .1
                .as_ref()
        });
        let bundle = BUNDLES
            .iter()
            .find(|bundle| bundle.secret == external.target);
        let Some(bundle) = bundle else {
            return Ok(Vec::new());
        };
        loop {
            let found = self.cluster.secrets(&external.namespace, &[bundle]).await?;
            let live = found.into_values().next().and_then(|found| found.live);
            let differing = match (store, external.entry()) {
                (Some(store), Some(path)) => {
                    let entry = store.read(path).await?;
                    differing(live.as_ref(), &entry)
                }
                _ => Vec::new(),
            };
            if differing.is_empty() {
                let at = SecretRef {
                    namespace: external.namespace.clone(),
                    name: bundle.secret,
                };
                let before = self.before.get(&at).and_then(|found| found.live.as_ref());
                return Ok(changed(before, live.as_ref()));
            }
            if self.is_over() {
                return Err(Failure::unable(format!(
                    "the Secret does not carry what the store holds: {}",
                    differing.join(", ")
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
fn changed(before: Option<&LiveSecret>, now: Option<&LiveSecret>) -> Vec<String> {
    let of = |secret: Option<&LiveSecret>, key: &str| {
        secret.and_then(|secret| secret.data.get(key).cloned())
    };
    let both = [before, now].into_iter().flatten();
    let keys: BTreeSet<_> = both.flat_map(|secret| secret.data.keys()).collect();
    keys.into_iter()
        .filter(|key| of(before, key) != of(now, key))
        .cloned()
        .collect()
}
