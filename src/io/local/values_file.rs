//! Helm values files: read whole, of bounded size, and never written.

use crate::domain::values::secret_value::SecretValue;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest values file that is read, in bytes: what a release of Helm can hold.
const LARGEST: u64 = 1024 * 1024;

/// Reads a values file.
///
/// # Errors
/// Why it cannot be used, in words that quote nothing of it.
pub fn read(path: &Path) -> Result<SecretValue, String> {
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    // What comes out of a pipe would be gone when --wait looks again.
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("it is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes)
        .map(SecretValue::from)
        .map_err(|_| "it is not UTF-8".to_owned())
}
