//! Rotations under load: real services that take the tokens they accept when their pods start, and
//! clients that keep sending the token that theirs started with.

mod by_hand;
mod decisions;
pub mod follow;
mod gate;
mod killed;
pub mod kubelet;
pub mod load;
mod mended;
mod outages;
mod person;
mod races;
pub mod reloader;
mod restart;
mod roles;
pub mod scene;
mod store;
mod story;
pub mod traffic;
