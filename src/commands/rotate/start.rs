//! The beginning of a rotation: what a person has to decide first, the new tokens into the file, and
//! the one write that opens it.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::tokens_file;
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::plan::manifest::MINTED_AT;
use crate::domain::rotation::edits::{Part, PlaceRef, edit};
use crate::domain::rotation::{Change, Phase, Rotation, Side, TokenValues, is_retired};
use crate::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::local::environment;
use crate::io::written::Written;
use std::collections::BTreeSet;

impl RotateRun<'_> {
    /// The tokens that are to rotate.
    pub fn chosen(&self) -> BTreeSet<TokenName> {
        match self.rotate.token.is_empty() {
            true => TokenName::ALL.into(),
            false => self.rotate.token.iter().copied().collect(),
        }
    }

    /// What could not be seen and may matter.
    pub fn unseen(look: &Snapshot) -> Vec<String> {
        let mut unseen: Vec<String> = Vec::new();
        if look.outside.is_none() {
            unseen.push(
                "other namespaces with the same tokens: you may not list Secrets across the cluster"
                    .to_owned(),
            );
        }
        let lists = look.facts.denied.iter();
        unseen.extend(
            lists
                .filter(|denied| denied.verb == "list" && denied.resource == "secrets")
                .map(|denied| format!("copies of the tokens: {denied}")),
        );
        unseen.push("other clusters, and whoever was given a token by hand".to_owned());
        unseen
    }

    /// Opens a rotation: the new tokens into the file, then one write with the state and every new
    /// value. [`Written::Stale`] where somebody else wrote first.
    ///
    /// # Errors
    /// No random bytes, a file that cannot be written, a server that refuses (exit code 3).
    pub async fn open(&self, look: &Snapshot) -> Result<Written, Failure> {
        let phase = match self.rotate.immediate {
            true => Phase::Immediate,
            false => Phase::Open,
        };
        let home = look.home();
        let chosen = self.chosen();
        let retired = look.retired.as_deref();
        let mut new: PerToken<Option<Token>> = PerToken::default();
        // A value that a killed run left in the file and that nobody has seen is as good as new.
        tokens_file::change(&self.global.tokens_file, &self.place(), self.ui, |held| {
            for name in &chosen {
                let left = held.next.get(*name).clone().filter(|left| {
                    Some(left) != home.get(*name).as_ref()
                        && !is_retired(retired, *name, left.value())
                });
                let token = match left {
                    Some(left) => left,
                    None => environment::mint()?,
                };
                *new.get_mut(*name) = Some(token);
            }
            Ok(Held {
                current: home.clone(),
                next: new.clone(),
                previous: PerToken::default(),
            })
        })?;
        let router = look.router();
        let changes = PerToken::from_fn(|name| {
            let (old, new) = (home.get(name).as_ref()?, new.get(name).as_ref()?);
            let minted = router
                .and_then(|live| live.annotations.get(&format!("{MINTED_AT}{name}")))
                .cloned();
            Some(Change {
                old: fingerprint(old.value()),
                new: fingerprint(new.value()),
                minted,
            })
        });
        let id = fingerprint(environment::mint()?.value());
        let id = id.trim_start_matches("sha256:").chars().take(8).collect();
        let mut rotation = self.with_places(&Rotation::new(id, phase, &look.now(), changes));
        let mut values = TokenValues::default();
        for name in chosen {
            for (side, tokens) in [(Side::Old, &home), (Side::New, &new)] {
                if let Some(token) = tokens.get(name) {
                    values.put(name, side, token.clone());
                }
            }
        }
        let target = look.targets.iter().find(|target| target.home);
        let Some(target) = target else {
            return Err(Failure::unable("the home router Secret is gone").hint("run it again"));
        };
        let edit = edit(&rotation, &values, target, Part::All, true)
            .map_err(|odd| self.odd(&rotation, &[odd]))?;
        let Some(edit) = edit else {
            return Err(
                Failure::unable("there is nothing to write that would open a rotation")
                    .hint("run it again"),
            );
        };
        // An entry of the store has no annotation to say so.
        rotation.added_list = edit.added_list && !matches!(edit.at, PlaceRef::Secret(_));
        if let PlaceRef::Manual(_) = edit.at {
            // The edits are asked for when the state says what they are for.
            let text = rotation.text();
            return self
                .cluster
                .write_state(&look.keeper, Some(&text), None)
                .await;
        }
        self.write(look, &rotation, &edit, Some(&rotation.text()))
            .await
    }
}

/// The Secrets of `--copy` that are not there.
pub fn absent_copies(look: &Snapshot) -> Vec<&CopyRef> {
    let copies = look.facts.copies.iter();
    copies
        .filter(|(_, observed): &(_, &Observed)| observed.live.is_none())
        .map(|(at, _)| at)
        .collect()
}
