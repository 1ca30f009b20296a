//! What there is: the cluster, the state of a rotation, the values that it is about.

use super::context::RotateRun;
use super::store_access::version_of;
use crate::commands::shared::options::fleet;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{LiveSecret, Observed};
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::cluster::workload::Workload;
use crate::domain::rotation::edits::{PlaceRef, TokenPlace};
use crate::domain::rotation::store_view::StoreView;
use crate::domain::rotation::targets::{plain_targets, token_of};
use crate::domain::rotation::{BadState, RETIRED_TOKENS, Rotation, STATE, TokenValues};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, Token, TokenName};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::eso;
use crate::io::kube::state_object::StateObject;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// One look at everything.
pub struct Snapshot {
    /// The cluster.
    pub facts: ClusterSnapshot,
    /// The router Secrets of other namespaces, with home's tokens or not; `None` where they may not
    /// be listed.
    pub outside: Option<BTreeMap<Namespace, Observed>>,
    /// The state.
    pub state: Option<Rotation>,
    /// The tokens that are no longer to be used.
    pub retired: Option<String>,
    /// What has the state.
    pub keeper: StateObject,
    /// Where tokens are kept.
    pub targets: Vec<TokenPlace>,
    /// The Secrets that do not carry what the store holds.
    pub stale_secrets: Vec<SecretRef>,
    /// The store, on Path 2.
    pub store: Option<StoreView>,
    /// Whether the state stands in the store alone.
    pub only_in_store: bool,
}

impl Snapshot {
    /// The values of home's tokens; `None` where there is none in a form that is accepted.
    pub fn home(&self) -> PerToken<Option<Token>> {
        let home = self.targets.iter().find(|target| target.home);
        PerToken::from_fn(|name| Token::parse(home?.texts.get(name.as_str())?).ok())
    }

    /// The values of a rotation, as far as the home namespace (or the store) and the file know them.
    /// A fleet namespace is never a source.
    pub fn values(&self, rotation: &Rotation, held: &Held) -> TokenValues {
        let home = &self.facts.home;
        let kept = self.targets.iter().filter(|target| match &target.at {
            PlaceRef::Secret(at) => at.namespace == *home,
            PlaceRef::Entry(_) | PlaceRef::Manual(_) => target.namespace == *home,
        });
        let kept = kept.flat_map(|target| {
            let texts = target.texts.iter();
            texts.filter_map(|(key, text)| Some((token_of(key)?, text)))
        });
        let filed = TokenName::ALL
            .into_iter()
            .flat_map(|name| held.all(name).map(move |token| (name, token.value())));
        TokenValues::find(rotation, kept.chain(filed))
    }

    /// The router Secrets of all other namespaces, as far as they may be listed.
    pub fn outside(&self) -> Cow<'_, BTreeMap<Namespace, Observed>> {
        self.outside
            .as_ref()
            .map_or_else(Cow::default, Cow::Borrowed)
    }

    /// Every workload.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let places = self.facts.places.values();
        places.flat_map(|place| &place.workloads)
    }

    /// The API server's time, as RFC 3339.
    pub fn now(&self) -> String {
        jiff::Timestamp::from_second(self.facts.now)
            .unwrap_or_else(|_| jiff::Timestamp::now())
            .to_string()
    }

    /// The home router Secret, where it can be read and is there.
    pub fn router(&self) -> Option<&LiveSecret> {
        self.facts.home_place().live(ROUTER.secret)
    }
}

