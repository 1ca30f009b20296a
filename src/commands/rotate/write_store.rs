//! A rotation on Path 2: the store is written, the operator brings it into the Secrets.

use super::Run;
use super::snapshot::{Look, texts};
use crate::commands::shared::eso::{LIMIT, is_of_the_table};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::ClusterFacts;
use crate::domain::eso::objects::{ExternalSecret, Provider, Served, Slot};
use crate::domain::eso::store_entry::{Entry, Field};
use crate::domain::rotation::edits::{At, Edit, Target};
use crate::domain::rotation::elsewhere;
use crate::domain::rotation::workloads::serves;
use crate::domain::rotation::{BadState, NEXT_KEY, PREVIOUS_KEY, Rotation, STORE_STATE};
use crate::domain::table::{BUNDLES, Bundle, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use crate::error::Failure;
use crate::io::eso::wait::is_empty;
use crate::io::kube::client::{WIDTH, Written};
use crate::io::store::{self, Store, Stored};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// No mount: a store of another kind, which this program cannot write.
const BY_HAND: &str = "";
/// The pause before a Secret is looked at again that does not follow yet.
const PAUSE: Duration = Duration::from_millis(200);

/// The store, what the operator takes from it, and what is in it.
pub struct Way {
    version: &'static str,
    /// What makes the Secrets with tokens, each with the path that it reads.
    pub(super) externals: Vec<(ExternalSecret, String)>,
    /// What is there; empty where the environment leads to no store.
    entries: BTreeMap<String, Entry>,
    /// The path of home's router entry.
    home: String,
    /// Whether somebody has to edit the entries.
    by_hand: bool,
}

/// The version of ExternalSecret that is served.
///
/// # Errors
/// Where that is not known (exit code 3).
pub fn version_of(facts: &ClusterFacts) -> Result<&'static str, Failure> {
    match facts.path2.as_ref().map(|path2| path2.served) {
        Some(Served::Version(version)) => Ok(version),
        _ => Err(
            Failure::unable("it is not known which version of ExternalSecret is served")
                .hint("see whether External Secrets Operator is installed"),
        ),
    }
}

