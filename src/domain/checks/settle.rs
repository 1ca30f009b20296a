//! The `--apply` command that makes all places agree on a token. `--apply` refuses as a whole, so
//! the options come from a plan over all places, not over the one that the hint is for.

use super::case::Case;
use super::check::Id;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::owner::OwnerKind;
use crate::domain::cluster::snapshot::FileState;
use crate::domain::plan::{FiledTokens, Settlement, Wish};
use crate::domain::table::ROUTER;
use crate::domain::values::token::TokenName;

/// The options with which `--apply` resolves all disagreements. They are computed once, since they
/// need plans over the whole fleet.
pub(super) fn settlement(case: &Case<'_>) -> Settlement {
    *case.settlement.get_or_init(|| find(case))
}

fn find(case: &Case<'_>) -> Settlement {
    let fleet = case.cluster.fleet().map(|(name, _)| name.clone());
    let wish = Wish {
        api_keys: true,
        ..Wish::of_tokens(case.cluster.home.clone(), fleet.collect())
    };
    let exists = !matches!(case.file.state, FileState::Absent);
    let filed = FiledTokens::found(exists, |name| case.filed_token(name));
    Settlement::find(&wish, &filed, &case.cluster.observations())
}

/// The `--apply` command with these options.
pub(super) fn apply(case: &Case<'_>) -> String {
    case.apply_with(&[], &settlement(case).to_string())
}

/// The foreign field managers of a key, for the end of a message.
pub(super) fn managed_by(live: &LiveSecret, key: &str) -> String {
    match live.foreign_managers(key).as_slice() {
        [] => String::new(),
        managers => format!(" (its field manager is {})", managers.join(", ")),
    }
}

/// The command that rotates a token, or the one to run before.
pub(super) fn rotate(case: &Case<'_>, name: TokenName) -> String {
    let owner = &case.cluster.home_place().secrets[ROUTER.secret].owner;
    if owner
        .as_ref()
        .is_some_and(|owner| owner.kind != OwnerKind::ExternalSecret)
    {
        return Id::OwnerSecret.docs_link();
    }
    match case.rotation {
        Ok(Some(_)) => case.reach.carry_on(),
        Err(_) => Id::RotationOpen.docs_link(),
        // `rotate` refuses if places disagree.
        Ok(None) if settlement(case).prefer.is_some() => apply(case),
        Ok(None) => format!("{} --token {name} --apply", case.reach.command("rotate")),
    }
}
