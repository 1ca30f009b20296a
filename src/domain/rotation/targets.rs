//! The Secrets that a rotation writes directly, as places, and the token of each key.

use super::edits::{PlaceRef, TokenPlace};
use super::workloads::reads_router_secret;
use super::{LAST_WRITE, LIST_ADDED_BY, NEXT_KEY, PREVIOUS_KEY};
use crate::domain::cluster::names::SecretRef;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::table::{BUNDLES, EMBEDDINGS, ROUTER};
use crate::domain::values::token::TokenName;

/// The token that a key holds, alone or in a list.
pub fn token_of(key: &str) -> Option<TokenName> {
    if matches!(key, NEXT_KEY | PREVIOUS_KEY) {
        return Some(TokenName::EmbeddingsApiKey);
    }
    let mut keys = BUNDLES.iter().flat_map(|bundle| bundle.keys);
    keys.find(|it| it.name == key)?.origin.token()
}

/// The places of the Secrets that no other object owns. `id` is the open rotation.
pub fn plain_targets(facts: &ClusterSnapshot, id: Option<&str>) -> Vec<TokenPlace> {
    let mut targets = Vec::new();
    for (namespace, place) in &facts.places {
        for bundle in [&ROUTER, &EMBEDDINGS] {
            let observed = place.secrets.get(bundle.secret);
            let plain = observed.filter(|it| it.owner.is_none());
            let Some(live) = plain.and_then(|it| it.live.as_ref()) else {
                continue;
            };
            let is_router = bundle.secret == ROUTER.secret;
            let list_added_by = live.annotations.get(LIST_ADDED_BY);
            targets.push(TokenPlace {
                namespace: namespace.clone(),
                at: PlaceRef::Secret(SecretRef::new(namespace, bundle.secret)),
                bundle,
                home: is_router && *namespace == facts.home,
                texts: live.texts(),
                read_by_server: is_router && reads_router_secret(place),
                added_list: id.is_some() && list_added_by.map(String::as_str) == id,
                last_write: live.annotations.get(LAST_WRITE).cloned(),
            });
        }
    }
    targets
}