impl RotateRun<'_> {
    /// Looks at everything. The fleet of an open rotation counts as named by the options.
    ///
    /// # Errors
    /// What cannot be read (exit code 3), a state that is not ours (1).
    pub async fn look(&self) -> Result<Snapshot, Failure> {
        let mut facts = self.inspect(None).await?;
        let (keeper, annotations) = self.keeper(&facts).await?;
        let text = annotations.get(STATE);
        let state = text.map(|text| Rotation::parse(text)).transpose();
        let mut state = self.readable(&keeper.what, Some(&keeper), state)?;
        let mut store = self.store_view(&facts).await?;
        // The one write that opened it may be all that there was time for.
        let only_in_store = state.is_none();
        if let (None, Some(store)) = (&state, &store) {
            state = self.readable("the store", None, store.state())?;
        }
        if let Some(rotation) = &state
            && self.is_wider(rotation)?
        {
            facts = self.inspect(Some(rotation)).await?;
            store = self.store_view(&facts).await?;
        }
        let id = state.as_ref().map(|rotation| rotation.id.as_str());
        let mut targets = plain_targets(&facts, id);
        let mut stale_secrets = Vec::new();
        if let Some(store) = &store {
            targets.extend(store.targets(&facts, state.as_ref()));
            stale_secrets = store.stale_secrets(&facts);
        }
        let outside = self.outside(&facts).await?;
        Ok(Snapshot {
            outside,
            retired: annotations.get(RETIRED_TOKENS).cloned(),
            only_in_store: only_in_store && state.is_some(),
            state,
            keeper,
            targets,
            stale_secrets,
            store,
            facts,
        })
    }

    /// Reads the places of the options and, where one is open, of the rotation.
    async fn inspect(&self, rotation: Option<&Rotation>) -> Result<ClusterSnapshot, Failure> {
        let mut fleet = fleet(&self.rotate.fleet);
        let mut copies: BTreeSet<_> = self.rotate.copy.iter().cloned().collect();
        if let Some(rotation) = rotation {
            fleet.named.extend(rotation.fleet_namespaces());
            fleet.selector = fleet.selector.or_else(|| rotation.selector.clone());
            copies.extend(rotation.copies());
        }
        self.cluster
            .inspect(&self.global.namespace, &fleet, &copies)
            .await
    }

    /// Tells whether a rotation is about more places than the options name.
    fn is_wider(&self, rotation: &Rotation) -> Result<bool, Failure> {
        let options = fleet(&self.rotate.fleet);
        match (&options.selector, &rotation.selector) {
            (Some(one), Some(other)) if one != other => Err(Failure::no(
                "the rotation that is open was begun with another --fleet-selector",
            )
            .hint("leave the option out: the rotation knows its fleet")),
            (selector, of_rotation) => {
                let copies: BTreeSet<_> = self.rotate.copy.iter().cloned().collect();
                Ok(selector != of_rotation
                    || !rotation.fleet_namespaces().is_subset(&options.named)
                    || !rotation.copies().is_subset(&copies))
            }
        }
    }

    /// What has the state, and its annotations of ours.
    async fn keeper(
        &self,
        facts: &ClusterSnapshot,
    ) -> Result<(StateObject, BTreeMap<String, String>), Failure> {
        let home = &self.global.namespace;
        crate::commands::shared::eso::check_home(home, facts.home_place().state)?;
        let at = SecretRef {
            namespace: home.clone(),
            name: ROUTER.secret,
        };
        let observed = facts.home_place().secrets.get(ROUTER.secret);
        let Some(observed) = observed else {
            return Err(Failure::unable(format!("{at} may not be read")).hint(self.role()));
        };
        let Some(live) = &observed.live else {
            return Err(
                Failure::no(format!("{at} is not there: there is nothing to rotate"))
                    .hint(format!("make it first: {}", self.reach.apply)),
            );
        };
        match &observed.owner {
            Some(owner) if owner.kind == OwnerKind::ExternalSecret => {
                let external = self.home_external(facts)?;
                let version = version_of(facts)?;
                let path = eso::path(version, home, &external.name);
                let found = self
                    .cluster
                    .state_object(external.to_string(), path, home)
                    .await?;
                return found.ok_or_else(|| {
                    Failure::unable(format!("{external} was deleted meanwhile"))
                        .hint("run it again")
                });
            }
            Some(owner) => {
                return Err(
                    Failure::no(format!("{at} belongs to {owner}")).hint(format!(
                        "{}: this program does not rotate there",
                        owner.instead()
                    )),
                );
            }
            None => {}
        }
        let keeper = StateObject {
            what: at.to_string(),
            path: format!("/api/v1/namespaces/{home}/secrets/{}", ROUTER.secret),
            namespace: home.clone(),
            resource_version: live.resource_version.clone(),
        };
        Ok((keeper, live.annotations.clone()))
    }

    /// The router Secrets of all other namespaces; `None` where they may not be listed.
    async fn outside(
        &self,
        facts: &ClusterSnapshot,
    ) -> Result<Option<BTreeMap<Namespace, Observed>>, Failure> {
        let found = self.cluster.routers_everywhere().await?;
        Ok(found.map(|found| {
            let others = found
                .into_iter()
                .filter(|(at, _)| !facts.places.contains_key(&at.namespace));
            others
                .map(|(at, observed)| (at.namespace, observed))
                .collect()
        }))
    }
}

impl RotateRun<'_> {
    fn readable(
        &self,
        what: &str,
        keeper: Option<&StateObject>,
        state: Result<Option<Rotation>, BadState>,
    ) -> Result<Option<Rotation>, Failure> {
        state.map_err(|bad| {
            let failure = Failure::no(format!("{what}: {bad}")).hint(
                "do not just take it away: it says which entries of the lists are old; put back \
                 what was there, or take those entries off first",
            );
            match keeper {
                None => failure,
                // Neither values nor annotations are in there.
                Some(keeper) => failure.hint(format!(
                    "see who wrote it: {} -n {} get {} --show-managed-fields -o \
                     jsonpath='{{.metadata.managedFields}}'",
                    self.reach.kubectl,
                    keeper.namespace,
                    keeper.object()
                )),
            }
        })
    }

    /// The state alone, as it is now.
    ///
    /// # Errors
    /// What has it cannot be read (exit code 3).
    pub async fn state_now(&self, keeper: &StateObject) -> Result<Option<Rotation>, Failure> {
        let (what, path) = (keeper.what.clone(), keeper.path.clone());
        let found = self
            .cluster
            .state_object(what, path, &keeper.namespace)
            .await?;
        let text = found.and_then(|(_, annotations)| annotations.get(STATE).cloned());
        Ok(text.and_then(|text| Rotation::parse(&text).ok()))
    }
}
