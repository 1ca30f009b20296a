//! `verify`: one test per check id and cause, each from a cluster made for it; the hint is executed.
mod checks;
mod cluster;
mod file;
mod owners;
mod roles;
mod secrets;
mod values;
