//! Everything outside of the process: environment, files, signals, git, cluster and secret store.
//!
//! Errors of other crates become a [`Failure`](crate::error::Failure) with a hint here.

pub mod eso;
pub mod kube;
pub mod local;
pub mod store;
pub mod written;
