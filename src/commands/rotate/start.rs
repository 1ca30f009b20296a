//! Opens a rotation: writes the new tokens to the tokens file, then opens it with a single write.
//! It must not write to the cluster before the tokens file is written.

use super::context::RotateRun;
use super::preflight::check_can_begin;
use super::snapshot::Snapshot;
use super::write::write;
use crate::domain::plan::manifest::MINTED_AT;
use crate::domain::rotation::edits::{Part, PlaceRef, edit};
use crate::domain::rotation::{Change, Rotation, Side, TokenValues, is_retired};
use crate::domain::table::ROUTER;
use crate::domain::values::token::{PerToken, Token, fingerprint};
use crate::domain::values::tokens_file::Held;
use crate::error::Failure;
use crate::io::local::environment;
use crate::io::written::Written;

pub(super) const IMMEDIATE_WARNING: &str =
    "--immediate: until every workload has restarted, clients get 401";

/// Checks that a rotation can begin, and prints its scope and what could not be seen.
///
/// # Errors
/// An obstacle that a person has to remove (exit code 1), or a store that cannot be written (3).
pub(super) async fn prepare(run: &RotateRun<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let held = run.held()?;
    check_can_begin(run, snapshot, &held)?;
    check_store(run, snapshot).await?;
    let context = run.cluster.context.as_deref().unwrap_or("in-cluster");
    let fleet = match snapshot.facts.fleet().count() {
        0 => String::new(),
        1 => " and 1 fleet namespace".to_owned(),
        count => format!(" and {count} fleet namespaces"),
    };
    run.ui.story(&format!(
        "rotating {} on context {context} ({}), namespace {}{fleet}",
        run.chosen_names(),
        run.cluster.server,
        run.global.namespace,
    ));
    for unseen in snapshot.unseen() {
        run.ui.story(&format!("not seen: {unseen}"));
    }
    for (copy, observed) in &snapshot.facts.copies {
        if observed.live.is_none() {
            run.ui.warn(&format!("--copy {copy}: Secret not found"));
        }
    }
    if run.rotate.immediate {
        run.ui.warn(IMMEDIATE_WARNING);
    }
    Ok(())
}

/// Checks that the store can be written, and that External Secrets Operator reads the same store.
///
/// # Errors
/// Missing capabilities (exit code 3), or Secrets that differ from their entries (1).
async fn check_store(run: &RotateRun<'_>, snapshot: &Snapshot) -> Result<(), Failure> {
    let (Some(view), Some(store)) = (&snapshot.store, run.store.get()) else {
        return Ok(());
    };
    let versions: Vec<_> = view
        .entries
        .iter()
        .map(|(path, entry)| (path.as_str(), entry.version))
        .collect();
    store.ensure_writable(&versions).await?;
    let mut failure = Failure::no("Secrets differ from their store entries");
    for at in &snapshot.stale_secrets {
        failure = failure.cause(at.to_string());
    }
    failure.if_any().map_err(|failure| {
        failure.hint(run.reach.command("sync")).hint(format!(
            "if they still differ, External Secrets Operator reads another store than {}: check \
             BAO_ADDR",
            store.address()
        ))
    })
}

/// Writes new tokens to the tokens file, and returns them.
fn write_new_tokens(
    run: &RotateRun<'_>,
    snapshot: &Snapshot,
    home: &PerToken<Option<Token>>,
) -> Result<PerToken<Option<Token>>, Failure> {
    let retired = snapshot.retired.as_deref();
    let mut new: PerToken<Option<Token>> = PerToken::default();
    // A killed run may have left a next token in the file. It is reused if it was never in use.
    run.change_tokens_file(|held| {
        for name in run.chosen_tokens() {
            let unused = held.next.get(name).clone().filter(|next| {
                Some(next) != home.get(name).as_ref() && !is_retired(retired, name, next.value())
            });
            let token = match unused {
                Some(next) => next,
                None => environment::mint()?,
            };
            *new.get_mut(name) = Some(token);
        }
        Ok(Held {
            current: home.clone(),
            next: new.clone(),
            previous: PerToken::default(),
        })
    })?;
    Ok(new)
}

/// Opens a rotation: writes the new tokens to the tokens file, then the state and all new
/// values in one write. Returns [`Written::Stale`] if the place has changed since the snapshot.
///
/// # Errors
/// No random bytes, a tokens file that cannot be written, or a failed request (exit code 3).
pub(super) async fn open(run: &RotateRun<'_>, snapshot: &Snapshot) -> Result<Written, Failure> {
    let phase = run.first_phase();
    let home = snapshot.home();
    let new = write_new_tokens(run, snapshot, &home)?;
    let router = snapshot.facts.home_place().live(ROUTER.secret);
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
    let mut rotation = run.with_places(&Rotation::new(id, phase, &snapshot.time(), changes));
    let mut values = TokenValues::default();
    for name in run.chosen_tokens() {
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
        .map_err(|odd| run.odd_failure(&rotation, &[odd]))?;
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
        return run
            .cluster
            .write_state(&snapshot.state_object, Some(&text), None)
            .await;
    }
    write(run, snapshot, &rotation, &edit, Some(&rotation.text())).await
}
