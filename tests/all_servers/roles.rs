//! What a service account may do beside the operator, on Path 2 and in a rotation with just the Roles
//! that `rbac` prints.

mod apply;
mod path2;
mod populate;
mod rotate;
