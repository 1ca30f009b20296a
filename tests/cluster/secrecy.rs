//! No value ever shows.
