//! Finds the options of `--apply` that settle a disagreement between places.

use super::secret_plan::Plan;
use super::types::{FiledTokens, Prefer, Wish};
use crate::domain::cluster::observed_secret::Observations;
use std::fmt;

/// Options of `--apply`. `Display` writes each with a space before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    pub prefer: Option<Prefer>,
    pub force_conflicts: bool,
}

impl Settlement {
    /// The first combination of options that leaves the fewest refusals. Refusals about anything but
    /// tokens and field managers remain with all options.
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
