//! How a run of `--apply` brings the tokens of all places to one value without being refused. It
//! refuses as a whole, so what is wrong in one place counts for the hints of all others.

use super::case::Case;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::hint_context::HintContext;
use crate::domain::table::{BUNDLES, Key, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};

/// A key of a live Secret that has to hold a token.
struct TokenKey<'a> {
    live: &'a LiveSecret,
    key: &'static Key,
    token: TokenName,
    /// Whether it belongs to somebody else, and is left alone.
    owned: bool,
}

impl TokenKey<'_> {
    fn value(&self) -> Option<&SecretValue> {
        self.live.text(self.key.name)
    }

    /// Tells whether there is something in it, and not what home has.
    fn disagrees(&self, home: &PerToken<Option<SecretValue>>) -> bool {
        let (Some(value), Some(home)) = (self.value(), home.get(self.token)) else {
            return false;
        };
        match self.key.origin {
            Origin::TokenList(..) => !self.is_empty() && !value.lists(home),
            _ => !value.is_empty() && (value != home || Token::parse(home).is_err()),
        }
    }

    /// Tells whether it is there for nothing.
    fn is_empty(&self) -> bool {
        self.value()
            .is_some_and(|value| value.entries().next().is_none())
    }
}

/// All of them.
fn places<'a>(case: &'a Case<'_>) -> impl Iterator<Item = TokenKey<'a>> {
    let secrets = case.cluster.places.values().flat_map(|place| {
        BUNDLES
            .iter()
            .filter_map(|bundle| Some((*bundle, place.secrets.get(bundle.secret)?)))
    });
    secrets.flat_map(|(bundle, observed)| {
        let keys = observed.live.iter().flat_map(move |live| {
            let of = move |key: &'static Key| (live, key);
            bundle.keys.iter().map(of)
        });
        keys.filter_map(|(live, key)| match key.origin {
            Origin::Token(token) | Origin::TokenList(token, _) => Some(TokenKey {
                live,
                key,
                token,
                owned: observed.owner.is_some(),
            }),
            Origin::Input(_) => None,
        })
    })
}

/// The options with which `--apply` settles what disagrees, each with a space before it.
pub(super) fn options(case: &Case<'_>) -> String {
    let home = case.home_tokens();
    let filed = |name| case.filed_token(name);
    // It could not be adopted.
    let odd = home.iter().any(|(name, token)| {
        let odd = |token| Token::parse(token).is_err();
        filed(name).is_some() && token.as_ref().is_some_and(odd)
    });
    let side = match (odd, disagree(case)) {
        (true, _) => " --prefer file",
        (false, true) => " --prefer cluster",
        (false, false) => "",
    };
    format!("{side}{}", force(case))
}

/// Tells whether places hold other tokens than home; what the tokens file lacks is no matter.
fn disagree(case: &Case<'_>) -> bool {
    let home = case.home_tokens();
    let mut tokens = home.iter();
    let filed = tokens.all(|(name, live)| match (case.filed_token(name), live) {
        (Some(token), Some(live)) => token.is(live),
        _ => true,
    });
    !filed || places(case).any(|place| place.disagrees(&home))
}

/// ` --force-conflicts` where another field manager has a key that would be written.
fn force(case: &Case<'_>) -> &'static str {
    let home = case.home_tokens();
    let conflicts = places(case).any(|place| {
        let written = place.disagrees(&home) || place.is_empty();
        written && !place.owned && !place.live.foreign_managers(place.key.name).is_empty()
    });
    if conflicts { " --force-conflicts" } else { "" }
}

/// Who else has a key, for a message.
pub(super) fn managed_by(live: &LiveSecret, key: &str) -> String {
    match live.foreign_managers(key).as_slice() {
        [] => String::new(),
        managers => format!(" (its field manager is {})", managers.join(", ")),
    }
}

/// Has a token exchanged for a new one everywhere, without a request that is refused. A rotation
/// refuses where places disagree.
pub(super) fn mint(case: &Case<'_>, name: TokenName) -> String {
    let home: &Namespace = &case.cluster.home;
    let owner = &case.cluster.home_place().secrets[ROUTER.secret].owner;
    if let Some(owner) = owner
        .as_ref()
        .filter(|it| it.kind != OwnerKind::ExternalSecret)
    {
        return case.ask_owner(home, owner);
    }
    let reach: &HintContext = case.reach;
    match case.rotation {
        Ok(None) => {
            let before = match disagree(case) {
                true => format!("{} && ", case.apply_with(&[], &options(case))),
                false => String::new(),
            };
            format!("{before}{} --token {name} --apply", reach.command("rotate"))
        }
        _ => format!("{} --apply", reach.command("rotate")),
    }
}
