//! The program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    k8s_bootstrap::run(std::env::args_os())
}
