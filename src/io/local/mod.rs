//! The local machine: files, environment, git and signals.

pub mod environment;
pub mod git;
pub mod signals;
pub mod text_file;
pub mod tokens_file;
