//! Text files of bounded size, or stdin. It must not write.

use crate::domain::values::secret_value::SecretValue;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file cannot be used. The text quotes nothing of the file.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    #[error("{0}")]
    Unreadable(io::Error),
    #[error("larger than {0} MiB")]
    TooLarge(u64),
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
}

/// Reads a file, a pipe, or stdin (`-`), of at most so many MiB.
///
/// # Errors
/// The reason why the file is not valid.
pub fn read(path: &Path, largest: u64) -> Result<SecretValue, BadFile> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(BadFile::Unreadable)?)
    };
    let limit = largest * 1024 * 1024;
    let mut bytes = Vec::new();
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(BadFile::Unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(BadFile::TooLarge(largest));
    }
    String::from_utf8(bytes)
        .map(SecretValue::from)
        .map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..valid];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            BadFile::NotUtf8(line)
        })
}
