//! The tokens file during a run that changes it. It is locked and read once, and is written before
//! any server gets a token.

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

/// A locked tokens file.
pub struct TokensSession {
    path: PathBuf,
    ui: Ui,
    locked: Locked,
    /// The file as it is on disk.
    file: TokensFile,
    text: Option<SecretValue>,
    /// The tokens of the file; those that this run minted are marked.
    pub filed: FiledTokens,
    /// What this run has done to the tokens in the file.
    pub change: FileChange,
    /// Whether this run wrote the file, even if only its "last applied to" comment changed.
    written: bool,
}

impl TokensSession {
    /// Locks and reads the file.
    ///
    /// # Errors
    /// A file or folder that cannot be read, created or locked (exit code 3).
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

    /// The cluster to which the tokens were last applied.
    pub fn applied_to(&self) -> Option<AppliedTo> {
        self.file.applied_to()
    }

    /// Mints the tokens that have no value yet and writes the file. Returns the value of each
    /// token.
    ///
    /// # Errors
    /// No random bytes, or a file that cannot be written (exit code 3).
    pub fn save(
        &mut self,
        decisions: &PerToken<Option<Decision>>,
        action: FileAction,
        place: Option<&AppliedTo>,
        changes_anything: bool,
    ) -> Result<PerToken<Token>, Failure> {
        let mut minted = PerToken::from_fn(|_| false);
        let tokens = PerToken::try_from_fn(|name| match decisions.get(name) {
            Some(Decision::File(token) | Decision::Cluster(token) | Decision::Store(token)) => {
                Ok(token.clone())
            }
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
        let text = self.file.text_with_tokens(&wanted, place);
        // A new "last applied to" alone does not count: `diff` reports no change for it.
        if changes_anything && self.text.as_ref() != Some(&text) {
            self.write(text, action)?;
        }
        self.filed.exists = true;
        for (name, token) in tokens.iter() {
            let before = std::mem::take(self.filed.tokens.get_mut(name));
            let minted_before = matches!(&before, Filed::MintedNow(old) if old == token);
            *self.filed.tokens.get_mut(name) = if *minted.get(name) || minted_before {
                Filed::MintedNow(token.clone())
            } else {
                Filed::Found(token.clone())
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

    /// Warns about git if this run wrote the file. Call it at the end of the run.
    pub fn warn_about_git(&self) {
        if self.written {
            warn_unless_ignored(&self.path, self.ui);
        }
    }
}
