//! Links the release binary without unwind tables. A panic aborts there (`panic = "abort"`), so
//! nothing reads them, and they are an eighth of the binary.
//!
//! This takes a linker script, which GNU ld and LLD can read and others cannot. So the build stays as
//! it is where the builder chose a linker or passes flags of their own.

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
    let usual_linker = env::var_os("RUSTC_LINKER").is_none() && is("CARGO_ENCODED_RUSTFLAGS", "");
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !is("PROFILE", "release") || !linux || !usual_linker {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let script = folder.join("discard.ld");
    fs::write(&script, DISCARD).expect("OUT_DIR can be written to");
    // One by one: -Wl would split a path at its commas.
    let script = script.to_str().expect("the path is UTF-8");
    for argument in ["--no-eh-frame-hdr", "-T", script] {
        println!("cargo::rustc-link-arg-bins=-Xlinker");
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
