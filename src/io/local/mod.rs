//! The machine that the program runs on: files, environment, git, signals.

pub mod environment;
pub mod git;
pub mod signals;
pub mod text_file;
pub mod tokens_file;
