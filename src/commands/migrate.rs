//! `migrate`: from plain Secrets to the secret store, without a change of any value.
//!
//! The store gets what it lacks; each entry is proven equal to its Secret, by us and, as the
//! operator sees it, by a short-lived ExternalSecret with another target; only then the operator
//! is told to take over.

use super::external_secrets::manifests;
use super::path2::{direct, served};
use super::reach::{Given, reach};
use super::{Answer, Verdict, rollback};
use crate::cli::{Global, Migrate, StoreLayout};
use crate::domain::bundles::{BUNDLES, Bundle};
use crate::domain::external_secrets::{SecretStore, StoreKind, StoreRef, VERSIONS};
use crate::domain::migration::{
    Destination, MigrationPlan, MigrationRefusal, Move, Standing, compare, fields_after,
};
use crate::domain::names::Namespace;
use crate::domain::reach::Reach;
use crate::domain::resolve::Filed;
use crate::domain::store::{Entries, Entry, Layout, StoreReach};
use crate::domain::tokens::TokenName;
use crate::error::{Failure, Kind};
use crate::io::cluster::{Cluster, WIDTH};
use crate::io::external_secrets::Seen;
use crate::io::external_secrets::temporary::Temporaries;
use crate::io::observe::{Fleet, Found};
use crate::io::store::{Store, Stored};
use crate::io::tokens_file;
use crate::render::document::Body;
use crate::render::external_secrets::Extract;
use crate::render::migration::{self as rendered, Ended, Gift, Passage};
use crate::ui::{Format, Ui};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How often everything is read and planned at most, where others keep writing first.
const ROUNDS: usize = 10;
/// How long the operator has for an ExternalSecret.
const LIMIT: Duration = Duration::from_secs(60);
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
    let layout = super::layout(&StoreLayout {
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
    let given = Given {
        fleet: Some(&migrate.fleet),
        ..Given::default()
    };
    let reach = reach(global, given);
    let run = Run::new(global, migrate, (layout, store), reach, ui).await?;
    match migrate.apply {
        true => run.apply().await,
        false => run.preview().await,
    }
}

/// A run: where from, where to, and by which way.
struct Run<'a> {
    global: &'a Global,
    ui: Ui,
    reach: Reach,
    cluster: Cluster,
    version: &'static str,
    layout: Layout,
    store: StoreRef,
    fleet: Fleet,
    /// A way of our own to the store.
    direct: Option<Store>,
}

/// Pods by namespace: their names by uid.
type Pods = BTreeMap<Namespace, BTreeMap<String, String>>;

/// Everything that was read, and what is to be done about it.
struct Picture {
    found: Found,
    plan: MigrationPlan,
}

impl<'a> Run<'a> {
    async fn new(
        global: &'a Global,
        migrate: &Migrate,
        (layout, store): (Layout, StoreRef),
        reach: Reach,
        ui: Ui,
    ) -> Result<Self, Failure> {
        let cluster = super::connect(global, ui, "migrate", &reach).await?;
        let version = served(&cluster, &reach).await?;
        let mut run = Self {
            global,
            ui,
            reach,
            cluster,
            version,
            layout,
            store,
            fleet: super::fleet(&migrate.fleet),
            direct: None,
        };
        if let Some(store) = run.check_store(&global.namespace).await? {
            run.direct = direct(global, &store.provider, ui).await?;
            run.judge_credential(&store).await?;
        }
        Ok(run)
    }

    /// Refuses a store that is not there or not ready, as a namespace sees it; `None` where it may
    /// not be read.
    async fn check_store(&self, namespace: &Namespace) -> Result<Option<SecretStore>, Failure> {
        let (at, version) = (&self.store, self.version);
        let kubectl = &self.reach.kubectl;
        let place = match at.kind {
            StoreKind::ClusterSecretStore => String::new(),
            StoreKind::SecretStore => format!(" -n {namespace}"),
        };
        let seen = self.cluster.secret_store(version, namespace, at).await?;
        let store = match seen {
            Seen::There(store) => store,
            Seen::Forbidden => {
                let words = "may not be read, so whether it is ready shows when it is used";
                self.ui.warn(&format!("{at} {words}"));
                return Ok(None);
            }
            Seen::Absent => {
                let all = at.kind.resource();
                return Err(Failure::unable(format!("there is no {at}"))
                    .hint(format!("see which there are: {kubectl}{place} get {all}")));
            }
        };
        if store.is_ready() {
            return Ok(Some(store));
        }
        let cause = self.cluster.store_cause(namespace, &store).await?;
        let why = cause.map_or("the operator does not say why", |cause| cause.told());
        let (kind, name) = (at.kind.as_str(), &at.name);
        Err(Failure::unable(format!("{at} is not ready"))
            .cause(why)
            .hint(format!("{kubectl}{place} describe {kind} {name}")))
    }

