//! Links the release binary without unwind tables. A panic aborts there (`panic = "abort"`), so
//! nothing reads them, and they are an eighth of the binary.

use std::path::PathBuf;
use std::{env, fs};

/// Read by the linker beside its own script.
const DISCARD: &str = "\
SECTIONS {
  /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) }
} INSERT AFTER .text;
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let script = folder.join("discard.ld");
    fs::write(&script, DISCARD).expect("OUT_DIR can be written to");
    println!(
        "cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{}",
        script.display()
    );
}
