//! Several runs at once, and runs that are killed.
