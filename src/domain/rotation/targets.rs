//! The Secrets that a rotation writes directly, as places, and the token of each key.

use super::edits::{PlaceRef, TokenPlace};
use super::workloads::reads_router_secret;
use super::{LAST_WRITE, LIST_ADDED_BY, NEXT_KEY, PREVIOUS_KEY};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::observed_secret::LiveSecret;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::table::{BUNDLES, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::TokenName;
use std::collections::BTreeMap;

/// The token that a key holds, alone or in a list.
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

/// The values of a Secret by key, without those that are not text.
pub fn texts(live: &LiveSecret) -> BTreeMap<String, SecretValue> {
    live.data
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.text.clone()?)))
        .collect()
}

/// The place of a Secret; `None` for a Secret that is not in the table. `id` is the open rotation.
pub fn target(
    place: &NamespaceSnapshot,
    at: SecretRef,
    live: &LiveSecret,
    home: bool,
    id: Option<&str>,
) -> Option<TokenPlace> {
    let bundle = BUNDLES.into_iter().find(|it| it.secret == at.name)?;
    let is_router = bundle.secret == ROUTER.secret;
    Some(TokenPlace {
        namespace: at.namespace.clone(),
        at: PlaceRef::Secret(at),
        bundle,
        home: home && is_router,
        texts: texts(live),
        read_by_server: is_router && reads_router_secret(place),
        added_list: id.is_some() && live.annotations.get(LIST_ADDED_BY).map(String::as_str) == id,
        last_write: live.annotations.get(LAST_WRITE).cloned(),
    })
}

/// The places of the Secrets that no other object owns.
pub fn plain_targets(facts: &ClusterSnapshot, id: Option<&str>) -> Vec<TokenPlace> {
    let mut targets = Vec::new();
    for (namespace, place) in &facts.places {
        let home = *namespace == facts.home;
        for bundle in [&ROUTER, &EMBEDDINGS] {
            let observed = place.secrets.get(bundle.secret);
            let live = observed
                .filter(|it| it.owner.is_none())
                .and_then(|it| it.live.as_ref());
            let at = SecretRef::new(namespace, bundle.secret);
            targets.extend(live.and_then(|live| target(place, at, live, home, id)));
        }
    }
    targets
}
