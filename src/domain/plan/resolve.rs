//! Decides the value of each token of the Secrets. A token that is found is adopted before a new
//! one is minted; places that disagree are a refusal.

use super::refusal::{Conflict, Refusal};
use super::types::{Decision, Filed, Prefer};
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{LiveSecret, Observations};
use crate::domain::rotation::stored_state;
use crate::domain::table::{EMBEDDINGS, EMBEDDINGS_API_KEYS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{Token, TokenName};

/// Decides the value of one token.
///
/// Only the home namespace is a source, never a fleet namespace: someone who can write there could
/// plant a token that every service would accept.
///
/// # Errors
/// Two places disagree, or a value that would be adopted is not a token.
pub fn resolve(
    name: TokenName,
    filed: &Filed,
    home: &Namespace,
    observed: &Observations,
    prefer: Option<Prefer>,
) -> Result<Decision, Box<Refusal>> {
    let router = SecretRef {
        namespace: home.clone(),
        name: ROUTER.secret,
    };
    let retired = match filed {
        Filed::Found(token) => {
            stored_state::is_retired_in(observed.get(&router), name, token.value())
        }
        Filed::Absent | Filed::MintedNow(_) => false,
    };
    let live = live_of(observed, &router).and_then(|secret| secret.text(name.as_str()));
    if let Some(value) = live.filter(|value| !value.is_empty()) {
        return match (filed, prefer) {
            (Filed::Found(token) | Filed::MintedNow(token), _) if token.is(value) => {
                Ok(Decision::File(token.clone()))
            }
            (Filed::Found(token), prefer) if retired && prefer != Some(Prefer::Cluster) => {
                Err(refuse(
                    router,
                    Conflict::Retired {
                        token: name,
                        filed: token.clone(),
                        live: Some(value.clone()),
                    },
                ))
            }
            (Filed::Found(token), Some(Prefer::File)) => Ok(Decision::File(token.clone())),
            (Filed::Found(token), None) => Err(Box::new(Refusal {
                owner: observed.get(&router).and_then(|found| found.owner.clone()),
                at: router,
                conflict: Conflict::FileDisagrees {
                    token: name,
                    filed: token.clone(),
                    live: value.clone(),
                },
            })),
            _ => adopt(router, name.as_str(), value),
        };
    }
    let filed = match filed {
        Filed::Found(token) if retired && prefer != Some(Prefer::Cluster) => {
            return Err(refuse(
                router,
                Conflict::Retired {
                    token: name,
                    filed: token.clone(),
                    live: None,
                },
            ));
        }
        // `--prefer cluster` drops a retired token of the file.
        Filed::Found(_) if retired => &Filed::Absent,
        filed => filed,
    };
    let listed = match name {
        TokenName::KbRouterToken => None,
        TokenName::EmbeddingsApiKey => list_entries(home, observed),
    };
    match (filed, listed) {
        (Filed::Found(token), Some((at, entries)))
            if prefer == Some(Prefer::Cluster) && entries.len() == 1 && !token.is(&entries[0]) =>
        {
            adopt(at, EMBEDDINGS_API_KEYS, &entries[0])
        }
        (Filed::Found(token), _) => Ok(Decision::File(token.clone())),
        (_, Some((at, entries))) => match entries.as_slice() {
            [only] => adopt(at, EMBEDDINGS_API_KEYS, only),
            _ => Err(refuse(at, Conflict::ManyOnList(name))),
        },
        (Filed::MintedNow(token), None) => Ok(Decision::Minted(Some(token.clone()))),
        (Filed::Absent, None) => Ok(Decision::Minted(None)),
    }
}

/// The entries of `EMBEDDINGS_API_KEYS` in the home namespace; `None` if there are none.
fn list_entries(
    home: &Namespace,
    observed: &Observations,
) -> Option<(SecretRef, Vec<SecretValue>)> {
    let at = SecretRef {
        namespace: home.clone(),
        name: EMBEDDINGS.secret,
    };
    let entries: Vec<_> = live_of(observed, &at)?
        .text(EMBEDDINGS_API_KEYS)?
        .entries()
        .map(SecretValue::from)
        .collect();
    (!entries.is_empty()).then_some((at, entries))
}

fn adopt(at: SecretRef, key: &'static str, value: &SecretValue) -> Result<Decision, Box<Refusal>> {
    Token::parse(value)
        .map(Decision::Cluster)
        .map_err(|why| refuse(at, Conflict::OddToken { key, why }))
}

fn refuse(at: SecretRef, conflict: Conflict) -> Box<Refusal> {
    Box::new(Refusal {
        at,
        owner: None,
        conflict,
    })
}

fn live_of<'a>(observed: &'a Observations, at: &SecretRef) -> Option<&'a LiveSecret> {
    observed.get(at)?.live.as_ref()
}
