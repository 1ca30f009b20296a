//! Reads the state of a rotation and the retired tokens from a Secret, an ExternalSecret or a store
//! entry.
//!
//! Commands that would disturb an open rotation check this first. It must not change the state.

use super::{BadState, RETIRED_TOKENS, Rotation, STATE, STORE_STATE, is_retired};
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::eso::store_entry::Entry;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;

/// The open rotation according to the home router Secret or its ExternalSecret.
///
/// # Errors
/// The state is not in the format of this program.
pub fn of_cluster(router: Option<&Observed>) -> Result<Option<Rotation>, BadState> {
    let Some(router) = router else {
        return Ok(None);
    };
    let live = router.live.as_ref();
    let annotation = match &router.owner {
        None => live.and_then(|live| live.annotations.get(STATE)),
        // External Secrets Operator copies annotations to the Secret and never removes them.
        Some(_) => router.external_annotations.get(STATE),
    };
    // On Path 2 the field of the store entry is written shortly before the annotation.
    let field = || live.and_then(|live| live.text(STORE_STATE));
    match annotation {
        Some(text) => Rotation::parse(text).map(Some),
        None => of_text(field()),
    }
}

/// The open rotation according to the store's router entry.
///
/// # Errors
/// The state is not in the format of this program.
pub fn of_entry(router: Option<&Entry>) -> Result<Option<Rotation>, BadState> {
    of_text(router.and_then(|entry| entry.text(STORE_STATE)))
}

fn of_text(text: Option<&SecretValue>) -> Result<Option<Rotation>, BadState> {
    text.map(|text| Rotation::parse(text.expose())).transpose()
}

/// True if the home router Secret or its ExternalSecret lists the token as retired.
pub fn is_retired_in(router: Option<&Observed>, name: TokenName, token: &SecretValue) -> bool {
    let Some(router) = router else {
        return false;
    };
    router
        .live
        .iter()
        .map(|live| &live.annotations)
        .chain([&router.external_annotations])
        .any(|annotations| {
            let retired = annotations.get(RETIRED_TOKENS).map(String::as_str);
            is_retired(retired, name, token)
        })
}

impl Rotation {
    /// Describes the tokens and the phase for a message.
    pub fn describe(&self) -> String {
        format!("a rotation of {} is in {}", self.names(), self.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue};
    use crate::domain::cluster::owner::Owner;
    use crate::domain::eso::store_entry::Field;
    use crate::domain::rotation::{Change, Phase};
    use crate::domain::values::token::{PerToken, fingerprint};

    const TOKEN: &str = "a-token-that-a-rotation-replaced";

    fn rotation(phase: Phase) -> Rotation {
        let change = Change {
            old: fingerprint(&TOKEN.into()),
            new: "sha256:0123456789ab".to_owned(),
            minted: None,
        };
        let changes = PerToken::from_fn(|_| Some(change.clone()));
        Rotation::new(
            "01234567".to_owned(),
            phase,
            "2026-01-02T03:04:05Z",
            changes,
        )
    }

    fn router(annotation: Option<&str>, field: Option<&str>) -> Observed {
        let annotation = annotation.map(|text| (STATE.to_owned(), text.to_owned()));
        let field = field.map(|text| (STORE_STATE.to_owned(), LiveValue::encode(&text.into())));
        Observed {
            live: Some(LiveSecret {
                annotations: annotation.into_iter().collect(),
                data: field.into_iter().collect(),
                ..LiveSecret::default()
            }),
            ..Observed::default()
        }
    }

    #[test]
    fn the_state_is_read_from_each_object_that_can_hold_it() {
        assert_eq!(of_cluster(None), Ok(None));
        assert_eq!(of_cluster(Some(&router(None, None))), Ok(None));
        let (open, switch) = (rotation(Phase::Open), rotation(Phase::Switch));
        let (open_text, switch_text) = (open.text(), switch.text());
        let annotated = router(Some(&switch_text), None);
        assert_eq!(of_cluster(Some(&annotated)), Ok(Some(switch.clone())));
        // The annotation is newer: the field is written only when the rotation opens.
        let both = router(Some(&switch_text), Some(&open_text));
        assert_eq!(of_cluster(Some(&both)), Ok(Some(switch.clone())));
        let field = router(None, Some(&open_text));
        assert_eq!(of_cluster(Some(&field)), Ok(Some(open.clone())));

        let mut owned = router(Some(&open_text), None);
        owned.owner = Some(Owner::external_secret("es"));
        assert_eq!(of_cluster(Some(&owned)), Ok(None), "a stale copy");
        owned
            .external_annotations
            .insert(STATE.to_owned(), switch_text);
        assert_eq!(of_cluster(Some(&owned)), Ok(Some(switch)));

        let entry = |text: &str| Entry {
            version: 1,
            fields: Some([(STORE_STATE.to_owned(), Field::of_text(&text.into()))].into()),
        };
        assert_eq!(of_entry(Some(&entry(&open_text))), Ok(Some(open)));
        assert_eq!(of_entry(Some(&Entry::default())), Ok(None));
        assert_eq!(of_entry(Some(&entry("x"))), Err(BadState));
        assert_eq!(of_cluster(Some(&router(Some("x"), None))), Err(BadState));
    }

    #[test]
    fn a_token_is_retired_if_the_secret_or_its_external_secret_lists_it() {
        let token: SecretValue = TOKEN.into();
        let (name, other) = (TokenName::KbRouterToken, TokenName::EmbeddingsApiKey);
        let note = format!("{name}={}", fingerprint(&token));
        let mut on_secret = router(None, None);
        let live = on_secret.live.as_mut().unwrap();
        live.annotations
            .insert(RETIRED_TOKENS.to_owned(), note.clone());
        let mut on_external = Observed::default();
        on_external
            .external_annotations
            .insert(RETIRED_TOKENS.to_owned(), note);
        for router in [on_secret, on_external] {
            assert!(is_retired_in(Some(&router), name, &token));
            assert!(!is_retired_in(Some(&router), other, &token));
            assert!(!is_retired_in(Some(&router), name, &"x".into()));
        }
        assert!(!is_retired_in(Some(&router(None, None)), name, &token));
        assert!(!is_retired_in(None, name, &token));
    }
}
