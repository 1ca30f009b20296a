//! What is said of the tokens file before it is changed, and after.

use crate::domain::cluster::snapshot::Keeping;
use crate::domain::plan::{Filed, FiledTokens};
use crate::domain::values::token::PerToken;
use crate::domain::values::tokens_file::TokensFile;
use crate::io::local::{environment, git};
use crate::ui::Ui;
use std::path::Path;

/// What a tokens file holds, before this run has minted anything.
pub fn filed(file: Option<&TokensFile>) -> FiledTokens {
    let found = |file: &TokensFile, name| match file.tokens().get(name) {
        Some(token) => Filed::Found(token.clone()),
        None => Filed::Absent,
    };
    FiledTokens {
        exists: file.is_some(),
        tokens: file
            .map(|file| PerToken::from_fn(|name| found(file, name)))
            .unwrap_or_default(),
    }
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
