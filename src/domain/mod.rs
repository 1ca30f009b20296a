//! What the program knows and decides, as plain data.
//!
//! Nothing here touches a file, the environment, a clock, a process, the network or the terminal;
//! randomness is an argument. Facts come in, decisions go out.

pub mod checks;
pub mod cluster;
pub mod eso;
pub mod hint_context;
pub mod lint;
pub mod migration;
pub mod plan;
pub mod rotation;
pub mod table;
pub mod values;
mod word_enum;
