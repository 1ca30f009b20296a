//! No value shows where pods, a store or External Secrets Operator take part.

mod path2;
mod populate;
mod store;
mod verify;
mod via_eso;
