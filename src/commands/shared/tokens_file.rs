//! The content of the tokens file for a plan, and the warning when git does not ignore it.

use crate::domain::cluster::snapshot::Keeping;
use crate::domain::plan::FiledTokens;
use crate::domain::values::tokens_file::TokensFile;
use crate::io::local::{environment, git};
use crate::ui::Ui;
use std::path::Path;

/// The tokens in the file, before this run mints any.
pub fn filed(file: Option<&TokensFile>) -> FiledTokens {
    FiledTokens::found(file.is_some(), |name| file?.tokens().get(name).clone())
}

/// Warns unless git ignores the tokens file, or there is no git repository.
pub fn warn_unless_ignored(path: &Path, ui: Ui) {
    let shown = path.display();
    match git::keeping(path) {
        Keeping::Away => {}
        Keeping::Unknown => {
            ui.warn(&format!("cannot tell whether git ignores {shown}"));
        }
        Keeping::NotIgnored => {
            ui.warn(&format!(
                "git does not ignore {shown}: add it to .gitignore"
            ));
        }
        Keeping::Tracked => ui.warn(&format!(
            "git tracks {shown}: remove it with `git rm --cached {shown}`, ignore it, and, if it \
             was ever pushed, rotate the tokens with `{} rotate --apply`",
            environment::program()
        )),
    }
}
