//! Text files of bounded size, for `lint`. It must not write.

use crate::domain::values::secret_value::SecretValue;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads a file, a pipe, or stdin (`-`).
///
/// # Errors
/// The reason why the file is not valid, without quoting it.
pub fn read(path: &Path) -> Result<SecretValue, String> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| error.to_string())?)
    };
    let mut bytes = Vec::new();
    source
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("larger than 16 MiB".to_owned());
    }
    String::from_utf8(bytes)
        .map(SecretValue::from)
        .map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..valid];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("line {line} is not UTF-8")
        })
}
