//! The Secrets that a rotation writes directly, and which token each key holds.

use super::edits::{PlaceRef, TokenPlace};
use super::workloads::serves;
use super::{MADE, NEXT_KEY, PREVIOUS_KEY, WRITTEN};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::table::{BUNDLES, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::BTreeMap;

/// The token whose values a key holds.
pub fn token_of(key: &str) -> Option<TokenName> {
    if matches!(key, NEXT_KEY | PREVIOUS_KEY) {
        return Some(TokenName::EmbeddingsApiKey);
    }
    let mut keys = BUNDLES.iter().flat_map(|bundle| bundle.keys);
    let key = keys.find(|it| it.name == key)?;
    match key.origin {
        Origin::Token(token) | Origin::TokenList(token, _) => Some(token),
        Origin::Input(_) => None,
    }
}

/// The texts of a Secret.
pub fn texts(live: &LiveSecret) -> BTreeMap<String, SecretValue> {
    let data = live.data.iter();
    data.filter_map(|(key, value)| Some((key.clone(), value.text.clone()?)))
        .collect()
}

/// A Secret as a target.
pub fn target(
    place: &NamespaceSnapshot,
    at: SecretRef,
    live: &LiveSecret,
    home: bool,
    id: Option<&str>,
) -> Option<TokenPlace> {
    let bundle = BUNDLES.into_iter().find(|it| it.secret == at.name)?;
    let router = bundle.secret == ROUTER.secret;
    Some(TokenPlace {
        namespace: at.namespace.clone(),
        at: PlaceRef::Secret(at),
        bundle,
        home: home && router,
        texts: texts(live),
        serves: router && serves(place),
        made: id.is_some() && live.annotations.get(MADE).map(String::as_str) == id,
        written: live.annotations.get(WRITTEN).cloned(),
    })
}

/// The Secrets that are written directly.
pub fn plain_targets(facts: &ClusterSnapshot, id: Option<&str>) -> Vec<TokenPlace> {
    let mut targets = Vec::new();
    for (namespace, place) in &facts.places {
        let home = *namespace == facts.home;
        for bundle in [&ROUTER, &EMBEDDINGS] {
            let observed = place.secrets.get(bundle.secret);
            let live = observed
                .filter(|it| it.owner.is_none())
                .and_then(|it| it.live.as_ref());
            let at = SecretRef {
                namespace: namespace.clone(),
                name: bundle.secret,
            };
            targets.extend(live.and_then(|live| target(place, at, live, home, id)));
        }
    }
    targets
}
