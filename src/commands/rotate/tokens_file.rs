//! The tokens file of a rotation: locked for as long as a change takes, never longer.

use crate::commands::shared::tokens_file::warn_unless_ignored;
use crate::domain::values::tokens_file::{AppliedTo, Held};
use crate::error::Failure;
use crate::io::local::tokens_file::{self, Locked};
use crate::ui::Ui;
use std::path::Path;

/// What the file holds now; nothing where there is none.
///
/// # Errors
/// A file that cannot be used (exit code 3).
pub fn read(path: &Path) -> Result<Held, Failure> {
    let loaded = tokens_file::read(path)?;
    Ok(loaded
        .map(|loaded| loaded.file.held().clone())
        .unwrap_or_default())
}

/// Brings the file to what `decide` makes of it; nothing is written where that is what it holds.
///
/// # Errors
/// A file or folder that cannot be used (exit code 3); what `decide` fails with.
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
        locked.write(&file.holding(&wanted, Some(place)))?;
        warn_unless_ignored(path, ui);
    }
    Ok(())
}
