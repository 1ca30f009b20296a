//! `sync`: has External Secrets Operator refresh now, and waits until the Secrets follow.

use super::reach::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Sync};
use crate::domain::bundles::{BUNDLES, ROUTER};
use crate::domain::external_secrets::{Cause, ExternalSecret, Provider, SecretStore, StoreRef};
use crate::domain::live::{LiveSecret, Observations};
use crate::domain::names::{Namespace, SecretRef};
use crate::domain::reach::Reach;
use crate::domain::store::Entry;
use crate::error::Failure;
use crate::io::cluster::{Cluster, WIDTH};
use crate::io::external_secrets::{Seen, Served};
use crate::io::store::{self, Store};
use crate::render::document::Body;
use crate::render::sync::{Refresh, RefreshBody, text};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the operator may call an ExternalSecret not ready before that is taken as its last word.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

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

/// The version of ExternalSecret that is served.
///
/// # Errors
/// Where none is, or that may not be asked (exit code 3).
pub async fn served(cluster: &Cluster, reach: &Reach) -> Result<&'static str, Failure> {
    match cluster.served().await? {
        Served::Version(version) => Ok(version),
        Served::Nothing => Err(Failure::unable(
            "External Secrets Operator is not installed: the API server knows no ExternalSecret",
        )
        .hint("install it: https://external-secrets.io/latest/introduction/getting-started/")),
        Served::Forbidden => Err(Failure::unable(
            "you may not ask which version of ExternalSecret is served",
        )
        .hint(format!(
            "every user may by default; see {} get clusterrolebinding system:discovery",
            reach.kubectl
        ))),
    }
}

/// Tells whether an ExternalSecret makes one of the Secrets: any of them at home, that of the
/// tokens in the fleet.
pub fn is_of_the_table(
    external: &ExternalSecret,
    home: &Namespace,
    fleet: &BTreeSet<Namespace>,
) -> bool {
    let target = external.target.as_str();
    match external.namespace == *home {
        true => BUNDLES.iter().any(|bundle| bundle.secret == target),
        false => target == ROUTER.secret && fleet.contains(&external.namespace),
    }
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

/// A way of our own to a store that is OpenBao or Vault, where the environment names one.
///
/// # Errors
/// One that is named and cannot be used (exit code 3).
pub async fn direct(
    global: &Global,
    provider: &Provider,
    ui: Ui,
) -> Result<Option<Store>, Failure> {
    match provider {
        Provider::Vault {
            mount: Some(mount), ..
        } if store::is_named() => {
            let store = Store::connect(mount, global.request_timeout.0, ui).await?;
            Ok(Some(store))
        }
        _ => Ok(None),
    }
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
        self.wait_for_operator(external).await?;
        self.wait_for_secret(external).await
    }

    /// Waits until the operator has worked off the refresh.
    async fn wait_for_operator(&self, external: &ExternalSecret) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let now = self.look(external).await?;
            let condition = now.condition.as_ref();
            let ready = condition.is_some_and(|condition| condition.ready);
            if now.synced != external.synced && now.is_settled() && ready {
                let message = condition.map_or("", |condition| condition.message.as_str());
                // The operator calls that a success.
                return match Cause::of(message) {
                    Some(Cause::PathEmpty) => Err(Failure::unable(Cause::PathEmpty.told())),
                    _ => Ok(()),
                };
            }
            let over = self.is_over();
            if over || !ready && condition.is_some() && started.elapsed() >= PATIENCE {
                let cause = self.cluster.cause(self.version, &now).await?;
                return Err(match cause {
                    Some(cause) => Failure::unable(cause.told()),
                    None if over => Failure::unable("the operator has not refreshed it in time"),
                    None => Failure::unable("the operator does not say why"),
                });
            }
            sleep(PAUSE).await;
        }
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

    async fn look(&self, external: &ExternalSecret) -> Result<ExternalSecret, Failure> {
        let found = self
            .cluster
            .external_secret(self.version, &external.namespace, &external.name)
            .await?;
        found.ok_or_else(|| Failure::unable("it was deleted meanwhile"))
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }
}

/// The keys of which a Secret and an entry have different values.
pub fn differing(live: Option<&LiveSecret>, entry: &Entry) -> Vec<String> {
    let keys = live.iter().flat_map(|live| live.data.keys());
    let fields = entry.fields.iter().flat_map(BTreeMap::keys);
    let all: BTreeSet<_> = keys.chain(fields).collect();
    all.into_iter()
        .filter(|key| {
            let live = live.and_then(|live| live.text(key));
            live.is_none() || live != entry.text(key)
        })
        .cloned()
        .collect()
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
