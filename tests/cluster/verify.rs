//! `verify`: one test per check id and cause, each from a cluster made for it; the hint is executed.

mod age;
mod copies;
mod door;
mod file;
mod fleet;
mod owners;
mod secrets;
mod tokens;
mod values;
mod wired;
