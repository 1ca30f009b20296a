//! The plan for the Secrets: one decision for each Secret and each key.

use super::place::PlacePlan;
use super::refusal::{Conflict, Refusal};
use super::resolve;
use super::secret_planner::SecretPlanner;
use super::types::{Action, Decision, FileAction, FiledTokens, SecretPlan, Wish, file_action};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::{Observations, Observed};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, TokenName};

/// The plan for all Secrets and the tokens file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The value of each token; `None` if it was refused.
    pub tokens: PerToken<Option<Decision>>,
    pub file: FileAction,
    pub secrets: Vec<SecretPlan>,
    /// What a person has to decide. Nothing is written if there is any.
    pub refusals: Vec<Refusal>,
}

impl Plan {
    pub fn new(wish: &Wish, filed: &FiledTokens, observed: &Observations) -> Self {
        let mut refusals = Vec::new();
        let tokens = PerToken::from_fn(|name| {
            decide(name, wish, filed, observed)
                .map_err(|why| refusals.push(*why))
                .ok()
        });
        let absent = Observed::default();
        let router = SecretRef {
            namespace: wish.home.clone(),
            name: ROUTER.secret,
        };
        let home = observed
            .get(&router)
            .and_then(|found| found.live.as_ref())
            .map(|live| (&router, live));
        let mut secrets: Vec<SecretPlan> = wish
            .targets()
            .map(|(at, bundle)| {
                let found = observed.get(&at).unwrap_or(&absent);
                SecretPlanner {
                    wish,
                    tokens: &tokens,
                    home,
                    refusals: &mut refusals,
                }
                .secret(at, bundle, found)
            })
            .collect();
        for secret in &mut secrets {
            if let Some(refusal) = refusals.iter().find(|refusal| refusal.at == secret.at) {
                secret.action = Action::Refuse;
                secret.reason = Some(refusal.message());
            }
        }
        let file = file_action(filed, &tokens);
        Self {
            tokens,
            file,
            secrets,
            refusals,
        }
    }

    /// True if applying the plan changes the cluster or the tokens file.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.secrets.iter().any(SecretPlan::is_written)
    }
}

/// Resolves a token. Refuses to mint one if the home router Secret has an owner, which will set it.
fn decide(
    name: TokenName,
    wish: &Wish,
    filed: &FiledTokens,
    observed: &Observations,
) -> Result<Decision, Box<Refusal>> {
    let decision = resolve::resolve(
        name,
        filed.tokens.get(name),
        &wish.home,
        observed,
        wish.prefer,
    )?;
    let at = SecretRef {
        namespace: wish.home.clone(),
        name: ROUTER.secret,
    };
    let owner = observed.get(&at).and_then(|found| found.owner.clone());
    match (&decision, owner) {
        (Decision::Minted(_), Some(owner)) => Err(Box::new(Refusal {
            at,
            owner: Some(owner),
            conflict: Conflict::OwnerBringsToken(name),
        })),
        _ => Ok(decision),
    }
}
