//! `verify`: one test per check id and cause, each from a cluster made for it; the hint is executed.

mod age;
mod chart;
pub mod checks;
mod cluster;
mod copies;
mod door;
mod eso;
mod file;
mod fleet;
mod fresh;
mod live;
mod owners;
mod readers;
mod roles;
mod secrets;
mod tokens;
mod values;
mod waiting;
mod wired;
