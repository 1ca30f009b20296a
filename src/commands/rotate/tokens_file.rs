//! Reads and changes the tokens file of a rotation. The file is locked during a change only; it
//! must not stay locked during a rollout.

use crate::commands::shared::tokens_file::warn_unless_ignored;
use crate::domain::values::tokens_file::{AppliedTo, Held};
use crate::error::Failure;
use crate::io::local::tokens_file::{self, Locked};
use crate::ui::Ui;
use std::path::Path;

/// The tokens in the file; none if the file does not exist.
///
/// # Errors
/// The file cannot be read or parsed (exit code 3).
pub fn read(path: &Path) -> Result<Held, Failure> {
    let loaded = tokens_file::read(path)?;
    Ok(loaded
        .map(|loaded| loaded.file.held().clone())
        .unwrap_or_default())
}

/// Replaces the tokens in the file by the result of `decide`. An unchanged file is not written.
///
/// # Errors
/// The file or its folder cannot be used (exit code 3), or `decide` fails.
pub fn change(
    path: &Path,
    place: &AppliedTo,
    ui: Ui,
    decide: impl FnOnce(&Held) -> Result<Held, Failure>,
) -> Result<(), Failure> {
    let locked = Locked::new(path, &ui)?;
    let loaded = locked.read(&ui)?;
    let file = loaded.map(|loaded| loaded.file).unwrap_or_default();
    let wanted = decide(file.held())?;
    if *file.held() != wanted {
        locked.write(&file.text_with(&wanted, Some(place)))?;
        warn_unless_ignored(path, ui);
    }
    Ok(())
}
