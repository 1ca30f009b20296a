//! `verify`: one test per check id and cause, each from a cluster made for it; the hint is executed.
mod age;
mod checks;
mod cluster;
mod copies;
mod file;
mod fleet;
mod owners;
mod roles;
mod secrets;
mod tokens;
mod values;
