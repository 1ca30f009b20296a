//! How a run of `--apply` brings the tokens of all places to one value without being refused. It
//! refuses as a whole, so what is wrong in one place counts for the hints of all others.

use super::{Case, tokens};
use crate::domain::bundles::{BUNDLES, Key, Origin, ROUTER};
use crate::domain::live::LiveSecret;
use crate::domain::names::Namespace;
use crate::domain::tokens::{PerToken, Token, TokenName};
use crate::domain::value::SecretValue;

/// A key of a live Secret that has to hold a token.
struct Place<'a> {
    live: &'a LiveSecret,
    key: &'static Key,
    token: TokenName,
    /// Whether it belongs to somebody else, and is left alone.
    owned: bool,
}

impl Place<'_> {
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
fn places<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Place<'a>> {
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
            Origin::Token(token) | Origin::TokenList(token, _) => Some(Place {
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
    let home = tokens::of_home(case);
    let filed = |name| tokens::filed(case, name);
    // It could not be adopted.
    let odd = home.iter().any(|(name, token)| {
        let odd = |token| Token::parse(token).is_err();
        filed(name).is_some() && token.as_ref().is_some_and(odd)
    });
    let disagrees = places(case).any(|place| place.disagrees(&home)) || !is_filed(case, |_| true);
    let side = match (odd, disagrees) {
        (true, _) => " --prefer file",
        (false, true) => " --prefer cluster",
        (false, false) => "",
    };
    format!("{side}{}", force(case, None))
}

/// Tells whether the tokens file holds no other tokens than home; where it lacks one, `lacking`
/// tells.
fn is_filed(case: &Case<'_>, lacking: impl Fn(TokenName) -> bool) -> bool {
    let home = tokens::of_home(case);
    home.iter()
        .all(|(name, live)| match (tokens::filed(case, name), live) {
            (Some(token), Some(live)) => token.is(live),
            (None, Some(_)) => lacking(name),
            (_, None) => true,
        })
}

/// ` --force-conflicts` where another field manager has a key that would be written; `minted` is
/// the token that changes everywhere.
fn force(case: &Case<'_>, minted: Option<TokenName>) -> &'static str {
    let home = tokens::of_home(case);
    let conflicts = places(case).any(|place| {
        let written = minted == Some(place.token) || place.disagrees(&home) || place.is_empty();
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

/// Has a token minted and brought everywhere. It goes into the tokens file first and through no
/// process's arguments; lists keep the one before it.
pub(super) fn mint(case: &Case<'_>, name: TokenName) -> String {
    let home: &Namespace = &case.cluster.home;
    if let Some(owner) = &case.cluster.home_place().secrets[ROUTER.secret].owner {
        return case.ask_owner(home, owner);
    }
    let file = &case.file.path.quoted;
    let mint = format!(
        "(umask 077 && {{ grep -vE '^[[:space:]]*(export[[:space:]]+)?{name}=' {file}; \
         printf '{name}=\"%s\"\\n' \"$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \\n')\"; }} \
         > {file}.new) && mv {file}.new {file}"
    );
    let prefer = format!(" --prefer file{}", force(case, Some(name)));
    // The file is about to be preferred, so it must not say anything else of the other token.
    let steps = match is_filed(case, |_| false) {
        true => vec![mint, case.apply_with(&[], &prefer)],
        false => vec![
            case.apply_with(&[], &options(case)),
            mint,
            format!("{}{prefer}", case.reach.apply),
        ],
    };
    let minted_at = format!(
        "annotate --overwrite secret {} \
         k8s-bootstrap/minted-at.{name}=\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"",
        ROUTER.secret
    );
    format!(
        "{} && {}",
        steps.join(" && "),
        case.kubectl(home, &minted_at)
    )
}
