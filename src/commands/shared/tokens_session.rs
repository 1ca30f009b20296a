//! The tokens file during a run that changes it: locked, read once, brought up to date before any
//! server sees a token.

use crate::commands::shared::tokens_file::{filed, warn_unless_ignored};
use crate::domain::plan::{Decision, Filed};
use crate::domain::plan::{FileAction, FiledTokens};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token};
use crate::domain::values::tokens_file::{AppliedTo, TokensFile};
use crate::error::Failure;
use crate::io::local::environment;
use crate::io::local::tokens_file::Locked;
use crate::render::report::FileChange;
use crate::ui::Ui;
use std::path::{Path, PathBuf};

/// A tokens file that this run holds.
pub struct TokensSession {
    path: PathBuf,
    ui: Ui,
    locked: Locked,
    /// The file as it is on disk.
    file: TokensFile,
    text: Option<SecretValue>,
    /// What it holds, and what of that this run minted.
    pub filed: FiledTokens,
    /// What this run did to its tokens.
    pub change: FileChange,
    /// Whether it was written at all: the place alone is no change of its tokens.
    written: bool,
}

impl TokensSession {
    /// Locks and reads the file.
    ///
    /// # Errors
    /// A file or folder that cannot be used (exit code 3).
    pub fn open(path: &Path, ui: Ui) -> Result<Self, Failure> {
        let locked = Locked::new(path, &ui)?;
        let loaded = locked.read(&ui)?;
        let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
        let (file, text) = loaded
            .map(|loaded| (loaded.file, Some(loaded.text)))
            .unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            ui,
            locked,
            file,
            text,
            filed,
            change: FileChange::Unchanged,
            written: false,
        })
    }

    /// Where the tokens were last applied.
    pub fn applied_to(&self) -> Option<AppliedTo> {
        self.file.applied_to()
    }

    /// Fills in the tokens and, where anything changes at all, brings the file up to date.
    ///
    /// # Errors
    /// No random bytes, a file that cannot be written (exit code 3).
    pub fn keep(
        &mut self,
        decisions: &PerToken<Option<Decision>>,
        action: FileAction,
        place: Option<&AppliedTo>,
        changes_anything: bool,
    ) -> Result<PerToken<Token>, Failure> {
        let mut minted = PerToken::from_fn(|_| false);
        let tokens = PerToken::try_from_fn(|name| match decisions.get(name) {
            Some(Decision::File(token) | Decision::Cluster(token)) => Ok(token.clone()),
            Some(Decision::Minted(Some(token))) => {
                *minted.get_mut(name) = true;
                Ok(token.clone())
            }
            Some(Decision::Minted(None)) | None => {
                *minted.get_mut(name) = true;
                environment::mint()
            }
        })?;
        let wanted = PerToken::from_fn(|name| Some(tokens.get(name).clone()));
        let text = self.file.rewritten(&wanted, place);
        // The place alone is no reason to touch the file: diff says that nothing would change.
        if changes_anything && self.text.as_ref() != Some(&text) {
            self.write(text, action)?;
        }
        self.filed.exists = true;
        for (name, token) in tokens.iter() {
            let before = std::mem::take(self.filed.tokens.get_mut(name));
            let still_ours = matches!(&before, Filed::MintedNow(ours) if ours == token);
            *self.filed.tokens.get_mut(name) = match *minted.get(name) || still_ours {
                true => Filed::MintedNow(token.clone()),
                false => Filed::Found(token.clone()),
            };
        }
        Ok(tokens)
    }

    fn write(&mut self, text: SecretValue, action: FileAction) -> Result<(), Failure> {
        if let (FileAction::Update { replaces: true }, Some(old)) = (action, &self.text) {
            let backup = self.locked.keep_backup(old)?;
            warn_unless_ignored(&backup, self.ui);
            self.ui.story(&format!(
                "kept the replaced tokens file as {}",
                backup.display()
            ));
        }
        self.locked.write(&text)?;
        self.written = true;
        self.file = TokensFile::parse(text.expose()).map_err(|bad| {
            Failure::unable("the tokens file that was written cannot be read back").because(bad)
        })?;
        self.change = match (self.change, action) {
            (before, FileAction::Keep) => before,
            (FileChange::Created, _) | (_, FileAction::Create) => FileChange::Created,
            _ => FileChange::Updated,
        };
        self.text = Some(text);
        Ok(())
    }

    /// Warns, at the end of a run that wrote the file, where git would take it along.
    pub fn say_if_git_would_take_it(&self) {
        if self.written {
            warn_unless_ignored(&self.path, self.ui);
        }
    }
}
