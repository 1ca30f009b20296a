//! `verify` where pods run, ports are forwarded, or External Secrets Operator makes the Secrets.

mod chart;
mod cluster;
mod door;
mod eso;
mod fleet;
mod fresh;
mod helm;
mod live;
mod owners;
mod roles;
mod secrets;
mod waiting;