impl Run<'_> {
    /// The ExternalSecret that makes home's router Secret.
    ///
    /// # Errors
    /// Where it cannot be seen, or there are several (exit code 3).
    pub fn home_external(&self, facts: &ClusterFacts) -> Result<ExternalSecret, Failure> {
        let path2 = facts.path2.iter().flat_map(|path2| &path2.externals);
        let mut found = path2.map(|tended| &tended.object).filter(|external| {
            let home = external.namespace == facts.home && external.target == ROUTER.secret;
            home && external.makes_secret() && !external.deleting
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (None, _) => Err(Failure::unable(format!(
                "Secret {}/{} is made by an ExternalSecret that cannot be seen",
                facts.home, ROUTER.secret
            ))
            .hint(format!(
                "{} -n {} get externalsecrets",
                self.reach.kubectl, facts.home
            ))),
            (Some(_), Some(_)) => Err(Failure::no(format!(
                "several ExternalSecrets make Secret {}/{}",
                facts.home, ROUTER.secret
            ))
            .hint(self.reach.command("verify"))),
        }
    }

    /// The store of Path 2; `None` on Path 1.
    ///
    /// # Errors
    /// An ExternalSecret that does not copy a whole entry, a store that cannot be read.
    pub async fn way(&self, facts: &ClusterFacts) -> Result<Option<Way>, Failure> {
        let home = facts.home_place().secrets.get(ROUTER.secret);
        if home.is_none_or(|observed| observed.owner.is_none()) {
            return Ok(None);
        }
        let version = version_of(facts)?;
        let fleet: BTreeSet<Namespace> = facts.fleet().map(|(name, _)| name.clone()).collect();
        let tended = facts.path2.iter().flat_map(|path2| &path2.externals);
        let of_tokens = tended.map(|it| &it.object).filter(|external| {
            let bundle = bundle_of(external).is_some_and(Bundle::holds_tokens);
            bundle && external.makes_secret() && is_of_the_table(external, &facts.home, &fleet)
        });
        let mut externals = Vec::new();
        let mut mounts = BTreeSet::new();
        for external in of_tokens {
            let slot = self.slot_of(facts, external)?;
            mounts.insert(slot.mount);
            externals.push((external.clone(), slot.path));
        }
        let home = self.home_external(facts)?;
        let home = externals
            .iter()
            .find(|(external, _)| external.uid == home.uid)
            .map(|(_, path)| path.clone())
            .unwrap_or_default();
        if let Some((external, _)) = externals
            .iter()
            .find(|(external, path)| external.target == ROUTER.secret && *path != home)
        {
            return Err(Failure::no(format!(
                "{external} reads another entry of the store than home does, so its tokens are its own"
            ))
            .hint("leave that namespace out, or have it read the same entry"));
        }
        if mounts.len() > 1 {
            return Err(
                Failure::no("the ExternalSecrets read several mounts of the store")
                    .hint("rotate where all of them read one"),
            );
        }
        let mut way = Way {
            version,
            externals,
            entries: BTreeMap::new(),
            home,
            by_hand: mounts.contains(BY_HAND),
        };
        if let Some(mount) = mounts.first().filter(|mount| *mount != BY_HAND)
            && (store::named().is_some() || self.rotate.apply)
        {
            let store = self.store(mount).await?;
            let paths: BTreeSet<_> = way.externals.iter().map(|(_, path)| path.clone()).collect();
            for path in paths {
                let entry = store.read(&path).await?;
                way.entries.insert(path, entry);
            }
        }
        Ok(Some(way))
    }

    async fn store(&self, mount: &str) -> Result<&Store, Failure> {
        if self.store.get().is_none() {
            let store = Store::connect(mount, self.global.request_timeout.0, self.ui).await?;
            // It was empty a moment ago, and nobody else is here.
            self.store.set(store).ok();
        }
        self.store.get().ok_or_else(|| {
            Failure::unable("there is no connection to the store").hint("run it again")
        })
    }

    /// Where an ExternalSecret reads.
    fn slot_of(&self, facts: &ClusterFacts, external: &ExternalSecret) -> Result<Slot, Failure> {
        let path2 = facts.path2.as_ref();
        let store = path2.and_then(|path2| path2.store_of(external)?.there());
        let Some(store) = store else {
            return Err(
                Failure::unable(format!("the store of {external} cannot be read"))
                    .hint(self.reach.command("verify")),
            );
        };
        let entry = external.entry().filter(|_| !external.templated);
        let Some(entry) = entry else {
            return Err(Failure::no(format!(
                "{external} does not copy an entry of the store as a whole, so what a rotation adds \
                 to the entry would not come into the Secret"
            ))
            .hint(format!(
                "have it use dataFrom with extract, as `{} externalsecrets` prints it",
                self.reach.program
            )));
        };
        if let Provider::Other(_) = &store.provider {
            return Ok(Slot {
                mount: BY_HAND.to_owned(),
                path: entry.to_owned(),
            });
        }
        store.provider.slot(entry).ok_or_else(|| {
            Failure::unable(format!(
                "the path that {external} reads is in no KV engine of version 2"
            ))
            .hint("only there two writers cannot overwrite each other unseen")
        })
    }

    /// Refuses a store that cannot be written, and one that is not what the operator reads.
    ///
    /// # Errors
    /// The capabilities that are missing; Secrets that differ from the store (exit code 1 or 3).
    pub async fn check_store(&self, look: &Look) -> Result<(), Failure> {
        let Some(way) = &look.way else { return Ok(()) };
        let Some(store) = self.store.get() else {
            return Ok(());
        };
        let written: Vec<_> = way
            .entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry.version))
            .collect();
        store.may_write(&written).await?;
        if look.lagging.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::no("the Secrets are not what the store holds");
        for at in &look.lagging {
            failure = failure.cause(at.to_string());
        }
        Err(failure.hint(self.reach.command("sync")).hint(format!(
            "if that does not help, {} is not the store that the operator reads: see BAO_ADDR",
            store.address()
        )))
    }

    /// Writes an entry on top of the version that was read, unless the rotation has gone on
    /// meanwhile. `state` is what opens one.
    pub(super) async fn write_entry(
        &self,
        look: &Look,
        rotation: &Rotation,
        edit: &Edit,
        state: Option<&str>,
    ) -> Result<Written, Failure> {
        let (Some(way), Some(store), At::Entry(path)) = (&look.way, self.store.get(), &edit.at)
        else {
            return Err(Failure::unable(format!("{} cannot be written", edit.at))
                .hint("set BAO_ADDR and log in to the store"));
        };
        if state.is_none() && !self.is_still(look, rotation).await? {
            return Ok(Written::Stale);
        }
        let Some(entry) = way.entries.get(path) else {
            return Ok(Written::Stale);
        };
        let mut fields = entry.fields.clone().unwrap_or_default();
        for key in &edit.remove {
            fields.remove(*key);
        }
        for (key, value) in &edit.set {
            fields.insert((*key).to_owned(), Field::of_text(value));
        }
        if let Some(state) = state {
            let state = SecretValue::from(state);
            fields.insert(STORE_STATE.to_owned(), Field::of_text(&state));
        }
        match store.put(path, entry.version, &fields).await? {
            Stored::Done => Ok(Written::Done),
            Stored::Stale => Ok(Written::Stale),
        }
    }

    /// Has the operator refresh what makes these Secrets, and waits until they carry what the store
    /// holds.
    ///
    /// # Errors
    /// An operator that does not come, or cannot (exit code 3).
    pub(super) async fn follow(&self, look: &Look, secrets: &[SecretRef]) -> Result<(), Failure> {
        let Some(way) = &look.way else { return Ok(()) };
        let lagging = way.externals.iter().filter(|(external, _)| {
            secrets
                .iter()
                .any(|at| at.namespace == external.namespace && at.name == external.target)
        });
        let work = lagging.map(|(external, path)| async move {
            self.follow_one(way, external, path)
                .await
                .map_err(|failure| {
                    Failure::unable(format!(
                        "Secret {}/{} does not follow the store: {}",
                        external.namespace,
                        external.target,
                        failure.told()
                    ))
                    .hint(self.reach.command("verify"))
                    .hint(format!("then carry it on: {}", self.carry_on()))
                })
        });
        stream::iter(work)
            .buffer_unordered(WIDTH)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn follow_one(
        &self,
        way: &Way,
        external: &ExternalSecret,
        path: &str,
    ) -> Result<(), Failure> {
        let end = Instant::now() + LIMIT;
        let (namespace, name) = (&external.namespace, &external.name);
        let now = self
            .cluster
            .external_secret(way.version, namespace, name)
            .await?
            .ok_or_else(|| Failure::unable("its ExternalSecret was deleted meanwhile"))?;
        self.cluster.refresh(way.version, &now).await?;
        let settled = self
            .cluster
            .settled(way.version, namespace, name, &now.synced, Some(end))
            .await?;
        if is_empty(&settled) {
            return Err(Failure::unable(
                "the store has an entry without fields there",
            ));
        }
        // Ready tells of a refresh, the data of its end.
        loop {
            let bundle = BUNDLES.into_iter().find(|it| it.secret == external.target);
            let Some(bundle) = bundle else { return Ok(()) };
            let found = self.cluster.secrets(namespace, &[bundle]).await?;
            let live = found.into_values().next().and_then(|found| found.live);
            if live.is_some_and(|live| way.carries(path, &live)) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Failure::unable("it has other data than the store"));
            }
            sleep(PAUSE).await;
        }
    }
}

