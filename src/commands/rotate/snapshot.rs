//! Reads everything that a rotation depends on: the cluster, the state and the token places. It
//! must not write.

use super::context::RotateRun;
use super::store_access::{home_external, store_view, version_of};
use crate::commands::shared::eso::check_home;
use crate::commands::shared::options::fleet;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef};
use crate::domain::rotation::edits::{PlaceRef, TokenPlace};
use crate::domain::rotation::store_view::StoreView;
use crate::domain::rotation::targets::{plain_targets, token_of};
use crate::domain::rotation::{BadState, RETIRED_TOKENS, Rotation, STATE, TokenValues};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, Token, TokenName};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::eso::ExternalRef;
use crate::io::kube::observe::FleetScope;
use crate::io::kube::state_object::StateObject;
use crate::io::local::environment::rfc3339;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that one round of `rotate` read.
pub struct Snapshot {
    pub facts: ClusterSnapshot,
    /// The router Secrets outside the selection, whatever their tokens, if they may be listed.
    pub outside: BTreeMap<Namespace, Observed>,
    pub can_list_outside: bool,
    /// The open rotation.
    pub state: Option<Rotation>,
    /// The annotation with the fingerprints of retired tokens.
    pub retired: Option<String>,
    /// The object that has, or gets, the state annotation.
    pub state_object: StateObject,
    /// The places that hold tokens.
    pub targets: Vec<TokenPlace>,
    /// The Secrets that do not match their store entry.
    pub stale_secrets: Vec<SecretRef>,
    /// The store; `None` on Path 1.
    pub store: Option<StoreView>,
    /// Whether only the store entry has the state, and the annotation is missing.
    pub only_in_store: bool,
}

impl Snapshot {
    /// The tokens of the home namespace; `None` for a missing or malformed token.
    pub fn home(&self) -> PerToken<Option<Token>> {
        let home = self.targets.iter().find(|target| target.home);
        PerToken::from_fn(|name| Token::parse(home?.texts.get(name.as_str())?).ok())
    }

    /// The values of a rotation that are found in the home namespace, in the store or in the tokens
    /// file. A fleet namespace is never a source.
    pub fn values(&self, rotation: &Rotation, held: &Held) -> TokenValues {
        let home = &self.facts.home;
        let in_home = self
            .targets
            .iter()
            .filter(|target| match &target.at {
                PlaceRef::Secret(at) => at.namespace == *home,
                PlaceRef::Entry(_) | PlaceRef::Manual(_) => target.namespace == *home,
            })
            .flat_map(|target| &target.texts)
            .filter_map(|(key, text)| Some((token_of(key)?, text)));
        let filed = TokenName::ALL
            .into_iter()
            .flat_map(|name| held.all(name).map(move |token| (name, token.value())));
        TokenValues::find(rotation, in_home.chain(filed))
    }

    /// The API server's time, as RFC 3339.
    pub fn time(&self) -> String {
        rfc3339(self.facts.now)
    }

    /// Describes where tokens may be in use that the snapshot does not show.
    pub fn unseen(&self) -> Vec<String> {
        let namespaces = (!self.can_list_outside).then(|| {
            "other namespaces with the same tokens: you may not list Secrets across the cluster"
                .to_owned()
        });
        let denied = self.facts.denied.iter();
        let copies = denied
            .filter(|denied| denied.verb == "list" && denied.resource == "secrets")
            .map(|denied| format!("copies of the tokens: {denied}"));
        let elsewhere = "other clusters, and tokens that were handed out manually".to_owned();
        namespaces
            .into_iter()
            .chain(copies)
            .chain([elsewhere])
            .collect()
    }
}

/// Reads everything. The namespaces of an open rotation are read as if the options named them.
/// `known` is the open rotation of an earlier snapshot.
///
/// # Errors
/// A failed request (exit code 3), or a state in another format (1).
pub(super) async fn read(
    run: &RotateRun<'_>,
    known: Option<&Rotation>,
) -> Result<Snapshot, Failure> {
    let home = &run.global.namespace;
    let scope_known = scope(run, known)?;
    let mut facts = run
        .cluster
        .inspect(home, &scope_known.0, &scope_known.1)
        .await?;
    let (state_object, annotations) = find_state_object(run, &facts).await?;
    let state = annotations
        .get(STATE)
        .map(|text| Rotation::parse(text))
        .transpose();
    let mut state = accept_state(run, &state_object.what, Some(&state_object), state)?;
    let mut store = store_view(run, &facts).await?;
    // A run that is killed right after the opening write leaves the state in the store entry
    // only.
    let only_in_store = state.is_none();
    if let (None, Some(store)) = (&state, &store) {
        state = accept_state(run, "the store", None, store.state())?;
    }
    let wider = scope(run, state.as_ref().or(known))?;
    if wider != scope_known {
        facts = run.cluster.inspect(home, &wider.0, &wider.1).await?;
        store = store_view(run, &facts).await?;
    }
    let id = state.as_ref().map(|rotation| rotation.id.as_str());
    let mut targets = plain_targets(&facts, id);
    let mut stale_secrets = Vec::new();
    if let Some(store) = &store {
        targets.extend(store.targets(&facts, state.as_ref()));
        stale_secrets = store.stale_secrets(&facts);
    }
    let routers = run.cluster.routers_everywhere().await?;
    Ok(Snapshot {
        can_list_outside: routers.is_some(),
        outside: routers
            .into_iter()
            .flatten()
            .filter(|(at, _)| !facts.places.contains_key(&at.namespace))
            .map(|(at, observed)| (at.namespace, observed))
            .collect(),
        retired: annotations.get(RETIRED_TOKENS).cloned(),
        only_in_store: only_in_store && state.is_some(),
        state,
        state_object,
        targets,
        stale_secrets,
        store,
        facts,
    })
}

