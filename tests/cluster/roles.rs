//! Least privilege: what `rbac` prints is enough, and less is told.
