//! Code that several commands use. Not a command itself.

pub(crate) mod answer;
pub(crate) mod cluster;
pub(crate) mod eso;
pub mod hint_context;
pub(crate) mod options;
pub(crate) mod restart;
pub(crate) mod rollouts;
pub(crate) mod service;
pub(crate) mod store_apply;
pub(crate) mod tokens_file;
pub(crate) mod tokens_session;
pub(crate) mod wait;
pub(crate) mod writer;
