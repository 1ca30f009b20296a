//! The tokens file on disk.
//!
//! A file is checked before it is read. It is replaced atomically and must never be half written or
//! readable by others.

use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::tokens_file::TokensFile;
use crate::error::Failure;
use crate::ui::Ui;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The largest tokens file that is read, in bytes.
const LARGEST: u64 = 64 * 1024;
/// The part of a temporary file's name between the name of the tokens file and the random part.
const TEMPORARY_INFIX: &str = ".k8s-bootstrap-";
/// The number of random letters and digits in the name of a temporary file.
const TEMPORARY_RANDOM: usize = 6;
/// The end of a temporary file's name.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A tokens file that was read.
#[derive(Debug)]
pub struct Loaded {
    pub file: TokensFile,
    /// The unparsed text.
    pub text: SecretValue,
    /// Whether the mode gives other users access.
    pub loose: bool,
    handle: File,
}

/// Reads a tokens file; `None` if it does not exist.
///
/// # Errors
/// A file that is not a regular file, belongs to another user, is unreadable or has an invalid line
/// (exit code 3).
pub fn read(path: &Path) -> Result<Option<Loaded>, Failure> {
    let shown = path.display();
    if path.file_name().is_none() {
        return Err(
            unusable(path, "has no file name").hint("name a file with --tokens-file, not a folder")
        );
    }
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let handle = match opened {
        Ok(handle) => handle,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(unusable(path, "is a symbolic link").hint(format!(
                "replace {shown} with the file itself, or name that file with --tokens-file"
            )));
        }
        Err(error) => {
            return Err(
                Failure::unable(format!("cannot read the tokens file {shown}"))
                    .because(error)
                    .hint(format!("make {shown} readable for you only")),
            );
        }
    };
    let failed = |error: io::Error| {
        Failure::unable(format!("cannot read the tokens file {shown}"))
            .because(error)
            .hint("name another one with --tokens-file")
    };
    let metadata = handle.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(unusable(path, "is not a regular file").hint(format!(
            "move {shown} away, or name another file with --tokens-file"
        )));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unusable(path, "belongs to another user").hint(format!(
            "if you trust what is in it, make it yours: chown \"$(id -u)\" {shown}"
        )));
    }
    let mut bytes = Vec::new();
    (&handle)
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(unusable(path, "is larger than 64 KiB")
            .hint("a tokens file holds two lines: is this the right one?"));
    }
    let text = String::from_utf8(bytes)
        .map(SecretValue::from)
        .map_err(|_| {
            unusable(path, "is not UTF-8")
                .hint("a tokens file holds plain text: is this the right one?")
        })?;
    let file = TokensFile::parse(text.expose()).map_err(|bad| {
        unusable(path, &format!("has a bad line: {bad}"))
            .hint("fix that line: each is KEY=value, KEY=\"value\", KEY='value' or a comment")
    })?;
    let loose = metadata.mode() & 0o077 != 0;
    Ok(Some(Loaded {
        file,
        text,
        loose,
        handle,
    }))
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::unable(format!("the tokens file {} {why}", path.display()))
}

/// The lock for changes of a tokens file, released on drop.
///
/// The lock is on the folder: a lock on the file would be lost when the file is replaced.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    folder: PathBuf,
    handle: File,
}

impl Locked {
    /// Locks the folder of a tokens file and removes the temporary files of killed runs. A missing
    /// folder is created with mode 0700. If another run has the lock, it waits.
    ///
    /// # Errors
    /// A folder that cannot be created or locked (exit code 3).
    pub fn new(path: &Path, ui: &Ui) -> Result<Self, Failure> {
        // If the file is not valid, no folder is created and no temporary file is removed.
        read(path)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let shown = folder.display().to_string();
        let failed = |what: &str, error: io::Error| {
            Failure::unable(format!("cannot {what} the folder {shown}"))
                .because(error)
                .hint("name a tokens file in a folder of yours with --tokens-file")
        };
        if !folder.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder
                .create(&folder)
                .map_err(|error| failed("create", error))?;
        }
        let handle = File::open(&folder).map_err(|error| failed("open", error))?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                ui.story(&format!(
                    "waiting for another run that uses {}",
                    path.display()
                ));
                handle.lock().map_err(|error| failed("lock", error))?;
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let locked = Self {
            path: path.to_owned(),
            folder,
            handle,
        };
        locked
            .remove_leftovers()
            .map_err(|error| failed("clean up", error))?;
        Ok(locked)
    }

    /// Reads the file. If its mode gives other users access, it is set to 0600 with a warning.
    ///
    /// # Errors
    /// The same as [`read`], and a mode that cannot be set (exit code 3).
    pub fn read(&self, ui: &Ui) -> Result<Option<Loaded>, Failure> {
        let loaded = read(&self.path)?;
        if let Some(found) = loaded.as_ref().filter(|found| found.loose) {
            let tightened = found.handle.set_permissions(Permissions::from_mode(0o600));
            tightened.map_err(|error| {
                Failure::unable(format!("others can read {}", self.path.display()))
                    .because(error)
                    .hint(format!("chmod 600 {}", self.path.display()))
            })?;
            ui.warn(&format!(
                "others could read {}: its mode is 0600 now; anyone who read it before still has the \
                 tokens",
                self.path.display()
            ));
        }
        Ok(loaded)
    }

    /// Replaces the file atomically, with mode 0600 from its first byte.
    ///
    /// # Errors
    /// A full or read-only disk, or a folder that is not writable (exit code 3).
    pub fn write(&self, text: &SecretValue) -> Result<(), Failure> {
        self.replace(&self.path, text)
    }

    /// Writes a text to a `.bak` file next to the tokens file, and gives its path.
    ///
    /// # Errors
    /// The same as [`Locked::write`].
    pub fn keep_backup(&self, text: &SecretValue) -> Result<PathBuf, Failure> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".bak");
        let backup = PathBuf::from(name);
        self.replace(&backup, text)?;
        Ok(backup)
    }

    fn replace(&self, path: &Path, text: &SecretValue) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            // tempfile opens with create_new and mode 0600.
            let mut temporary = tempfile::Builder::new()
                .prefix(&self.prefix())
                .rand_bytes(TEMPORARY_RANDOM)
                .suffix(TEMPORARY_SUFFIX)
                .tempfile_in(&self.folder)?;
            temporary.write_all(text.expose().as_bytes())?;
            temporary.as_file().sync_all()?;
            temporary.persist(path)?;
            self.handle.sync_all()
        };
        write().map_err(|error| {
            Failure::unable(format!("cannot write the tokens file {}", path.display()))
                .because(error)
                .hint("make room, or name a tokens file in a writable folder with --tokens-file")
        })
    }

    fn prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}{TEMPORARY_INFIX}")
    }

    fn remove_leftovers(&self) -> io::Result<()> {
        let prefix = self.prefix();
        let is_ours = |name: &str| {
            let random = name
                .strip_prefix(&prefix)
                .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX));
            random.is_some_and(|random| {
                random.len() == TEMPORARY_RANDOM
                    && random.chars().all(|c| c.is_ascii_alphanumeric())
            })
        };
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if is_ours(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
