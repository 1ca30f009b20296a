//! Which options of `--apply` settle a disagreement between places.

use super::secret_plan::Plan;
use super::types::{FiledTokens, Prefer, Wish};
use crate::domain::cluster::observed_secret::Observations;
use std::fmt;

/// Options of `--apply`. As text, each has a space before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    pub prefer: Option<Prefer>,
    pub force_conflicts: bool,
}

impl Settlement {
    /// The first options with which the fewest refusals are left: those about other things than
    /// tokens and field managers stay with any options.
    pub fn find(wish: &Wish, filed: &FiledTokens, observed: &Observations) -> Self {
        let sides = [None, Some(Prefer::Cluster), Some(Prefer::File)];
        let options = [false, true].into_iter().flat_map(|force_conflicts| {
            sides.map(|prefer| Self {
                prefer,
                force_conflicts,
            })
        });
        let refusals = |options: &Self| {
            let wish = Wish {
                prefer: options.prefer,
                force_conflicts: options.force_conflicts,
                ..wish.clone()
            };
            Plan::new(&wish, filed, observed).refusals.len()
        };
        options.min_by_key(refusals).unwrap_or_default()
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
