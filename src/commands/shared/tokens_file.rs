//! What is said of the tokens file before it is changed, and after.

use crate::domain::cluster::snapshot::Keeping;
use crate::domain::plan::FiledTokens;
use crate::domain::values::tokens_file::TokensFile;
use crate::io::local::{environment, git};
use crate::ui::Ui;
use std::path::Path;

/// What a tokens file holds, before this run has minted anything.
pub fn filed(file: Option<&TokensFile>) -> FiledTokens {
    FiledTokens::found(file.is_some(), |name| file?.tokens().get(name).clone())
}

/// Warns where git would take the tokens file along.
pub fn warn_unless_ignored(path: &Path, ui: Ui) {
    let shown = path.display();
    match git::keeping(path) {
        Keeping::Away => {}
        Keeping::Unknown => {
            ui.warn(&format!("git does not tell whether it ignores {shown}"));
        }
        Keeping::NotIgnored => {
            ui.warn(&format!(
                "git does not ignore {shown}: add it to .gitignore"
            ));
        }
        Keeping::Tracked => ui.warn(&format!(
            "git tracks {shown}: take it out with `git rm --cached {shown}`, ignore it, and, if it was \
             ever pushed, rotate the tokens with `{} rotate --apply`",
            environment::program()
        )),
    }
}
