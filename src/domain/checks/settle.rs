//! How a run of `--apply` brings the tokens of all places to one value without being refused. It
//! refuses as a whole, so what is wrong in one place counts for the hints of all others.

use super::case::Case;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::cluster::snapshot::FileState;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{FiledTokens, Settlement, Wish};
use crate::domain::table::ROUTER;
use crate::domain::values::token::TokenName;

/// The options with which `--apply` settles what disagrees. They are found once: it takes plans over
/// the whole fleet.
pub(super) fn settlement(case: &Case<'_>, with_api_keys: bool) -> Settlement {
    let found = &case.settlements[usize::from(with_api_keys)];
    *found.get_or_init(|| find(case, with_api_keys))
}

fn find(case: &Case<'_>, with_api_keys: bool) -> Settlement {
    let fleet = case.cluster.fleet().map(|(name, _)| name.clone());
    let wish = Wish {
        with_api_keys,
        ..Wish::of_tokens(case.cluster.home.clone(), fleet.collect())
    };
    let exists = !matches!(case.file.state, FileState::Absent);
    let filed = FiledTokens::found(exists, |name| case.filed_token(name));
    Settlement::find(&wish, &filed, &case.cluster.observations())
}

/// The command that does so.
pub(super) fn apply(case: &Case<'_>) -> String {
    case.apply_with(&[], &settlement(case, false).to_string())
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
            let settlement = settlement(case, false);
            let before = match settlement.prefer {
                Some(_) => format!("{} && ", case.apply_with(&[], &settlement.to_string())),
                None => String::new(),
            };
            format!("{before}{} --token {name} --apply", reach.command("rotate"))
        }
        _ => format!("{} --apply", reach.command("rotate")),
    }
}
