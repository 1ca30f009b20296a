//! The machine that the program runs on: files, environment, git, signals.

pub mod environment;
pub mod git;
pub mod signals;
pub mod tokens_file;
pub mod values_file;
