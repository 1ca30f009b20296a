//! The tokens file of a rotation: locked for as long as a change takes, never longer.

use crate::domain::tokens_file::{AppliedTo, Held, TokensFile};
use crate::error::Failure;
use crate::io::tokens_file::{self, Locked};
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

/// Brings the file to what `decide` makes of it, and gives what it holds then. Nothing is written
/// where that is what it holds already.
///
/// # Errors
/// A file or folder that cannot be used; what `decide` fails with.
pub fn change(
    path: &Path,
    place: &AppliedTo,
    ui: Ui,
    decide: impl FnOnce(&Held) -> Result<Held, Failure>,
) -> Result<Held, Failure> {
    let locked = Locked::new(path, &ui)?;
    let loaded = locked.read(&ui)?;
    let file = loaded
        .as_ref()
        .map_or_else(TokensFile::default, |loaded| loaded.file.clone());
    let wanted = decide(file.held())?;
    let text = file.holding(&wanted, Some(place));
    let same = file.held() == &wanted;
    if !same {
        locked.write(&text)?;
    }
    let written = TokensFile::parse(text.expose()).map_err(|bad| {
        Failure::unable("the tokens file that was written cannot be read back").because(bad)
    })?;
    if !same {
        super::super::say_if_git_would_take_it(path, ui);
    }
    Ok(match same {
        true => wanted,
        false => written.held().clone(),
    })
}