/// The namespaces and copies of the options and of the open rotation.
///
/// # Errors
/// The rotation began with another `--fleet-selector` (exit code 1).
fn scope(
    run: &RotateRun<'_>,
    rotation: Option<&Rotation>,
) -> Result<(FleetScope, BTreeSet<CopyRef>), Failure> {
    let mut fleet = fleet(&run.rotate.fleet);
    let mut copies: BTreeSet<_> = run.rotate.copy.iter().cloned().collect();
    if let Some(rotation) = rotation {
        fleet.named.extend(rotation.fleet_namespaces());
        copies.extend(rotation.copies());
        let selector = rotation.selector.clone();
        if fleet.selector.is_some() && selector.is_some() && fleet.selector != selector {
            return Err(
                Failure::no("the open rotation began with another --fleet-selector")
                    .hint("omit the option: the rotation has stored its fleet"),
            );
        }
        fleet.selector = fleet.selector.or(selector);
    }
    Ok((fleet, copies))
}

/// The object that has, or gets, the state, with the annotations of this program: the home
/// router Secret, or on Path 2 the ExternalSecret that owns it.
///
/// # Errors
/// The Secret may not be read (exit code 3), does not exist, or has another owner (1).
async fn find_state_object(
    run: &RotateRun<'_>,
    facts: &ClusterSnapshot,
) -> Result<(StateObject, BTreeMap<String, String>), Failure> {
    let home = &run.global.namespace;
    check_home(home, facts.home_place().state)?;
    let at = SecretRef::new(home, ROUTER.secret);
    let observed = facts.home_place().secrets.get(ROUTER.secret);
    let Some(observed) = observed else {
        return Err(Failure::unable(format!("reading {at} is forbidden")).hint(run.role_hint()));
    };
    let Some(live) = &observed.live else {
        return Err(
            Failure::no(format!("{at} not found: there is nothing to rotate"))
                .hint(format!("create it first: {}", run.reach.apply)),
        );
    };
    match &observed.owner {
        Some(owner) if owner.kind == OwnerKind::ExternalSecret => {
            let external = home_external(run, facts)?;
            let version = version_of(facts)?;
            let path = ExternalRef::of(version, &external).path();
            let found = run
                .cluster
                .state_object(external.to_string(), path, home)
                .await?;
            return found.ok_or_else(|| {
                Failure::unable(format!("{external} was deleted during the run"))
                    .hint("run it again")
            });
        }
        Some(owner) => {
            return Err(
                Failure::no(format!("{at} is owned by {owner}")).hint(format!(
                    "{}: rotate does not support this owner",
                    owner.instead()
                )),
            );
        }
        None => {}
    }
    let state_object = StateObject {
        what: at.to_string(),
        path: format!("/api/v1/namespaces/{home}/secrets/{}", ROUTER.secret),
        namespace: home.clone(),
        resource_version: live.resource_version.clone(),
    };
    Ok((state_object, live.annotations.clone()))
}

fn accept_state(
    run: &RotateRun<'_>,
    what: &str,
    state_object: Option<&StateObject>,
    state: Result<Option<Rotation>, BadState>,
) -> Result<Option<Rotation>, Failure> {
    state.map_err(|bad| {
        let failure = Failure::no(format!("{what}: {bad}")).hint(
            "do not simply delete it: it records which entries of the lists are old; restore the \
             state, or remove those entries first",
        );
        match state_object {
            None => failure,
            // The managed fields contain neither values nor annotations.
            Some(state_object) => failure.hint(format!(
                "see who wrote it: {} -n {} get {} --show-managed-fields -o \
                 jsonpath='{{.metadata.managedFields}}'",
                run.reach.kubectl,
                state_object.namespace,
                state_object.object()
            )),
        }
    })
}
