//! Finds the options of `--apply` that settle a disagreement between places.

use super::types::{FiledTokens, Prefer, Wish};
use super::whole::Plan;
use crate::domain::cluster::observed_secret::Observations;
use std::fmt;

/// Options of `--apply`. `Display` writes each with a space before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    pub prefer: Option<Prefer>,
    pub force_conflicts: bool,
}

impl Settlement {
    /// The first combination of options that leaves the fewest disagreements about tokens, and then
    /// the fewest refusals. Other refusals, as for an immutable Secret, may remain with all options.
    ///
    /// The home namespace comes before the tokens file: its tokens are those that pods use.
    pub fn find(wish: &Wish, filed: &FiledTokens, observed: &Observations) -> Self {
        let mut best = (Self::default(), (usize::MAX, usize::MAX));
        for prefer in [None, Some(Prefer::Cluster), Some(Prefer::File)] {
            for force_conflicts in [false, true] {
                let wish = Wish {
                    prefer,
                    force_conflicts,
                    ..wish.clone()
                };
                let refusals = Plan::for_secrets(&wish, filed, observed).refusals;
                let about_tokens = refusals.iter().filter(|it| it.is_about_a_token()).count();
                let left = (about_tokens, refusals.len());
                if left < best.1 {
                    let options = Self {
                        prefer,
                        force_conflicts,
                    };
                    best = (options, left);
                }
                if refusals.is_empty() {
                    return best.0;
                }
            }
        }
        best.0
    }
}

impl fmt::Display for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(side) = self.prefer {
            write!(f, " --prefer {side}")?;
        }
        if self.force_conflicts {
            write!(f, " --force-conflicts")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan_tests::*;
    use super::*;
    use crate::domain::cluster::names::SecretRef;
    use crate::domain::cluster::observed_secret::{LiveSecret, ManagedFields};
    use crate::domain::table::ROUTER;

    /// The options for a tokens file with `file`, a home router Secret with `home`, and other Secrets.
    fn options(file: &str, home: &str, others: &[(SecretRef, LiveSecret)]) -> String {
        let mut wish = wish(&[]);
        wish.fleet.insert("agents".parse().unwrap());
        let keys = [("KB_ROUTER_TOKEN", home), ("EMBEDDINGS_API_KEY", B)];
        let observed = found(&[&[router(&keys)], others].concat());
        Settlement::find(&wish, &filed(Some(file), Some(B)), &observed).to_string()
    }

    fn fleet(token: &str) -> (SecretRef, LiveSecret) {
        let keys = [("KB_ROUTER_TOKEN", token), ("EMBEDDINGS_API_KEY", B)];
        (at("agents", ROUTER.secret), live(&keys))
    }

    fn managed(of: (SecretRef, LiveSecret), key: &str) -> (SecretRef, LiveSecret) {
        let (at, mut live) = of;
        live.managed = vec![ManagedFields {
            manager: "controller".to_owned(),
            applied: false,
            data: [key.to_owned()].into(),
            annotations: Default::default(),
        }];
        (at, live)
    }

    fn immutable(of: (SecretRef, LiveSecret)) -> (SecretRef, LiveSecret) {
        let (at, mut live) = of;
        live.immutable = true;
        (at, live)
    }

    #[test]
    fn the_home_namespace_wins_unless_its_token_cannot_be_used() {
        let token = "KB_ROUTER_TOKEN";
        let without_token = |list: &str| embeddings(&[("EMBEDDINGS_API_KEYS", list)]);
        for (what, others, home, expected) in [
            ("all places agree", vec![fleet(A)], A, ""),
            ("the file differs", vec![fleet(C)], C, " --prefer cluster"),
            ("the fleet differs", vec![fleet(C)], A, " --prefer cluster"),
            (
                "home has no token that can be adopted",
                vec![],
                "odd",
                " --prefer file",
            ),
            (
                "another manager has the token of the fleet",
                vec![managed(fleet(A), token)],
                C,
                " --prefer cluster --force-conflicts",
            ),
            (
                "the Secret of the fleet is immutable",
                vec![immutable(fleet(C))],
                A,
                " --prefer cluster",
            ),
            (
                "a list lacks the token",
                vec![without_token(C)],
                A,
                " --prefer cluster",
            ),
            (
                "another manager has an empty list",
                vec![managed(without_token(""), "EMBEDDINGS_API_KEYS")],
                A,
                " --force-conflicts",
            ),
        ] {
            assert_eq!(options(A, home, &others), expected, "{what}");
        }
    }
}
