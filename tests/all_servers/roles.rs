//! What a service account may do on Path 2 and in a rotation with just the Roles that `rbac` prints.

mod path2;
mod populate;
mod rotate;
