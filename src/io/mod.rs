//! The outside: the environment, files, signals, git and the cluster.
//!
//! Foreign errors become a [`Failure`](crate::error::Failure) with a hint here.

pub mod eso;
pub mod kube;
pub mod local;
pub mod store;
pub mod written;
