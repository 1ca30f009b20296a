//! The plan for all places of a kind, Secrets or store entries, and for the tokens file.

use super::place::{Action, PlacePlan, PlaceRef, SecretPlan};
use super::refusal::Refusal;
use super::types::{Decision, FileAction, FiledTokens, NewValue};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::PerToken;

#[derive(Clone, Debug)]
pub struct Plan<P = SecretPlan> {
    /// The value of each token; `None` if it was refused.
    pub tokens: PerToken<Option<Decision>>,
    pub file: FileAction,
    /// Secrets: those of the home namespace first, in the order of the table.
    pub places: Vec<P>,
    /// What a person has to decide. Nothing is written if there is any.
    pub refusals: Vec<Refusal>,
}

impl<At, Base> Plan<PlacePlan<At, Base>> {
    pub(super) fn new(
        filed: &FiledTokens,
        tokens: PerToken<Option<Decision>>,
        mut places: Vec<PlacePlan<At, Base>>,
        refusals: Vec<Refusal>,
        name: fn(&PlacePlan<At, Base>) -> PlaceRef,
    ) -> Self {
        for place in &mut places {
            let at = name(place);
            if let Some(refusal) = refusals.iter().find(|refusal| refusal.at == at) {
                place.action = Action::Refuse;
                place.reason = Some(refusal.message());
            }
        }
        Self {
            file: FileAction::of(filed, &tokens),
            tokens,
            places,
            refusals,
        }
    }

    /// The places that are written.
    pub fn written(&self) -> impl Iterator<Item = &PlacePlan<At, Base>> {
        self.places.iter().filter(|place| place.is_written())
    }

    /// True if applying the plan changes a place or the tokens file.
    pub fn changes_anything(&self) -> bool {
        self.file != FileAction::Keep || self.written().next().is_some()
    }

    /// The value that will be written; `None` if its token is not minted yet.
    pub fn known(&self, value: &NewValue) -> Option<SecretValue> {
        match value {
            NewValue::Plain(value) => Some(value.clone()),
            NewValue::Token(name) | NewValue::List { token: name, .. } => {
                let token = self.tokens.get(*name).as_ref()?.token()?;
                // `fill` uses the token with that name only.
                Some(value.fill(&PerToken::from_fn(|_| token.clone())))
            }
        }
    }
}
