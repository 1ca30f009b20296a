//! Whether a rotation is open, and which tokens earlier ones have retired: from wherever that is
//! kept. What would disturb a rotation asks here first.

use super::{BadState, RETIRED, Rotation, STATE, STORE_STATE, is_retired};
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::eso::store_entry::Entry;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;

/// The rotation that is open, as the home router Secret tells, or the ExternalSecret that makes it.
///
/// # Errors
/// A state that this program did not write.
pub fn of_cluster(router: Option<&Observed>) -> Result<Option<Rotation>, BadState> {
    let Some(router) = router else {
        return Ok(None);
    };
    let live = router.live.as_ref();
    let annotation = match &router.owner {
        None => live.and_then(|live| live.annotations.get(STATE)),
        // The operator copies annotations onto the Secret, and leaves them there.
        Some(_) => router.told.get(STATE),
    };
    // What opens one on Path 2 comes from the store, a moment before the annotation.
    let field = || live.and_then(|live| live.text(STORE_STATE));
    match annotation {
        Some(text) => Rotation::parse(text).map(Some),
        None => of_text(field()),
    }
}

/// The rotation that is open, as the store's router entry tells.
///
/// # Errors
/// A state that this program did not write.
pub fn of_entry(router: Option<&Entry>) -> Result<Option<Rotation>, BadState> {
    of_text(router.and_then(|entry| entry.text(STORE_STATE)))
}

fn of_text(text: Option<&SecretValue>) -> Result<Option<Rotation>, BadState> {
    text.map(|text| Rotation::parse(text.expose())).transpose()
}

/// Tells whether a rotation has retired this token, as the home router Secret tells, or the
/// ExternalSecret that makes it.
pub fn retired(router: Option<&Observed>, name: TokenName, token: &SecretValue) -> bool {
    let Some(router) = router else {
        return false;
    };
    let live = router.live.as_ref().map(|live| &live.annotations);
    let mut kept = live.into_iter().chain([&router.told]);
    kept.any(|kept| is_retired(kept.get(RETIRED).map(String::as_str), name, token))
}

impl Rotation {
    /// What is open, in words without the time.
    pub fn describe(&self) -> String {
        let names: Vec<_> = self.changes().map(|(name, _)| name.as_str()).collect();
        format!("a rotation of {} is in {}", names.join(" and "), self.phase)
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

    const TOKEN: &str = "a-token-that-was-there-before-any-other";

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
        let kept = annotation.map(|text| (STATE.to_owned(), text.to_owned()));
        let field = field.map(|text| (STORE_STATE.to_owned(), LiveValue::encode(&text.into())));
        Observed {
            live: Some(LiveSecret {
                annotations: kept.into_iter().collect(),
                data: field.into_iter().collect(),
                ..LiveSecret::default()
            }),
            ..Observed::default()
        }
    }

    #[test]
    fn a_rotation_is_open_where_any_place_says_so() {
        assert_eq!(of_cluster(None), Ok(None));
        assert_eq!(of_cluster(Some(&router(None, None))), Ok(None));
        let (open, switch) = (rotation(Phase::Open), rotation(Phase::Switch));
        let (open_text, switch_text) = (open.text(), switch.text());
        let kept = router(Some(&switch_text), None);
        assert_eq!(of_cluster(Some(&kept)), Ok(Some(switch.clone())));
        // The annotation goes on, the field says how it began.
        let both = router(Some(&switch_text), Some(&open_text));
        assert_eq!(of_cluster(Some(&both)), Ok(Some(switch.clone())));
        let field = router(None, Some(&open_text));
        assert_eq!(of_cluster(Some(&field)), Ok(Some(open.clone())));

        let mut made = router(Some(&open_text), None);
        made.owner = Some(Owner::external_secret("es"));
        assert_eq!(of_cluster(Some(&made)), Ok(None), "left there by a copy");
        made.told.insert(STATE.to_owned(), switch_text);
        assert_eq!(of_cluster(Some(&made)), Ok(Some(switch)));

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
    fn a_token_is_retired_where_the_secret_or_its_maker_says_so() {
        let token: SecretValue = TOKEN.into();
        let (name, other) = (TokenName::KbRouterToken, TokenName::EmbeddingsApiKey);
        let note = format!("{name}={}", fingerprint(&token));
        let mut on_secret = router(None, None);
        let live = on_secret.live.as_mut().unwrap();
        live.annotations.insert(RETIRED.to_owned(), note.clone());
        let mut on_maker = Observed::default();
        on_maker.told.insert(RETIRED.to_owned(), note);
        for kept in [on_secret, on_maker] {
            assert!(retired(Some(&kept), name, &token));
            assert!(!retired(Some(&kept), other, &token));
            assert!(!retired(Some(&kept), name, &"x".into()));
        }
        assert!(!retired(Some(&router(None, None)), name, &token));
        assert!(!retired(None, name, &token));
    }
}