    /// Warns where the operator's credential may do more than read: whoever gets at it could change
    /// what every pod trusts.
    async fn judge_credential(&self, store: &SecretStore) -> Result<(), Failure> {
        let paths = BUNDLES.map(|bundle| self.layout.path(bundle));
        let words = match self.direct.as_ref().zip(store.credentials.as_ref()) {
            Some((store, at)) => {
                let home = &self.global.namespace;
                let token = self.cluster.token_of(home, at).await?;
                match token {
                    Some(token) => store.capabilities_of(&token, &paths).await?,
                    None => None,
                }
            }
            None => None,
        };
        let Some(words) = words else {
            self.ui.story(&format!(
                "see that the credential of {} can only read: this run cannot tell",
                self.store
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
        let fleet = super::usable_fleet(&found, &self.fleet, &self.reach, self.ui)?;
        let read = match (&self.direct, entries) {
            (Some(store), _) => Some(self.entries(store).await?),
            (None, entries) => entries.cloned(),
        };
        let to = Destination {
            home,
            fleet: &fleet,
            layout: &self.layout,
            store: &self.store,
        };
        let plan = MigrationPlan::new(&to, &found.secrets, &found.externals, read.as_ref());
        Ok(Picture { found, plan })
    }

    async fn entries(&self, store: &Store) -> Result<Entries, Failure> {
        let paths = BUNDLES.map(|bundle| self.layout.path(bundle));
        let read = try_join_all(paths.iter().map(|path| store.read(path))).await?;
        Ok(paths.into_iter().zip(read).collect())
    }

    async fn preview(&self) -> Result<Answer, Failure> {
        let picture = self.look(None).await?;
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
        refusal(&plan.refusals, store, &self.reach)
    }

    /// Refuses where the tokens file and the Secret hold different tokens.
    fn check_file(&self, picture: &Picture) -> Result<(), Failure> {
        let loaded = tokens_file::read(&self.global.tokens_file)?;
        let filed = super::filed(loaded.as_ref().map(|loaded| &loaded.file));
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
        Err(
            Failure::no("refused, and nothing has been written: a person has to decide")
                .cause(format!(
                    "the tokens file and the Secret differ in {}",
                    differing.join(", ")
                ))
                .hint(format!("{} --prefer cluster", self.reach.apply)),
        )
    }

    async fn apply(&self) -> Result<Answer, Failure> {
        self.ui.story(&format!(
            "moving the Secrets of {} on {} to {}",
            self.global.namespace, self.cluster.server, self.store
        ));
        let temporaries = Temporaries::new();
        let mut done = Vec::new();
        let mut gifts = Vec::new();
        let work = self.rounds(&temporaries, &mut gifts, &mut done);
        let outcome = self.cluster.with_temporaries(&temporaries, work).await;
        let failure = outcome.err();
        let failed = done
            .iter()
            .filter(|passage: &&Passage| matches!(passage.ended, Ended::Failed(_)));
        let failure = failure.or_else(|| match failed.count() {
            0 => None,
            count => Some(
                Failure::unable(format!("{count} of {} Secrets did not move", done.len()))
                    .hint(format!("{}{} verify", self.reach.program, self.reach.fleet)),
            ),
        });
        self.answer(&gifts, &done, failure, false, None).await
    }

    /// Fills the store, proves, and has the operator take over; all of it again where somebody else
    /// wrote first.
    async fn rounds(
        &self,
        temporaries: &Temporaries,
        gifts: &mut Vec<Gift>,
        done: &mut Vec<Passage>,
    ) -> Result<(), Failure> {
        for round in 0..ROUNDS {
            let seen = match &self.direct {
                Some(_) => None,
                None => Some(self.entries_through(temporaries).await?),
            };
            let picture = self.look(seen.as_ref()).await?;
            if round == 0 {
                for warning in &picture.found.warnings {
                    self.ui.warn(warning);
                }
            }
            self.refuse(&picture, gifts.is_empty())?;
            let stale = self.fill(&picture.plan, gifts).await? == Stored::Stale;
            if stale || picture.plan.written().next().is_some() {
                // Once more, and this time the store holds everything.
                continue;
            }
            self.prove(temporaries, &picture.plan).await?;
            let pods = self.pods(&picture.plan).await?;
            done.extend(self.take_over(&picture).await);
            return self.say_what_became_of(pods).await;
        }
        Err(
            Failure::unable("others keep changing the store while this runs")
                .hint("see who writes there; then run this again"),
        )
    }

    /// Refuses what a person has to decide first.
    fn refuse(&self, picture: &Picture, first: bool) -> Result<(), Failure> {
        self.check_file(picture)?;
        let plan = &picture.plan;
        if let Some(mut failure) = self.refusal(plan) {
            if !first {
                failure.kind = Kind::Unable;
                failure.message =
                    "others wrote while this ran, and now a person has to decide".into();
            }
            return Err(failure);
        }
        if let (None, Some(entry)) = (&self.direct, plan.written().next()) {
            let keys: Vec<_> = entry.keys.iter().map(|key| key.key.as_str()).collect();
            let (path, options) = (&entry.path, self.layout.options());
            return Err(
                Failure::no(format!("the store lacks {} in {path}", keys.join(", "))).hint(
                    format!(
                        "fill it first: {} populate {options} --from-cluster --via-eso STORE \
                     --apply, with a store that may write",
                        self.reach.program
                    ),
                ),
            );
        }
        Ok(())
    }

    /// Writes what the store lacks.
    async fn fill(&self, plan: &MigrationPlan, gifts: &mut Vec<Gift>) -> Result<Stored, Failure> {
        let (Some(store), Some(_)) = (&self.direct, plan.written().next()) else {
            return Ok(Stored::Done);
        };
        let written: Vec<_> = plan.written().collect();
        store.check(&written).await?;
        let new = rendered::gifts(plan);
        let mut state = Stored::Done;
        for (entry, gift) in written.into_iter().zip(new) {
            match store.write(entry, &fields_after(entry)).await? {
                Stored::Done => gifts.push(gift),
                Stored::Stale => state = Stored::Stale,
            }
        }
        Ok(state)
    }

    /// What the store holds, as the operator sees it from home.
    async fn entries_through(&self, temporaries: &Temporaries) -> Result<Entries, Failure> {
        let reads = BUNDLES.map(|bundle| async move {
            let path = self.layout.path(bundle);
            let home = &self.global.namespace;
            let entry = self.through(temporaries, home, bundle, &path).await?;
            Ok::<_, Failure>((path, entry))
        });
        Ok(try_join_all(reads).await?.into_iter().collect())
    }

    async fn through(
        &self,
        temporaries: &Temporaries,
        namespace: &Namespace,
        bundle: &Bundle,
        path: &str,
    ) -> Result<Entry, Failure> {
        let name = format!("k8s-bootstrap-proof-{}", bundle.entry);
        self.cluster
            .read_through(
                temporaries,
                self.version,
                namespace,
                &self.store,
                path,
                &name,
            )
            .await
    }

    /// Proves that the operator would make each Secret what it is to be.
    async fn prove(&self, temporaries: &Temporaries, plan: &MigrationPlan) -> Result<(), Failure> {
        let proofs =
            plan.moving().map(|moved| async move {
                let namespace = &moved.at.namespace;
                let entry = self
                    .through(temporaries, namespace, moved.bundle, &moved.path)
                    .await?;
                let wanted = moved.after.iter().flatten();
                let same = wanted
                    .clone()
                    .all(|(key, value)| entry.text(key) == Some(value));
                let count = entry.fields.as_ref().map_or(0, |fields| fields.len());
                match same && count == wanted.count() {
                true => Ok(()),
                false => Err(Failure::no(format!(
                    "the operator reads something else at {} than {} is to hold; nothing has been \
                     taken over",
                    moved.path, moved.at
                ))
                .hint(format!(
                    "see whether {} is the store that this run reads ({})",
                    self.store,
                    self.direct.as_ref().map_or("through the operator", Store::address)
                ))),
            }
            });
        let ended: Vec<_> = stream::iter(proofs).buffered(WIDTH).collect().await;
        ended.into_iter().collect()
    }

    /// The pods beside the Secrets that move, by namespace, as far as they may be listed.
    async fn pods(&self, plan: &MigrationPlan) -> Result<Pods, Failure> {
        let places: BTreeSet<_> = plan.moving().map(|moved| &moved.at.namespace).collect();
        let mut pods = Pods::new();
        for place in places {
            if let Some(found) = self.cluster.pods_of(place).await? {
                pods.insert(place.clone(), found);
            }
        }
        Ok(pods)
    }

    /// Says which pods are gone, so that nobody takes the move for innocent that was not.
    async fn say_what_became_of(&self, before: Pods) -> Result<(), Failure> {
        for (place, before) in before {
            let now = self.cluster.pods_of(&place).await?.unwrap_or_default();
            let gone: Vec<_> = before
                .iter()
                .filter(|(uid, _)| !now.contains_key(*uid))
                .map(|(_, name)| name.as_str())
                .collect();
            match (gone.as_slice(), before.len()) {
                ([], 0) => {}
                ([], count) => self.ui.story(&format!("{count} pods of {place} run on")),
                (gone, _) => self.ui.warn(&format!(
                    "pods of {place} were replaced meanwhile: {}",
                    gone.join(", ")
                )),
            }
        }
        Ok(())
    }

    /// Applies the ExternalSecrets and waits until each Secret follows.
    async fn take_over(&self, picture: &Picture) -> Vec<Passage> {
        let moves = picture.plan.moves.iter().map(|moved| async move {
            let mut passage = rendered::planned(moved);
            if matches!(moved.standing, Standing::Plain | Standing::Moved) {
                passage.ended = match self.take_one(picture, moved).await {
                    Ok(ended) => ended,
                    Err(failure) => Ended::Failed(failure.told()),
                };
            }
            passage
        });
        stream::iter(moves).buffered(WIDTH).collect().await
    }

    async fn take_one(&self, picture: &Picture, moved: &Move) -> Result<Ended, Failure> {
        let (namespace, name) = (&moved.at.namespace, moved.bundle.external_secret);
        let now = self.cluster.secrets(namespace, &[moved.bundle]).await?;
        let version = |found: &crate::domain::live::Observations| {
            let live = found.get(&moved.at)?.live.as_ref()?;
            Some(live.resource_version.clone())
        };
        if moved.standing == Standing::Plain {
            if version(&now) != version(&picture.found.secrets) {
                return Err(Failure::unable(
                    "it has changed while this ran: run it again",
                ));
            }
            let extract = Extract {
                version: self.version,
                namespace,
                bundle: moved.bundle,
                store: &self.store,
                path: &moved.path,
            };
            self.cluster
                .apply_external_secret(self.version, namespace, name, &extract.object())
                .await?;
        }
        let deadline = Instant::now().checked_add(LIMIT);
        self.cluster
            .settled(self.version, namespace, name, "", deadline)
            .await?;
        let now = self.cluster.secrets(namespace, &[moved.bundle]).await?;
        let live = now.get(&moved.at).and_then(|found| found.live.as_ref());
        let Some((live, after)) = live.zip(moved.after.as_ref()) else {
            return Err(Failure::unable("the Secret is gone"));
        };
        let (differing, lost, gained) = compare(live, after);
        let odd: Vec<_> = [differing, lost, gained].concat();
        match (odd.is_empty(), &moved.standing) {
            (true, Standing::Plain) => Ok(Ended::Done),
            (true, _) => Ok(Ended::Unchanged),
            (false, _) => Err(Failure::unable(format!(
                "it has other values than before: {}",
                odd.join(", ")
            ))),
        }
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
        let text = if self.ui.format == Format::Text {
            text
        } else {
            String::new()
        };
        Ok(Answer {
            text,
            next,
            body: Body::Migration(body),
            verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
        })
    }
}

/// One failure for everything that a person has to decide.
pub fn refusal(
    refusals: &[MigrationRefusal],
    store: Option<&StoreReach>,
    reach: &Reach,
) -> Option<Failure> {
    if refusals.is_empty() {
        return None;
    }
    let mut failure = Failure::no("refused, and nothing has been written: a person has to decide");
    for refusal in refusals {
        failure = failure
            .cause(refusal.message())
            .hint(refusal.hint(store, &reach.kubectl));
    }
    Some(failure)
}
