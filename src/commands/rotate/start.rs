//! Opens a rotation: writes the new tokens to the tokens file, then opens it with a single write.
//! It must not write to the cluster before the tokens file is written.

use super::context::RotateRun;
use super::snapshot::Snapshot;
use super::tokens_file;
use crate::domain::cluster::observed_secret::Observed;
use crate::domain::cluster::snapshot::CopyRef;
use crate::domain::plan::manifest::MINTED_AT;
use crate::domain::rotation::edits::{Part, PlaceRef, edit};
use crate::domain::rotation::{Change, Rotation, Side, TokenValues, is_retired};
use crate::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::local::environment;
use crate::io::written::Written;
use std::collections::BTreeSet;

impl RotateRun<'_> {
    /// The tokens of `--token`; all of them without the option.
    pub fn chosen_tokens(&self) -> BTreeSet<TokenName> {
        if self.rotate.token.is_empty() {
            TokenName::ALL.into()
        } else {
            self.rotate.token.iter().copied().collect()
        }
    }

    /// Describes where tokens may be in use that the snapshot does not show.
    pub fn describe_unseen(snapshot: &Snapshot) -> Vec<String> {
        let mut unseen: Vec<String> = Vec::new();
        if snapshot.outside.is_none() {
            unseen.push(
                "other namespaces with the same tokens: you may not list Secrets across the cluster"
                    .to_owned(),
            );
        }
        unseen.extend(
            snapshot
                .facts
                .denied
                .iter()
                .filter(|denied| denied.verb == "list" && denied.resource == "secrets")
                .map(|denied| format!("copies of the tokens: {denied}")),
        );
        unseen.push("other clusters, and tokens that were handed out manually".to_owned());
        unseen
    }

    /// Opens a rotation: writes the new tokens to the tokens file, then the state and all new
    /// values in one write. Returns [`Written::Stale`] if the place has changed since the snapshot.
    ///
    /// # Errors
    /// No random bytes, a tokens file that cannot be written, or a failed request (exit code 3).
    pub async fn open(&self, snapshot: &Snapshot) -> Result<Written, Failure> {
        let phase = self.first_phase();
        let home = snapshot.home();
        let chosen = self.chosen_tokens();
        let retired = snapshot.retired.as_deref();
        let mut new: PerToken<Option<Token>> = PerToken::default();
        // A killed run may have left a next token in the file. It is reused if it was never in use.
        tokens_file::change(
            &self.global.tokens_file,
            &self.applied_to(),
            self.ui,
            |held| {
                for name in &chosen {
                    let unused = held.next.get(*name).clone().filter(|next| {
                        Some(next) != home.get(*name).as_ref()
                            && !is_retired(retired, *name, next.value())
                    });
                    let token = match unused {
                        Some(next) => next,
                        None => environment::mint()?,
                    };
                    *new.get_mut(*name) = Some(token);
                }
                Ok(Held {
                    current: home.clone(),
                    next: new.clone(),
                    previous: PerToken::default(),
                })
            },
        )?;
        let router = snapshot.router();
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
        let mut rotation = self.with_places(&Rotation::new(id, phase, &snapshot.now(), changes));
        let mut values = TokenValues::default();
        for name in chosen {
            for (side, tokens) in [(Side::Old, &home), (Side::New, &new)] {
                if let Some(token) = tokens.get(name) {
                    values.put(name, side, token.clone());
                }
            }
        }
        let target = snapshot.targets.iter().find(|target| target.home);
        let Some(target) = target else {
            return Err(Failure::unable("the home router Secret was deleted").hint("run it again"));
        };
        let edit = edit(&rotation, &values, target, Part::All, true)
            .map_err(|odd| self.odd_failure(&rotation, &[odd]))?;
        let Some(edit) = edit else {
            return Err(Failure::unable(
                "the home router Secret already has the values of the new rotation",
            )
            .hint("run it again"));
        };
        // A Secret has an annotation for this; a store entry does not, so the state has it.
        rotation.added_list = edit.added_list && !matches!(edit.at, PlaceRef::Secret(_));
        if let PlaceRef::Manual(_) = edit.at {
            // The person is asked for the edits in the next round, when the state exists.
            let text = rotation.text();
            return self
                .cluster
                .write_state(&snapshot.state_object, Some(&text), None)
                .await;
        }
        self.write_place(snapshot, &rotation, &edit, Some(&rotation.text()))
            .await
    }
}

/// The Secrets of `--copy` that do not exist.
pub fn absent_copies(snapshot: &Snapshot) -> Vec<&CopyRef> {
    snapshot
        .facts
        .copies
        .iter()
        .filter(|(_, observed): &(_, &Observed)| observed.live.is_none())
        .map(|(at, _)| at)
        .collect()
}