fn bundle_of(external: &ExternalSecret) -> Option<&'static Bundle> {
    BUNDLES.into_iter().find(|it| it.secret == external.target)
}

/// The keys that a rotation looks at.
fn keys() -> impl Iterator<Item = &'static str> {
    let keys = [&ROUTER, &EMBEDDINGS].into_iter().flat_map(|it| it.keys);
    keys.filter(|key| !matches!(key.origin, Origin::Input(_)))
        .map(|key| key.name)
        .chain([NEXT_KEY, PREVIOUS_KEY])
}

impl Way {
    /// The state that the write left which opened a rotation.
    ///
    /// # Errors
    /// One that this program did not write.
    pub fn state(&self) -> Result<Option<Rotation>, BadState> {
        elsewhere::of_entry(self.entries.get(&self.home))
    }

    /// Tells whether the router entry says that this rotation is open; an entry that somebody edits by
    /// hand says nothing.
    pub fn tells_of(&self, rotation: &Rotation) -> bool {
        let told = self.state().ok().flatten();
        self.by_hand || told.is_some_and(|told| told.id == rotation.id)
    }

    /// The entries as targets.
    pub fn targets(&self, facts: &ClusterFacts, state: Option<&Rotation>) -> Vec<Target> {
        let mut targets: BTreeMap<&str, Target> = BTreeMap::new();
        for (external, path) in &self.externals {
            let Some(bundle) = bundle_of(external) else {
                continue;
            };
            let place = &facts.places[&external.namespace];
            let router = bundle.secret == ROUTER.secret;
            let serves = router && serves(place);
            let target = targets.entry(path).or_insert_with(|| {
                let texts = match self.entries.get(path) {
                    Some(entry) => texts_of(entry),
                    None => place.live(bundle.secret).map(texts).unwrap_or_default(),
                };
                Target {
                    at: match self.by_hand {
                        true => At::Hand(path.clone()),
                        false => At::Entry(path.clone()),
                    },
                    namespace: facts.home.clone(),
                    bundle,
                    home: router && *path == self.home,
                    made: state.is_some_and(|state| router && made(state, &texts)),
                    written: None,
                    texts,
                    serves: false,
                }
            });
            target.serves |= serves;
        }
        targets.into_values().collect()
    }

