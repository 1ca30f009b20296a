//! The plan for the Secrets of the home namespace and of the fleet.

use super::place::{Action, PlaceRef, SecretBase, SecretPlan};
use super::planner::{Place, Planner, Values};
use super::refusal::{Conflict, Refusal};
use super::resolve::{Evidence, Holder};
use super::types::{Decision, Filed, FiledTokens, Prefer, Wish};
use super::whole::Plan;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{LiveSecret, OPAQUE, Observations, Observed};
use crate::domain::rotation::stored_state;
use crate::domain::table::{Bundle, EMBEDDINGS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, TokenName};

impl Plan<SecretPlan> {
    pub fn for_secrets(wish: &Wish, filed: &FiledTokens, observed: &Observations) -> Self {
        let mut refusals = Vec::new();
        let router = SecretRef::new(&wish.home, ROUTER.secret);
        let owner = observed.get(&router).and_then(|found| found.owner.clone());
        let tokens = PerToken::from_fn(|name| {
            let filed = filed.tokens.get(name);
            let decision = resolve(name, filed, &wish.home, observed, wish.prefer);
            // The owner will set it; another one would be a second value.
            let is_minted = matches!(decision, Ok(Decision::Minted(_)));
            let decision = match owner.clone().filter(|_| is_minted) {
                Some(owner) => Err(Box::new(Refusal {
                    at: PlaceRef::Secret(router.clone()),
                    owner: Some(owner),
                    conflict: Conflict::OwnerBringsToken(name),
                })),
                None => decision,
            };
            decision.map_err(|why| refusals.push(*why)).ok()
        });
        let absent = Observed::default();
        let home = live(observed, &router).map(|live| live as &dyn Values);
        let mut planner = Planner {
            inputs: &wish.inputs,
            update: &wish.update,
            prefer: wish.prefer,
            api_keys: wish.api_keys,
            tokens: &tokens,
            home: home.map(|live| (PlaceRef::Secret(router), live)),
            refusals,
        };
        let targets = wish.targets().map(|(at, bundle)| {
            let found = observed.get(&at).unwrap_or(&absent);
            let is_fleet = at.namespace != wish.home;
            planner.secret(at, bundle, found, is_fleet, wish.force_conflicts)
        });
        let places = targets.collect();
        let refusals = planner.refusals;
        let name = |place: &SecretPlan| PlaceRef::Secret(place.at.clone());
        Self::new(filed, tokens, places, refusals, name)
    }
}

impl Planner<'_> {
    fn secret(
        &mut self,
        at: SecretRef,
        bundle: &'static Bundle,
        found: &Observed,
        is_fleet: bool,
        force_conflicts: bool,
    ) -> SecretPlan {
        let live = found.live.as_ref();
        let place = Place {
            at: PlaceRef::Secret(at.clone()),
            bundle,
            values: live.map(|live| live as &dyn Values),
            is_blank: live.is_none(),
            owner: found.owner.as_ref(),
            is_fleet,
            copied: None,
        };
        if let (Some(live), None) = (live, place.owner)
            && live.type_ != OPAQUE
        {
            self.refuse(&place, Conflict::WrongType(live.type_.clone()));
        }
        let plan = self.plan(at, &place, live.map(SecretBase::of));
        if let (Action::Configure, Some(live)) = (plan.action, live) {
            self.check_writable(&place, live, &plan, force_conflicts);
        }
        plan
    }

    /// Refuses a change that the API server would reject or a controller would undo.
    fn check_writable(
        &mut self,
        place: &Place<'_>,
        live: &LiveSecret,
        plan: &SecretPlan,
        force_conflicts: bool,
    ) {
        if live.immutable {
            self.refuse(place, Conflict::Immutable);
        }
        for (key, _) in plan.new_values().filter(|_| !force_conflicts) {
            let managers = live.foreign_managers(&key.key);
            if !managers.is_empty() {
                let managers = managers.into_iter().map(str::to_owned).collect();
                let key = key.key.clone();
                self.refuse(place, Conflict::Field { key, managers });
            }
        }
    }
}

/// Decides the value of one token. The home namespace is its only source in the cluster.
///
/// # Errors
/// Two places disagree, or a value that would be adopted is not a token.
pub fn resolve(
    name: TokenName,
    filed: &Filed,
    home: &Namespace,
    observed: &Observations,
    prefer: Option<Prefer>,
) -> Result<Decision, Box<Refusal>> {
    let router = SecretRef::new(home, ROUTER.secret);
    let found = observed.get(&router);
    let is_retired = match filed {
        Filed::Found(token) => stored_state::is_retired_in(found, name, token.value()),
        Filed::Absent | Filed::MintedNow(_) => false,
    };
    let holder = |bundle: &Bundle, key, is_empty: fn(&SecretValue) -> bool| {
        let at = SecretRef::new(home, bundle.secret);
        let value = live(observed, &at)?.text(key)?.clone();
        let at = PlaceRef::Secret(at);
        (!is_empty(&value)).then_some(Holder { at, key, value })
    };
    let list = |key| holder(&EMBEDDINGS, key, |list| !list.has_entries());
    Evidence {
        token: name,
        filed,
        is_retired,
        prefer,
        owner: found.and_then(|found| found.owner.as_ref()),
        holders: Vec::from_iter(holder(&ROUTER, name.as_str(), SecretValue::is_empty)),
        lists: EMBEDDINGS.lists_of(name).filter_map(list).collect(),
        deleted: None,
        router: PlaceRef::Secret(router),
    }
    .decide()
}

impl SecretBase {
    fn of(live: &LiveSecret) -> Self {
        let (data, annotations) = live.applied_before();
        Self {
            resource_version: live.resource_version.clone(),
            data,
            annotations,
            annotated: live.annotations.keys().cloned().collect(),
        }
    }
}

impl Values for LiveSecret {
    fn has(&self, key: &str) -> bool {
        self.data.contains_key(key)
    }

    fn text(&self, key: &str) -> Option<&SecretValue> {
        self.text(key)
    }
}

fn live<'a>(observed: &'a Observations, at: &SecretRef) -> Option<&'a LiveSecret> {
    observed.get(at)?.live.as_ref()
}