    /// The Secrets that do not carry what the store holds.
    pub fn lagging(&self, facts: &ClusterFacts) -> Vec<SecretRef> {
        let lagging = self.externals.iter().filter_map(|(external, path)| {
            let bundle = bundle_of(external)?;
            let live = facts.places[&external.namespace].live(bundle.secret);
            let carries = live.is_some_and(|live| self.carries(path, live));
            (!carries && self.entries.contains_key(path)).then(|| SecretRef {
                namespace: external.namespace.clone(),
                name: bundle.secret,
            })
        });
        lagging.collect()
    }

    fn carries(&self, path: &str, live: &LiveSecret) -> bool {
        let Some(entry) = self.entries.get(path) else {
            return false;
        };
        keys().all(|key| entry.text(key) == live.text(key))
    }
}

/// Tells whether the rotation made the list that an entry has: as long as its own values are on it.
fn made(state: &Rotation, texts: &BTreeMap<String, SecretValue>) -> bool {
    let row = state.phase.row();
    let list = texts.get("KB_ROUTER_TOKENS");
    let change = state.change(TokenName::KbRouterToken);
    let forgotten = list.zip(change).is_some_and(|(list, change)| {
        list.entries()
            .any(|entry| change.side(&SecretValue::from(entry)) == Some(row.sent.other()))
    });
    state.made && (row.both || forgotten)
}

fn texts_of(entry: &Entry) -> BTreeMap<String, SecretValue> {
    let fields = entry.fields.iter().flatten();
    fields
        .filter_map(|(key, field)| Some((key.clone(), field.text.clone()?)))
        .collect()
}
